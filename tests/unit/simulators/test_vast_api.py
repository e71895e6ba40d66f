"""The simulated Vast.ai as documented: search, create, look, change, end, bill."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.simulators.driver import KEY, OTHER_KEY
from tests.unit.simulators.vast import IMAGE, Vast


async def test_search_answers_plain_json_with_offers_by_price(vast: Vast) -> None:
    response = await vast.call("POST", "/api/v0/bundles/", {"order": [["dph_total", "asc"]], "limit": 5})
    assert response.headers["content-type"] == "application/json"
    prices = [offer["dph_total"] for offer in response.json()["offers"]]
    assert len(prices) == 5
    assert prices == sorted(prices)


@pytest.mark.parametrize("path", ["/api/v0/bundles", "/api/v0/bundles/"])
async def test_search_needs_no_key_and_no_trailing_slash(vast: Vast, path: str) -> None:
    vast.key = ""
    assert len((await vast.json("GET", f'{path}?q={{"limit":3}}'))["offers"]) == 3


async def test_filter_values_are_taken_as_the_fields_type(vast: Vast) -> None:
    as_text = await vast.search(gpu_name={"eq": "RTX 4090"}, num_gpus={"eq": "1"}, reliability={"gt": "0.95"})
    as_number = await vast.search(gpu_name={"eq": "RTX 4090"}, num_gpus={"eq": 1}, reliability={"gt": 0.95})
    assert as_text
    assert [one["id"] for one in as_text] == [one["id"] for one in as_number]
    assert all(one["gpu_name"] == "RTX 4090" and one["num_gpus"] == 1 for one in as_text)
    assert {one["num_gpus"] for one in await vast.search(num_gpus={"in": ["2", "4"]})} == {2, 4}


async def test_unverified_offers_show_only_on_request(vast: Vast) -> None:
    assert {one["verification"] for one in await vast.search(limit=100)} == {"verified"}
    everything = await vast.search(limit=100, verified={"in": [True, False]})
    assert {one["verification"] for one in everything} == {"verified", "unverified"}


@pytest.mark.parametrize(
    "query", [{"colour": {"eq": "red"}}, {"num_gpus": {"like": 1}}, {"num_gpus": {"gt": "many"}}, {"type": "gift"}]
)
async def test_a_senseless_filter_is_refused(vast: Vast, query: dict[str, Any]) -> None:
    refused = await vast.json("POST", "/api/v0/bundles/", query, status=400)
    assert refused["error"] == "invalid_args"


async def test_storage_is_in_the_total_and_a_bid_offer_costs_its_floor(vast: Vast) -> None:
    small = await vast.ask(allocated_storage=10)
    big = (await vast.search(allocated_storage=1000, id={"eq": small["id"]}))[0]
    month = small["storage_cost"]
    assert big["dph_total"] - small["dph_total"] == pytest.approx(990 * month / 30 / 24, abs=2e-9)
    spot = (await vast.search(type="bid", id={"eq": small["id"]}))[0]
    assert spot["is_bid"]
    assert spot["dph_base"] == spot["min_bid"] == small["min_bid"]


async def test_the_newer_search_repeats_an_offer(vast: Vast) -> None:
    found = await vast.json("PUT", "/api/v0/search/asks/", {"select_cols": ["*"], "q": {"limit": 4}})
    ids = [one["id"] for one in found["offers"]]
    assert len(ids) == 5
    assert len(set(ids)) == 4


async def test_life_from_null_to_running_to_gone(vast: Vast) -> None:
    instance = await vast.create(runtype="ssh_direct", env={"FOO": "bar", "-p 8080:8080": "1"})
    seen = []
    for _ in range(50):
        row = await vast.show(instance)
        seen.append(row["actual_status"])
        assert ("ports" in row) == (row["actual_status"] == "running")
        vast.clock.advance(0.1)
    assert list(dict.fromkeys(seen)) == [None, "created", "loading", "running"]
    row = await vast.show(instance)
    assert {row["cur_state"], row["next_state"], row["intended_status"]} == {"running"}
    assert set(row["ports"]) == {"22/tcp", "8080/tcp"}
    assert row["public_ipaddr"].endswith("\n")
    assert ["FOO", "bar"] in row["extra_env"]
    assert row["label"] == "cp-t-1"
    await vast.destroy(instance)
    assert await vast.show(instance) is None
    gone = await vast.json("DELETE", f"/api/v0/instances/{instance}/", status=404)
    assert gone["error"] == "no_such_instance"


async def test_an_offer_is_gone_while_it_is_rented(vast: Vast) -> None:
    ask = await vast.ask()
    instance = await vast.create(ask["id"])
    assert instance != ask["id"]
    assert ask["id"] not in {one["id"] for one in await vast.search(limit=100)}
    again = await vast.json("PUT", f"/api/v0/asks/{ask['id']}/", {"image": IMAGE, "cancel_unavail": True}, status=410)
    assert again["error"] == "no_such_ask"
    again = await vast.json("PUT", f"/api/v0/asks/{ask['id']}/", {"image": IMAGE, "cancel_unavail": False}, status=404)
    assert again["error"] == "invalid_args"
    assert "no_such_ask" in again["msg"]
    assert again["ask_id"] == ask["id"]
    await vast.destroy(instance)
    assert ask["id"] in {one["id"] for one in await vast.search(limit=100)}


async def test_two_equal_creates_make_two_instances_while_units_last(vast: Vast) -> None:
    ask = int(vast.control("POST", "offers", {"add": {"units": 2, "usd_per_hour": 0.01}})["id"])
    assert await vast.create(ask) != await vast.create(ask)
    await vast.json("PUT", f"/api/v0/asks/{ask}/", {"image": IMAGE}, status=410)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_args"),
        ({"image": "x" * 1025}, "invalid_args"),
        ({"image": "x", "disk": 7}, "invalid_args"),
        ({"image": "x", "label": "x" * 257}, "invalid_args"),
        ({"image": "x", "env": "-e FOO=bar"}, "invalid_args"),
        ({"image": "x", "env": {f"-p {port}:{port}": "1" for port in range(65)}}, "invalid_args"),
        ({"image": "x", "onstart": "x" * 4000, "args_str": "x" * 97}, "invalid_args"),
        ({"image": "x", "runtype": "telnet"}, "invalid_args"),
        ({"image": "x", "target_state": "frozen"}, "invalid_args"),
        ({"image": "x", "price": 0.0001}, "invalid_price"),
        ({"image": "x", "price": 129}, "invalid_price"),
        ({"template_hash_id": "nonsense"}, "invalid_args"),
    ],
)
async def test_a_wrong_create_is_refused_and_makes_nothing(vast: Vast, body: dict[str, Any], code: str) -> None:
    refused = await vast.json("PUT", f"/api/v0/asks/{(await vast.ask())['id']}/", body, status=400)
    assert refused["error"] == code
    assert not vast.market.machines


async def test_bodies_that_are_no_json_object_are_refused(vast: Vast) -> None:
    for body in (b"{", b"[]", b'"x"'):
        assert (await vast.json("PUT", "/api/v0/asks/1/", body, status=400))["success"] is False


async def test_a_template_fills_in_what_the_create_leaves_out(vast: Vast) -> None:
    templates = (await vast.json("GET", '/api/v0/template/?select_filters={"recommended":{"eq":true}}'))["templates"]
    vllm = next(one for one in templates if one["name"] == "vLLM")
    assert json.loads(vllm["extra_filters"])["gpu_ram"] == {"gte": 40_000}
    instance = await vast.create(template_hash_id=vllm["hash_id"], image=None, disk=None, env={"HF_TOKEN": "x"})
    row = await vast.show(instance)
    assert row["image_uuid"] == "vllm/vllm-openai:latest"
    assert row["disk_space"] == 64.0
    assert [name for name, _ in row["extra_env"]] == ["-p 8000:8000", "HF_HUB_ENABLE_HF_TRANSFER", "HF_TOKEN"]


async def test_a_bid_that_is_too_low_makes_a_stopped_instance_that_costs_storage(vast: Vast) -> None:
    ask = await vast.ask()
    body = {"image": IMAGE, "disk": 100, "price": 0.001}
    refused = await vast.json("PUT", f"/api/v0/asks/{ask['id']}/", body)
    assert refused["success"] is False
    row = await vast.show(refused["new_contract"])
    assert (row["intended_status"], row["cur_state"]) == ("stopped", "stopped")
    vast.clock.advance(3600)
    account = vast.account(refused["new_contract"])
    assert account["running_s"] == 0
    assert account["billed_nano"] == pytest.approx(100 * ask["storage_cost"] / 720 * 1e9, abs=2)
    raised = {"client_id": "me", "price": ask["min_bid"]}
    await vast.json("PUT", f"/api/v0/instances/bid_price/{refused['new_contract']}/", raised)
    vast.clock.advance(5)
    assert (await vast.show(refused["new_contract"]))["actual_status"] == "running"


async def test_gpus_are_billed_while_running_and_storage_until_destroyed(vast: Vast) -> None:
    instance = await vast.create(disk=72)
    contract = vast.contract(instance)
    booted = contract.runs[0].start - contract.created_at
    assert 2 <= booted <= 4
    vast.clock.advance(booted + 600)
    await vast.change(instance, state="stopped")
    vast.clock.advance(3000)
    row = await vast.show(instance)
    assert row["actual_status"] == "exited"
    assert row["uptime_mins"] == pytest.approx(10, abs=1e-6)
    await vast.destroy(instance)
    vast.clock.advance(5000)
    account = vast.account(instance)
    gpu, disk = round(row["dph_base"] * 1e9) * 600 / 3600, contract.disk_nano * (booted + 3600) / 3600
    assert account["running_s"] == pytest.approx(600, abs=1e-6)
    assert account["billed_nano"] == pytest.approx(gpu + disk, abs=10)
    credit = (await vast.json("GET", "/api/v0/users/current"))["credit"]
    assert credit == pytest.approx(1_000_000 - account["billed_nano"] / 1e9, abs=1e-6)
    charge = (await vast.json("GET", "/api/v0/charges/?limit=500"))["results"][0]
    assert charge["source"] == f"instance-{instance}"
    assert charge["amount"] == pytest.approx(account["billed_nano"] / 1e9)
    assert [item["type"] for item in charge["items"]] == ["gpu", "disk", "bwd", "bwu"]


async def test_stop_and_start_keep_the_instance(vast: Vast) -> None:
    instance = await vast.running()
    before = await vast.show(instance)
    await vast.change(instance, state="stopped")
    assert (await vast.show(instance))["intended_status"] == "stopped"
    await vast.change(instance, state="running")
    assert (await vast.show(instance))["actual_status"] == "loading"
    vast.clock.advance(5)
    after = await vast.show(instance)
    assert after["actual_status"] == "running"
    assert after["ports"] == before["ports"]
    assert after["start_date"] == before["start_date"]


async def test_labels_bulk_reboot_and_recycle(vast: Vast) -> None:
    one, two = await vast.running(), await vast.running()
    await vast.change(one, label="cp-t-2")
    assert (await vast.show(one))["label"] == "cp-t-2"
    await vast.json("PUT", f"/api/v0/instances/{one}/", {"label": "x" * 1025}, status=400)
    await vast.json("PUT", f"/api/v0/instances/{one}/", {"state": "frozen solid"}, status=400)
    await vast.json("PUT", f"/api/v0/instances/reboot/{one}/", {})
    assert (await vast.show(one))["actual_status"] == "rebooting"
    vast.clock.advance(5)
    assert (await vast.show(one))["actual_status"] == "running"
    await vast.json("PUT", f"/api/v0/instances/recycle/{one}/", {})
    await vast.json("PUT", "/api/v0/instances/", {"ids": [one, two], "state": "stopped"})
    assert {(await vast.show(number))["intended_status"] for number in (one, two)} == {"stopped"}
    await vast.json("DELETE", "/api/v0/instances/", {"instance_ids": [one, two]})
    assert not vast.market.alive()


async def test_several_are_created_at_once_each_with_its_own_answer(vast: Vast) -> None:
    ids = [one["id"] for one in await vast.search(limit=3)]
    answer = await vast.json("POST", "/api/v0/asks/bulk/", {"ids": [*ids, 999], "image": IMAGE, "label": "many"})
    assert not answer["success"]
    assert [one["success"] for one in answer["results"]] == [True, True, True, False]
    assert len(vast.market.alive()) == 3


async def test_logs_come_from_an_anonymous_address_a_little_later(vast: Vast) -> None:
    instance = await vast.running()
    url = (await vast.json("PUT", f"/api/v0/instances/request_logs/{instance}/", {"tail": "1"}))["result_url"]
    path = url.removeprefix("http://localhost")
    vast.key = ""
    assert (await vast.call("GET", path)).status == 404
    vast.clock.advance(1)
    lines = (await vast.call("GET", path)).body.decode().splitlines()
    assert lines == [f"simulated instance {instance} running {IMAGE}"]


async def test_account_keys_reach_new_instances_and_attached_ones_only_theirs(vast: Vast) -> None:
    await vast.json("POST", "/api/v0/ssh/", {"ssh_key": f"{KEY} me@home"})
    listed = await vast.json("GET", "/api/v0/ssh/")
    assert [one["public_key"] for one in listed] == [KEY]
    one, two = await vast.running(), await vast.running()
    await vast.json("POST", f"/api/v0/instances/{one}/ssh/", {"ssh_key": OTHER_KEY})
    held = json.loads((await vast.json("GET", f"/api/v0/instances/{one}/ssh/"))["ssh_keys"])
    assert [key["public_key"] for key in held] == [KEY, OTHER_KEY]
    now = vast.clock.now()
    assert vast.market.tenancy(vast.contract(one), now).keys == (KEY, OTHER_KEY)
    assert vast.market.tenancy(vast.contract(two), now).keys == (KEY,)
    await vast.json("DELETE", f"/api/v0/instances/{one}/ssh/{held[0]['id']}/")
    assert vast.market.tenancy(vast.contract(one), now).keys == (OTHER_KEY,)
    await vast.json("DELETE", f"/api/v0/ssh/{listed[0]['id']}/")
    assert await vast.json("GET", "/api/v0/ssh/") == []
    await vast.json("POST", "/api/v0/ssh/", {"ssh_key": "not a key"}, status=400)


async def test_pages_of_the_list_tell_every_instance_once(vast: Vast) -> None:
    made = [await vast.create(label=f"cp-{number}") for number in range(32)]
    first = await vast.list(limit=100)
    assert (first["instances_found"], first["total_instances"]) == (25, 32)
    second = await vast.list(after_token=first["next_token"])
    assert second["next_token"] is None
    assert [row["id"] for row in [*first["instances"], *second["instances"]]] == made
    assert (await vast.list(status=400, after_token="nonsense"))["error"] == "invalid_token"


async def test_a_page_goes_on_where_the_last_one_ended_though_that_row_is_gone(vast: Vast) -> None:
    made = [await vast.create() for _ in range(4)]
    first = await vast.list(limit=2)
    await vast.destroy(made[1])
    second = await vast.list(limit=2, after_token=first["next_token"])
    assert [row["id"] for row in second["instances"]] == made[2:]


async def test_the_list_filters_stored_columns_only(vast: Vast) -> None:
    await vast.create(label="cp-a")
    wanted = await vast.create(label="cp-b")
    found = await vast.list(select_filters={"label": {"eq": "cp-b"}}, select_cols=["id", "label"])
    assert found["instances"] == [{"id": wanted, "label": "cp-b"}]
    assert found["label_counts"] == {"cp-b": 1}
    found = await vast.list(select_filters={"id": {"in": [wanted]}}, order_by=[{"col": "id", "dir": "desc"}])
    assert [row["id"] for row in found["instances"]] == [wanted]
    assert (await vast.list(status=400, select_filters={"dph_total": {"lt": 1}}))["error"] == "invalid_request"
    assert (await vast.list(status=400, order_by=[{"col": "num_gpus"}]))["error"] == "invalid_request"


async def test_the_old_list_is_gone_but_single_instances_are_not(vast: Vast) -> None:
    old = await vast.json("GET", "/api/v0/instances/", status=410)
    assert old["error"] == "deprecated_endpoint"
    assert await vast.show(await vast.create()) is not None


async def test_gpu_names_and_filters_for_the_vendors_client(vast: Vast) -> None:
    await vast.create()
    assert "RTX 4090" in (await vast.json("GET", "/api/v0/gpu_names/unique/"))["gpu_names"]
    assert (await vast.json("GET", "/api/v0/instances/filters/"))["filters"][0]["label"] == "cp-t-1"


async def test_an_unknown_path_is_not_found(vast: Vast) -> None:
    assert (await vast.json("GET", "/api/v9/nothing", status=404))["error"] == "not_found"


async def test_the_shoppers_paths(vast: Vast) -> None:
    vast.key = ""
    assert (await vast.json("GET", "/health"))["status"] == "ok"
    orphan = await vast.json("POST", "/_test/orphan", {"label": "shopper-1"})
    listed = (await vast.json("GET", "/instances/"))["instances"]
    assert [(row["id"], row["label"]) for row in listed] == [(int(orphan["instance_id"]), "shopper-1")]
    await vast.json(
        "POST", "/_test/config", {"create_delay_ms": 60_000, "fail_destroy": True, "fail_destroy_msg": "no"}
    )
    assert await vast.json("DELETE", f"/instances/{listed[0]['id']}/", status=400) == {"success": False, "error": "no"}
    vast.key = "test"
    instance = await vast.running()
    assert (await vast.show(instance))["actual_status"] != "running"
    await vast.json("POST", "/_test/config", {"fail_create": True, "fail_create_msg": "closed"})
    refused = await vast.json("PUT", f"/api/v0/asks/{(await vast.ask())['id']}/", {"image": IMAGE}, status=400)
    assert refused["msg"] == "closed"
    assert await vast.json("DELETE", f"/instances/{listed[0]['id']}/") == {"success": True}
    await vast.json("POST", "/_test/config", {"create_delay_ms": "soon"}, status=400)
    await vast.json("POST", "/_test/reset")
    assert (await vast.json("GET", "/instances/"))["instances"] == []
