"""Wrong input of every kind: a precise status, a sentence that names field, rule and value, and nothing half-done."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from tests.support.plane import Failure, Plane, eventually, failure_of, grpc_failure, pb, rest_failure
from tests.support.rpcs import RPCS

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9y9SYGOgcBlnK9Wj7oqOl0NkrH7R1T9vWm1Zu4a7Qe me@home"
INVALID = "INVALID_ARGUMENT"


class World:
    """A plane with one running and one ended machine."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.running = plane.rent(name="running")
        self.reserved = plane.rent(name="reserved", reservation={"seconds": 600}, max_duration={"seconds": 900})
        self.ended = plane.rent(name="ended")
        self.end = plane.terminate(self.ended.id)
        eventually(lambda: self.get(self.ended.id).HasField("gone_time"))
        key = pb.CreateSshKeyRequest(name="taken", public_key=SSH_KEY)
        self.ssh_key = plane.me.keys.CreateSshKey(key)
        self.budget = plane.me.budgets.CreateBudget(pb.CreateBudgetRequest(name="taken", limit={"units": 1000}))

    def get(self, id: str) -> Any:
        return self.plane.me.instances.GetInstance(pb.GetInstanceRequest(id=id))

    def census(self) -> Any:
        """Everything of the account that a call could change."""
        me = self.plane.me
        return (
            [(i.id, i.name, i.labels, i.state, i.expire_time) for i in self.instances()],
            {o.id for o in me.operations.ListOperations(pb.ListOperationsRequest(page_size=1000)).operations},
            list(me.keys.ListSshKeys(pb.ListSshKeysRequest()).ssh_keys),
            list(me.keys.ListApiKeys(pb.ListApiKeysRequest(page_size=1000)).api_keys),
            [(b.id, b.name, b.limit) for b in me.budgets.ListBudgets(pb.ListBudgetsRequest()).budgets],
            me.webhooks.ListWebhookEndpoints(pb.ListWebhookEndpointsRequest()),
            self.plane.operator.accounts.ListAccounts(pb.ListAccountsRequest(page_size=1000)),
        )

    def instances(self) -> list[Any]:
        return list(self.plane.me.instances.ListInstances(pb.ListInstancesRequest(page_size=1000)).instances)


@pytest.fixture(scope="module")
def world(shared_plane: Plane) -> World:
    return World(shared_plane)


@pytest.fixture
def unchanged(world: World) -> Iterator[World]:
    """The world, which is the same after the test."""
    before = world.census()
    yield world
    assert world.census() == before, "nothing half-done"


def _create(**fields: Any) -> dict[str, Any]:
    return {"offer_id": "local-cpu"} | fields


# (rpc, request, field, what the rule says, the value shown)
FIELDS: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("CreateInstance", {}, "target", "exactly one of offer_id and requirements", "none"),
    ("CreateInstance", _create(name="n" * 64), "name", "0 to 63", "nnn"),
    ("CreateInstance", _create(name="a\nb"), "name", "printable", "a"),
    ("CreateInstance", _create(name="nul\0"), "name", "printable", "nul"),
    ("CreateInstance", _create(labels={f"k{n}": "" for n in range(65)}), "labels", "at most 64", "65"),
    ("CreateInstance", _create(labels={"": "v"}), "labels", "1 to 63 characters", ""),
    ("CreateInstance", _create(labels={"k" * 64: "v"}), "labels", "1 to 63 characters", "kkk"),
    ("CreateInstance", _create(labels={"sp ace": "v"}), "labels", "[A-Za-z0-9._/-]", "sp ace"),
    ("CreateInstance", _create(labels={"k": "v" * 256}), "labels[k]", "at most 255", "vvv"),
    ("CreateInstance", _create(env={f"K{n}": "" for n in range(65)}), "env", "at most 64", "65"),
    ("CreateInstance", _create(env={"1A": ""}), "env", "not starting with a digit", "1A"),
    ("CreateInstance", _create(env={"A=B": ""}), "env", "letters, digits and underscores", "A=B"),
    ("CreateInstance", _create(env={"A": "x\0y"}), "env[A]", "NUL", "..."),
    ("CreateInstance", _create(env={"A": "x" * 32_768}), "env", "at most 32768 bytes", "32769"),
    ("CreateInstance", _create(image="i" * 1025), "image", "at most 1024", "1025"),
    ("CreateInstance", _create(image="a\tb"), "image", "printable", "a"),
    ("CreateInstance", _create(model="m"), "model", "LAUNCH_MODE_MODEL", "m"),
    ("CreateInstance", _create(launch_mode="LAUNCH_MODE_MODEL"), "model", "is required", ""),
    ("CreateInstance", _create(launch_mode=77), "launch_mode", "LAUNCH_MODE_SSH", "77"),
    ("CreateInstance", _create(disk_gb=-1), "disk_gb", "1 to 10000", "-1"),
    ("CreateInstance", _create(disk_gb=10_001), "disk_gb", "1 to 10000", "10001"),
    ("CreateInstance", _create(disk_gb=5_000), "disk_gb", "at most 1000", "5000"),
    ("CreateInstance", _create(ssh_public_keys=["garbage"]), "ssh_public_keys[0]", "OpenSSH", "garbage"),
    ("CreateInstance", _create(ssh_public_keys=[f'command="x" {SSH_KEY}']), "ssh_public_keys[0]", "options", "command"),
    ("CreateInstance", _create(ssh_public_keys=[f"{SSH_KEY}\n{SSH_KEY}"]), "ssh_public_keys[0]", "one OpenSSH", "ssh"),
    ("CreateInstance", _create(ssh_public_keys=[SSH_KEY] * 33), "ssh_public_keys", "at most 32", "33"),
    ("CreateInstance", _create(ssh_key_ids=["x"] * 33), "ssh_key_ids", "at most 32", "33"),
    ("CreateInstance", _create(reservation="59s"), "reservation", "from 60s", "59s"),
    ("CreateInstance", _create(reservation="-1s"), "reservation", "from 60s", "-1s"),
    ("CreateInstance", _create(reservation="315576000000s"), "reservation", "to 2592000s", "315576000000s"),
    ("CreateInstance", _create(reservation="600s", max_duration="300s"), "reservation", "at most 300s", "600s"),
    ("CreateInstance", _create(max_duration="1s"), "max_duration", "from 60s", "1s"),
    ("CreateInstance", _create(idle_timeout="0s"), "idle_timeout", "from 60s", "0s"),
    ("CreateInstance", _create(request_id="with space"), "request_id", "visible ASCII", "with space"),
    ("CreateInstance", _create(request_id="é"), "request_id", "visible ASCII", ""),
    ("CreateInstance", _create(request_id="r" * 129), "request_id", "1 to 128", "rrr"),
    (
        "CreateInstance", _create(max_price_per_hour={"currency_code": "EUR", "units": 1}),
        "max_price_per_hour.currency_code", "USD", "EUR",
    ),
    ("CreateInstance", _create(max_price_per_hour={"units": -1}), "max_price_per_hour", "not be negative", "-1"),
    ("CreateInstance", _create(max_price_per_hour={"nanos": 10**9}), "max_price_per_hour", "below 1,000,000,000", "0."),
    ("CreateInstance", _create(max_price_per_hour={"units": 2**62}), "max_price_per_hour", "at most", str(2**62)),
    ("CreateInstance", {"requirements": {"gpu_types": ["abacus"]}}, "requirements.gpu_types[0]", "GPU type", "abacus"),
    ("CreateInstance", {"requirements": {"gpu_types": ["cpu"] * 17}}, "requirements.gpu_types", "at most 16", "17"),
    ("CreateInstance", {"requirements": {"regions": ["mars"]}}, "requirements.regions", "na, eu, apac", "mars"),
    ("CreateInstance", {"requirements": {"gpu_count": -1}}, "requirements.gpu_count", "0 to 64", "-1"),
    ("CreateInstance", {"requirements": {"gpu_count": 65}}, "requirements.gpu_count", "0 to 64", "65"),
    ("CreateInstance", {"requirements": {"min_vram_gb": -4}}, "requirements.min_vram_gb", "from 0", "-4"),
    ("CreateInstance", {"requirements": {"min_reliability": 1.5}}, "requirements.min_reliability", "0 to 1", "1.5"),
    ("CreateInstance", {"requirements": {"min_reliability": "NaN"}}, "requirements.min_reliability", "0 to 1", "nan"),
    ("CreateInstance", {"requirements": {"min_cuda_version": "Infinity"}}, "requirements.min_cuda_version", "0", "inf"),
    ("CreateInstance", {"requirements": {"tier": 9}}, "requirements.tier", "TIER_ON_DEMAND", "9"),
    ("ListInstances", {"page_size": -1}, "page_size", "not be negative", "-1"),
    ("ListInstances", {"states": [99]}, "states[0]", "state of an instance", "99"),
    ("ListInstances", {"states": [0]}, "states[0]", "state of an instance", "0"),
    ("ListInstances", {"states": [1] * 99}, "states", "at most", "99"),
    ("ListInstances", {"label_selector": "=x"}, "label_selector", "key=value", "=x"),
    ("ListInstances", {"label_selector": "a,,b"}, "label_selector", "key=value", "a,,b"),
    ("ListInstances", {"label_selector": ",".join(["a"] * 17)}, "label_selector", "at most 16", "17"),
    ("ListOperations", {"state": 42}, "state", "state of an operation", "42"),
    ("ListOperations", {"page_size": -(2**31)}, "page_size", "not be negative", "-2147483648"),
    ("ListOffers", {"order_by": "luck"}, "order_by", "price_per_hour", "luck"),
    ("ListOffers", {"order_by": "price_per_hour sideways"}, "order_by", "price_per_hour", "sideways"),
    ("ListSshKeys", {"page_size": -1}, "page_size", "not be negative", "-1"),
    ("WaitOperation", {"id": "x", "timeout": "301s"}, "timeout", "0s to 300s", "301s"),
    ("WaitOperation", {"id": "x", "timeout": "-1s"}, "timeout", "0s to 300s", "-1s"),
    ("CreateSshKey", {"name": "", "public_key": SSH_KEY}, "name", "1 to 63", ""),
    ("CreateSshKey", {"name": "k"}, "public_key", "OpenSSH", ""),
    ("CreateSshKey", {"name": "k", "public_key": "ssh-rsa AAAA"}, "public_key", "OpenSSH", "ssh-rsa AAAA"),
    ("CreateSshKey", {"name": "k", "public_key": "-----BEGIN OPENSSH PRIVATE KEY-----"}, "public_key", "OpenSSH", ""),
    ("CreateApiKey", {"name": ""}, "name", "1 to 63", ""),
    ("CreateApiKey", {"name": "k", "scopes": ["root"]}, "scopes", "must be among", "root"),
    ("CreateApiKey", {"name": "k", "scopes": ["a"] * 65}, "scopes", "at most 64", "65"),
    ("CreateApiKey", {"name": "k", "expire_time": "2020-01-01T00:00:00Z"}, "expire_time", "in the future", ""),
    ("CreateBudget", {"name": "b"}, "limit", "is required", ""),
    ("CreateBudget", {"name": "b", "limit": {}}, "limit", "more than zero", "0"),
    ("CreateBudget", {"name": "b", "limit": {"units": -5}}, "limit", "not be negative", "-5"),
    ("CreateBudget", {"name": "b", "limit": {"units": 1}, "period": 55}, "period", "HOUR", "55"),
    ("CreateWebhookEndpoint", {}, "url", "must begin with https://", ""),
    ("CreateWebhookEndpoint", {"url": "http://a.example"}, "url", "must begin with https://", "http://a.example"),
    ("CreateWebhookEndpoint", {"url": "https://127.1/x"}, "url", "loopback or private", "127.1"),
    ("CreateWebhookEndpoint", {"url": "https://169.254.169.254/"}, "url", "metadata", "169.254"),
    ("CreateWebhookEndpoint", {"url": "https://a:secret@b.example/"}, "url", "user name or password", "..."),
    ("CreateWebhookEndpoint", {"url": "https://" + "a" * 2041}, "url", "at most 2048", "2049"),
    ("CreateWebhookEndpoint", {"url": "https://a.invalid", "dialect": "x"}, "dialect", "must be among", "x"),
    ("CreateWebhookEndpoint", {"url": "https://a.invalid", "event_types": ["x"]}, "event_types", "instance.c", "x"),
    ("CreateWebhookEndpoint", {"event_types": ["x"] * 65}, "event_types", "at most 64", "65"),
    ("UpdateWebhookEndpoint", {"id": "x"}, "enabled", "is required", ""),
    ("ListWebhookEndpoints", {"page_size": -1}, "page_size", "not be negative", "-1"),
    ("QueryUsage", {"bucket": 9}, "bucket", "HOUR", "9"),
    ("QueryUsage", {"group_by": 9}, "group_by", "INSTANCE", "9"),
    (
        "QueryUsage", {"start_time": "2026-02-01T00:00:00Z", "end_time": "2026-01-01T00:00:00Z"},
        "start_time", "not lie after end_time", "2026-02-01T00:00:00Z",
    ),
    (
        "QueryUsage", {"bucket": "USAGE_BUCKET_SIZE_HOUR", "start_time": "1971-01-01T00:00:00Z"},
        "start_time", "at most 10000 buckets of one hour before now", "1971-01-01T00:00:00Z",
    ),
    ("ListLedgerEntries", {"page_size": -1}, "page_size", "not be negative", "-1"),
    ("CreateAccount", {"name": "n" * 64}, "name", "1 to 63", "nnn"),
    ("CreateAccount", {"name": "a", "currency": "usd"}, "currency", "ISO 4217", "usd"),
    ("CreateAccount", {"name": "a", "max_instances": -1}, "max_instances", "1 to 100000", "-1"),
    ("CreateAccount", {"name": "a", "max_instances": 100_001}, "max_instances", "1 to 100000", "100001"),
]  # fmt: skip


def _over_grpc(world: World, name: str, fields: dict[str, Any]) -> Failure:
    caller = world.plane.operator if RPCS[name].service == "Accounts" else world.plane.me
    request = json_format.ParseDict(fields, RPCS[name].request())
    return failure_of(lambda: RPCS[name].grpc(caller)(request))


@pytest.mark.parametrize(
    ("name", "fields", "field", "rule", "value"), FIELDS, ids=[f"{n}-{f}-{i}" for i, (n, _, f, *_) in enumerate(FIELDS)]
)
def test_a_wrong_field(unchanged: World, name: str, fields: dict[str, Any], field: str, rule: str, value: str) -> None:
    failure = _over_grpc(unchanged, name, fields)
    assert (failure.code, failure.reason) == (INVALID, "INVALID_FIELD"), failure
    said = failure.metadata or {}
    assert said["field"] == field
    assert rule in said["rule"]
    assert value in said["value"]
    assert len(said["value"]) <= 110
    assert failure.message.startswith(f"{field} {said['rule']}"), "the sentence names field and rule"
    assert "; got " in failure.message


FAR = 2**62


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("CreateApiKey", lambda: pb.CreateApiKeyRequest(name="k", expire_time={"seconds": FAR})),
        ("CreateApiKey", lambda: pb.CreateApiKeyRequest(name="k", expire_time={"seconds": -FAR})),
        ("CreateInstance", lambda: pb.CreateInstanceRequest(offer_id="local-cpu", reservation={"seconds": FAR})),
        ("CreateInstance", lambda: pb.CreateInstanceRequest(offer_id="local-cpu", idle_timeout={"seconds": -FAR})),
        ("QueryUsage", lambda: pb.QueryUsageRequest(end_time={"seconds": FAR})),
        ("QueryUsage", lambda: pb.QueryUsageRequest(start_time={"seconds": -FAR})),
        ("GetCostSummary", lambda: pb.GetCostSummaryRequest(start_time={"seconds": FAR}, end_time={"seconds": FAR})),
        ("GetCostSummary", lambda: pb.GetCostSummaryRequest(end_time={"seconds": -FAR})),
        ("WaitOperation", lambda: pb.WaitOperationRequest(id="x", timeout={"seconds": FAR})),
        ("ExtendInstance", lambda: pb.ExtendInstanceRequest(id="x", duration={"seconds": FAR})),
        ("CreateBudget", lambda: pb.CreateBudgetRequest(name="b", limit={"units": FAR})),
    ],
)
def test_times_that_no_calendar_has(unchanged: World, name: str, build: Callable[[], Any]) -> None:
    """Native clients can send what JSON cannot say."""
    failure = failure_of(lambda: RPCS[name].grpc(unchanged.plane.me)(build()))
    assert (failure.code, failure.reason) == (INVALID, "INVALID_FIELD"), failure


NOT_FOUND = ("NOT_FOUND", "RESOURCE_NOT_FOUND")
IDS = [
    "GetInstance", "UpdateInstance", "TerminateInstance", "WatchInstance", "GetConnection", "GetDiagnostics",
    "GetInstanceLogs", "GetOperation", "WaitOperation", "CancelOperation", "WatchOperation", "GetOffer", "GetSshKey",
    "DeleteSshKey", "GetApiKey", "RevokeApiKey", "GetBudget", "UpdateBudget", "DeleteBudget", "GetAccount",
    "CloseAccount", "GetWebhookEndpoint", "DeleteWebhookEndpoint",
]  # fmt: skip


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("id", ["", "inst_0", "x" * 10_000, "nul\0", "✓", "../../etc", "' OR 1=1 --", "%"])
def test_ids_that_do_not_exist(unchanged: World, name: str, id: str) -> None:
    failure = _over_grpc(unchanged, name, {"id": id})
    assert (failure.code, failure.reason) == NOT_FOUND
    assert (failure.metadata or {})["resource"]
    assert len(failure.message) < 500


# (why, what is asked, code, reason, metadata that must be there)
STATES: list[tuple[str, Callable[[World], Any], str, str, set[str]]] = [
    (
        "an unknown offer", lambda w: w.plane.create(offer_id="local-none"), *NOT_FOUND, {"resource", "id"}
    ),
    (
        "an offer of a provider that is not there", lambda w: w.plane.create(offer_id="vastai-1"),
        *NOT_FOUND, {"resource", "id"},
    ),
    (
        "an offer dearer than the cap", lambda w: w.plane.create(max_price_per_hour={"nanos": 1}),
        "FAILED_PRECONDITION", "OFFER_TOO_DEAR", {"offer_id", "price", "max_price"},
    ),
    (
        "requirements that nothing meets", lambda w: w.plane.create(requirements={"min_vram_gb": 9999}),
        "FAILED_PRECONDITION", "NO_MATCHING_OFFER", {"requirements"},
    ),
    (
        "requirements that nothing meets at this price",
        lambda w: w.plane.create(requirements={"gpu_types": ["cpu"]}, max_price_per_hour={"nanos": 1}),
        "FAILED_PRECONDITION", "NO_MATCHING_OFFER", {"requirements"},
    ),
    (
        "an SSH key that does not exist", lambda w: w.plane.create(ssh_key_ids=["sshkey_none"]),
        *NOT_FOUND, {"resource", "id"},
    ),
    (
        "a taken name of an SSH key",
        lambda w: w.plane.me.keys.CreateSshKey(pb.CreateSshKeyRequest(name="taken", public_key=SSH_KEY)),
        "ALREADY_EXISTS", "RESOURCE_EXISTS", {"resource", "field", "value"},
    ),
    (
        "a taken name of a budget",
        lambda w: w.plane.me.budgets.CreateBudget(pb.CreateBudgetRequest(name="taken", limit={"units": 1})),
        "ALREADY_EXISTS", "RESOURCE_EXISTS", {"resource", "field", "value"},
    ),
    (
        "more time without a reservation", lambda w: _extend(w, w.running.id, 60),
        "FAILED_PRECONDITION", "STATE_CONFLICT", {"resource", "id", "state"},
    ),
    (
        "more time for the dead", lambda w: _extend(w, w.ended.id, 60),
        "FAILED_PRECONDITION", "STATE_CONFLICT", {"resource", "id", "state"},
    ),
    (
        "more time than the hard maximum", lambda w: _extend(w, w.reserved.id, 301),
        "OUT_OF_RANGE", "MAX_DURATION_EXCEEDED", {"hard_expire_time", "wanted"},
    ),
    (
        "the connection of the dead",
        lambda w: w.plane.me.instances.GetConnection(pb.GetConnectionRequest(id=w.ended.id)),
        "FAILED_PRECONDITION", "STATE_CONFLICT", {"resource", "id", "state"},
    ),
    (
        "the log of the dead",
        lambda w: w.plane.me.instances.GetInstanceLogs(pb.GetInstanceLogsRequest(id=w.ended.id)),
        "FAILED_PRECONDITION", "STATE_CONFLICT", {"resource", "id", "state"},
    ),
    (
        "too many labels in the sum",
        lambda w: [
            w.plane.me.instances.UpdateInstance(
                pb.UpdateInstanceRequest(id=w.ended.id, labels={f"{part}{n}": "" for n in range(40)})
            )
            for part in ("a", "b")
        ],
        INVALID, "INVALID_FIELD", {"field", "rule", "value"},
    ),
    (
        "a page token of another query",
        lambda w: w.plane.me.instances.ListInstances(
            pb.ListInstancesRequest(
                active_only=True,
                page_token=w.plane.me.instances.ListInstances(pb.ListInstancesRequest(page_size=1)).next_page_token,
            )
        ),
        INVALID, "INVALID_PAGE_TOKEN", {"field"},
    ),
    (
        "a page token that was changed",
        lambda w: w.plane.me.instances.ListInstances(
            pb.ListInstancesRequest(
                page_token=w.plane.me.instances.ListInstances(pb.ListInstancesRequest(page_size=1)).next_page_token[:-3]
            )
        ),
        INVALID, "INVALID_PAGE_TOKEN", {"field"},
    ),
]  # fmt: skip


def _extend(world: World, id: str, seconds: int) -> Any:
    request = pb.ExtendInstanceRequest(id=id, duration={"seconds": seconds})
    return world.plane.me.instances.ExtendInstance(request)


@pytest.mark.parametrize(
    ("ask", "code", "reason", "metadata"), [case[1:] for case in STATES], ids=[case[0] for case in STATES]
)
def test_what_the_state_of_the_world_refuses(
    world: World, ask: Callable[[World], Any], code: str, reason: str, metadata: set[str]
) -> None:
    before = world.census()[1:]
    failure = failure_of(lambda: ask(world))
    assert (failure.code, failure.reason) == (code, reason), failure
    assert metadata <= set(failure.metadata or {})
    assert failure.message
    assert world.census()[1:] == before


def test_an_operation_that_cannot_be_cancelled(world: World) -> None:
    me, finished = world.plane.me, world.end
    again = me.operations.CancelOperation(pb.CancelOperationRequest(id=finished.id))
    assert again == finished, "a finished operation is returned unchanged"


def test_what_is_harmless_is_not_refused(world: World) -> None:
    me = world.plane.me
    assert me.instances.ListInstances(pb.ListInstancesRequest(page_size=2**31 - 1)).instances
    again = me.instances.TerminateInstance(pb.TerminateInstanceRequest(id=world.ended.id, force=True))
    assert again.id == world.end.id


def test_an_expired_reservation(world: World) -> None:
    """Its end is set to the past behind the plane's back: the shortest reservation is a minute."""
    plane = world.plane
    instance = plane.rent(reservation={"seconds": 60})
    with closing(sqlite3.connect(plane.state / "gpuplane.db", timeout=10)) as database, database:
        database.execute("UPDATE instances SET expire_at = 1 WHERE id = ?", (instance.id,))
        database.execute("UPDATE work SET due_at = 1 WHERE id = ?", (instance.id,))
    eventually(lambda: world.get(instance.id).state == pb.INSTANCE_STATE_TERMINATED, 20)
    assert world.get(instance.id).state_reason == "LEASE_EXPIRED"
    failure = failure_of(lambda: _extend(world, instance.id, 60))
    assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "STATE_CONFLICT")
    assert (failure.metadata or {})["state"] == "TERMINATED"


# Bytes that are no message


def _raw(world: World, body: bytes, path: str = "/gpuplane.v1.Instances/CreateInstance") -> Failure:
    call = world.plane.channel.unary_unary(path)
    with pytest.raises(grpc.RpcError) as refused:
        call(body, timeout=30, metadata=(("authorization", f"Bearer {world.plane.key}"),))
    return grpc_failure(refused.value)


@pytest.mark.parametrize(
    "body",
    [b"\x12\x02\xff\xfe", b"\xff" * 40, b"\x12\x05ab", b"\x1a\x04\x0a\x02\xc3\x28"],
    ids=["utf8", "ff", "cut", "map"],
)
def test_malformed_protobuf(unchanged: World, body: bytes) -> None:
    failure = _raw(unchanged, body)
    assert (failure.code, failure.reason) == (INVALID, "INVALID_FIELD")
    assert "CreateInstanceRequest" in failure.message


def test_a_message_over_4_mib(unchanged: World) -> None:
    body = pb.CreateInstanceRequest(offer_id="local-cpu", image="x" * (4 << 20)).SerializeToString()
    failure = _raw(unchanged, body)
    assert (failure.code, failure.reason) == ("RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE")
    assert str(len(body)) in failure.message
    assert str(4 << 20) in failure.message
    assert _raw(unchanged, bytes(16 << 20)).code == "RESOURCE_EXHAUSTED", "gRPC itself refuses what is far larger"
    below = _over_grpc(unchanged, "CreateInstance", _create(image="x" * ((4 << 20) - 100)))
    assert (below.code, (below.metadata or {})["field"]) == (INVALID, "image")


POST = "/gpuplane/v1/instances"
BODIES: list[tuple[str, bytes, int, str]] = [
    ("no JSON", b"offer_id=local-cpu", 400, "INVALID_FIELD"),
    ("cut off", b'{"offer_id": "local-cpu"', 400, "INVALID_FIELD"),
    ("an array", b'[{"offer_id": "local-cpu"}]', 400, "INVALID_FIELD"),
    ("a string", b'"local-cpu"', 400, "INVALID_FIELD"),
    ("trailing garbage", b'{"offer_id": "local-cpu"} x', 400, "INVALID_FIELD"),
    ("a wrong type", b'{"offer_id": "local-cpu", "disk_gb": "many"}', 400, "INVALID_FIELD"),
    ("a fraction", b'{"offer_id": "local-cpu", "disk_gb": 1.5}', 400, "INVALID_FIELD"),
    ("too large a number", b'{"offer_id": "local-cpu", "disk_gb": 99999999999}', 400, "INVALID_FIELD"),
    ("an object for a string", b'{"offer_id": {"a": 1}}', 400, "INVALID_FIELD"),
    ("an unknown enum", b'{"offer_id": "local-cpu", "launch_mode": "FAST"}', 400, "INVALID_FIELD"),
    ("a bad duration", b'{"offer_id": "local-cpu", "reservation": "soon"}', 400, "INVALID_FIELD"),
    ("both targets", b'{"offer_id": "local-cpu", "requirements": {}}', 400, "INVALID_FIELD"),
    ("invalid UTF-8", b'{"offer_id": "local-cpu", "name": "\xff\xfe"}', 400, "INVALID_FIELD"),
    ("overlong UTF-8", b'{"offer_id": "local-cpu", "name": "\xc0\xaf"}', 400, "INVALID_FIELD"),
    ("invalid UTF-8 in a key", b'{"offer_id": "local-cpu", "labels": {"\xff": "x"}}', 400, "INVALID_FIELD"),
    ("a lone surrogate", b'{"offer_id": "local-cpu", "name": "\\ud800"}', 400, "INVALID_FIELD"),
    ("deep nesting", b'{"requirements":' * 5000 + b"{}" + b"}" * 5000, 400, "INVALID_FIELD"),
    ("deep arrays", b"[" * 100_000, 400, "INVALID_FIELD"),
    ("nothing", b"", 400, "INVALID_FIELD"),
    ("over 4 MiB", b'{"image": "' + b"x" * (4 << 20) + b'"}', 413, "MESSAGE_TOO_LARGE"),
    ("far over 4 MiB", b'{"image": "' + b"x" * (20 << 20) + b'"}', 413, "MESSAGE_TOO_LARGE"),
]


@pytest.mark.parametrize(("body", "status", "reason"), [case[1:] for case in BODIES], ids=[case[0] for case in BODIES])
def test_bodies_that_are_no_request(unchanged: World, body: bytes, status: int, reason: str) -> None:
    answer = unchanged.plane.rest("POST", POST, body, content_type="application/json")
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    failure = rest_failure(answer)
    assert failure.reason == reason
    assert failure.message
    assert len(failure.message) < 1000


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/gpuplane/v1/instances?page_size=many", 400),
        ("GET", "/gpuplane/v1/instances?page_size=99999999999", 400),
        ("GET", "/gpuplane/v1/instances?unknown=1", 400),
        ("GET", "/gpuplane/v1/instances?states=FAST", 400),
        ("GET", "/gpuplane/v1/instances?page_size=-1", 400),
        ("GET", "/gpuplane/v1/instances?provider=%ff%fe", 400),
        ("GET", "/gpuplane/v1/instances/%ff", 400),
        ("GET", "/gpuplane/v1/instances/a%2Fb", 404),
        ("GET", "/gpuplane/v1/instances/..%2f..%2fmetrics", 404),
        ("GET", "/gpuplane/v1/instances/" + "x" * 4000, 404),
        ("DELETE", "/gpuplane/v1/instances/x", 404),
        ("PUT", "/gpuplane/v1/instances", 404),
        ("GET", "/gpuplane/v1/instances/x/y/z", 404),
        ("GET", "/gpuplane/v2/instances", 404),
    ],
)
def test_paths_and_queries(unchanged: World, method: str, path: str, status: int) -> None:
    answer = unchanged.plane.rest(method, path)
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json["message"]
    assert rest_failure(answer).reason


def test_headers_without_end(unchanged: World) -> None:
    """Refused before anybody knows whose path it is, so in the shape of no one's."""
    answer = unchanged.plane.rest("GET", "/gpuplane/v1/instances?" + "a=1&" * 20_000)
    assert (answer.status, answer.json["code"]) == (431, "INVALID_FIELD")
    assert "larger than 60 KiB" in answer.json["error"]


def test_unknown_fields_in_a_body_are_ignored(world: World) -> None:
    """Envoy's transcoder knows no other way; an unknown query parameter is refused."""
    answer = world.plane.rest("POST", POST, {"offer_id": "local-cpu", "from_a_newer_client": 1})
    assert answer.status == 200
    world.plane.terminate(answer.json["instance_id"])


# Request ids


def _wish(request_id: str, **fields: Any) -> Any:
    return pb.CreateInstanceRequest(offer_id="local-cpu", request_id=request_id, **fields)


def test_a_repeated_create_rents_once(world: World) -> None:
    me, id = world.plane.me, str(uuid.uuid4())
    before = len(world.instances())
    first = me.instances.CreateInstance(_wish(id, name="once", labels={"a": "1", "b": "2"}))
    world.plane.wait(first.id)
    again = me.instances.CreateInstance(_wish(id, name="once", labels={"b": "2", "a": "1"}))
    assert (again.id, again.state) == (first.id, pb.OPERATION_STATE_SUCCEEDED)
    over_rest = world.plane.rest(
        "POST", POST, {"request_id": id, "labels": {"a": "1", "b": "2"}, "name": "once", "offer_id": "local-cpu"}
    )
    assert over_rest.json["id"] == first.id
    failure = failure_of(lambda: me.instances.CreateInstance(_wish(id, name="twice")))
    assert (failure.code, failure.reason) == ("ABORTED", "IDEMPOTENCY_MISMATCH")
    assert (failure.metadata or {})["request_id"] == id
    assert id in failure.message
    assert len(world.instances()) == before + 1
    world.plane.terminate(first.instance_id)
    assert me.instances.CreateInstance(_wish(id, name="once", labels={"a": "1", "b": "2"})).id == first.id


def test_one_request_id_twenty_times_at_once(world: World) -> None:
    id, before = str(uuid.uuid4()), len(world.instances())
    bodies = json.dumps({"offer_id": "local-cpu", "request_id": id}).encode()
    with ThreadPoolExecutor(20) as pool:
        native = [pool.submit(world.plane.me.instances.CreateInstance, _wish(id)) for _ in range(10)]
        rest = [pool.submit(world.plane.rest, "POST", POST, bodies) for _ in range(10)]
    ids = {future.result().id for future in native} | {future.result().json["id"] for future in rest}
    assert len(ids) == 1
    assert len(world.instances()) == before + 1
    operation = world.plane.wait(ids.pop())
    assert operation.state == pb.OPERATION_STATE_SUCCEEDED
    assert len(operation.attempts) == 1
    running = [i for i in world.instances() if i.state == pb.INSTANCE_STATE_RUNNING]
    assert len(world.plane.machines()) == len(running)
    world.plane.terminate(operation.instance_id)


def test_twenty_different_bodies_under_one_request_id(world: World) -> None:
    id, before = str(uuid.uuid4()), len(world.instances())

    def ask(n: int) -> str:
        try:
            return str(world.plane.me.instances.CreateInstance(_wish(id, name=f"n{n}")).instance_id)
        except grpc.RpcError as error:
            return grpc_failure(error).reason

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    assert answers.count("IDEMPOTENCY_MISMATCH") == 19
    assert len(world.instances()) == before + 1
    world.plane.terminate(next(a for a in answers if a != "IDEMPOTENCY_MISMATCH"))


def test_request_ids_of_other_methods(world: World) -> None:
    """A request id belongs to a method; a repeat of each is one change."""
    me, id = world.plane.me, str(uuid.uuid4())
    extended = [
        me.instances.ExtendInstance(
            pb.ExtendInstanceRequest(id=world.reserved.id, duration={"seconds": 60}, request_id=id)
        ).expire_time
        for _ in range(3)
    ]
    assert len({e.seconds for e in extended}) == 1
    assert extended[0].seconds == world.reserved.expire_time.seconds + 60
    keys = {me.keys.CreateSshKey(pb.CreateSshKeyRequest(name="i", public_key=SSH_KEY, request_id=id)).id for _ in "ab"}
    assert len(keys) == 1
    failure = failure_of(
        lambda: me.instances.ExtendInstance(
            pb.ExtendInstanceRequest(id=world.reserved.id, duration={"seconds": 61}, request_id=id)
        )
    )
    assert failure.reason == "IDEMPOTENCY_MISMATCH"


def test_a_refused_request_id_can_be_used_again(world: World) -> None:
    """A refusal records nothing: the corrected request may keep its id."""
    id = str(uuid.uuid4())
    assert failure_of(lambda: world.plane.me.instances.CreateInstance(_wish(id, disk_gb=5000))).code == INVALID
    made = world.plane.me.instances.CreateInstance(_wish(id))
    world.plane.terminate(made.instance_id)


def test_a_full_account(world: World) -> None:
    operator = world.plane.operator
    account = operator.accounts.CreateAccount(pb.CreateAccountRequest(name="small", max_instances=1))
    secret = operator.keys.CreateApiKey(pb.CreateApiKeyRequest(name="k", account_id=account.id)).secret
    caller = world.plane.caller(secret)
    first = world.plane.create(caller)
    failure = failure_of(lambda: world.plane.create(caller))
    assert (failure.code, failure.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert failure.metadata == {"resource": "instances", "limit": "1"}
    caller.budgets.CreateBudget(pb.CreateBudgetRequest(name="tiny", limit={"nanos": 1}))
    world.plane.terminate(first.instance_id, caller)
    failure = failure_of(lambda: world.plane.create(caller))
    assert (failure.code, failure.reason) == ("RESOURCE_EXHAUSTED", "BUDGET_EXHAUSTED")
    assert {"budget_id", "limit", "spent", "held", "wanted"} <= set(failure.metadata or {})
