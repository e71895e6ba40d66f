"""The control surface, the switches, the journal and the queue of aimed faults."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from controlplane.simulators.faults import PROBABILITIES, BadFile, FaultQueue, Faults, read_file
from controlplane.simulators.machines import keys_in, public_key
from tests.unit.simulators.driver import KEY, OTHER_KEY
from tests.unit.simulators.vast import IMAGE, Vast


async def test_the_journal_tells_calls_and_no_credentials(vast: Vast) -> None:
    await vast.create()
    vast.key = ""
    await vast.call("GET", "/api/v1/instances/?api_key=secret")
    calls = vast.control("GET", "journal")["calls"]
    assert [(call["endpoint"], call["outcome"]) for call in calls] == [("search", 200), ("create", 200), ("list", 200)]
    assert calls[1]["body"]["label"] == "cp-t-1"
    assert calls[1]["auth"] == "Bearer"
    assert not calls[1]["key_in_url"]
    assert calls[2]["key_in_url"]
    assert "secret" not in json.dumps(calls)
    assert [call["endpoint"] for call in vast.control("GET", "journal?endpoint=create")["calls"]] == ["create"]


async def test_the_ledger_keeps_ended_machines(vast: Vast) -> None:
    instance = await vast.running()
    await vast.destroy(instance)
    vast.clock.advance(100)
    (account,) = vast.control("GET", "ledger")["machines"]
    assert account["id"] == str(instance)
    assert account["label"] == "cp-t-1"
    assert account["ended_at"] == vast.clock.now() - 100
    assert isinstance(account["billed_nano"], int)


async def test_switches_change_while_it_runs_and_reset_undoes_everything(vast: Vast) -> None:
    changed = vast.control("POST", "config", {"stockout": 0.5, "boot_s": [1, 2], "latency_s": {"create": 3}})
    assert (changed["stockout"], changed["boot_s"], changed["latency_s"]) == (0.5, [1.0, 2.0], {"create": [3.0, 3.0]})
    vast.control("POST", "config", {"hang": 0.25})
    assert vast.control("GET", "config")["stockout"] == 0.5
    vast.market.add_orphan("cp-left")
    vast.control("POST", "reset")
    assert vast.control("GET", "config") == {**Faults().as_json(), "queue": []}
    assert vast.control("GET", "ledger")["machines"] == []
    assert vast.control("GET", "journal")["calls"] == []


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"stockout": 2}, "stockout"),
        ({"stockout": True}, "stockout"),
        ({"hang_s": -1}, "hang_s"),
        ({"boot_s": [3, 1]}, "boot_s"),
        ({"latency_s": {"create": "slow"}}, "latency_s.create"),
        ({"latency_s": 3}, "latency_s"),
        ({"rate_limits": 1}, "rate_limits"),
        ({"stuck_form": "sideways"}, "stuck_form"),
        ({"search_quota": 1.5}, "search_quota"),
        ({"clock_skew_s": "late"}, "clock_skew_s"),
        ({"fault_endpoints": "create"}, "fault_endpoints"),
        ({"gravity": 1}, "gravity"),
        ({"queue": {}}, "queue"),
        ({"queue": [{"endpoint": "create"}]}, "queue"),
        ({"queue": [{"endpoint": 1, "fault": "hang"}]}, "queue.endpoint"),
        ({"queue": [{"endpoint": "create", "fault": "flood"}]}, "queue.fault"),
        ({"queue": [{"endpoint": "create", "fault": "hang", "nth": 0}]}, "queue.nth"),
    ],
)
def test_a_senseless_switch_is_refused_by_field_rule_and_value(vast: Vast, values: dict[str, Any], name: str) -> None:
    before = vast.control("GET", "config")
    refused = vast.control("POST", "config", {"hang": 0.5, **values}, status=400)
    assert refused["field"] == name
    assert refused["rule"]
    assert "value" in refused
    assert vast.control("GET", "config") == before


async def test_offers_are_added_repriced_and_withdrawn(vast: Vast) -> None:
    added = vast.control("POST", "offers", {"add": {"gpu_name": "H200", "num_gpus": 2, "usd_per_hour": 0.001}})
    assert (await vast.ask())["id"] == int(added["id"])
    vast.control("POST", "offers", {"reprice": added["id"], "usd_per_hour": 900})
    told = next(one for one in vast.control("GET", "offers")["offers"] if one["id"] == added["id"])
    assert told["price_usd_per_hour"] == 900
    vast.control("POST", "offers", {"withdraw": added["id"]})
    assert added["id"] not in {one["id"] for one in vast.control("GET", "offers")["offers"]}
    for wrong in ({"withdraw": "x"}, {"reprice": "1", "usd_per_hour": 1}, {"add": {"gpu_name": "Voodoo"}}, {}):
        vast.control("POST", "offers", wrong, status=400)
    vast.control("POST", "offers", {"add": {"num_gpus": 0}}, status=400)


async def test_machines_are_preempted_lost_and_orphaned_by_command(vast: Vast) -> None:
    ask = await vast.ask()
    spot = await vast.running(ask_id=ask["id"], price=ask["min_bid"])
    usual = await vast.running()
    vast.control("POST", "preempt", {"id": spot})
    assert (await vast.show(spot))["actual_status"] == "stopped"
    assert vast.control("POST", "preempt", {"id": usual}, status=400)["field"] == "id"
    vast.control("POST", "host_lost", {"id": str(usual)})
    assert (await vast.show(usual))["actual_status"] in ("unknown", "offline")
    orphan = vast.control("POST", "orphan", {"label": "cp-other-1"})["id"]
    assert (await vast.show(int(orphan)))["label"] == "cp-other-1"
    for action, wrong in (("host_lost", {"id": "7"}), ("orphan", {}), ("orphan", {"label": ""}), ("balance", {})):
        assert vast.control("POST", action, wrong, status=400)["rule"]


def test_control_paths_that_do_not_exist(vast: Vast) -> None:
    vast.control("GET", "nothing", status=404)
    vast.control("DELETE", "reset", status=404)
    assert vast.control("POST", "config", b"{", status=400)["field"] == "body"
    assert vast.control("POST", "config", b"[]", status=400)["field"] == "body"


def test_aimed_faults_strike_the_nth_call_once() -> None:
    queue = FaultQueue()
    queue.add([{"endpoint": "create", "nth": 2, "fault": "hang"}, {"endpoint": "*", "fault": "cut_body"}])
    assert queue.strike("list") == {"cut_body"}
    assert queue.strike("create") == set()
    assert queue.as_json() == [{"endpoint": "create", "nth": 1, "fault": "hang"}]
    assert queue.strike("create") == {"hang"}
    assert queue.strike("create") == set()


def test_every_probability_is_drawn_and_transport_faults_can_be_confined() -> None:
    certain = Faults().changed(dict.fromkeys(PROBABILITIES, 1))
    assert certain.hits(Random(1), "list") == set(PROBABILITIES)
    confined = certain.changed({"fault_endpoints": ["create"]})
    assert "lost_response" not in confined.hits(Random(1), "list")
    assert "lost_response" in confined.hits(Random(1), "create")
    assert Faults().hits(Random(1), "create") == set()


async def test_the_same_seed_has_the_same_luck(vast: Vast) -> None:
    async def run() -> list[int | str]:
        vast.control("POST", "reset")
        vast.market.configure({"stockout": 0.5, "lost_response": 0.3})
        for ask in await vast.search(limit=20):
            await vast.outcome("PUT", f"/api/v0/asks/{ask['id']}/", {"image": IMAGE})
        return [entry.outcome for entry in vast.market.journal.entries("create")]

    assert await run() == await run()


def test_a_faults_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('{"stockout": 0.1}')
    assert read_file(path) == {"stockout": 0.1}
    for wrong, said in (("{", "is not valid JSON"), ("[]", "must hold one JSON object")):
        path.write_text(wrong)
        with pytest.raises(BadFile, match=rf"faults\.json {said}"):
            read_file(path)


def test_keys_are_found_in_start_scripts_also_packed_ones() -> None:
    script = f"""f=/root/.ssh/authorized_keys
    printf '%s\\n' 'command="true",restrict {KEY} probe' '{OTHER_KEY} me@home' >> $f"""
    lines = (f'command="true",restrict {KEY}', OTHER_KEY)
    assert keys_in(script) == lines
    packed = base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()
    assert keys_in(f"echo {packed}|base64 -d|gunzip|sh") == lines
    assert keys_in("echo H4sIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA|base64 -d") == ()
    assert public_key(f"{KEY} me@home") == KEY
    assert public_key("ssh-ed25519 short") == ""
