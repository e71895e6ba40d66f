"""Vast.ai's instances: states, ways in, listing, look-ups, destroys, logs."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from controlplane.adapters.providers.vastai import VastaiProvider
from controlplane.adapters.providers.vastai.machines import machine_of
from controlplane.ports.provider import Destruction, Listing, Machine, MachineStatus, ProviderError, SshEndpoint
from tests.simulation.world import VirtualClock
from tests.unit.providers.support import Handler, Marketplace, answer, hang, in_turn
from tests.unit.providers.vastai_market import KEY, LIST, decimals, instance, page, with_provider

ID = "31900417"
ONE = f"/api/v0/instances/{ID}/"


def machine(**changes: Any) -> Machine:
    found = machine_of(decimals(instance(**changes)))
    assert found is not None
    return found


AT_REST = {"intended_status": "stopped", "cur_state": "stopped", "next_state": "stopped"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"actual_status": None}, MachineStatus.PROVISIONING),
        ({"actual_status": "created"}, MachineStatus.PROVISIONING),
        ({"actual_status": "created", "status_msg": "Error: OCI runtime create failed"}, MachineStatus.FAILED),
        ({"actual_status": "loading"}, MachineStatus.STARTING),
        ({"actual_status": "rebooting"}, MachineStatus.STARTING),
        ({"actual_status": "restarting"}, MachineStatus.STARTING), ({}, MachineStatus.RUNNING),
        ({"actual_status": "RUNNING"}, MachineStatus.RUNNING), ({"actual_status": "exited"}, MachineStatus.FAILED),
        ({"actual_status": "exited", **AT_REST}, MachineStatus.STOPPED),
        ({"actual_status": "stopped", **AT_REST}, MachineStatus.STOPPED),
        ({"actual_status": "frozen", "intended_status": "frozen"}, MachineStatus.STOPPED),
        ({"actual_status": "stopped", "is_bid": True, **AT_REST}, MachineStatus.PREEMPTED),
        ({"actual_status": "exited", "is_bid": True, **AT_REST}, MachineStatus.PREEMPTED),
        ({"is_bid": True}, MachineStatus.RUNNING), ({"actual_status": "unknown"}, MachineStatus.UNKNOWN),
        ({"actual_status": "offline"}, MachineStatus.UNKNOWN), ({"actual_status": "dreaming"}, MachineStatus.UNKNOWN),
        ({"actual_status": 7}, MachineStatus.UNKNOWN),
    ],
)  # fmt: skip
def test_states(changes: dict[str, Any], expected: MachineStatus) -> None:
    assert machine(**changes).status is expected


def test_a_machine_s_facts() -> None:
    found = machine()
    assert (found.id, found.label) == (ID, "gp-dep-aaaa-1")
    assert found.ssh == SshEndpoint("203.0.113.45", 41022, "root")
    assert found.ssh_also == (SshEndpoint("ssh6.vast.ai", 10416, "root"),)
    assert (found.price_nano_per_hour, found.standby_nano_per_hour) == (318_900_000, 8_900_000)
    assert found.running_s == 192.0
    assert (found.created_at, found.expires_at) == (1_795_212_345_500_000, 1_796_928_645_000_000)


@pytest.mark.parametrize(
    ("changes", "ways"),
    [
        ({"ports": None}, [("ssh6.vast.ai", 10416)]), ({"ports": {"22/tcp": None}}, [("ssh6.vast.ai", 10416)]),
        ({"ports": {"22/tcp": [{"HostPort": "x"}]}, "ssh_host": None}, []),
        ({"public_ipaddr": "a b; rm", "ssh_port": "10416"}, [("ssh6.vast.ai", 10416)]),
        ({"ports": None, "image_runtype": "jupyter_direc ssh_proxy"}, [("ssh6.vast.ai", 10417)]),
        ({"public_ipaddr": "2001:db8::1"}, [("2001:db8::1", 41022), ("ssh6.vast.ai", 10416)]),
        ({"actual_status": "loading"}, []),
    ],
)  # fmt: skip
def test_ways_in(changes: dict[str, Any], ways: list[Any]) -> None:
    found = machine(**changes)
    assert [(way.host, way.port) for way in (found.ssh, *found.ssh_also) if way] == ways


def test_absurd_fields_are_unknown() -> None:
    found = machine(dph_total=-1, start_date="x", end_date=-5, uptime_mins=-3, status_msg=None, label=None)
    assert (found.price_nano_per_hour, found.created_at, found.expires_at, found.running_s) == (None,) * 4
    assert (found.message, found.label) == ("", "")


def listing(handler: Handler, prefix: str = "gp-dep-") -> Listing:
    return with_provider(Marketplace({LIST: handler}), lambda provider, _: provider.list(prefix))


def pages(rows: list[dict[str, Any]], size: int = 25) -> Handler:
    """A list as the vendor pages it."""

    def handler(request: httpx2.Request) -> httpx2.Response:
        start = int(request.url.params.get("after_token", "t0")[1:])
        end = start + size
        token = f"t{end}" if end < len(rows) else None
        return answer(page(*rows[start:end], next_token=token, instances_found=len(rows)))

    return handler


def test_all_pages_are_read_and_only_our_labels_returned() -> None:
    rows = [instance(n, label=f"gp-{'dep' if n % 2 else 'other'}-x-{n}") for n in range(1, 61)]
    found = listing(pages(rows))
    assert found.complete
    assert [m.id for m in found.machines] == [str(n) for n in range(1, 61, 2)]


def test_an_empty_list_is_complete_if_well_formed() -> None:
    assert listing(in_turn(answer(page()))) == Listing(True, ())


@pytest.mark.parametrize(
    "reply",
    [
        page(instance(), instances_found=2), page(instance(), {"label": "gp-dep-?"}), page(instance(), None),
        page(instance(), next_token="again", instances_found=1),
    ],
)  # fmt: skip
def test_a_list_that_lacks_something_is_incomplete(reply: Any) -> None:
    found = listing(in_turn(answer(reply)))
    assert not found.complete
    assert [m.id for m in found.machines] == [ID]


@pytest.mark.parametrize(
    "reply",
    [
        answer(text=""), answer(text="<html>"), answer({"success": True}), answer({"instances": []}), answer([]),
        answer(page(instances=None)), answer(page(next_token=7)), answer(page(success=False)), answer({}, 500),
        answer(text=json.dumps(page(instance()))[:-9]), answer({"error": "deprecated_endpoint"}, 410),
        answer({"error": "auth_error", "msg": "Invalid user key"}, 404), httpx2.ReadError("cut"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_list_concludes_nothing(reply: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        listing(in_turn(reply))
    assert KEY not in str(caught.value)


def test_lookups_at_once_share_one_listing() -> None:
    marketplace = Marketplace({LIST: pages([instance(n) for n in range(1, 61)])})

    async def body(provider: VastaiProvider, _: VirtualClock) -> list[Listing]:
        return await asyncio.gather(*(provider.list("gp-") for _ in range(20)))

    assert all(found.complete and len(found.machines) == 60 for found in with_provider(marketplace, body))
    assert len(marketplace.journal) <= 6  # one that had begun, and one for all who asked meanwhile
    assert all(b - a >= 1.0 for a, b in pairwise(marketplace.times("GET")))


def describe(one: Handler, listed: Handler | None = None) -> Machine:
    routes = {LIST: listed or in_turn(answer(page())), f"GET {ONE}": one}
    return with_provider(Marketplace(routes), lambda provider, _: provider.describe(ID))


def test_a_machine_is_found_in_the_list_first() -> None:
    assert describe(hang, in_turn(answer(page(instance())))).status is MachineStatus.RUNNING


def test_what_the_list_lacks_is_asked_for_by_itself() -> None:
    assert describe(in_turn(answer({"instances": instance()}))).status is MachineStatus.RUNNING


@pytest.mark.parametrize(
    "reply", [answer({"instances": None}), answer({"success": False, "error": "no_such_instance"}, 404)]
)
def test_gone_is_said_positively(reply: Any) -> None:
    assert describe(in_turn(reply)) == Machine(ID, "", MachineStatus.GONE)


@pytest.mark.parametrize(
    "reply",
    [
        answer({"success": False, "error": "auth_error", "msg": "Invalid user key"}, 404), answer(text="", status=404),
        answer(text="<html>Not Found</html>", status=404), answer({}), answer(text="{}{}"), answer({"instances": []}),
        answer({"instances": instance(5)}), answer({"success": False, "msg": "x"}), answer({}, 503),
        answer({"error": "forbidden"}, 403),
    ],
)  # fmt: skip
def test_anything_else_is_not_gone(reply: Any) -> None:
    with pytest.raises(ProviderError):
        describe(in_turn(reply))


def test_a_machine_s_own_message_does_not_make_it_gone() -> None:
    shown = answer({"instances": instance(actual_status="loading", status_msg="manifest not_found, retrying")})
    assert describe(in_turn(shown)).status is MachineStatus.STARTING


def test_a_look_at_a_hanging_marketplace_ends() -> None:
    marketplace = Marketplace({LIST: hang})

    async def body(provider: VastaiProvider, clock: VirtualClock) -> float:
        with pytest.raises(ProviderError):
            await provider.describe(ID)
        return clock.monotonic()

    assert with_provider(marketplace, body) <= 30


def test_many_machines_are_looked_up_in_few_calls() -> None:
    def chosen(request: httpx2.Request) -> httpx2.Response:
        ids = json.loads(request.url.params["select_filters"])["id"]["in"]
        assert len(ids) <= 25
        return answer(page(*(instance(n) for n in ids)))

    marketplace = Marketplace({LIST: chosen})

    async def body(provider: VastaiProvider, clock: VirtualClock) -> tuple[list[Machine], float]:
        found = await asyncio.gather(*(provider.describe(str(n)) for n in range(1, 101)))
        return found, clock.monotonic()

    found, took_s = with_provider(marketplace, body)
    assert [m.id for m in found] == [str(n) for n in range(1, 101)]
    assert len(marketplace.journal) == 4
    assert took_s < 5


@pytest.mark.parametrize("machine_id", ["", "12/../13", "x", "-1", "١٢"])
def test_ids_that_are_none_reach_no_path(machine_id: str) -> None:
    marketplace = Marketplace()

    async def body(provider: VastaiProvider, _: VirtualClock) -> None:
        for call in (provider.describe(machine_id), provider.destroy(machine_id, grace_s=0)):
            with pytest.raises(ProviderError):
                await call

    with_provider(marketplace, body)
    assert not marketplace.journal


def destroy(handler: Handler) -> Destruction:
    async def body(provider: VastaiProvider, _: VirtualClock) -> Destruction:
        await provider.admit("destroy")
        return await provider.destroy(ID, grace_s=0)

    return with_provider(Marketplace({f"DELETE {ONE}": handler}), body)


def test_a_destroy_ends_the_machine() -> None:
    assert destroy(in_turn(answer({"success": True}))) is Destruction.GONE


@pytest.mark.parametrize(
    "reply",
    [
        answer({"success": False, "error": "no_such_instance"}, 404), answer({"error": "not_found"}, 404),
        answer({"success": False, "error": "no_such_instance"}),
    ],
)  # fmt: skip
def test_a_destroy_of_what_has_ended_says_so(reply: Any) -> None:
    assert destroy(in_turn(reply)) is Destruction.ABSENT


@pytest.mark.parametrize(
    ("reply", "undone"),
    [(answer(text="API requests too frequent", status=429), True), (answer({}, 502), False),
     (httpx2.ReadError("cut"), False), (httpx2.ConnectError("no"), True)],
)  # fmt: skip
def test_a_destroy_is_sent_once_and_tells_whether_it_may_have_worked(reply: Any, undone: bool) -> None:
    with pytest.raises(ProviderError) as failed:
        destroy(in_turn(reply, answer({"success": True})))
    assert failed.value.undone is undone


@pytest.mark.parametrize(
    "reply",
    [
        answer({"success": False, "error": "auth_error"}, 404), answer(text="<html>", status=404), answer(text=""),
        answer({"success": False, "msg": "later"}), answer({}), answer({}, 500), answer(text="<html>ok</html>"),
    ],
)  # fmt: skip
def test_a_destroy_that_is_not_confirmed_is_not_done(reply: Any) -> None:
    with pytest.raises(ProviderError):
        destroy(in_turn(reply))


def test_a_destroy_gets_through_while_the_provider_is_thought_to_be_down() -> None:
    marketplace = Marketplace({LIST: in_turn(answer({}, 500)), f"DELETE {ONE}": in_turn(answer({"success": True}))})

    async def body(provider: VastaiProvider, _: VirtualClock) -> Destruction:
        with pytest.raises(ProviderError):
            await provider.list("gp-")
        assert provider.client.breaker.open
        await provider.admit("destroy")
        return await provider.destroy(ID, grace_s=0)

    assert with_provider(marketplace, body) is Destruction.GONE


def logs(url: str, *stored: Any) -> tuple[str, Marketplace]:
    marketplace = Marketplace(
        {f"PUT /api/v0/instances/request_logs/{ID}/": in_turn(answer({"success": True, "result_url": url}))},
        other=in_turn(*stored) if stored else in_turn(answer({}, 404)),
    )
    return with_provider(marketplace, lambda provider, _: provider.logs(ID, tail=2)), marketplace


def test_logs_are_fetched_without_the_key_once_they_appear() -> None:
    text, marketplace = logs("https://files.test/l/1", answer({}, 404), answer({}, 403), answer(text="a\nb\nc\n"))
    assert text == "b\nc"
    assert all("authorization" not in request.headers for request in marketplace.sent("GET"))


@pytest.mark.parametrize("url", ["https://files.test/never", "http://169.254.169.254/meta", "file:///etc/passwd", "::"])
def test_logs_that_cannot_be_had(url: str) -> None:
    with pytest.raises(ProviderError):
        logs(url)


SSH_KEY = "ssh-rsa AAAAANOTHER"


def add_key(*replies: Any) -> Marketplace:
    """The marketplace after a key was added, or not."""
    marketplace = Marketplace({f"POST {ONE}ssh/": in_turn(*replies)})
    with_provider(marketplace, lambda provider, _: provider.add_key(ID, SSH_KEY))
    return marketplace


@pytest.mark.parametrize(
    "replies",
    [
        [answer({"success": True, "msg": "SSH key attached successfully"})],
        [httpx2.ReadTimeout("lost"), answer({"success": True, "msg": ""})],
        [httpx2.ReadTimeout("lost"), answer({"success": False, "msg": "SSH key already attached"}, 400)],
        [answer(text="API requests too frequent", status=429), answer({"success": True, "msg": ""})],
    ],
)
def test_a_key_is_added_whatever_becomes_of_the_first_answer(replies: list[Any]) -> None:
    sent = add_key(*replies).sent("POST")
    assert [json.loads(request.content) for request in sent] == [{"ssh_key": SSH_KEY}] * len(replies)


@pytest.mark.parametrize(
    "reply",
    [
        answer({"success": False, "error": "no_such_instance", "msg": "instance already destroyed"}, 404),
        answer({"success": False, "error": "invalid_args", "msg": "bad key"}, 400),
        answer({"msg": "who knows"}), answer(text="<html>"), answer({"success": False, "error": "auth_error"}, 401),
    ],
)  # fmt: skip
def test_a_key_that_was_not_taken_is_no_success(reply: Any) -> None:
    with pytest.raises(ProviderError):
        add_key(reply)


async def test_what_it_cannot_do_is_refused() -> None:
    provider = VastaiProvider.__new__(VastaiProvider)
    with pytest.raises(ProviderError):
        await provider.extend(ID, 3600)
