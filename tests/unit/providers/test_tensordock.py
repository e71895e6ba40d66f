"""The TensorDock adapter: every answer of providers.md sections 1 and 3, and what is sent."""

from __future__ import annotations

import asyncio
import copy
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest

from controlplane.adapters.providers.tensordock import TensordockProvider, TensordockSettings
from controlplane.adapters.providers.tensordock import launching as td_launching
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
    Stockout,
    TooDear,
)
from tests.support.fakes import START, FakeClock
from tests.support.scripted import Scripted, reply

LOCATION = "5f0c6c1e-2f0b-4a0e-9f6f-3f9a5a1b7c10"
GPU = "geforcertx4090-pcie-24gb"
OFFER = f"tensordock-{LOCATION}-{GPU}-1"
MACHINE = "0b7a1c52-41d6-4d2e-8ac0-2f6f5d1f6a11"
LABEL = "gp-test-00000000000000000000000000-1"
KEY = "ssh-ed25519 AAAACALLER it's me"
LOCATIONS: dict[str, Any] = {"data": {"locations": [{
    "id": LOCATION, "city": "Oslo", "stateprovince": "Oslo", "country": "Norway", "tier": 3,
    "gpus": [{
        "v0Name": GPU, "displayName": "NVIDIA GeForce RTX 4090 PCIe 24GB", "max_count": 5, "price_per_hr": 0.35,
        "resources": {"max_vcpus": 30, "max_ram_gb": 100, "max_storage_gb": 1000},
        "pricing": {"per_vcpu_hr": 0.003, "per_gb_ram_hr": "0.002", "per_gb_storage_hr": 0.00005},
        "network_features": {"dedicated_ip_available": True, "port_forwarding_available": True},
    }],
}]}}  # fmt: skip
CREATED = {"data": {"type": "virtualmachine", "id": MACHINE, "name": LABEL, "status": "running"}}
ROW = {"type": "virtualmachine", "id": MACHINE, "name": LABEL, "status": "running", "ipAddress": "198.51.100.7",
       "portForwards": [], "rateHourly": "0.4421"}  # fmt: skip


def _provider(script: Scripted, authorization_id: str = "", clock: FakeClock | None = None) -> TensordockProvider:
    settings = TensordockSettings("token-of-ours", authorization_id, "http://tensordock.test/api/v2")
    return TensordockProvider(settings, clock or FakeClock(), NoMeter(), script)


def _script(**replies: Any) -> Scripted:
    """Keys: `locations`, `create`, `list`, `get`, `delete`."""
    names = {
        "locations": "GET /api/v2/locations", "create": "POST /api/v2/instances", "list": "GET /api/v2/instances",
        "get": f"GET /api/v2/instances/{MACHINE}", "delete": f"DELETE /api/v2/instances/{MACHINE}",
    }  # fmt: skip
    return Scripted({names[name]: answer for name, answer in ({"locations": reply(LOCATIONS)} | replies).items()})


async def _spec(provider: TensordockProvider, **changes: Any) -> LaunchSpec:
    offers = {offer.id: offer for offer in await provider.offers()}
    fields: dict[str, Any] = {
        "label": LABEL, "offer": offers[OFFER], "authorized_keys": (KEY,), "probe_key": "ssh-ed25519 AAAAPROBE",
        "disk_gb": 0,
    } | changes  # fmt: skip
    return LaunchSpec(**fields)


async def _launch(script: Scripted, **changes: Any) -> LaunchOutcome:
    provider = _provider(script)
    spec = await _spec(provider, **changes)
    await provider.admit("launch")
    return await provider.launch(spec)


def _changed(**fields: Any) -> dict[str, Any]:
    changed = copy.deepcopy(LOCATIONS)
    changed["data"]["locations"][0]["gpus"][0] |= fields
    return changed


async def test_an_offer_is_priced_by_its_parts() -> None:
    offers = await _provider(_script()).offers()
    assert [offer.id for offer in offers] == [f"tensordock-{LOCATION}-{GPU}-{count}" for count in (1, 2, 4)]
    one, _, four = offers
    assert one.price_nano_per_hour == 443_000_000  # 0.35 + 8 * 0.003 + 32 * 0.002 + 100 * 0.00005
    assert (one.gpu_type, one.gpu_count, one.vram_gb, one.region) == ("RTX 4090", 1, 24, "eu")
    assert (one.cpu_count, one.memory_gb, one.disk_gb, one.available) == (8, 32, 1000, 5)
    assert (one.vendor_host, one.location) == (LOCATION, "Oslo, Oslo, Norway")
    assert (four.cpu_count, four.memory_gb, four.available) == (30, 96, 1)  # as far as the location allows


@pytest.mark.parametrize(
    "fields",
    [
        {"price_per_hr": -0.35}, {"price_per_hr": 0}, {"price_per_hr": "cheap"}, {"price_per_hr": None},
        {"price_per_hr": 1e12}, {"max_count": "many"}, {"max_count": -1}, {"v0Name": "../../etc"}, {"v0Name": 7},
        {"resources": None}, {"resources": {"max_vcpus": -8, "max_ram_gb": 100, "max_storage_gb": 1000}},
        {"pricing": {}}, {"pricing": {"per_vcpu_hr": "NaN", "per_gb_ram_hr": 0, "per_gb_storage_hr": 0}},
        {"network_features": {"dedicated_ip_available": False}},
        {"resources": {"max_vcpus": 8, "max_ram_gb": 32, "max_storage_gb": 99}}, {"max_count": 0},
    ],
)  # fmt: skip
async def test_what_is_absurd_or_out_of_reach_is_no_offer(fields: dict[str, Any]) -> None:
    changed = _changed(**fields)
    changed["data"]["locations"] += ["junk", {"id": 5}, {"id": "x", "gpus": [None]}]
    assert await _provider(_script(locations=reply(changed))).offers() == ()


async def test_numbers_may_be_strings_and_unknown_gpus_keep_their_name() -> None:
    changed = _changed(price_per_hr="0.35", max_count="1", v0Name="future-card-33gb", displayName="Future Card")
    (offer,) = await _provider(_script(locations=reply(changed))).offers()
    assert (offer.gpu_type, offer.vram_gb, offer.price_nano_per_hour) == ("Future Card", 33, 443_000_000)


@pytest.mark.parametrize(
    "answer",
    [
        reply("<html>welcome</html>"), reply(""), reply('{"data": {"locations": [{'), reply({"data": []}),
        reply({"status": 400, "error": "try later"}), reply("[]"), reply({"error": "no"}, 403),
    ],
)  # fmt: skip
async def test_offers_that_cannot_be_read_are_not_no_offers(answer: httpx2.Response) -> None:
    with pytest.raises(ProviderError):
        await _provider(_script(locations=answer)).offers()


async def test_a_purchase_names_the_label_the_shape_and_the_keys_and_is_sent_once() -> None:
    script = _script(create=reply(CREATED, 201))
    outcome = await _launch(script, disk_gb=250, env={"A": "it's $1"}, on_start="echo hi > /tmp/x")
    assert isinstance(outcome, Created)
    assert outcome.machine_id == MACHINE
    assert outcome.price_nano_per_hour == 450_500_000
    assert outcome.created_at is not None
    assert outcome.created_at >= START
    (sent,) = script.asked("POST /api/v2/instances")
    assert sent.headers["authorization"] == "Bearer token-of-ours"
    attributes = json.loads(sent.content)["data"]["attributes"]
    assert attributes["name"] == LABEL
    assert attributes["location_id"] == LOCATION
    assert attributes["resources"] == {
        "vcpu_count": 8, "ram_gb": 32, "storage_gb": 250, "gpus": {GPU: {"count": 1}},
    }  # fmt: skip
    assert attributes["useDedicatedIp"] is True
    assert attributes["ssh_key"] == KEY
    assert "ssh_key_id" not in attributes


def test_first_boot_commands_do_what_they_say_in_a_real_shell(tmp_path: Path) -> None:
    spec = asyncio.run(
        _spec(_provider(_script()), env={"A": "it's $1\nand more"}, on_start=f'printf "%s" "$A" > {tmp_path}/started')
    )
    for command in td_launching.commands(spec):
        here = command.replace("/root/", f"{tmp_path}/root/").replace("/home/", f"{tmp_path}/home/")
        here = here.replace("/etc/profile.d/", f"{tmp_path}/").replace("chown -R user:user", "test -d")
        subprocess.run(["sh", "-ec", here], check=True, timeout=10)
    keys = 'command="true",restrict ssh-ed25519 AAAAPROBE\n' + KEY + "\n"
    for home in ("root", "home/user"):
        assert (tmp_path / home / ".ssh" / "authorized_keys").read_text() == keys
        assert (tmp_path / home / ".ssh" / "authorized_keys").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "started").read_text() == "it's $1\nand more"
    assert shlex.split(td_launching.commands(spec)[-1])[:2] == ["sh", "-c"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply({"status": 400, "error": "No available nodes found"}), Stockout),
        (reply({"status": 400, "error": "No available public IPs"}, 400), Stockout),
        (reply({"error": "No available nodes found"}), Stockout),
        (reply([{"code": "too_small", "message": "storage_gb must be at least 100", "path": []}], 400), Rejected),
        (reply([{"code": "invalid", "message": "bad image", "path": ["image"]}]), Rejected),
        (reply({"errors": [{"status": "422", "title": "Unprocessable", "detail": "bad"}]}, 422), Rejected),
        (reply({"status": 401, "error": "Invalid token"}), AuthFailed),
        (reply({"error": "Forbidden"}, 403), AuthFailed),
        (reply({"status": 400, "error": "Balance must be at least 1 USD"}), NoFunds),
        (reply({"error": "pay first"}, 402), NoFunds),
        (reply("slow down", 429), RateLimited),
        (reply("<html>502 Bad Gateway</html>", 502), Ambiguous),
        (reply({"error": "oops"}, 500), Ambiguous),
        (reply({"status": 500, "error": "oops"}), Ambiguous),
        (reply("<html>hello</html>"), Ambiguous),
        (reply("<html>blocked</html>", 403), Ambiguous),
        (reply(""), Ambiguous),
        (reply('{"data": {"id": "0b7a'), Ambiguous),
        (reply({"data": {"type": "virtualmachine"}}), Ambiguous),
        (reply({"data": {"id": "../../x"}}), Ambiguous),
        (httpx2.ReadError("cut"), Ambiguous),
        (httpx2.ReadTimeout("late"), Ambiguous),
        (httpx2.RemoteProtocolError("cut"), Ambiguous),
        (httpx2.ConnectError("refused"), RateLimited),
        (reply({"error": "timed out"}, 408), Ambiguous),
        (reply({"error": "exists"}, 409), Ambiguous),
    ],
)
async def test_every_answer_to_a_purchase_has_its_outcome_and_is_asked_for_once(answer: Any, kind: type) -> None:
    script = _script(create=answer)
    outcome = await _launch(script)
    assert isinstance(outcome, kind), outcome
    assert len(script.asked("POST /api/v2/instances")) == 1
    assert "<" not in repr(getattr(outcome, "reason", ""))


async def test_retry_after_is_passed_on() -> None:
    outcome = await _launch(_script(create=reply("later", 429, **{"retry-after": "7"})))
    assert outcome == RateLimited(7.0)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"max_price_nano_per_hour": 442_999_999}, TooDear),
        ({"max_price_nano_per_hour": 443_000_000, "disk_gb": 101}, TooDear),
        ({"disk_gb": 1001}, Rejected),
        ({"mode": LaunchMode.MODEL, "model": "m"}, Rejected),
        ({"image": "nvidia/cuda:12.4.1"}, Rejected),
        ({"template": "t"}, Rejected),
        ({"env": {"A B": "1"}}, Rejected),
    ],
)
async def test_nothing_is_bought_that_is_too_dear_or_cannot_be(changes: dict[str, Any], kind: type) -> None:
    script = _script(create=reply(CREATED))
    outcome = await _launch(script, **changes)
    assert isinstance(outcome, kind), outcome
    assert script.asked("POST /api/v2/instances") == []


async def test_the_price_is_that_of_now() -> None:
    script = _script(locations=[reply(LOCATIONS), reply(_changed(price_per_hr=0.5))], create=reply(CREATED))
    clock = FakeClock()
    provider = _provider(script, clock=clock)
    spec = await _spec(provider, max_price_nano_per_hour=443_000_000)
    clock.advance(60)
    assert await provider.launch(spec) == TooDear(593_000_000)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (reply({"data": {"locations": []}}), Stockout("the location no longer lists it")),
        (reply({"error": "who?"}, 401), AuthFailed("the provider refused the credential")),
        (reply("<html>"), RateLimited(10.0)),
        (httpx2.ConnectError("refused"), RateLimited(12.0)),  # the breaker's
    ],
)
async def test_without_a_price_nothing_is_bought(answer: Any, outcome: LaunchOutcome) -> None:
    script = _script(locations=[reply(LOCATIONS), answer], create=reply(CREATED))
    clock = FakeClock()
    provider = _provider(script, clock=clock)
    spec = await _spec(provider)
    clock.advance(60)
    assert await provider.launch(spec) == outcome
    assert script.asked("POST /api/v2/instances") == []


FLAT = {"data": [ROW]}
NESTED = {"data": {"instances": [{"type": "virtualmachine", "id": MACHINE, "attributes": {
    "name": LABEL, "status": "Running"}}]}}  # fmt: skip
LISTED = {"data": {"type": "list", "attributes": {"instances": [ROW]}}}


@pytest.mark.parametrize("shape", [FLAT, NESTED, LISTED])
async def test_the_list_is_read_in_each_of_its_shapes(shape: Any) -> None:
    listing = await _provider(_script(list=reply(shape))).list("gp-test-")
    assert listing.complete
    assert [(m.id, m.label, m.status) for m in listing.machines] == [(MACHINE, LABEL, MachineStatus.RUNNING)]


async def test_an_empty_list_is_complete_and_others_machines_are_not_listed() -> None:
    assert (await _provider(_script(list=reply({"data": {"instances": []}}))).list("gp-")).complete
    foreign = await _provider(_script(list=reply({"data": [ROW | {"name": "somebody's"}]}))).list("gp-test-")
    assert foreign.complete
    assert foreign.machines == ()


@pytest.mark.parametrize("row", ["junk", {"name": LABEL}, {"id": MACHINE}, {"id": {}, "name": LABEL}])
async def test_a_list_with_rows_that_make_no_sense_is_not_complete(row: Any) -> None:
    assert not (await _provider(_script(list=reply({"data": [ROW, row]}))).list("gp-")).complete


@pytest.mark.parametrize(
    "answer",
    [
        reply("<html>"), reply(""), reply({}), reply({"data": None}), reply({"data": {}}), reply('{"data": [{'),
        reply({"status": 400, "error": "no"}), reply({"error": "no"}, 401), reply("oops", 500),
    ],
)  # fmt: skip
async def test_a_list_that_cannot_be_read_is_no_list(answer: httpx2.Response) -> None:
    with pytest.raises(ProviderError):
        await _provider(_script(list=answer)).list("gp-")


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("creating", MachineStatus.PROVISIONING), ("starting", MachineStatus.STARTING),
        ("running", MachineStatus.RUNNING), ("RUNNING", MachineStatus.RUNNING), ("stopping", MachineStatus.STOPPING),
        ("Stopped", MachineStatus.STOPPED), ("StoppedDisassociated", MachineStatus.STOPPED),
        ("deleting", MachineStatus.STOPPING), ("deleted", MachineStatus.GONE), ("error", MachineStatus.FAILED),
        ("hibernating", MachineStatus.UNKNOWN), (None, MachineStatus.UNKNOWN), (7, MachineStatus.UNKNOWN),
    ],
)  # fmt: skip
async def test_status_words(word: Any, status: MachineStatus) -> None:
    machine = await _provider(_script(list=reply({"data": [ROW | {"status": word}]}))).describe(MACHINE)
    assert machine.status is status
    assert (machine.ssh is not None) is (status is MachineStatus.RUNNING)


@pytest.mark.parametrize(
    ("fields", "port"),
    [
        ({}, 22),
        ({"portForwards": None}, 22),
        ({"portForwards": [{"internal_port": 22, "external_port": 20456}]}, 20456),
        ({"portForwards": [{"internal_port": "22", "external_port": "20456"}, "junk"]}, 20456),
        ({"portForwards": [{"internal_port": 8080, "external_port": 20456}]}, 22),
    ],
)
async def test_where_ssh_answers(fields: dict[str, Any], port: int) -> None:
    machine = await _provider(_script(list=reply({"data": [ROW | fields]}))).describe(MACHINE)
    assert machine.ssh is not None
    assert (machine.ssh.host, machine.ssh.port, machine.ssh.user) == ("198.51.100.7", port, "user")
    assert machine.price_nano_per_hour == 442_100_000


async def test_an_address_that_the_list_lacks_is_asked_for_once_it_is_known() -> None:
    early = reply({k: v for k, v in ROW.items() if k != "ipAddress"})
    script = _script(list=reply(NESTED), get=[early, reply(ROW)])
    provider = _provider(script)
    assert (await provider.describe(MACHINE)).ssh is None
    for _ in range(3):
        described = await provider.describe(MACHINE)
        assert described.ssh is not None
        assert described.ssh.host == "198.51.100.7"
    assert len(script.asked(f"GET /api/v2/instances/{MACHINE}")) == 2


@pytest.mark.parametrize("shape", [ROW, {"data": ROW}, {"data": {"id": MACHINE, "attributes": ROW}}])
async def test_a_machine_that_the_list_does_not_show_is_asked_for(shape: Any) -> None:
    machine = await _provider(_script(list=reply({"data": []}), get=reply(shape))).describe(MACHINE)
    assert machine.status is MachineStatus.RUNNING


async def test_only_tensordock_itself_says_that_a_machine_is_gone() -> None:
    empty = reply({"data": []})
    for gone in (reply({"error": "Instance not found"}, 404), reply("", 404), reply({"status": 404, "error": "no"})):
        provider = _provider(_script(list=empty, get=gone))
        assert (await provider.describe(MACHINE)).status is MachineStatus.GONE
    for unclear in (
        reply("<html>404</html>", 404), reply("404 page not found", 404), reply({"error": "Unauthorized"}, 404),
        reply(ROW | {"id": "another"}), reply({}), reply({"error": "no"}, 403),
    ):  # fmt: skip
        with pytest.raises(ProviderError):
            await _provider(_script(list=empty, get=unclear)).describe(MACHINE)


async def test_a_destroy_ends_when_the_machine_cannot_be_found() -> None:
    gone, done = reply({"error": "not found"}, 404), reply({"data": {"type": "success"}})
    provider = _provider(_script(delete=[done, gone], get=[reply(ROW | {"status": "deleting"}), gone]))
    assert await provider.destroy(MACHINE, grace_s=60) is Destruction.PENDING
    assert await provider.destroy(MACHINE, grace_s=60) is Destruction.ABSENT
    assert (await provider.describe(MACHINE)).status is MachineStatus.GONE, "whatever lists go on showing"


async def test_a_destroy_that_was_accepted_is_not_taken_back_by_a_look_that_fails() -> None:
    gone, done, limited = reply({"error": "not found"}, 404), reply({"data": {"type": "success"}}), reply({}, 401)
    provider = _provider(_script(delete=[done, gone], get=limited))
    assert await provider.destroy(MACHINE, grace_s=0) is Destruction.PENDING
    with pytest.raises(ProviderError) as failed:
        await provider.destroy(MACHINE, grace_s=0)
    assert not failed.value.undone, "an earlier one may have ended it"


async def test_a_destroy_is_sent_once_and_says_when_it_is_refused() -> None:
    gone = reply({"error": "not found"}, 404)
    lost = _provider(_script(list=reply(FLAT), delete=[httpx2.ReadError("cut"), gone], get=gone))
    assert (await lost.describe(MACHINE)).ssh
    with pytest.raises(ProviderError) as failed:
        await lost.destroy(MACHINE, grace_s=0)
    assert not failed.value.undone
    assert await lost.destroy(MACHINE, grace_s=0) is Destruction.ABSENT
    for refusal in (
        reply({"error": "who?"}, 401),
        reply("<html>404</html>", 404),
        reply({"status": 400, "error": "x"}),
    ):
        with pytest.raises(ProviderError):
            await _provider(_script(delete=refusal)).destroy(MACHINE, grace_s=0)
    with pytest.raises(ProviderError):
        await _provider(_script()).destroy("../locations", grace_s=0)


async def test_a_refused_bearer_is_followed_by_the_older_way_where_there_is_one() -> None:
    def locations(request: httpx2.Request) -> httpx2.Response:
        told = request.url.params
        by_query = (told.get("api_key"), told.get("api_token")) == ("auth-id", "token-of-ours")
        return reply(LOCATIONS) if by_query and "authorization" not in request.headers else reply({"error": "no"}, 401)

    script = _script(locations=locations, list=reply(FLAT))
    clock = FakeClock()
    provider = _provider(script, "auth-id", clock)
    assert await provider.offers()
    clock.advance(60)
    assert await provider.offers()
    assert len(script.asked("GET /api/v2/locations")) == 3  # the second time at once
    assert (await provider.list("gp-")).machines
    assert "api_token" not in str(script.journal[-1].url)  # where the bearer does, nothing is in the address


async def test_a_purchase_in_the_older_way_is_sent_when_it_is_recorded_or_not_at_all() -> None:
    def create(request: httpx2.Request) -> httpx2.Response:
        return reply({"error": "no"}, 401) if "authorization" in request.headers else reply(CREATED)

    script, clock = _script(create=create), FakeClock()
    provider = _provider(script, "auth-id", clock)
    spec = await _spec(provider)
    outcomes = []
    for _ in range(2):
        await provider.admit("launch")
        outcomes.append(await provider.launch(spec))
        clock.advance(60)
    assert [type(outcome) for outcome in outcomes] == [RateLimited, Created], "its turn came only half a second later"
    assert ["authorization" in asked.headers for asked in script.asked("POST /api/v2/instances")] == [True, False]


async def test_no_credential_is_in_what_is_shown() -> None:
    settings = TensordockSettings("token-of-ours", "auth-id-of-ours")
    assert "of-ours" not in repr(settings)
    script = _script(create=reply({"status": 400, "error": "token-of-ours is wrong for ?api_token=token-of-ours"}))
    assert "token-of-ours" not in repr(await _launch(script))
