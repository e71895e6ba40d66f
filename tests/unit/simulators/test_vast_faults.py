"""Every way in which the simulated Vast.ai can misbehave, one by one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from controlplane.simulators.wire import Cut, CutPoint
from tests.unit.simulators.driver import KEY, OTHER_KEY
from tests.unit.simulators.vast import IMAGE, Vast


def aim(vast: Vast, fault: str, endpoint: str = "create", nth: int = 1) -> None:
    """Let a fault befall one call to come."""
    vast.market.configure({"queue": [{"endpoint": endpoint, "fault": fault, "nth": nth}]})


@pytest.mark.parametrize(("form", "status"), [("404", 404), ("410", 410), ("400", 400)])
async def test_stockout_of_a_listed_offer(vast: Vast, form: str, status: int) -> None:
    vast.market.configure({"stockout": 1, "stockout_form": form})
    ask = await vast.ask()
    refused = await vast.json("PUT", f"/api/v0/asks/{ask['id']}/", {"image": IMAGE}, status=status)
    assert "no_such_ask" in json.dumps(refused)
    assert not vast.market.machines


async def test_a_rival_rents_the_offer_which_stays_listed_for_a_while(vast: Vast) -> None:
    vast.market.configure({"rival_s": 100, "stale_inventory_s": 30})
    aim(vast, "rival")
    ask = await vast.ask()
    await vast.json("PUT", f"/api/v0/asks/{ask['id']}/", {"image": IMAGE}, status=410)
    assert (await vast.ask())["id"] == ask["id"]
    vast.clock.advance(31)
    assert (await vast.ask())["id"] != ask["id"]
    vast.clock.advance(70)
    assert (await vast.ask())["id"] == ask["id"]


@pytest.mark.parametrize(("fault", "point"), [("lost_response", CutPoint.BEFORE), ("cut_body", CutPoint.MID_BODY)])
async def test_a_lost_answer_leaves_an_instance(vast: Vast, fault: str, point: CutPoint) -> None:
    ask = await vast.ask()
    aim(vast, fault)
    outcome = await vast.outcome("PUT", f"/api/v0/asks/{ask['id']}/", {"image": IMAGE, "label": "cp-lost"})
    assert isinstance(outcome, Cut)
    assert outcome.point is point
    listed = await vast.list(select_filters={"label": {"eq": "cp-lost"}})
    assert [row["id"] for row in listed["instances"]] == [outcome.response.json()["new_contract"]]
    (entry,) = vast.market.journal.entries("create")
    assert entry.outcome == f"cut {point}"


async def test_a_gateway_answers_in_place_of_the_market(vast: Vast) -> None:
    ask = await vast.ask()
    aim(vast, "gateway_error")
    answer = await vast.call("PUT", f"/api/v0/asks/{ask['id']}/", {"image": IMAGE})
    assert answer.status in (502, 504)
    assert answer.body.startswith(b"<html>")
    assert len(vast.market.alive()) == 1


async def test_a_hanging_create_has_made_its_instance_at_once_and_goes_on_without_its_client(vast: Vast) -> None:
    ask, released = await vast.ask(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        await released.wait()
        vast.clock.advance(seconds)

    vast.clock.sleep = sleep  # type: ignore[method-assign]
    aim(vast, "hang")
    client = asyncio.create_task(vast.outcome("PUT", f"/api/v0/asks/{ask['id']}/", {"image": IMAGE}))
    await asyncio.sleep(0.01)
    assert len(vast.market.alive()) == 1
    client.cancel()
    released.set()
    await asyncio.gather(client, return_exceptions=True)
    await asyncio.sleep(0.01)
    assert vast.market.journal.entries("create")[0].outcome == 200
    await vast.market.close()


async def test_a_late_create_takes_effect_after_its_time(vast: Vast) -> None:
    ask = await vast.ask()
    vast.market.configure({"late_create_s": 40})
    aim(vast, "late_create")
    begun = vast.clock.now()
    instance = await vast.create(ask["id"])
    assert vast.contract(instance).created_at == begun + 40


async def test_everything_hangs(vast: Vast) -> None:
    vast.market.configure({"hang_all": True, "hang_s": 300})
    begun = vast.clock.now()
    await vast.search()
    assert vast.clock.now() == begun + 300


async def test_latency_is_set_by_endpoint(vast: Vast) -> None:
    vast.market.configure({"latency_s": {"search": [2, 2], "*": 1}})
    begun = vast.clock.now()
    await vast.search()
    assert vast.clock.now() == begun + 2
    await vast.list()
    assert vast.clock.now() == begun + 3


async def test_created_although_refused(vast: Vast) -> None:
    ask = await vast.ask()
    aim(vast, "created_with_error")
    refused = await vast.json("PUT", f"/api/v0/asks/{ask['id']}/", {"image": IMAGE})
    assert refused["success"] is False
    assert (await vast.show(refused["new_contract"]))["intended_status"] == "stopped"


async def test_lists_lag_behind_creation_and_destruction(vast: Vast) -> None:
    vast.market.configure({"listing_delay_s": 10, "ended_listed_s": 20, "get_delay_s": 4})
    instance = await vast.create()
    assert await vast.show(instance) is None
    vast.clock.advance(5)
    assert (await vast.list())["instances"] == []
    assert await vast.show(instance) is not None
    vast.clock.advance(5)
    assert [row["actual_status"] for row in (await vast.list())["instances"]] == ["running"]
    await vast.destroy(instance)
    vast.clock.advance(19)
    assert [row["actual_status"] for row in (await vast.list())["instances"]] == ["running"]
    assert await vast.show(instance) is None
    vast.clock.advance(1)
    assert (await vast.list())["instances"] == []


@pytest.mark.parametrize(("fault", "rows"), [("missing_row", 2), ("repeated_row", 4)])
async def test_a_page_lacks_or_repeats_a_row(vast: Vast, fault: str, rows: int) -> None:
    made = {await vast.create() for _ in range(3)}
    aim(vast, fault, "list")
    listed = [row["id"] for row in (await vast.list())["instances"]]
    assert len(listed) == rows
    assert set(listed) <= made
    assert {row["id"] for row in (await vast.list())["instances"]} == made


@pytest.mark.parametrize(("form", "status"), [("null", None), ("loading", "loading"), ("created", "created")])
async def test_stuck_for_ever(vast: Vast, form: str, status: str | None) -> None:
    vast.market.configure({"stuck_form": form})
    aim(vast, "stuck")
    instance = await vast.create()
    vast.clock.advance(100_000)
    row = await vast.show(instance)
    assert row["actual_status"] == status
    assert ("OCI runtime create failed" in row["status_msg"]) == (form == "created")
    assert vast.account(instance)["running_s"] == 0


async def test_a_start_waits_for_a_gpu_that_was_rented_away(vast: Vast) -> None:
    instance = await vast.running()
    await vast.change(instance, state="stopped")
    aim(vast, "start_refused", "manage")
    await vast.change(instance, state="running")
    vast.clock.advance(3600)
    row = await vast.show(instance)
    assert (row["intended_status"], row["actual_status"], row["next_state"]) == ("running", "exited", "running")
    assert "scheduling" in row["status_msg"]


async def test_ssh_comes_late_first_no_ports_then_refused_then_without_keys(vast: Vast) -> None:
    vast.market.configure({"boot_s": 0, "ports_after_s": 10, "ssh_after_s": 10, "keys_after_s": 10})
    instance = await vast.create(onstart=f"echo '{KEY} me' >> /root/.ssh/authorized_keys", runtype="ssh_direct")
    seen = []
    for _ in range(4):
        tenancy = vast.market.tenancy(vast.contract(instance), vast.clock.now())
        seen.append(("ports" in await vast.show(instance), tenancy.listening, bool(tenancy.keys)))
        vast.clock.advance(10)
    assert seen == [(False, False, False), (True, False, False), (True, True, False), (True, True, True)]


async def test_an_attached_key_works_some_seconds_later(vast: Vast) -> None:
    vast.market.configure({"keys_after_s": 12})
    instance = await vast.running(onstart=KEY)
    vast.clock.advance(12)
    await vast.json("POST", f"/api/v0/instances/{instance}/ssh/", {"ssh_key": OTHER_KEY})
    contract = vast.contract(instance)
    assert vast.market.tenancy(contract, vast.clock.now()).keys == (KEY,)
    assert vast.market.tenancy(contract, vast.clock.now() + 12).keys == (KEY, OTHER_KEY)


async def test_ssh_is_elsewhere_after_a_stop_and_a_start(vast: Vast) -> None:
    vast.market.configure({"address_changes": True})
    instance = await vast.running(runtype="ssh_direct")
    before = await vast.show(instance)
    assert vast.market.who_answers(before["ssh_host"], before["ssh_port"]) is not None
    await vast.change(instance, state="stopped")
    await vast.change(instance, state="running")
    vast.clock.advance(5)
    after = await vast.show(instance)
    assert after["ports"]["22/tcp"] != before["ports"]["22/tcp"]
    assert vast.market.who_answers(before["ssh_host"], before["ssh_port"]) is None


async def test_a_blocked_direct_port_leaves_the_proxy(vast: Vast) -> None:
    aim(vast, "direct_blocked")
    row = await vast.show(await vast.running(runtype="ssh_direct"))
    assert row["ports"]["22/tcp"][0]["HostPort"] == "1"
    assert vast.market.who_answers(row["ssh_host"], row["ssh_port"]) is not None


async def test_a_spot_instance_is_taken_back_and_its_storage_still_costs(vast: Vast) -> None:
    vast.market.configure({"preempt": 1, "preempt_after_s": 60, "boot_s": 0})
    ask = await vast.ask()
    instance = await vast.create(ask["id"], price=ask["min_bid"])
    vast.clock.advance(59)
    assert (await vast.show(instance))["actual_status"] == "running"
    vast.clock.advance(3541)
    row = await vast.show(instance)
    assert (row["actual_status"], row["intended_status"], row["cur_state"], row["next_state"]) == ("stopped",) * 4
    account = vast.account(instance)
    assert account["running_s"] == pytest.approx(60, abs=1e-6)
    assert account["billed_nano"] > ask["min_bid"] * 60 / 3600 * 1e9


async def test_an_instance_on_demand_is_not_taken_back(vast: Vast) -> None:
    vast.market.configure({"preempt": 1, "preempt_after_s": 1})
    instance = await vast.create()
    vast.clock.advance(1000)
    assert (await vast.show(instance))["actual_status"] == "running"


async def test_an_outbid_instance_waits_until_its_bid_is_raised(vast: Vast) -> None:
    ask = await vast.ask()
    instance = await vast.create(ask["id"], price=ask["min_bid"] * 2)
    vast.clock.advance(5)
    await vast.json("PUT", f"/api/v0/instances/bid_price/{instance}/", {"client_id": "me", "price": 0.001})
    assert (await vast.show(instance))["actual_status"] == "stopped"
    await vast.json("PUT", f"/api/v0/instances/bid_price/{instance}/", {"client_id": "me", "price": ask["min_bid"]})
    vast.clock.advance(5)
    row = await vast.show(instance)
    assert row["actual_status"] == "running"
    assert row["dph_base"] == pytest.approx(ask["min_bid"])


@pytest.mark.parametrize("form", ["unknown", "offline"])
async def test_a_lost_host_comes_back_or_not(vast: Vast, form: str) -> None:
    switches: dict[str, Any] = {"host_lost_after_s": 60, "host_lost_form": form, "boot_s": 0}
    vast.market.configure({**switches, "host_lost": 1, "host_lost_for_s": 120})
    back = await vast.create()
    vast.market.configure({"host_lost_for_s": 0})
    lost = await vast.create()
    vast.clock.advance(61)
    assert {(await vast.show(number))["actual_status"] for number in (back, lost)} == {form}
    vast.clock.advance(120)
    assert (await vast.show(back))["actual_status"] == "running"
    assert (await vast.show(lost))["actual_status"] == form
    assert vast.account(back)["running_s"] == pytest.approx(61, abs=1e-6)


async def test_documented_intervals_are_kept_with_a_penalty_for_create(vast: Vast) -> None:
    vast.market.configure({"rate_limits": True, "rate_limit_form": "text"})
    asks = [one["id"] for one in await vast.search(limit=3)]
    await vast.create(asks[0])
    refused = await vast.call("PUT", f"/api/v0/asks/{asks[1]}/", {"image": IMAGE})
    assert refused.status == 429
    assert b"too frequent" in refused.body
    assert "retry-after" not in refused.headers
    vast.clock.advance(5)
    assert (await vast.call("PUT", f"/api/v0/asks/{asks[1]}/", {"image": IMAGE})).status == 429
    vast.clock.advance(30)
    await vast.create(asks[1])
    vast.market.configure({"rate_limit_form": "json", "retry_after": True})
    refused = await vast.call("PUT", f"/api/v0/asks/{asks[2]}/", {"image": IMAGE})
    assert refused.json() == {"detail": "API requests too frequent"}
    assert int(refused.headers["retry-after"]) >= 4


async def test_ten_searches_a_minute(vast: Vast) -> None:
    vast.market.configure({"rate_limits": True})
    statuses = [(await vast.call("POST", "/api/v0/bundles/", {})).status for _ in range(11)]
    assert statuses == [200] * 10 + [429]
    vast.clock.advance(60)
    assert (await vast.call("POST", "/api/v0/bundles/", {})).status == 200


async def test_the_days_searches_are_used_up(vast: Vast) -> None:
    vast.market.configure({"search_quota": 1})
    await vast.search()
    refused = await vast.call("POST", "/api/v0/bundles/", {})
    assert (refused.status, refused.json()["error"]) == (429, "search_quota_exceeded")
    reset = int(refused.headers["x-ratelimit-reset"])
    assert reset % 86_400 == 0
    assert 0 < reset - vast.clock.now() <= 86_400
    vast.clock.advance(reset - vast.clock.now())
    assert await vast.search()


@pytest.mark.parametrize(("form", "status"), [("", 404), ("401", 401), ("403", 403), ("404", 404)])
async def test_a_key_that_is_revoked_or_missing(vast: Vast, form: str, status: int) -> None:
    instance = await vast.create()
    vast.market.configure({"auth_form": form, "key_revoked": True})
    refused = await vast.json("GET", f"/api/v0/instances/{instance}/", status=status)
    assert refused["error"] == "auth_error"
    vast.market.configure({"key_revoked": False})
    vast.key = ""
    await vast.json("DELETE", f"/api/v0/instances/{instance}/", status=status if form else 403)
    assert vast.market.alive()


@pytest.mark.parametrize(
    ("fault", "body"), [("html_200", b"<html>"), ("empty_200", b""), ("truncated_json", b'{"success": true')]
)
async def test_answers_that_are_no_json(vast: Vast, fault: str, body: bytes) -> None:
    await vast.create()
    aim(vast, fault, "list")
    answer = await vast.call("GET", "/api/v1/instances/")
    assert answer.status == 200
    assert answer.body.startswith(body)
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        answer.json()


async def test_odd_values(vast: Vast) -> None:
    instance = await vast.running()
    aim(vast, "numbers_as_strings", "get")
    assert (await vast.show(instance))["id"] == str(instance)
    aim(vast, "unknown_status", "get")
    assert (await vast.show(instance))["actual_status"] == "quiescing"
    vast.market.configure({"extra_fields": True})
    assert "x_future" in await vast.show(instance)
    vast.market.configure({"extra_fields": False})
    usual = await vast.search(limit=60)
    aim(vast, "absurd_numbers", "search")
    assert await vast.search(limit=60) != usual
    assert await vast.search(limit=60) == usual


async def test_told_times_are_skewed_and_the_ledger_is_not(vast: Vast) -> None:
    vast.market.configure({"clock_skew_s": -3600})
    instance = await vast.create()
    assert (await vast.show(instance))["start_date"] == vast.clock.now() - 3600
    assert vast.account(instance)["created_at"] == vast.clock.now()


async def test_the_price_rises_between_search_and_purchase(vast: Vast) -> None:
    vast.market.configure({"price_rise": 1, "price_rise_percent": 40})
    ask = await vast.ask()
    row = await vast.show(await vast.create(ask["id"]))
    assert row["dph_base"] == pytest.approx(ask["dph_base"] * 1.4)


async def test_an_outage_and_errors_before_any_work(vast: Vast) -> None:
    ask = await vast.ask()
    aim(vast, "server_error")
    assert (await vast.call("PUT", f"/api/v0/asks/{ask['id']}/", {"image": IMAGE})).status == 500
    aim(vast, "too_many_requests")
    assert (await vast.call("PUT", f"/api/v0/asks/{ask['id']}/", {"image": IMAGE})).status == 429
    vast.market.configure({"outage": True})
    assert (await vast.call("PUT", f"/api/v0/asks/{ask['id']}/", {"image": IMAGE})).status == 503
    assert not vast.market.machines


async def test_without_credit_nothing_is_sold_and_what_runs_is_stopped(vast: Vast) -> None:
    instance = await vast.running()
    vast.control("POST", "balance", {"usd": 0.001})
    vast.clock.advance(3600)
    refused = await vast.json("PUT", f"/api/v0/asks/{(await vast.ask())['id']}/", {"image": IMAGE}, status=400)
    assert "credit" in refused["msg"]
    assert (await vast.show(instance))["intended_status"] == "stopped"
    refused = await vast.json("PUT", f"/api/v0/instances/{instance}/", {"state": "running"}, status=400)
    assert refused["error"] == "missing_billing"
