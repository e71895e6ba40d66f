"""The simulated TensorDock, without sockets and in time that the tests drive."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.simulators.clock import ManualClock
from controlplane.simulators.faults import Faults, Misuse
from controlplane.simulators.tensordock import TensordockMarketplace
from controlplane.simulators.wire import Cut, Request
from tests.support.api_caller import ApiCaller

KEY = "ssh-ed25519 " + "A" * 68
BEARER = {"authorization": "Bearer token"}
HOUR_S = 3600.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def market(clock: ManualClock) -> TensordockMarketplace:
    return TensordockMarketplace(clock, offers=6, faults=Faults(boot_s=(10.0, 10.0)))


@pytest.fixture
def api(market: TensordockMarketplace) -> ApiCaller:
    return ApiCaller(market, "/api/v2", BEARER)


def body(location_id: str, gpu: str, /, count: int = 1, **changes: Any) -> dict[str, Any]:
    """A create as the marketplace wants it; a change to None leaves a member out."""
    attributes = {
        "name": "cp-1", "type": "virtualmachine", "image": "ubuntu2204", "location_id": location_id,
        "resources": {"vcpu_count": 4, "ram_gb": 8, "storage_gb": 100, "gpus": {gpu: {"count": count}}},
        "useDedicatedIp": True, "ssh_key": KEY,
        "cloud_init": {"runcmd": [f"echo '{KEY} me' >> /home/user/.ssh/authorized_keys"]},
    } | changes  # fmt: skip
    kept = {name: value for name, value in attributes.items() if value is not None}
    return {"data": {"type": "virtualmachine", "attributes": kept}}


async def first_offer(api: ApiCaller) -> tuple[str, dict[str, Any]]:
    """A location's id and the first GPU row in it."""
    _, found = await api.call("GET", "/locations")
    location = found["data"]["locations"][0]
    return location["id"], location["gpus"][0]


async def rented(api: ApiCaller, **changes: Any) -> str:
    location_id, gpu = await first_offer(api)
    status, answer = await api.call("POST", "/instances", body(location_id, gpu["v0Name"], **changes))
    assert status == 200, answer
    return str(answer["data"]["id"])


async def test_a_machine_is_said_to_run_at_once_and_has_an_address_only_later(
    api: ApiCaller, market: TensordockMarketplace, clock: ManualClock
) -> None:
    location_id, gpu = await first_offer(api)
    _, answer = await api.call("POST", "/instances", body(location_id, gpu["v0Name"]))
    assert answer["data"]["status"] == "running"
    path = f"/instances/{answer['data']['id']}"
    seen = []
    for _ in range(3):
        _, row = await api.call("GET", path)
        seen.append((row["status"], "ipAddress" in row))
        clock.advance(5)
    assert seen == [("creating", False), ("starting", False), ("running", True)]
    place = market.premises.address(answer["data"]["id"], 1)
    _, row = await api.call("GET", path)
    assert place is not None
    assert (row["ipAddress"], row["portForwards"][0]["external_port"]) == (place.host, place.port)


async def test_keys_come_by_cloud_init_alone_and_for_the_user_alone(clock: ManualClock) -> None:
    market = TensordockMarketplace(clock, faults=Faults(boot_s=(10.0, 10.0), ssh_after_s=5.0, keys_after_s=75.0))
    api = ApiCaller(market, "/api/v2", BEARER)
    with_keys = await rented(api)
    without = await rented(api, cloud_init={"runcmd": [f"echo '{KEY}' >> /root/.ssh/authorized_keys"]})

    def tenancy(machine_id: str) -> tuple[bool, tuple[str, ...]]:
        found = market.tenancy(market.machines[machine_id], clock.now())
        assert found.user == "user"
        return found.listening, found.keys

    assert tenancy(with_keys) == (False, ())
    clock.advance(15)
    assert tenancy(with_keys) == (True, ())
    clock.advance(75)
    assert tenancy(with_keys) == (True, (KEY,))
    assert tenancy(without) == (True, ())


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        ({"name": None}, "invalid_type", ["data", "attributes", "name"]),
        ({"ssh_key_id": "x"}, "custom", ["data", "attributes"]),
        ({"useDedicatedIp": False}, "custom", ["data", "attributes"]),
        ({"location_id": None}, "custom", ["data", "attributes"]),
        (
            {"resources": {"vcpu_count": 4, "ram_gb": 8, "storage_gb": 50, "gpus": {"x": {"count": 1}}}},
            "too_small",
            ["data", "attributes", "resources", "storage_gb"],
        ),
    ],
)
async def test_a_bad_create_is_answered_with_an_array(
    api: ApiCaller, market: TensordockMarketplace, changes: dict[str, Any], code: str, path: list[str]
) -> None:
    location_id, gpu = await first_offer(api)
    status, found = await api.call("POST", "/instances", body(location_id, gpu["v0Name"], **changes))
    assert status == 400
    assert [(issue["code"], issue["path"]) for issue in found] == [(code, path)]
    assert market.alive() == []


async def test_no_room_is_a_failure_inside_a_200(api: ApiCaller) -> None:
    location_id, gpu = await first_offer(api)
    answer = await api.call("POST", "/instances", body(location_id, gpu["v0Name"], count=64))
    assert answer == (200, {"status": 400, "error": "No available nodes found"})


async def test_dedicated_addresses_run_out(api: ApiCaller, market: TensordockMarketplace) -> None:
    location_id, gpu = await first_offer(api)
    for node in market.inventory.nodes:
        node.public_ips = 0
    answer = await api.call("POST", "/instances", body(location_id, gpu["v0Name"]))
    assert answer == (200, {"status": 400, "error": "No available public IPs"})


async def test_a_withdrawn_offer_is_listed_while_the_inventory_is_stale(
    api: ApiCaller, market: TensordockMarketplace, clock: ManualClock
) -> None:
    market.configure({"stale_inventory_s": 60})
    location_id, gpu = await first_offer(api)
    market.withdraw_offer(f"{location_id}/{gpu['v0Name']}")
    assert await first_offer(api) == (location_id, gpu)
    _, answer = await api.call("POST", "/instances", body(location_id, gpu["v0Name"]))
    assert answer["error"] == "No available nodes found"
    clock.advance(60)
    assert await first_offer(api) != (location_id, gpu)


async def test_a_rental_takes_stock_and_its_end_gives_it_back(api: ApiCaller, market: TensordockMarketplace) -> None:
    before = market.offers_json()
    machine_id = await rented(api)
    assert sum(row["available"] for row in market.offers_json()) == sum(row["available"] for row in before) - 1
    assert (await api.call("DELETE", f"/instances/{machine_id}"))[0] == 200
    assert market.offers_json() == before
    assert (await api.call("DELETE", f"/instances/{machine_id}"))[0] == 404


async def test_full_price_until_stopped_then_storage_alone_then_nothing(
    api: ApiCaller, market: TensordockMarketplace, clock: ManualClock
) -> None:
    machine_id = await rented(api)
    machine = market.machines[machine_id]
    clock.advance(HOUR_S)
    _, row = await api.call("GET", f"/instances/{machine_id}")
    assert market.bill(machine, clock.now()).billed_nano == machine.full_nano == round(row["rateHourly"] * 1e9)
    await api.call("POST", f"/instances/{machine_id}/stop")
    clock.advance(HOUR_S)
    before_nano = market.bill(machine, clock.now()).billed_nano
    assert before_nano == machine.full_nano + machine.storage_nano
    old_storage_nano = machine.storage_nano
    assert (await api.call("PUT", f"/instances/{machine_id}/modify", {"disk_gb": 200}))[0] == 200
    clock.advance(HOUR_S)
    assert market.bill(machine, clock.now()).billed_nano == before_nano + 2 * old_storage_nano
    await api.call("DELETE", f"/instances/{machine_id}")
    final = market.settled[machine_id][1]
    clock.advance(HOUR_S)
    assert final == market.bill(machine, clock.now())
    assert final.running_s == HOUR_S


async def test_stop_and_start_may_change_the_address(
    api: ApiCaller, market: TensordockMarketplace, clock: ManualClock
) -> None:
    market.configure({"address_changes": True, "stop_s": 5})
    machine_id = await rented(api)
    clock.advance(20)
    _, before = await api.call("GET", f"/instances/{machine_id}")
    assert (await api.call("POST", f"/instances/{machine_id}/start"))[0] == 409
    _, answer = await api.call("POST", f"/instances/{machine_id}/stop")
    assert answer["data"]["attributes"]["status"] == "stopping"
    clock.advance(5)
    _, stopped = await api.call("GET", f"/instances/{machine_id}")
    assert stopped["status"] == "Stopped"
    assert "ipAddress" not in stopped
    await api.call("POST", f"/instances/{machine_id}/start")
    clock.advance(10)
    _, after = await api.call("GET", f"/instances/{machine_id}")
    assert after["status"] == "running"
    assert after["portForwards"] != before["portForwards"]


async def test_a_refused_start_leaves_the_machine_without_its_gpu(
    api: ApiCaller, market: TensordockMarketplace
) -> None:
    machine_id = await rented(api)
    await api.call("POST", f"/instances/{machine_id}/stop")
    market.configure({"queue": [{"endpoint": "start", "fault": "start_refused"}]})
    assert (await api.call("POST", f"/instances/{machine_id}/start"))[0] == 200
    assert (await api.call("GET", f"/instances/{machine_id}"))[1]["status"] == "StoppedDisassociated"


@pytest.mark.parametrize(("form", "word"), [("null", "creating"), ("loading", "starting"), ("created", "running")])
async def test_a_stuck_machine_never_gets_an_address(
    api: ApiCaller, market: TensordockMarketplace, clock: ManualClock, form: str, word: str
) -> None:
    market.configure({"stuck": 1.0, "stuck_form": form})
    machine_id = await rented(api)
    clock.advance(1e6)
    _, row = await api.call("GET", f"/instances/{machine_id}")
    assert (row["status"], "ipAddress" in row) == (word, False)
    assert market.bill(market.machines[machine_id], clock.now()).running_s == 1e6


async def test_a_lost_host_comes_back(api: ApiCaller, market: TensordockMarketplace, clock: ManualClock) -> None:
    market.configure({"host_lost_form": "offline", "host_lost_for_s": [30, 30]})
    machine_id = await rented(api)
    clock.advance(20)
    market.lose_host(market.machines[machine_id])
    assert (await api.call("GET", f"/instances/{machine_id}"))[1]["status"] == "error"
    assert not market.tenancies()[0].listening
    clock.advance(30)
    assert (await api.call("GET", f"/instances/{machine_id}"))[1]["status"] == "running"
    assert market.tenancies()[0].listening


async def test_three_shapes_of_the_list_tell_the_same_machines(api: ApiCaller, market: TensordockMarketplace) -> None:
    machine_id = await rented(api)
    names = []
    for form in ("flat", "wrapped", "nested"):
        market.configure({"list_form": form})
        _, value = await api.call("GET", "/instances")
        data = value["data"]
        rows = data if form == "flat" else data["instances"] if form == "wrapped" else data["attributes"]["instances"]
        names += [(row["id"], row.get("attributes", row)["name"]) for row in rows]
    assert names == [(machine_id, "cp-1")] * 3


async def test_new_and_ended_machines_are_late_in_the_list(
    api: ApiCaller, market: TensordockMarketplace, clock: ManualClock
) -> None:
    market.configure({"listing_delay_s": 10, "get_delay_s": 5, "ended_listed_s": 10})
    machine_id = await rented(api)

    async def listed() -> list[str]:
        _, value = await api.call("GET", "/instances")
        return [row["status"] for row in value["data"]]

    assert (await api.call("GET", f"/instances/{machine_id}"))[0] == 404
    assert await listed() == []
    clock.advance(10)
    assert (await api.call("GET", f"/instances/{machine_id}"))[0] == 200
    assert await listed() == ["running"]
    await api.call("DELETE", f"/instances/{machine_id}")
    assert await listed() == ["deleting"]
    clock.advance(10)
    assert await listed() == []


async def test_refused_in_words_and_created_in_fact(api: ApiCaller, market: TensordockMarketplace) -> None:
    location_id, gpu = await first_offer(api)
    market.configure({"queue": [{"endpoint": "create", "fault": "created_with_error"}]})
    answer = await api.call("POST", "/instances", body(location_id, gpu["v0Name"]))
    assert answer == (200, {"status": 500, "error": "Failed to start virtual machine"})
    assert [machine.label for machine in market.alive()] == ["cp-1"]


async def test_a_rival_takes_the_stock_for_a_while(
    api: ApiCaller, market: TensordockMarketplace, clock: ManualClock
) -> None:
    location_id, gpu = await first_offer(api)
    market.configure({"rival_s": 60, "queue": [{"endpoint": "create", "fault": "rival"}]})
    order = body(location_id, gpu["v0Name"])
    assert (await api.call("POST", "/instances", order))[1]["error"] == "No available nodes found"
    assert (await api.call("POST", "/instances", order))[1]["error"] == "No available nodes found"
    clock.advance(60)
    assert "data" in (await api.call("POST", "/instances", order))[1]


async def test_prices_rise_after_a_search(api: ApiCaller, market: TensordockMarketplace) -> None:
    market.configure({"price_rise_percent": 50, "queue": [{"endpoint": "locations", "fault": "price_rise"}]})
    _, before = await first_offer(api)
    _, after = await first_offer(api)
    assert after["price_per_hr"] == pytest.approx(before["price_per_hr"] * 1.5)


async def test_a_create_that_hangs_has_made_its_machine_at_arrival(
    api: ApiCaller, market: TensordockMarketplace, clock: ManualClock
) -> None:
    location_id, gpu = await first_offer(api)
    market.configure({"hang_s": 70, "queue": [{"endpoint": "create", "fault": "hang"}]})
    sent_at = clock.now()
    _, answer = await api.call("POST", "/instances", body(location_id, gpu["v0Name"]))
    assert clock.now() == sent_at + 70
    assert market.machines[answer["data"]["id"]].created_at == sent_at


async def test_a_lost_answer_leaves_one_machine(market: TensordockMarketplace, api: ApiCaller) -> None:
    market.configure({"queue": [{"endpoint": "list", "fault": "lost_response"}]})
    await rented(api)
    assert isinstance(await market.handle(Request("GET", "/api/v2/instances", headers=BEARER)), Cut)
    assert len(market.alive()) == 1


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({}, {}, 401),
        (BEARER, {}, 401),
        ({"authorization": "Bearer good"}, {}, 200),
        ({}, {"api_key": "id", "api_token": "good"}, 200),
        ({}, {"api_token": "good"}, 401),
    ],
)
async def test_both_ways_to_bring_a_key(
    clock: ManualClock, headers: dict[str, str], query: dict[str, str], status: int
) -> None:
    api = ApiCaller(TensordockMarketplace(clock, keys=["good"]), "/api/v2", headers)
    assert (await api.call("GET", "/locations", **query))[0] == status


async def test_searches_may_want_the_key_in_the_query(api: ApiCaller, market: TensordockMarketplace) -> None:
    market.configure({"query_key_only": True})
    assert (await api.call("GET", "/locations"))[0] == 401
    assert (await api.call("GET", "/locations", api_key="id", api_token="token"))[0] == 200
    assert (await api.call("GET", "/instances"))[0] == 200


async def test_a_hundred_calls_a_minute(api: ApiCaller, market: TensordockMarketplace, clock: ManualClock) -> None:
    market.configure({"rate_limits": True, "retry_after": True, "rate_limit_form": "json"})
    statuses = [(await api.call("GET", path))[0] for path in ("/instances", "/locations") * 50]
    assert set(statuses) == {200}
    refused = await api.answer("GET", "/instances")
    assert (refused.status, refused.headers["retry-after"]) == (429, "60")
    clock.advance(60)
    assert (await api.call("GET", "/instances"))[0] == 200


async def test_without_balance_nothing_is_rented_and_what_runs_is_stopped_then_deleted(
    api: ApiCaller, market: TensordockMarketplace, clock: ManualClock
) -> None:
    machine_id = await rented(api)
    clock.advance(HOUR_S)
    market.set_balance(0.5)
    location_id, gpu = await first_offer(api)
    _, refused = await api.call("POST", "/instances", body(location_id, gpu["v0Name"]))
    assert "Insufficient balance" in refused["error"]
    clock.advance(10 * HOUR_S)
    assert (await api.call("GET", f"/instances/{machine_id}"))[1]["status"] == "Stopped"
    clock.advance(4 * 86_400)
    assert (await api.call("GET", f"/instances/{machine_id}"))[0] == 404


async def test_a_machine_on_a_host_node_of_choice_with_ports_of_choice(
    api: ApiCaller, market: TensordockMarketplace
) -> None:
    _, found = await api.call("GET", "/hostnodes")
    node = found["data"]["hostnodes"][0]
    port = node["available_resources"]["available_ports"][0]
    order = {
        "location_id": None, "hostnode_id": node["id"], "useDedicatedIp": False,
        "port_forwards": [{"internal_port": 22, "external_port": port}],
    }  # fmt: skip
    gpu = node["available_resources"]["gpus"][0]["v0Name"]
    _, answer = await api.call("POST", "/instances", body("", gpu, **order))
    _, row = await api.call("GET", f"/instances/{answer['data']['id']}")
    assert row["portForwards"] == [{"internal_port": 22, "external_port": port}]
    _, after = await api.call("GET", f"/hostnodes/{node['id']}")
    assert port not in after["data"]["available_resources"]["available_ports"]
    assert (await api.call("GET", "/hostnodes/none"))[0] == 404


async def test_secrets_are_kept_and_named_by_a_create(api: ApiCaller) -> None:
    secret = {"data": {"attributes": {"name": "mine", "value": KEY, "secret_type": "SSHKEY"}}}
    status, kept = await api.call("POST", "/secrets", secret)
    assert status == 201
    secret_id = kept["data"]["id"]
    assert KEY not in (await api.answer("GET", "/secrets")).body.decode()
    await rented(api, ssh_key=None, ssh_key_id=secret_id)
    assert (await api.call("DELETE", f"/secrets/{secret_id}"))[0] == 200
    location_id, gpu = await first_offer(api)
    order = body(location_id, gpu["v0Name"], ssh_key=None, ssh_key_id=secret_id)
    assert (await api.call("POST", "/instances", order))[0] == 404


async def test_offers_can_be_added_and_repriced_and_orphans_made(api: ApiCaller, market: TensordockMarketplace) -> None:
    offer_id = market.add_offer({"gpu": "l40-pcie-48gb", "gpus": 2, "price_usd_per_hour": 0.9})
    market.reprice_offer(offer_id, 0.8)
    assert (offer_id, 0.8) in [(row["id"], row["price_usd_per_hour"]) for row in market.offers_json()]
    orphan_id = market.add_orphan("cp-lost")
    assert (await api.call("GET", f"/instances/{orphan_id}"))[1]["name"] == "cp-lost"
    with pytest.raises(Misuse, match="has none"):
        market.preempt(market.machines[orphan_id])
    with pytest.raises(Misuse, match=r"add\.gpu"):
        market.add_offer({"gpu": "abacus", "price_usd_per_hour": 1})
    with pytest.raises(Misuse, match="id of an offer"):
        market.withdraw_offer("nowhere/nothing")


@pytest.mark.parametrize("offers", [0, 200])
async def test_an_empty_and_a_full_market_take_another_offer(clock: ManualClock, offers: int) -> None:
    market = TensordockMarketplace(clock, offers=offers)
    offer_id = market.add_offer({"gpu": "l40-pcie-48gb", "gpus": 2, "price_usd_per_hour": 0.9})
    api = ApiCaller(market, "/api/v2", BEARER)
    location_id, _, gpu = offer_id.partition("/")
    assert "data" in (await api.call("POST", "/instances", body(location_id, gpu, count=2)))[1]
    _, found = await api.call("GET", "/locations")
    prices = {
        (place["id"], row["v0Name"]): row["price_per_hr"]
        for place in found["data"]["locations"]
        for row in place["gpus"]
    }
    for offer in market.offers_json():
        location_id, _, gpu = offer["id"].partition("/")
        assert prices.get((location_id, gpu), offer["price_usd_per_hour"]) == offer["price_usd_per_hour"]


async def test_the_same_seed_sells_the_same(clock: ManualClock, market: TensordockMarketplace) -> None:
    again = TensordockMarketplace(clock, offers=6)
    assert again.offers_json() == market.offers_json()
    market.withdraw_offer(market.offers_json()[0]["id"])
    market.reset()
    assert again.offers_json() == market.offers_json()
