"""Every documented constraint violated through the real Envoy: Hoonify's shape, the right status, nothing half-done."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.api.dialects.hoonify import HOONIFY
from controlplane.api.dialects.hoonify.errors import ERRORS
from tests.dialects.conftest import key_of, ways
from tests.dialects.runner import Reply, Way
from tests.support.plane import Caller, Plane, pb

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9y9SYGOgcBlnK9Wj7oqOl0NkrH7R1T9vWm1Zu4a7Qe me@home"
CODES = {code for _, code in ERRORS.values()}
LEAKS = re.compile(r"Traceback|controlplane|sqlite|/home|/work|\.py\b|0x[0-9a-f]{6}")


class World:
    """The dialect's port, a key with every scope, and instances of this account and of a stranger."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.way: Way = ways(plane, HOONIFY)[0]
        self.main: Way = ways(plane, HOONIFY)[1]
        self.key = key_of(plane, HOONIFY)
        self.own = plane.rent(name="hoonify").id
        self.stranger = plane.new_account("stranger")
        self.foreign = plane.rent(self.stranger).id
        self.foreign_key = self.stranger.key_id

    def call(
        self, method: str, path: str, body: object = None, *, key: str | None = None, main: bool = False, **headers: str
    ) -> Reply:
        """One call; a body that is no bytes is sent as JSON."""
        key = self.key if key is None else key
        sent = {"Authorization": f"Bearer {key}"} if key else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return (self.main if main else self.way).call(method, path, sent, raw)

    def key_for(self, format: str, caller: Caller | None = None, **fields: Any) -> str:
        """A new key."""
        request = pb.CreateApiKeyRequest(name="k", key_format=format, **fields)
        return str((caller or self.plane.me).keys.CreateApiKey(request).secret)

    def census(self) -> Any:
        """What a call could change."""
        me = self.plane.me
        rows = me.instances.ListInstances(pb.ListInstancesRequest(page_size=1000)).instances
        keys = me.keys.ListApiKeys(pb.ListApiKeysRequest(page_size=1000)).api_keys
        return [(i.id, i.state, i.expire_time) for i in rows], [(k.id, k.expire_time, k.revoke_time) for k in keys]


@pytest.fixture(scope="module")
def world(plane: Plane) -> Iterator[World]:
    world = World(plane)
    yield world
    plane.terminate(world.own)
    plane.terminate(world.foreign, world.stranger)


@pytest.fixture
def unchanged(world: World) -> Iterator[World]:
    before = world.census()
    yield world
    assert world.census() == before, "nothing half-done"


def assert_refused(reply: Reply, status: int, code: str, words: str = "") -> None:
    """The shape that every refusal has."""
    assert reply.status == status, reply
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]
    assert not [name for name in reply.headers if name.startswith(("grpc-", "x-http-", "x-envoy-"))]
    error = reply.body.pop("error")
    assert set(error) == {"type", "code", "message"}
    assert error["code"] == code in CODES
    assert words in error["message"], error
    assert not LEAKS.search(error["message"])


def wish(**fields: Any) -> dict[str, Any]:
    return {"sku": "cpu", "gpus": 1} | fields


# (body, words of the sentence)
WISHES: list[tuple[Any, str]] = [
    ({}, "sku is required"),
    ({"gpus": 1}, "sku is required"),
    (wish(sku=""), "sku is required"),
    (wish(sku="h200"), "sku must be an SKU of the GPU catalogue"),
    (wish(sku="H200-141"), "sku must be an SKU"),
    (wish(sku="x" * 5000), "sku must be an SKU"),
    (wish(sku=7), "sku"),
    (wish(sku=None), "sku is required"),
    ({"sku": "cpu"}, "gpus must be one of 1, 2, 4, 8; got '0'"),
    (wish(gpus=0), "gpus must be one of"),
    (wish(gpus=-1), "gpus must be one of"),
    (wish(gpus=3), "gpus must be one of"),
    (wish(gpus=16), "gpus must be one of"),
    (wish(gpus=2), "gpus must be a configuration of cpu"),
    (wish(gpus=1.5), "gpus"),
    (wish(gpus=2**40), "gpus"),
    (wish(gpus="many"), "gpus"),
    (wish(gpus=[1]), ""),
    (wish(pool="us"), "pool must be one of na, eu, apac"),
    (wish(pool="NA"), "pool must be one of"),
    (wish(pool=3), "pool"),
    (wish(duration_hours=0), "duration_hours must be more than 0"),
    (wish(duration_hours=-4), "duration_hours must be more than 0"),
    (wish(duration_hours=0.001), "duration_hours must be at least 60 seconds"),
    (wish(duration_hours=168.01), "at most 168"),
    (wish(duration_hours=720), "at most 168"),
    (wish(duration_hours="NaN"), "duration_hours must be more than 0"),
    (wish(duration_hours="Infinity"), "at most 168"),
    (wish(duration_hours="4 hours"), "duration_hours"),
    (wish(duration_hours=True), "duration_hours"),
    (wish(image="i" * 1025), "image must be at most 1024"),
    (wish(image="a\tb"), "image must be printable"),
    (wish(image={"name": "x"}), ""),
    (wish(ssh_keys=["garbage"]), "ssh_keys[0] must be one OpenSSH public key"),
    (wish(ssh_keys=[SSH_KEY, f'command="x" {SSH_KEY}']), "ssh_keys[1] must be one OpenSSH public key without options"),
    (wish(ssh_keys=[f"{SSH_KEY}\n{SSH_KEY}"]), "ssh_keys[0] must be one"),
    (wish(ssh_keys=["-----BEGIN OPENSSH PRIVATE KEY-----"]), "ssh_keys[0] must be one"),
    (wish(ssh_keys=[SSH_KEY] * 33), "ssh_keys must have at most 32"),
    (wish(ssh_keys=[7]), "ssh_keys"),
    (wish(labels={f"k{n}": "v" for n in range(65)}), "labels must have at most 64"),
    (wish(labels={"": "v"}), "labels keys must be 1 to 63"),
    (wish(labels={"k" * 64: "v"}), "labels keys must be 1 to 63"),
    (wish(labels={"k": "v" * 256}), "labels[k] must be at most 255"),
    (wish(labels={"k": 1}), "labels"),
    (wish(labels={"k": {"nested": "v"}}), ""),
    (wish(labels=["a"]), ""),
    (b"", "sku is required"),
    (b"{", "the request is malformed: "),
    (b"not json", "the request is malformed: "),
    (b'{"sku": "cpu", "gpus": 1} trailing', "the request is malformed: "),
    (b'["cpu", 1]', "the request is malformed: "),
    (b'"cpu"', "the request is malformed: "),
    (b'{"sku": "\xff\xfe"}', ""),
    (b"\x1f\x8b\x08\x00", "the request is malformed: "),
    (b"[" * 200, "the request is malformed: "),
    (b"sku=cpu&gpus=1", "the request is malformed: "),
]


@pytest.mark.parametrize(("body", "words"), WISHES, ids=range(len(WISHES)))
def test_a_wrong_wish(unchanged: World, body: Any, words: str) -> None:
    assert_refused(unchanged.call("POST", "/v1/instances", body), 400, "invalid_request", words)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"x_hoonify_pool": "mars"}, "pool must be one of na, eu, apac; got 'mars'"),
        ({"x_hoonify_pool_fallback": "anywhere"}, "X-Hoonify-Pool-Fallback must be strict or nearest"),
        ({"x_hoonify_pool_fallback": ""}, "X-Hoonify-Pool-Fallback must be strict or nearest"),
        ({"x_hoonify_idempotency_key": "k" * 129}, "X-Hoonify-Idempotency-Key must be 1 to 128 visible ASCII"),
        ({"x_hoonify_idempotency_key": "with space"}, "X-Hoonify-Idempotency-Key must be"),
    ],
)
def test_a_wrong_header(unchanged: World, headers: dict[str, str], words: str) -> None:
    assert_refused(unchanged.call("POST", "/v1/instances", wish(), **headers), 400, "invalid_request", words)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("status=running", "status must be among provisioning, starting, ready"),
        ("status=READY", "status must be among"),
        ("status=ready,,starting", "status must be among"),
        ("limit=0", "limit must be from 1 to 1000"),
        ("limit=-1", "limit must be from 1 to 1000"),
        ("limit=1001", "limit must be from 1 to 1000"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=99999999999", "limit"),
        ("after=inst_1", "after must be the id of an instance"),
        ("after=inst_' OR 1=1 --".replace(" ", "%20"), "after must be the id of an instance"),
        ("colour=red", 'Could not find field "colour"'),
        ("status.x=1", ""),
    ],
)
def test_a_wrong_query(unchanged: World, query: str, words: str) -> None:
    assert_refused(unchanged.call("GET", f"/v1/instances?{query}"), 400, "invalid_request", words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "duration_hours is required"),
        (b"", "duration_hours is required"),
        ({"duration_hours": None}, "duration_hours is required"),
        ({"duration_hours": 0}, "duration_hours must be more than 0"),
        ({"duration_hours": -1}, "duration_hours must be more than 0"),
        ({"duration_hours": 169}, "at most 168"),
        ({"duration_hours": "soon"}, "duration_hours"),
    ],
)
def test_a_wrong_extension(unchanged: World, body: Any, words: str) -> None:
    path = f"/v1/instances/{unchanged.own}/extend"
    assert_refused(unchanged.call("POST", path, body), 400, "invalid_request", words)


def test_a_wrong_force(unchanged: World) -> None:
    path = f"/v1/instances/{unchanged.own}/terminate"
    assert_refused(unchanged.call("POST", path, {"force": "perhaps"}), 400, "invalid_request", "force")
    assert_refused(unchanged.call("POST", path, {"force": 1}), 400, "invalid_request", "force")
    assert_refused(unchanged.call("POST", f"{path}?force=perhaps"), 400, "invalid_request", "force")


@pytest.mark.parametrize("overlap", [-1, 604_801, 1.5, "a day", 2**40])
def test_a_wrong_overlap(unchanged: World, overlap: Any) -> None:
    path = "/v1/admin/keys/key_x/rotate"
    reply = unchanged.call("POST", path, {"overlap_seconds": overlap})
    assert_refused(reply, 400, "invalid_request", "overlap_seconds")


def _by_id(id: str, key_id: str) -> list[tuple[str, str, Any]]:
    return [
        ("GET", f"/v1/instances/{id}", None),
        ("POST", f"/v1/instances/{id}/terminate", {"force": True}),
        ("POST", f"/v1/instances/{id}/extend", {"duration_hours": 1}),
        ("POST", f"/v1/admin/keys/{key_id}/rotate", {}),
        ("POST", f"/v1/admin/keys/{key_id}/revoke", None),
    ]


def test_what_does_not_exist_and_what_is_a_stranger_s_look_the_same(unchanged: World) -> None:
    ids = ("inst_" + "0" * 26, "inst_1", "x" * 2000, "%27%3B--", "..%2f..")
    for id in ids:
        for method, path, body in _by_id(id, id):
            assert_refused(unchanged.call(method, path, body), 404, "not_found", "")
    for method, path, body in _by_id(unchanged.foreign, unchanged.foreign_key):
        assert_refused(unchanged.call(method, path, body), 404, "not_found", "there is no ")


def test_keys_of_other_apis_do_not_exist_here(unchanged: World) -> None:
    """The account's own, but not this API's: it must not end them."""
    for key in unchanged.plane.me.keys.ListApiKeys(pb.ListApiKeysRequest()).api_keys:
        if key.dialect != "hoonify":
            for verb in ("rotate", "revoke"):
                reply = unchanged.call("POST", f"/v1/admin/keys/{key.id}/{verb}")
                assert_refused(reply, 404, "not_found", key.id)


EVERY_CALL = [
    ("GET", "/v1/instances", None),
    ("POST", "/v1/instances", wish()),
    *_by_id("inst_1", "key_1"),
]


@pytest.mark.parametrize(("method", "path", "body"), EVERY_CALL, ids=[f"{m} {p}" for m, p, _ in EVERY_CALL])
def test_keys_that_do_not_work(unchanged: World, method: str, path: str, body: Any) -> None:
    wrong = unchanged.key[:-1] + ("a" if unchanged.key[-1] != "a" else "b")
    unknown = HOONIFY.key_formats[0].mint(bytes(range(24)))
    for key in ("", wrong, unknown, unchanged.plane.key, unchanged.plane.operator_key, "hoon_sk_live_", "x" * 5000):
        reply = unchanged.call(method, path, body, key=key)
        assert_refused(reply, 401, "unauthorized")
        assert "x-ratelimit-limit-requests" not in reply.headers
        assert len(key) < 20 or key not in reply.text
    for authorization in ("Basic dXNlcjpwYXNz", "Bearer", unchanged.key):
        assert_refused(unchanged.call(method, path, body, key="", Authorization=authorization), 401, "unauthorized")


@pytest.mark.parametrize(("method", "path", "body"), EVERY_CALL, ids=[f"{m} {p}" for m, p, _ in EVERY_CALL])
def test_keys_without_the_scope(world: World, method: str, path: str, body: Any) -> None:
    """A default key has the two scopes of inference only; a browser key cannot have others."""
    for format in ("hoon_sk_live", "hoon_sk_test", "hoon_pk_live"):
        reply = world.call(method, path, body, key=world.key_for(format))
        scope = "admin:write" if "/admin/" in path else "compute:read" if method == "GET" else "compute:write"
        assert reply.headers["x-ratelimit-limit-requests"], "it is authenticated"
        assert_refused(reply, 403, "forbidden_scope", f"the key lacks the scope {scope}")


def test_reading_is_not_writing(world: World) -> None:
    reader = world.key_for("hoon_sk_live", scopes=["instances:read"])
    assert world.call("GET", f"/v1/instances/{world.own}", key=reader).status == 200
    assert_refused(world.call("POST", "/v1/instances", wish(), key=reader), 403, "forbidden_scope", "compute:write")
    writer = world.key_for("hoon_sk_live", scopes=["instances:write"])
    assert_refused(world.call("GET", "/v1/instances", key=writer), 403, "forbidden_scope", "compute:read")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_methods_that_no_path_has(unchanged: World, method: str) -> None:
    for path in ("/v1/instances", f"/v1/instances/{unchanged.own}", f"/v1/instances/{unchanged.own}/terminate"):
        assert_refused(unchanged.call(method, path), 404, "not_found", f"there is no method {method} /v1/instances")


@pytest.mark.parametrize(("method", "path"), [("BREW", "/v1/instances"), ("GET", "/v1/instances/%00")])
def test_what_is_not_http(unchanged: World, method: str, path: str) -> None:
    """Envoy refuses it before it has a request id."""
    reply = unchanged.call(method, path)
    assert (reply.status, reply.body["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/instances", "/v1/instance", "/v1/instances/a/b", "/v1/instances//terminate", "/v1/skus"]
)
def test_paths_that_do_not_exist(unchanged: World, path: str) -> None:
    assert_refused(unchanged.call("GET", path), 404, "not_found", "there is no method GET /")


def test_a_body_that_is_too_large(unchanged: World) -> None:
    reply = unchanged.call("POST", "/v1/instances", wish(image="x" * (5 << 20)))
    assert_refused(reply, 413, "payload_too_large")


def test_the_main_port_refuses_in_this_shape_too(unchanged: World) -> None:
    def call(*args: Any, **more: Any) -> Reply:
        return unchanged.call(*args, main=True, **more)

    assert_refused(call("POST", "/v1/instances", {}), 400, "invalid_request", "sku is required")
    assert_refused(call("POST", "/v1/instances", b"{"), 400, "invalid_request")
    assert_refused(call("GET", "/v1/nothing"), 404, "not_found")
    assert_refused(call("GET", "/v1/instances", key="hoon_nonsense"), 401, "unauthorized")
    assert_refused(call("POST", "/v1/instances/x/terminate", key=""), 401, "unauthorized")
    assert_refused(call("POST", "/v1/instances/x/extend", key="gpuai_live_x"), 401, "unauthorized")
    assert_refused(call("POST", "/v1/admin/keys/x/revoke", key="gp_live_x"), 401, "unauthorized")
