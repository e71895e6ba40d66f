"""The simulated io.net, without sockets and in time that the tests drive."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from controlplane.simulators.clock import ManualClock
from controlplane.simulators.faults import Faults, Misuse
from controlplane.simulators.ionet import IonetMarketplace
from controlplane.simulators.wire import Cut, Request
from tests.support.api_caller import ApiCaller

PREFIX = "/enterprise/v1/io-cloud"
HEADERS = {"x-api-key": "key"}
KEY = "ssh-ed25519 " + "A" * 68
HOUR_S = 3600.0
VM, CAAS = "/vmaas", "/caas"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def market(clock: ManualClock) -> IonetMarketplace:
    return IonetMarketplace(clock, offers=8, faults=Faults(boot_s=(10.0, 10.0)))


@pytest.fixture
def api(market: IonetMarketplace) -> ApiCaller:
    return ApiCaller(market, PREFIX, HEADERS)


async def hardware(api: ApiCaller, product: str = VM) -> dict[str, Any]:
    """The first row of a listing."""
    _, found = await api.call("GET", f"{product}/hardware")
    row: dict[str, Any] = found["data"][0]
    return row


async def vm_order(api: ApiCaller, **changes: Any) -> dict[str, Any]:
    """A VM as the marketplace wants it ordered."""
    row = await hardware(api)
    return {
        "resource_private_name": "cp-1", "hardware_id": row["deploy_id"], "duration_hours": 2,
        "gpus_per_vm": row["num_cards"], "ssh_keys": {"me": f"{KEY} me@home"},
    } | changes  # fmt: skip


async def container_order(api: ApiCaller, **changes: Any) -> dict[str, Any]:
    """A container deployment as the marketplace wants it ordered."""
    row = await hardware(api, CAAS)
    config = {
        "replica_count": 1, "traffic_port": 8000,
        "env_variables": {"CP_OP": "1"}, "secret_env_variables": {"S": "hidden"},
    }  # fmt: skip
    return {
        "resource_private_name": "cp-c", "hardware_id": row["hardware_id"], "duration_hours": 1,
        "gpus_per_container": 1, "container_config": config, "registry_config": {"image_url": "nginx"},
    } | changes  # fmt: skip


async def rented(api: ApiCaller, **changes: Any) -> str:
    status, answer = await api.call("POST", f"{VM}/deploy", await vm_order(api, **changes))
    assert (status, answer.get("status")) == (200, "success"), answer
    return f"{VM}/deployment/{answer['deployment_id']}"


async def contained(api: ApiCaller, **changes: Any) -> str:
    status, answer = await api.call("POST", f"{CAAS}/deploy", await container_order(api, **changes))
    assert (status, answer.get("status")) == (200, "success"), answer
    return f"{CAAS}/deployment/{answer['deployment_id']}"


async def data(api: ApiCaller, path: str, **query: object) -> Any:
    status, value = await api.call("GET", path, **query)
    assert status == 200, value
    return value["data"]


async def test_a_vm_from_request_to_ssh(api: ApiCaller, market: IonetMarketplace, clock: ManualClock) -> None:
    path = await rented(api, network_services={"web": {"port": 80, "protocol": "tcp", "whitelist": ["0.0.0.0/0"]}})
    (worker,) = (await data(api, f"{path}/vms"))["workers"]
    assert (worker["status"], worker["ssh_access"], worker["vm_events"]) == ("deployment requested", None, None)
    assert (await data(api, path))["started_at"] is None
    clock.advance(11)
    details = await data(api, path)
    assert details["status"] == "running"
    assert details["ssh_keys"] == {"me": f"{KEY} me@home"}
    (worker,) = (await data(api, f"{path}/vms"))["workers"]
    place = market.premises.address(details["id"], 1)
    assert place is not None
    assert worker["ssh_access"] == f"ssh ubuntu@{place.host} -p {place.port}"
    assert worker["network_services"]["web"]["public_ip"] == place.host
    (tenancy,) = market.tenancies()
    assert (tenancy.user, tenancy.keys, tenancy.listening) == ("ubuntu", (KEY,), True)


async def test_late_ssh(clock: ManualClock) -> None:
    faults = Faults(boot_s=(10.0, 10.0), ports_after_s=5.0, ssh_after_s=5.0, keys_after_s=5.0)
    market = IonetMarketplace(clock, faults=faults)
    api = ApiCaller(market, PREFIX, HEADERS)
    path = await rented(api)
    seen = []
    for _ in range(4):
        clock.advance(5 if seen else 10)
        (worker,) = (await data(api, f"{path}/vms"))["workers"]
        (tenancy,) = market.tenancies()
        seen.append((worker["ssh_access"] is not None, tenancy.listening, bool(tenancy.keys)))
    assert seen == [(False, False, False), (True, False, False), (True, True, False), (True, True, True)]


async def test_paid_in_advance_and_completed_when_the_time_is_over(
    api: ApiCaller, market: IonetMarketplace, clock: ManualClock
) -> None:
    credit_nano = market.balance_nano(clock.now())
    path = await rented(api)
    details = await data(api, path)
    row = await hardware(api)
    billed_nano = round(row["price"] * 1e9) * row["num_cards"] * 2
    assert round(details["amount_paid"] * 1e9) == billed_nano == credit_nano - market.balance_nano(clock.now())
    clock.advance(10 + HOUR_S + 90)
    details = await data(api, path)
    assert (details["compute_minutes_served"], details["compute_minutes_remaining"]) == (61, 59)
    clock.advance(HOUR_S)
    details = await data(api, path)
    assert (details["status"], details["compute_minutes_remaining"]) == ("completed", 0)
    _, bill = market.settled[details["id"]]
    assert (bill.running_s, bill.billed_nano) == (2 * HOUR_S, billed_nano)
    assert details["finished_at"] > details["started_at"] > details["created_at"]


async def test_an_extension_is_a_new_payment(api: ApiCaller, market: IonetMarketplace, clock: ManualClock) -> None:
    path = await rented(api, duration_hours=1)
    paid = (await data(api, path))["amount_paid"]
    _, extended = await api.call("POST", f"{path}/extend", {"duration_hours": 3})
    assert extended["data"]["amount_paid"] == pytest.approx(4 * paid)
    clock.advance(4 * HOUR_S)
    assert (await data(api, path))["status"] == "running"
    clock.advance(10)
    assert (await data(api, path))["status"] == "completed"
    status, answer = await api.call("POST", f"{path}/extend", {"duration_hours": 1})
    assert (status, answer) == (409, {"status": "failed", "error": "The deployment is completed"})


@pytest.mark.parametrize(("refund", "hours_paid"), [(False, 5), (True, 2)])
async def test_an_early_delete(
    api: ApiCaller, market: IonetMarketplace, clock: ManualClock, refund: bool, hours_paid: int
) -> None:
    market.configure({"early_refund": refund})
    path = await rented(api, duration_hours=5)
    hourly = market.alive()[0].hourly_nano
    clock.advance(10 + 2 * HOUR_S - 2)
    assert (await api.call("DELETE", path))[0] == 200
    assert (await data(api, path))["status"] == "termination requested"
    assert (await api.call("DELETE", path))[0] == 200
    clock.advance(2)
    assert (await data(api, path))["status"] == "destroyed"
    assert (await api.call("DELETE", path))[0] == 409
    ((_, bill),) = market.settled.values()
    assert bill.billed_nano == hours_paid * hourly


async def test_a_vm_deleted_in_its_first_hour_costs_that_hour(
    api: ApiCaller, market: IonetMarketplace, clock: ManualClock
) -> None:
    market.configure({"early_refund": True})
    path = await rented(api, duration_hours=5)
    hourly = market.alive()[0].hourly_nano
    await api.call("DELETE", path)
    clock.advance(2)
    assert (await data(api, path))["status"] == "destroyed"
    assert market.billed_nano(clock.now()) == hourly


async def test_the_list_tells_names_and_no_money_and_the_details_the_reverse(api: ApiCaller) -> None:
    path = await rented(api)
    (row,) = (await data(api, f"{VM}/deployments"))["deployments"]
    details = await data(api, path)
    assert row["name"] == "cp-1"
    assert "amount_paid" not in row
    assert "name" not in details


async def test_pages_and_status_filter(api: ApiCaller, market: IonetMarketplace, clock: ManualClock) -> None:
    offer_id = market.add_offer({"gpus": 1, "replicas": 30, "price_usd_per_hour": 0.5})
    number = int(offer_id.split("/")[1])
    for serial in range(12):
        await rented(api, hardware_id=number, gpus_per_vm=1, resource_private_name=f"cp-{serial}")
        clock.advance(1)
    first = await data(api, f"{VM}/deployments")
    second = await data(api, f"{VM}/deployments", page=2)
    names = [row["name"] for row in first["deployments"] + second["deployments"]]
    assert (first["total"], len(first["deployments"])) == (12, 10)
    assert names == [f"cp-{serial}" for serial in reversed(range(12))]
    assert (await data(api, f"{VM}/deployments", status="running", page_size=100))["total"] == 3
    assert (await data(api, f"{CAAS}/deployments"))["total"] == 0
    status, answer = await api.call("GET", f"{VM}/deployments", page_size=101)
    assert (status, answer["detail"][0]["loc"]) == (422, ["query", "page_size"])


async def test_eventual_consistency(api: ApiCaller, market: IonetMarketplace, clock: ManualClock) -> None:
    market.configure({"get_delay_s": 5, "listing_delay_s": 10})
    path = await rented(api)
    assert await api.call("GET", path) == (404, {"status": "failed", "error": "Deployment not found"})
    clock.advance(5)
    assert (await api.call("GET", path))[0] == 200
    assert (await data(api, f"{VM}/deployments"))["deployments"] == []
    clock.advance(5)
    assert len((await data(api, f"{VM}/deployments"))["deployments"]) == 1


async def test_an_ended_deployment_stays_listed_for_an_hour_and_readable_for_ever(
    api: ApiCaller, clock: ManualClock
) -> None:
    path = await rented(api)
    await api.call("DELETE", path)
    clock.advance(2 + HOUR_S)
    assert [row["status"] for row in (await data(api, f"{VM}/deployments"))["deployments"]] == ["destroyed"]
    clock.advance(1)
    assert (await data(api, f"{VM}/deployments"))["deployments"] == []
    assert (await data(api, path))["status"] == "destroyed"


async def test_what_ended_while_nobody_asked_ended_when_it_was_due(
    api: ApiCaller, market: IonetMarketplace, clock: ManualClock
) -> None:
    await rented(api, duration_hours=3)
    await rented(api, duration_hours=1)
    clock.advance(3 * HOUR_S + 20)
    assert [row["status"] for row in (await data(api, f"{VM}/deployments"))["deployments"]] == ["completed"]
    assert sorted(bill.running_s for _, bill in market.settled.values()) == [HOUR_S, 3 * HOUR_S]


@pytest.mark.parametrize(
    ("changes", "loc", "kind"),
    [
        ({"resource_name": "x"}, ["body", "resource_name"], "extra_forbidden"),
        ({"duration_hours": 0}, ["body", "duration_hours"], "greater_than_equal"),
        ({"gpus_per_vm": 8}, ["body", "gpus_per_vm"], "less_than_equal"),
        ({"location_ids": [1, 2]}, ["body", "location_ids"], "too_long"),
        ({"location_ids": [1], "node_pool_id": "x"}, ["body"], "value_error"),
        ({"ssh_keys": {"me": "secret"}}, ["body", "ssh_keys"], "value_error"),
        (
            {"network_services": {"web": {"port": 80, "protocol": "tcp", "whitelist": []}}},
            ["body", "network_services", "web", "whitelist"],
            "too_short",
        ),
    ],
)
async def test_a_bad_deploy_is_a_422(
    api: ApiCaller, market: IonetMarketplace, changes: dict[str, Any], loc: list[str], kind: str
) -> None:
    offer_id = market.add_offer({"gpus": 4, "price_usd_per_hour": 0.5})
    order = await vm_order(api, hardware_id=int(offer_id.split("/")[1]), gpus_per_vm=4) | changes
    status, answer = await api.call("POST", f"{VM}/deploy", order)
    assert status == 422
    assert [(problem["loc"], problem["type"]) for problem in answer["detail"]] == [(loc, kind)]
    assert market.alive() == []


async def test_stock_runs_out_place_by_place(api: ApiCaller, market: IonetMarketplace) -> None:
    offer_id = market.add_offer({"gpus": 1, "replicas": 1, "price_usd_per_hour": 0.5})
    number = int(offer_id.split("/")[1])
    order = await vm_order(api, hardware_id=number, gpus_per_vm=1, location_ids=[1])
    assert (await api.call("POST", f"{VM}/deploy", order))[0] == 200
    status, answer = await api.call("POST", f"{VM}/deploy", order)
    assert (status, answer["status"]) == (400, "failed")
    assert "available replicas" in answer["error"]
    found = await data(api, f"{VM}/available-vms", hardware_id=number, hardware_qty=1)
    assert found == {"locations": [{"id": 1, "iso2": "US", "name": "United States", "available_replicas": 0}]}


async def test_credits_run_out(api: ApiCaller, market: IonetMarketplace) -> None:
    market.set_balance(0.1)
    status, answer = await api.call("POST", f"{VM}/deploy", await vm_order(api))
    assert (status, answer["status"]) == (402, "failed")
    assert "Insufficient credits" in answer["error"]
    market.set_balance(1000)
    path = await rented(api)
    market.set_balance(0.1)
    assert (await api.call("POST", f"{path}/extend", {"duration_hours": 1}))[0] == 402


async def test_quotes_need_no_key_and_match_what_is_paid(api: ApiCaller, market: IonetMarketplace) -> None:
    anonymous = ApiCaller(market, PREFIX, {})
    row = await hardware(anonymous)
    query = {"hardware_id": row["deploy_id"], "duration_hours": 2, "gpus_per_vm": row["num_cards"]}
    status, answer = await anonymous.call("GET", f"{VM}/price", **query)
    assert (status, answer["detail"][0]["loc"]) == (422, ["query", "location_ids"])
    quote = await data(anonymous, f"{VM}/price", location_ids="[1,2,3,4,5,6,7]", currency="usdc", **query)
    assert quote["available_replica_count"]
    path = await rented(api)
    assert (await data(api, path))["amount_paid"] == quote["total_cost_usdc"]
    assert (await anonymous.call("GET", f"{VM}/price", **query, location_ids="nonsense"))[0] == 422
    assert (await anonymous.call("GET", f"{VM}/price", **(query | {"hardware_id": 1}), location_ids="[1]"))[0] == 404


async def test_three_shapes_of_errors(market: IonetMarketplace) -> None:
    anonymous = ApiCaller(market, PREFIX, {})
    assert await anonymous.call("GET", f"{VM}/deployments") == (401, {"detail": "Invalid API key"})
    known = ApiCaller(market, PREFIX, HEADERS)
    assert await known.call("GET", f"{VM}/deployment/none") == (
        404,
        {"status": "failed", "error": "Deployment not found"},
    )
    status, answer = await known.call("POST", f"{VM}/deploy", {})
    assert status == 422
    assert {"loc": ["body", "hardware_id"], "msg": "Field required", "type": "missing"} in answer["detail"]


@pytest.mark.parametrize("form", ["null", "loading"])
async def test_a_stuck_vm_is_never_served(
    api: ApiCaller, market: IonetMarketplace, clock: ManualClock, form: str
) -> None:
    market.configure({"stuck": 1.0, "stuck_form": form})
    path = await rented(api)
    clock.advance(1e6)
    details = await data(api, path)
    assert (details["status"], details["compute_minutes_served"]) == ("deployment requested", 0)
    assert details["started_at"] is None


async def test_a_deployment_that_fails_is_refunded(
    api: ApiCaller, market: IonetMarketplace, clock: ManualClock
) -> None:
    market.configure({"stuck": 1.0, "stuck_form": "created"})
    path = await rented(api)
    before = market.balance_nano(clock.now())
    clock.advance(10)
    assert (await data(api, path))["status"] == "failed"
    assert market.billed_nano(clock.now()) == 0
    assert market.balance_nano(clock.now()) > before


async def test_a_lost_host_shows_in_its_worker(api: ApiCaller, market: IonetMarketplace, clock: ManualClock) -> None:
    market.configure({"host_lost_form": "offline", "host_lost_for_s": [30, 30]})
    path = await rented(api)
    clock.advance(20)
    market.lose_host(market.alive()[0])
    (worker,) = (await data(api, f"{path}/vms"))["workers"]
    assert (worker["status"], (await data(api, path))["status"]) == ("offline", "running")
    assert not market.tenancies()[0].listening
    clock.advance(30)
    assert market.tenancies()[0].listening


async def test_refused_in_words_and_created_in_fact(api: ApiCaller, market: IonetMarketplace) -> None:
    market.configure({"queue": [{"endpoint": "create", "fault": "created_with_error"}]})
    assert (await api.call("POST", f"{VM}/deploy", await vm_order(api)))[0] == 500
    assert [machine.label for machine in market.alive()] == ["cp-1"]


async def test_stockout_and_rival(api: ApiCaller, market: IonetMarketplace, clock: ManualClock) -> None:
    faults = [{"endpoint": "create", "fault": "stockout"}, {"endpoint": "create", "fault": "rival", "nth": 2}]
    market.configure({"rival_s": 60, "queue": faults})
    order = await vm_order(api)
    assert [(await api.call("POST", f"{VM}/deploy", order))[0] for _ in range(3)] == [400, 400, 400]
    clock.advance(60)
    assert (await api.call("POST", f"{VM}/deploy", order))[0] == 200


async def test_prices_rise_after_a_search(api: ApiCaller, market: IonetMarketplace) -> None:
    market.configure({"price_rise_percent": 10, "queue": [{"endpoint": "hardware", "fault": "price_rise"}]})
    before, after = await hardware(api), await hardware(api)
    assert after["price"] == pytest.approx(before["price"] * 1.1)


async def test_a_lost_answer_leaves_one_machine(api: ApiCaller, market: IonetMarketplace) -> None:
    market.configure({"queue": [{"endpoint": "list", "fault": "cut_body"}]})
    await rented(api)
    assert isinstance(await market.handle(Request("GET", f"{PREFIX}{VM}/deployments", headers=HEADERS)), Cut)
    assert len(market.alive()) == 1


async def test_three_hundred_calls_a_minute(api: ApiCaller, market: IonetMarketplace, clock: ManualClock) -> None:
    market.configure({"rate_limits": True, "retry_after": True, "rate_limit_form": "json"})
    assert {(await api.call("GET", f"{VM}/deployments"))[0] for _ in range(300)} == {200}
    refused = await api.answer("GET", f"{VM}/hardware")
    assert (refused.status, refused.headers["retry-after"]) == (429, "60")
    clock.advance(60)
    assert (await api.call("GET", f"{VM}/hardware"))[0] == 200


async def test_clock_skew_moves_every_time_that_is_told(
    api: ApiCaller, market: IonetMarketplace, clock: ManualClock
) -> None:
    path = await rented(api)
    honest = await data(api, path)
    market.configure({"clock_skew_s": 3600})
    skewed = await data(api, path)
    moved = datetime.fromisoformat(skewed["created_at"]) - datetime.fromisoformat(honest["created_at"])
    assert moved == timedelta(hours=1)


async def test_a_container_from_request_to_redeployment(
    api: ApiCaller, market: IonetMarketplace, clock: ManualClock
) -> None:
    path = await contained(api)
    seen = []
    for _ in range(3):
        (container,) = (await data(api, f"{path}/containers"))["workers"]
        seen.append((container["status"], container["public_url"] is not None))
        clock.advance(5.5)
    assert seen == [("deployment requested", False), ("deploying", False), ("running", True)]
    details = await data(api, path)
    assert details["container_config"]["secret_env_keys"] == ["S"]
    assert "hidden" not in str(details)
    patch = {"image_url": "nginx:2", "env_variables": {"A": "b"}, "secret_env_variables": {"S": None, "T": "x"}}
    assert (await api.call("PATCH", path, patch))[0] == 200
    config = (await data(api, path))["container_config"]
    assert (config["image_url"], config["env_variables"], config["secret_env_keys"]) == ("nginx:2", {"A": "b"}, ["T"])
    assert (await data(api, path))["status"] == "deploying"
    assert (await api.call("PATCH", path, patch))[0] == 409
    clock.advance(10)
    assert (await data(api, path))["status"] == "running"


async def test_a_container_log_is_a_stream_that_says_when_it_ends(api: ApiCaller, clock: ManualClock) -> None:
    path = await contained(api)
    clock.advance(11)
    (container,) = (await data(api, f"{path}/containers"))["workers"]
    answer = await api.answer("GET", f"{path}/log/{container['container_id']}", stream="stdout")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.body.decode().split("\n\n")
    assert events[0].startswith("data: ")
    assert events[-2].startswith("event: complete\n")
    assert len((await data(api, f"{path}/containers-jobs/{container['container_id']}"))["workers"]) == 1
    assert (await api.call("GET", f"{path}/log/none"))[0] == 404


async def test_a_container_may_bring_its_id_once(api: ApiCaller) -> None:
    order = await container_order(api, resource_id="11111111-1111-4111-8111-111111111111")
    _, answer = await api.call("POST", f"{CAAS}/deploy", order)
    assert answer["deployment_id"] == order["resource_id"]
    assert (await api.call("POST", f"{CAAS}/deploy", order))[0] == 409


async def test_products_do_not_mix(api: ApiCaller) -> None:
    path = await rented(api)
    assert (await api.call("GET", path.replace(VM, CAAS)))[0] == 404
    assert await data(api, f"{CAAS}/node-pools") == []


async def test_offers_can_be_changed_and_orphans_made(api: ApiCaller, market: IonetMarketplace) -> None:
    offer_id = market.offers_json()[0]["id"]
    market.reprice_offer(offer_id, 8.0)
    market.withdraw_offer(offer_id)
    row = market.offers_json()[0]
    assert (row["id"], row["available"]) == (offer_id, 0)
    assert row["price_usd_per_hour"] == pytest.approx(8.0, abs=1e-8)
    orphan_id = market.add_orphan("cp-lost")
    (listed,) = (await data(api, f"{VM}/deployments"))["deployments"]
    assert (listed["id"], listed["name"]) == (orphan_id, "cp-lost")
    with pytest.raises(Misuse, match="has none"):
        market.preempt(market.machines[orphan_id])
    with pytest.raises(Misuse, match=r"add\.product"):
        market.add_offer({"product": "tea", "price_usd_per_hour": 1})
    with pytest.raises(Misuse, match="id of an offer"):
        market.reprice_offer("vmaas/0/0", 1.0)


async def test_the_same_seed_sells_the_same(clock: ManualClock, market: IonetMarketplace) -> None:
    again = IonetMarketplace(clock, offers=8)
    assert again.offers_json() == market.offers_json()
    market.withdraw_offer(market.offers_json()[0]["id"])
    market.reset()
    assert again.offers_json() == market.offers_json()
