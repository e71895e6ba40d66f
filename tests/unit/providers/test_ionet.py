"""The io.net adapter: every answer of providers.md sections 1 and 4, and what is sent."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from controlplane.adapters.providers.ionet import IonetProvider, IonetSettings
from controlplane.adapters.providers.ionet.machines import endpoint, instant
from controlplane.ports.meter import NoMeter
from controlplane.ports.provider import (
    Ambiguous,
    AuthFailed,
    Created,
    Destruction,
    LaunchMode,
    LaunchOutcome,
    LaunchSpec,
    MachineStatus,
    NoFunds,
    ProviderError,
    RateLimited,
    Rejected,
    SshEndpoint,
    Stockout,
    TooDear,
)
from tests.support.fakes import SECOND, START, FakeClock
from tests.support.scripted import Scripted, reply

BASE = "/enterprise/v1/io-cloud/vmaas"
ID = "3f6c2a1e-7f43-4f0e-9a53-0f7f3c1d2b90"
LABEL = "gp-test-00000000000000000000000000-1"
HOUR = 3600 * SECOND
OFFER = "ionet-583-2x-7"
HARDWARE = {"data": [{
    "id": "h100-sxm-583", "deploy_id": "583", "name": "H100 SXM", "num_cards": 2, "supplier": "acme", "price": "2.05",
    "vram_per_card": 80, "interconnect": "SXM5", "nvlink": True, "storage": 2000, "vcpu": 52, "memory": 400,
    "location": "Norway",
}]}  # fmt: skip
STOCK = {"data": [
    {"id": 7, "iso2": "NO", "name": "Norway", "available_replicas": 3},
    {"id": 8, "iso2": "US", "name": "United States", "available_replicas": 0},
]}  # fmt: skip
QUOTE = {"data": {"replica_count": 1, "gpus_per_vm": 2, "available_replica_count": [1, 2], "total_cost_usdc": 4.1}}
CREATED = {"status": "success", "deployment_id": ID}
LISTED = {"id": ID, "status": "running", "name": LABEL, "compute_minutes_served": 12, "compute_minutes_remaining": 47}
DETAILS = {
    "id": ID, "status": "running", "created_at": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:03:00",
    "amount_paid": 4.1, "compute_minutes_served": 12, "compute_minutes_remaining": 47,
}  # fmt: skip
VMS = {"data": {"workers": [{"vm_id": "vm-1", "status": "running", "ssh_access": "ssh ubuntu@203.0.113.7 -p 22022"}]}}
NOT_FOUND = reply({"status": "failed", "error": "deployment not found"}, 404)


def _page(*rows: Any, total: int | None = None) -> httpx2.Response:
    return reply({"data": {"deployments": list(rows), "total": len(rows) if total is None else total}})


def _script(**replies: Any) -> Scripted:
    names = {
        "hardware": f"GET {BASE}/hardware", "stock": f"GET {BASE}/available-vms", "price": f"GET {BASE}/price",
        "create": f"POST {BASE}/deploy", "list": f"GET {BASE}/deployments", "get": f"GET {BASE}/deployment/{ID}",
        "vms": f"GET {BASE}/deployment/{ID}/vms", "extend": f"POST {BASE}/deployment/{ID}/extend",
        "delete": f"DELETE {BASE}/deployment/{ID}",
    }  # fmt: skip
    usual = {
        "hardware": reply(HARDWARE), "stock": reply(STOCK), "price": reply(QUOTE), "list": _page(LISTED),
        "get": reply({"data": DETAILS}), "vms": reply(VMS),
    }  # fmt: skip
    return Scripted({names[name]: answer for name, answer in (usual | replies).items()})


def _provider(script: Scripted, clock: FakeClock | None = None) -> IonetProvider:
    return IonetProvider(IonetSettings("key-of-ours", "http://ionet.test"), clock or FakeClock(), NoMeter(), script)


async def _launch(script: Scripted, **changes: Any) -> LaunchOutcome:
    provider = _provider(script)
    (offer,) = await provider.offers()
    fields: dict[str, Any] = {
        "label": LABEL, "offer": offer, "authorized_keys": ("ssh-ed25519 AAAACALLER", "ssh-rsa AAAAOTHER"),
        "probe_key": "ssh-ed25519 AAAAPROBE", "disk_gb": 0,
    } | changes  # fmt: skip
    await provider.admit("launch")
    return await provider.launch(LaunchSpec(**fields))


async def test_an_offer_is_a_kind_of_machine_where_some_are_left() -> None:
    script = _script()
    (offer,) = await _provider(script).offers()
    assert offer.id == OFFER
    assert (offer.gpu_type, offer.gpu_count, offer.vram_gb, offer.region) == ("H100 SXM", 2, 80, "eu")
    assert (offer.price_nano_per_hour, offer.prepaid_s, offer.available) == (4_100_000_000, 3600, 3)
    assert (offer.cpu_count, offer.memory_gb, offer.disk_gb) == (52, 400, 2000)
    (asked,) = script.asked(f"GET {BASE}/available-vms")
    assert dict(asked.url.params) == {"hardware_id": "583", "hardware_qty": "2"}
    assert asked.headers["x-api-key"] == "key-of-ours"


@pytest.mark.parametrize(
    "fields",
    [
        {"deploy_id": "h100"}, {"deploy_id": None}, {"price": -1}, {"price": 0}, {"price": "free"}, {"price": None},
        {"num_cards": 0}, {"num_cards": 64}, {"name": ""}, {"memory": "lots"}, {"vcpu": -4},
    ],
)  # fmt: skip
async def test_absurd_hardware_is_no_offer(fields: dict[str, Any]) -> None:
    rows = [HARDWARE["data"][0] | fields, "junk", None]
    assert await _provider(_script(hardware=reply({"data": {"hardware": rows}}))).offers() == ()


@pytest.mark.parametrize(
    "stock",
    [
        {"data": []}, {"data": {"locations": [{"id": 7, "available_replicas": -1}, "junk"]}},
        {"data": {"available_vms": [{"id": "a", "available_replicas": 1}]}},
    ],
)  # fmt: skip
async def test_where_none_is_left_nothing_is_offered(stock: Any) -> None:
    assert await _provider(_script(stock=reply(stock))).offers() == ()


async def test_one_kind_without_an_answer_does_not_hide_the_others() -> None:
    both = {"data": [HARDWARE["data"][0], HARDWARE["data"][0] | {"deploy_id": 600}]}

    def stock(request: httpx2.Request) -> httpx2.Response:
        return (
            reply({"detail": "unknown hardware"}, 404) if request.url.params["hardware_id"] == "600" else reply(STOCK)
        )

    offers = await _provider(_script(hardware=reply(both), stock=stock)).offers()
    assert [offer.id for offer in offers] == [OFFER]


async def test_a_kind_that_cannot_be_asked_about_keeps_what_was_last_seen_of_it() -> None:
    both = {"data": [HARDWARE["data"][0], HARDWARE["data"][0] | {"deploy_id": 600}]}
    broken = False

    def stock(request: httpx2.Request) -> httpx2.Response:
        return reply("<html>") if broken and request.url.params["hardware_id"] == "600" else reply(STOCK)

    clock = FakeClock()
    provider = _provider(_script(hardware=reply(both), stock=stock), clock)
    before = {offer.id: offer.seen_at for offer in await provider.offers()}
    clock.advance(60)
    broken = True
    after = {offer.id: offer.seen_at for offer in await provider.offers()}
    assert after["ionet-600-2x-7"] == before["ionet-600-2x-7"]
    assert after[OFFER] > before[OFFER]


@pytest.mark.parametrize(
    "replies",
    [
        {"hardware": reply("<html>")}, {"hardware": reply("")}, {"hardware": reply({"data": None})},
        {"hardware": reply({"detail": "no"}, 401)}, {"stock": reply("<html>")}, {"stock": reply({"data": {}})},
        {"stock": reply({"status": "failed", "error": "oops"}, 500)},
    ],
)  # fmt: skip
async def test_offers_that_cannot_be_read_are_not_no_offers(replies: dict[str, Any]) -> None:
    with pytest.raises(ProviderError):
        await _provider(_script(**replies)).offers()


async def test_a_purchase_is_quoted_then_sent_once() -> None:
    script = _script(create=reply(CREATED))
    outcome = await _launch(script, ports=(8080,), max_price_nano_per_hour=4_100_000_000)
    assert isinstance(outcome, Created)
    assert (outcome.machine_id, outcome.price_nano_per_hour) == (ID, 4_100_000_000)
    assert outcome.created_at is not None
    assert outcome.created_at >= START
    (quote,) = script.asked(f"GET {BASE}/price")
    assert dict(quote.url.params) == {
        "hardware_id": "583", "gpus_per_vm": "2", "duration_hours": "1", "replica_count": "1", "currency": "usdc",
        "location_ids": "[7]",
    }  # fmt: skip
    (sent,) = script.asked(f"POST {BASE}/deploy")
    assert json.loads(sent.content) == {
        "resource_private_name": LABEL, "hardware_id": 583, "duration_hours": 1, "gpus_per_vm": 2,
        "ssh_keys": {"probe": "ssh-ed25519 AAAAPROBE", "key-1": "ssh-ed25519 AAAACALLER", "key-2": "ssh-rsa AAAAOTHER"},
        "vm_image_type": "general", "location_ids": [7],
        "network_services": {"tcp-8080": {"port": 8080, "protocol": "tcp", "whitelist": ["0.0.0.0/0"]}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply({"data": CREATED}), Created),
        (reply({"status": "failed", "error": "Not enough capacity in the location"}, 400), Stockout),
        (reply({"status": "failed", "error": "No available replicas"}), Stockout),
        (reply({"detail": "Invalid API key"}, 401), AuthFailed),
        (reply({"detail": "not allowed"}, 403), AuthFailed),
        (reply({"status": "failed", "error": "payment_required"}, 402), NoFunds),
        (reply({"status": "failed", "error": "insufficient credits"}, 400), NoFunds),
        (reply({"detail": [{"loc": ["body", "payment"], "msg": "extra field", "type": "x"}]}, 422), Rejected),
        (reply({"status": "failed", "error": "hardware unknown"}, 404), Rejected),
        (reply("slow down", 429), RateLimited),
        (reply("<html>504</html>", 504), Ambiguous),
        (reply({"status": "failed", "error": "oops"}, 500), Ambiguous),
        (reply({"status": "failed", "error": "name exists"}, 409), Ambiguous),
        (reply("<html>hello</html>"), Ambiguous),
        (reply(""), Ambiguous),
        (reply('{"status": "success", "deploym'), Ambiguous),
        (reply({"status": "success"}), Ambiguous),
        (reply({"status": "success", "deployment_id": "../x"}), Ambiguous),
        (httpx2.ReadError("cut"), Ambiguous),
        (httpx2.ReadTimeout("late"), Ambiguous),
        (httpx2.ConnectError("refused"), RateLimited),
    ],
)
async def test_every_answer_to_a_purchase_has_its_outcome_and_is_asked_for_once(answer: Any, kind: type) -> None:
    script = _script(create=answer)
    outcome = await _launch(script)
    assert isinstance(outcome, kind), outcome
    assert len(script.asked(f"POST {BASE}/deploy")) == 1


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"max_price_nano_per_hour": 4_099_999_999}, TooDear), ({"mode": LaunchMode.MODEL, "model": "m"}, Rejected),
        ({"image": "nvidia/cuda"}, Rejected), ({"template": "t"}, Rejected), ({"env": {"A": "1"}}, Rejected),
        ({"on_start": "true"}, Rejected), ({"disk_gb": 2001}, Rejected),
    ],
)  # fmt: skip
async def test_nothing_is_bought_that_is_too_dear_or_cannot_be(changes: dict[str, Any], kind: type) -> None:
    script = _script(create=reply(CREATED))
    outcome = await _launch(script, **changes)
    assert isinstance(outcome, kind), outcome
    assert script.asked(f"POST {BASE}/deploy") == []


@pytest.mark.parametrize(
    ("quote", "kind"),
    [
        (reply({"data": {"available_replica_count": [0], "total_cost_usdc": 1}}), Stockout),
        (reply({"data": {"total_cost_usdc": "about four"}}), Stockout),
        (reply({"data": {"total_cost_usdc": -4}}), Stockout),
        (reply({"status": "failed", "error": "unknown"}, 404), Stockout),
        (reply({"detail": "no"}, 401), AuthFailed),
        (reply("<html>"), RateLimited),
        (httpx2.ConnectError("refused"), RateLimited),
    ],
)
async def test_without_a_good_quote_nothing_is_bought(quote: Any, kind: type) -> None:
    script = _script(create=reply(CREATED), price=quote)
    outcome = await _launch(script, max_price_nano_per_hour=5_000_000_000)
    assert isinstance(outcome, kind), outcome
    assert script.asked(f"POST {BASE}/deploy") == []


async def test_a_running_machine_with_its_times_and_its_address() -> None:
    script = _script()
    provider = _provider(script)
    for _ in range(3):  # asked for by itself only once
        machine = await provider.describe(ID)
        assert (machine.id, machine.label, machine.status) == (ID, LABEL, MachineStatus.RUNNING)
        assert machine.ssh == SshEndpoint("203.0.113.7", 22022, "ubuntu")
        assert (machine.created_at, machine.paid_until) == (START, START + HOUR)
        assert machine.expires_at == START + 180 * SECOND + HOUR
        assert machine.price_nano_per_hour == 4_100_000_000
    assert len(script.asked(f"GET {BASE}/deployment/{ID}")) == 1


async def test_an_extension_shows_in_what_is_paid() -> None:
    longer = {"compute_minutes_served": 59, "compute_minutes_remaining": 121}
    script = _script(
        list=_page(LISTED | longer), get=reply({"data": DETAILS | longer | {"amount_paid": 12.3}}),
        extend=reply({"data": DETAILS}),
    )  # fmt: skip
    provider = _provider(script)
    await provider.extend(ID, 3601)
    (sent,) = script.asked(f"POST {BASE}/deployment/{ID}/extend")
    assert json.loads(sent.content) == {"duration_hours": 2}
    machine = await provider.describe(ID)
    assert machine.paid_until == START + 3 * HOUR
    assert machine.price_nano_per_hour is None  # a sum of purchases is no price


@pytest.mark.parametrize(
    "answer",
    [reply({"status": "failed", "error": "no credits"}), reply({"detail": "no"}, 401), httpx2.ReadError("cut")],
)
async def test_an_extension_that_failed_says_so_and_is_sent_once(answer: Any) -> None:
    script = _script(extend=answer)
    with pytest.raises(ProviderError):
        await _provider(script).extend(ID, 3600)
    assert len(script.asked(f"POST {BASE}/deployment/{ID}/extend")) == 1


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("unpaid", MachineStatus.PROVISIONING), ("deployment requested", MachineStatus.PROVISIONING),
        ("DEPLOYMENT_REQUESTED", MachineStatus.PROVISIONING), ("deploying", MachineStatus.STARTING),
        ("running", MachineStatus.RUNNING), ("termination requested", MachineStatus.STOPPING),
        ("failed", MachineStatus.FAILED), ("destroyed", MachineStatus.GONE), ("terminated", MachineStatus.GONE),
        ("completed", MachineStatus.GONE), ("dreaming", MachineStatus.UNKNOWN), (None, MachineStatus.UNKNOWN),
    ],
)  # fmt: skip
async def test_status_words(word: Any, status: MachineStatus) -> None:
    finished = {"finished_at": "2026-01-01T00:20:00.5+00:00"}
    script = _script(list=_page(), get=reply({"data": DETAILS | {"status": word} | finished}))
    machine = await _provider(script).describe(ID)
    assert machine.status is status
    ended = status in (MachineStatus.GONE, MachineStatus.FAILED)
    assert machine.ended_at == (START + 1200 * SECOND + SECOND // 2 if ended else None)


async def test_a_machine_that_is_not_up_has_no_address_and_needs_no_second_question() -> None:
    script = _script(list=_page(LISTED | {"status": "deployment requested"}))
    machine = await _provider(script).describe(ID)
    assert (machine.status, machine.ssh) == (MachineStatus.PROVISIONING, None)
    assert script.asked(f"GET {BASE}/deployment/{ID}") == []
    for vms in (NOT_FOUND, reply({"data": {"workers": [{"vm_id": "v", "ssh_access": None}, None]}})):
        machine = await _provider(_script(vms=vms)).describe(ID)
        assert (machine.status, machine.ssh) == (MachineStatus.RUNNING, None)


async def test_a_machine_that_was_there_is_gone_at_once() -> None:
    clock = FakeClock()
    script = _script()
    provider = _provider(script, clock)
    assert (await provider.describe(ID)).status is MachineStatus.RUNNING
    script.now_answers(f"GET {BASE}/deployments", _page())
    script.now_answers(f"GET {BASE}/deployment/{ID}", NOT_FOUND)
    clock.advance(10)
    assert (await provider.describe(ID)).status is MachineStatus.GONE


async def test_a_page_of_a_gateway_is_no_404() -> None:
    provider = _provider(_script(list=_page(), get=reply("<html>404</html>", 404)))
    with pytest.raises(ProviderError):
        await provider.describe(ID)
    with pytest.raises(ProviderError):
        await provider.describe("../hardware")


async def test_a_destroy_takes_its_time() -> None:
    done, refused = reply({"status": "success"}), reply({"status": "failed", "error": "already terminating"}, 409)
    ending = reply({"data": DETAILS | {"status": "termination requested"}})
    ended = reply({"data": DETAILS | {"status": "destroyed", "finished_at": "2026-01-01T00:20:00Z"}})
    provider = _provider(_script(delete=[done, refused], get=[ending, ending, ended]))
    for expected in (Destruction.PENDING, Destruction.PENDING, Destruction.GONE):
        assert await provider.destroy(ID, grace_s=60) is expected


async def test_a_failed_deployment_needs_no_end() -> None:
    script = _script(
        delete=reply({"status": "failed", "error": "cannot"}, 400), get=reply({"data": DETAILS | {"status": "failed"}})
    )
    assert await _provider(script).destroy(ID, grace_s=0) is Destruction.GONE


@pytest.mark.parametrize(
    "answer", [reply({"detail": "no"}, 401), reply({"status": "failed", "error": "no"}, 400), reply("<html>", 403)]
)
async def test_a_refused_destroy_is_not_done(answer: httpx2.Response) -> None:
    with pytest.raises(ProviderError):
        await _provider(_script(delete=answer)).destroy(ID, grace_s=0)


async def test_ended_deployments_and_those_of_others_are_not_listed() -> None:
    rows = [LISTED, *({"id": f"d{n}", "name": LABEL, "status": word} for n, word in enumerate(("failed", "completed")))]
    script = _script(list=_page(*rows, {"id": "d9", "name": "somebody's", "status": "running"}))
    listing = await _provider(script).list("gp-test-")
    assert listing.complete
    assert [machine.id for machine in listing.machines] == [ID]


async def test_all_pages_are_read() -> None:
    rows = [{"id": f"d{n}", "name": f"{LABEL}{n}", "status": "running"} for n in range(230)]

    def page(request: httpx2.Request) -> httpx2.Response:
        number, size = int(request.url.params["page"]), int(request.url.params["page_size"])
        return _page(*rows[(number - 1) * size : number * size], total=len(rows))

    listing = await _provider(_script(list=page)).list("gp-")
    assert listing.complete
    assert len(listing.machines) == 230


@pytest.mark.parametrize(
    "answer",
    [
        _page(LISTED, total=2), _page(LISTED, LISTED), _page(LISTED, "junk"), _page(LISTED, {"id": "d1"}),
        reply({"data": {"deployments": [LISTED]}}), reply({"data": {"deployments": [LISTED], "total": "some"}}),
    ],
)  # fmt: skip
async def test_a_list_that_may_lack_rows_is_not_complete(answer: httpx2.Response) -> None:
    listing = await _provider(_script(list=answer)).list("gp-")
    assert not listing.complete
    assert [machine.id for machine in listing.machines] == [ID]


@pytest.mark.parametrize(
    "answer",
    [
        reply("<html>"),
        reply(""),
        reply({"data": {}}),
        reply('{"data": {"deployments": ['),
        reply({"detail": "no"}, 401),
    ],
)
async def test_a_list_that_cannot_be_read_is_no_list(answer: httpx2.Response) -> None:
    with pytest.raises(ProviderError):
        await _provider(_script(list=answer)).list("gp-")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("ssh ubuntu@203.0.113.7 -p 22022", ("203.0.113.7", 22022, "ubuntu")),
        ("ssh -p 22022 ubuntu@203.0.113.7", ("203.0.113.7", 22022, "ubuntu")),
        ("ssh -p22022 ubuntu@host-1.io.net", ("host-1.io.net", 22022, "ubuntu")),
        ("ssh -i ~/.ssh/id -o StrictHostKeyChecking=no -l root host.io.net", ("host.io.net", 22, "root")),
        ("ssh ubuntu@[2001:db8::7] -p 2222", ("2001:db8::7", 2222, "ubuntu")),
        ("  ssh   ubuntu@203.0.113.7  ", ("203.0.113.7", 22, "ubuntu")),
        ("ssh -J jump@bastion ubuntu@10.0.0.7", None), ("ssh -o ProxyCommand=x ubuntu@10.0.0.7", None),
        ("ssh 203.0.113.7", None), ("ssh ubuntu@203.0.113.7 -p 99999", None), ("ssh ubuntu@203.0.113.7 -p", None),
        ("ssh ubuntu@'unclosed", None), ("ssh 'ubuntu;rm'@203.0.113.7", None), ("telnet host", None), ("", None),
        (None, None), (7, None),
    ],
)  # fmt: skip
def test_the_ssh_command_line(command: Any, expected: tuple[str, int, str] | None) -> None:
    assert endpoint(command) == (SshEndpoint(*expected) if expected else None)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("2026-01-01T00:00:00Z", START), ("2026-01-01T00:00:00", START), ("2026-01-01T01:00:00+01:00", START),
        ("2026-01-01T00:00:00.250000Z", START + 250_000), ("9999-12-31T23:59:59", None), ("soon", None), (None, None),
        (1767225600, None),
    ],
)  # fmt: skip
def test_times(told: Any, expected: int | None) -> None:
    assert instant(told) == expected


def test_no_key_is_shown() -> None:
    assert "of-ours" not in repr(IonetSettings("key-of-ours"))
