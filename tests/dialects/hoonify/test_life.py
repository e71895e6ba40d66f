"""What Hoonify's page promises beyond single exchanges: bills, keys, the sandbox, and one instance in every API."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import websocket

from controlplane.api.dialects.hoonify import HOONIFY
from controlplane.sandbox import runtime
from tests.dialects.conftest import key_of, ways
from tests.dialects.hoonify.test_bad_input import World, assert_refused, wish
from tests.support.plane import Plane, eventually, pb, running_plane


@pytest.fixture(scope="module")
def world(plane: Plane) -> Iterator[World]:
    world = World(plane)
    yield world
    plane.terminate(world.own)
    plane.terminate(world.foreign, world.stranger)


@pytest.fixture
def rent(world: World) -> Iterator[Callable[..., Any]]:
    """Makes instances that are ready; they end with the test."""
    made: list[str] = []

    def rent(key: str | None = None, **fields: Any) -> Any:
        reply = world.call("POST", "/v1/instances", wish(**fields), key=key)
        assert reply.status == 201, reply
        made.append(reply.body["id"])
        return eventually(lambda: ready(world, made[-1]), 30)

    yield rent
    for id in made:
        world.plane.terminate(id)


def ready(world: World, id: str) -> Any:
    body = world.call("GET", f"/v1/instances/{id}").body
    assert body["status"] != "failed", body
    return body if body["status"] == "ready" else None


def charged(world: World, id: str) -> int:
    """Nano-dollars on the account's bill for an instance."""
    entries = world.plane.me.usage.ListLedgerEntries(pb.ListLedgerEntriesRequest(instance_id=id)).entries
    return sum(entry.amount.units * 10**9 + entry.amount.nanos for entry in entries)


def canonical(world: World, id: str) -> Any:
    return world.plane.me.instances.GetInstance(pb.GetInstanceRequest(id=id))


@pytest.mark.parametrize(("hours", "percent"), [(2, 100), (24, 70), (168, 59.5)])
def test_a_reservation_is_billed_up_front(world: World, rent: Callable[..., Any], hours: int, percent: float) -> None:
    made = rent(sku="l40s-48", duration_hours=hours)
    price = canonical(world, made["id"]).price_per_hour
    whole = (price.units * 10**9 + price.nanos) * hours
    assert eventually(lambda: charged(world, made["id"])) == pytest.approx(whole * percent / 100, abs=2)
    began, ends = canonical(world, made["id"]).run_time, canonical(world, made["id"]).expire_time
    assert ends.ToNanoseconds() - began.ToNanoseconds() == hours * 3600 * 10**9, "every hour paid can be used"


def test_on_demand_is_billed_per_second_from_ready_to_the_end_of_draining(
    world: World, rent: Callable[..., Any]
) -> None:
    made = rent()
    world.call("POST", f"/v1/instances/{made['id']}/terminate?force=true")
    eventually(lambda: canonical(world, made["id"]).HasField("end_time"))
    row = canonical(world, made["id"])
    micros = (row.end_time.ToNanoseconds() - row.run_time.ToNanoseconds()) // 1000
    assert charged(world, made["id"]) == -(-row.price_per_hour.nanos * micros // 3_600_000_000)


def test_a_minimum_where_the_operator_sets_one() -> None:
    with running_plane(hoonify_minimum=60) as plane:
        headers = {"Authorization": f"Bearer {key_of(plane, HOONIFY)}"}
        ways(plane, HOONIFY)[0].call("POST", "/v1/instances", headers, json.dumps(wish()).encode())
        ledger = pb.ListLedgerEntriesRequest()
        (first, *_) = eventually(lambda: plane.me.usage.ListLedgerEntries(ledger).entries, 30)
        assert first.amount.nanos == pytest.approx(10_000_000 / 60, abs=2)


def test_too_many_calls() -> None:
    with running_plane(rate_limit=1, rate_burst=3) as plane:
        way, key = ways(plane, HOONIFY)[0], key_of(plane, HOONIFY)
        replies = [way.call("GET", "/v1/instances", {"Authorization": f"Bearer {key}"}, None) for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies] == ["2", "1", "0", "0", "0"]
    assert {reply.headers["x-ratelimit-limit-requests"] for reply in replies} == {"60"}
    assert replies[-1].headers["retry-after"] == "1"
    assert_refused(replies[-1], 429, "rate_limited", "too many calls")


def test_a_reservation_ends_by_itself(world: World) -> None:
    # A minute is the shortest; the canonical API shows that the end is set, and its own tests that it comes.
    made = world.call("POST", "/v1/instances", wish(duration_hours=1 / 60)).body
    row = canonical(world, made["id"])
    assert row.expire_time.ToSeconds() - row.create_time.ToSeconds() == 60
    assert row.hard_expire_time.ToSeconds() - row.create_time.ToSeconds() == 168 * 3600
    world.plane.terminate(made["id"])


def test_ended_before_it_was_ready_it_is_free(world: World) -> None:
    made = world.call("POST", "/v1/instances", wish(sku="l40s-48", duration_hours=24)).body
    reply = world.call("POST", f"/v1/instances/{made['id']}/terminate?force=true")
    assert reply.body["status"] in ("draining", "terminated")
    ended = eventually(lambda: canonical(world, made["id"]).HasField("end_time"), 30)
    assert ended
    assert canonical(world, made["id"]).HasField("run_time") == (charged(world, made["id"]) > 0)


def test_the_sandbox_is_free_and_pretended(world: World, rent: Callable[..., Any]) -> None:
    key = world.key_for("hoon_sk_test", scopes=["instances:read", "instances:write"])
    made = rent(key, sku="h100-80", duration_hours=24)
    assert made["simulated"] is True
    assert_refused(world.call("POST", "/v1/instances", wish(), key=key), 409, "no_capacity", "cpu in any pool")
    world.call("POST", f"/v1/instances/{made['id']}/terminate?force=true", key=key)
    eventually(lambda: canonical(world, made["id"]).HasField("end_time"))
    assert charged(world, made["id"]) == 0


def test_the_sandbox_knows_nothing_else(world: World) -> None:
    key = world.key_for("hoon_sk_test", scopes=["instances:read", "instances:write"])
    for method, verb, body in (
        ("GET", "", None),
        ("POST", "/terminate", {}),
        ("POST", "/extend", {"duration_hours": 1}),
    ):
        seen = [
            world.call(method, f"/v1/instances/{id}{verb}", body, key=key) for id in (world.own, "inst_" + "0" * 26)
        ]
        for reply in seen:
            assert_refused(reply, 404, "not_found", "there is no instance")
    assert canonical(world, world.own).state == pb.INSTANCE_STATE_RUNNING
    made: list[str] = []
    try:
        for sandbox in (True, False, True, False, False, True):
            fields = {"key": key, "body": wish(sku="h100-80")} if sandbox else {"body": wish()}
            reply = world.call("POST", "/v1/instances", **fields)
            assert reply.status == 201
            if sandbox:
                assert reply.body["simulated"] is True, "from acceptance on"
                assert world.call("GET", f"/v1/instances/{reply.body['id']}", key=key).status == 200
            made.append(reply.body["id"])
        rows = world.call("GET", "/v1/instances?limit=1000").body["data"]
        wanted = [row["id"] for row in rows if row.get("simulated")]
        assert set(made[::2][:2] + made[5:]) <= set(wanted)
        assert [row["id"] for row in world.call("GET", "/v1/instances", key=key).body["data"]] == wanted
        found: list[str] = []
        for more in (*[True] * (len(wanted) - 1), False):
            page = world.call("GET", f"/v1/instances?limit=1&after={''.join(found[-1:])}", key=key).body
            found += [row["id"] for row in page["data"]]
            assert page["has_more"] is more
        assert found == wanted
    finally:
        for id in made:
            world.plane.terminate(id)


def test_a_name_used_by_a_live_key_is_another_in_the_sandbox(world: World) -> None:
    key = world.key_for("hoon_sk_test", scopes=["instances:read", "instances:write"])
    name = {"X_Hoonify_Idempotency_Key": "used-by-both"}
    first = world.call("POST", "/v1/instances", wish(), **name)
    again = world.call("POST", "/v1/instances", wish(), key=key, **name)
    world.plane.terminate(first.body["id"])
    assert_refused(again, 409, "no_capacity", "cpu in any pool")


def test_what_is_read_leniently(world: World) -> None:
    labels = {"a": None, "b": "c"}
    made = world.call("POST", "/v1/instances", {"sku": "cpu", "gpus": "1", "durationHours": "2", "labels": labels})
    assert made.status == 201
    assert (made.body["duration_hours"], made.body["labels"]) == (2, {"a": "", "b": "c"})
    path = f"/v1/instances/{made.body['id']}"
    assert world.call("HEAD", path).status == 404
    assert world.call("POST", f"{path}/terminate", {"force": "true"}).status == 200
    eventually(lambda: canonical(world, made.body["id"]).HasField("end_time"))
    reply = world.call("POST", f"{path}/extend", {"duration_hours": 1})
    assert_refused(reply, 409, "conflict", "is ending or has ended (terminated)")
    for scheme in ("bearer", "BEARER"):
        reply = world.call("GET", path, key="", main=True, Authorization=f"{scheme} {world.key}")
        assert (reply.status, reply.body["id"]) == (200, made.body["id"])


def test_one_instance_in_every_api(world: World, rent: Callable[..., Any]) -> None:
    made = rent(sku="h200-141", gpus=2, pool="eu", labels={"team": "research"})
    row = canonical(world, made["id"])
    assert (row.gpu_type, row.gpu_count, row.region, dict(row.labels)) == ("H200 SXM", 2, "eu", {"team": "research"})
    assert (row.connection.ssh_port, row.image) == (made["endpoints"]["ssh"]["port"], "")
    theirs = world.call("GET", f"/v1/instances/{world.own}").body
    assert (theirs["id"], theirs["sku"], theirs["status"]) == (world.own, "cpu", "ready"), "made by the canonical API"


# --- Jupyter


def jupyter(url: str, path: str, token: str = "", data: bytes | None = None) -> Any:
    headers = {"Authorization": f"token {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=20) as answer:
        return json.load(answer)


def test_jupyter_is_live_when_it_is_ready(world: World, rent: Callable[..., Any]) -> None:
    assert runtime.has_jupyter(), f"Jupyter is missing: {runtime.JUPYTER_INSTALL_LINE}"
    server = rent()["endpoints"]["jupyter"]
    url, token = server["url"], server["token"]
    assert jupyter(url, "/api/status", token)["kernels"] == 0
    for wrong in ("", "0" * 64):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            jupyter(url, "/api/status", wrong)
    kernel = jupyter(url, "/api/kernels", token, b"{}")["id"]
    said = execute(f"{url.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels?token={token}", "print(6 * 7)")
    assert said == "42\n"


def execute(url: str, code: str) -> str:
    """The first output of a cell."""
    header = {"msg_id": "1", "msg_type": "execute_request", "session": "s", "username": "u", "version": "5.3"}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": {"code": code}, "channel": "shell"}
    socket = websocket.create_connection(url, timeout=20)
    with contextlib.closing(socket):
        socket.send(json.dumps(message))
        while (reply := json.loads(socket.recv()))["msg_type"] != "stream":
            pass
        return str(reply["content"]["text"])


def test_a_key_that_may_only_read_gets_no_token(world: World, rent: Callable[..., Any]) -> None:
    made = rent()
    reader = world.key_for("hoon_sk_live", scopes=["instances:read"])
    for path in (f"/v1/instances/{made['id']}", "/v1/instances?status=ready"):
        body = world.call("GET", path, key=reader).body
        seen = next(row for row in body.get("data", [body]) if row["id"] == made["id"])
        assert seen["endpoints"]["jupyter"] == {"url": made["endpoints"]["jupyter"]["url"]}
    assert made["endpoints"]["jupyter"]["token"] not in str(canonical(world, made["id"])), "nor do events have it"
    connection = world.plane.me.instances.GetConnection(pb.GetConnectionRequest(id=made["id"]))
    assert connection.jupyter_token == made["endpoints"]["jupyter"]["token"]


def test_pages_hold_every_instance_once(world: World) -> None:
    whole = [row["id"] for row in world.call("GET", "/v1/instances").body["data"]]
    seen, after = [], ""
    while True:
        page = world.call("GET", f"/v1/instances?limit=2&after={after}").body
        seen += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            break
        after = seen[-1]
    assert seen == whole
    assert len(set(seen)) == len(seen)


# --- keys


def new_key(world: World, **fields: Any) -> tuple[str, str]:
    """(id, secret)."""
    request = pb.CreateApiKeyRequest(name="rotating", key_format="hoon_sk_live", scopes=["instances:read"], **fields)
    made = world.plane.me.keys.CreateApiKey(request)
    return made.api_key.id, made.secret


def test_rotation_leaves_both_keys_working_and_then_the_new_one(world: World) -> None:
    id, secret = new_key(world)
    reply = world.call("POST", f"/v1/admin/keys/{id}/rotate", {"overlap_seconds": 1})
    assert reply.status == 200
    made = reply.body
    assert (made["object"], made["name"], made["scopes"]) == ("api_key", "rotating", ["compute:read"])
    assert made["previous"]["id"] == id
    assert HOONIFY.key_formats[0].well_formed(made["key"])
    assert made["key"].startswith(made["prefix"])
    assert world.call("GET", "/v1/instances", key=secret).status == 200
    assert world.call("GET", "/v1/instances", key=made["key"]).status == 200
    eventually(lambda: world.call("GET", "/v1/instances", key=secret).status == 401)
    assert world.call("GET", "/v1/instances", key=made["key"]).status == 200


def test_without_an_overlap_the_old_key_has_a_day(world: World) -> None:
    id, _ = new_key(world)
    world.call("POST", f"/v1/admin/keys/{id}/rotate")
    row = world.plane.me.keys.GetApiKey(pb.GetApiKeyRequest(id=id))
    new = world.plane.me.keys.ListApiKeys(pb.ListApiKeysRequest(page_size=1)).api_keys[0]
    assert row.expire_time.ToMicroseconds() - new.create_time.ToMicroseconds() == 86_400 * 10**6


def test_a_named_rotation_is_done_once(world: World) -> None:
    id, _ = new_key(world)
    path, name = f"/v1/admin/keys/{id}/rotate", {"X_Hoonify_Idempotency_Key": f"rotate-{id}"}
    first = world.call("POST", path, {"overlap_seconds": 60}, **name)
    again = world.call("POST", path, {"overlap_seconds": 60}, **name)
    assert (first.status, again.text) == (200, first.text)
    other = world.call("POST", path, {"overlap_seconds": 61}, **name)
    assert_refused(other, 409, "idempotency_conflict")


def test_revocation_takes_effect_at_once_and_for_good(world: World) -> None:
    id, secret = new_key(world)
    assert world.call("GET", "/v1/instances", key=secret).status == 200
    first = world.call("POST", f"/v1/admin/keys/{id}/revoke")
    assert (first.status, first.body["id"]) == (200, id)
    assert world.call("GET", "/v1/instances", key=secret).status == 401
    assert world.call("POST", f"/v1/admin/keys/{id}/revoke").text == first.text
    assert_refused(world.call("POST", f"/v1/admin/keys/{id}/rotate"), 409, "conflict", "revoked or expired")


def test_nobody_rotates_to_scopes_it_lacks(world: World) -> None:
    id, _ = new_key(world)
    admin = world.key_for("hoon_sk_live", scopes=["keys:write"])
    reply = world.call("POST", f"/v1/admin/keys/{id}/rotate", key=admin)
    assert_refused(reply, 403, "forbidden_scope", "compute:read")
