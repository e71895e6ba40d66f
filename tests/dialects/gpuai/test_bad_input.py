"""GPU.ai: every documented constraint violated once, through the real Envoy. The answer is always a problem of this
dialect with the right status and code, and nothing is done."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.api.dialects.gpuai import GPUAI
from tests.dialects.conftest import key_of
from tests.dialects.gpuai.conftest import CPU, HOOK, SSH_KEY, World, refused
from tests.dialects.runner import Reply
from tests.support.plane import pb

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def unchanged(world: World) -> Iterator[World]:
    """The world, which is the same after the test."""
    before = world.census()
    yield world
    assert world.census() == before


def wish(**fields: Any) -> dict[str, Any]:
    return CPU | fields


INVALID: list[tuple[str, str, Any, str]] = [
    # CreateInstance
    ("POST", "/v1/instances", {}, "gpu_type is required"),
    ("POST", "/v1/instances", b"", "gpu_type is required"),
    ("POST", "/v1/instances", {"gpu_type": "cpu", "tier": "spot"}, "gpu_count must be from 1 to 8"),
    ("POST", "/v1/instances", {"gpu_type": "cpu", "gpu_count": 1}, "tier must be spot or on_demand"),
    ("POST", "/v1/instances", wish(gpu_type="h100_sxm", gpu_count=0), "gpu_count must be from 1 to 8"),
    ("POST", "/v1/instances", wish(gpu_type="h100_sxm", gpu_count=9), "gpu_count must be from 1 to 8"),
    ("POST", "/v1/instances", wish(gpu_type="h100_sxm", gpu_count=-1), "gpu_count must be from 1 to 8"),
    ("POST", "/v1/instances", wish(gpu_count=2), "1 for cpu"),
    ("POST", "/v1/instances", wish(gpu_count=1.5), "gpu_count"),
    ("POST", "/v1/instances", wish(gpu_count="one"), "gpu_count"),
    ("POST", "/v1/instances", wish(gpu_count=2**40), "gpu_count"),
    ("POST", "/v1/instances", wish(gpu_type=7), "gpu_type"),
    ("POST", "/v1/instances", wish(tier="reserved"), "tier must be spot or on_demand"),
    ("POST", "/v1/instances", wish(tier="SPOT"), "tier must be spot or on_demand"),
    ("POST", "/v1/instances", wish(region="mars"), "region must be among na, eu, apac, local"),
    ("POST", "/v1/instances", wish(region=""), "region must be among"),
    ("POST", "/v1/instances", wish(name="n" * 64), "name must be 0 to 63"),
    ("POST", "/v1/instances", wish(name="a\nb"), "name must be 0 to 63 printable"),
    ("POST", "/v1/instances", wish(ssh_key_ids=["x"] * 33), "ssh_key_ids must have at most 32"),
    ("POST", "/v1/instances", wish(ssh_key_ids="x" * 10 + "\ud800"), "malformed"),
    ("POST", "/v1/instances", wish(max_price_per_hour=-1), "max_price_per_hour must be from 0"),
    ("POST", "/v1/instances", wish(max_price_per_hour="Infinity"), "max_price_per_hour must be from 0"),
    ("POST", "/v1/instances", wish(max_price_per_hour="cheap"), "max_price_per_hour"),
    ("POST", "/v1/instances", wish(max_price_per_hour=0.001), "no offer on the market"),
    ("POST", "/v1/instances", wish(region="apac"), "no offer on the market"),
    ("POST", "/v1/instances", wish(gpu_type="b300"), "no offer on the market"),
    # Bodies that are none
    ("POST", "/v1/instances", b"{", "malformed"),
    ("POST", "/v1/instances", b"[]", "malformed"),
    ("POST", "/v1/instances", b'"cpu"', "malformed"),
    ("POST", "/v1/instances", b"gpu_type=cpu&gpu_count=1", "malformed"),
    ("POST", "/v1/instances", b"\xff\xfe", "malformed"),
    ("POST", "/v1/instances", b'{"gpu_type":"cpu"} {"gpu_count":1}', "malformed"),
    # UpdateInstance
    ("PATCH", "/v1/instances/{instance}", {"name": "n" * 64}, "name must be 0 to 63"),
    ("PATCH", "/v1/instances/{instance}", {"name": 7}, "name"),
    ("PATCH", "/v1/instances/{instance}", b"[", "malformed"),
    # Pages
    *(
        ("GET", f"/v1/{kind}?{query}", None, said)
        for kind in ("instances", "ssh-keys", "webhook-endpoints", "gpu-types", "usage")
        for query, said in (
            ("limit=0", "limit must be from 1 to 200"),
            ("limit=201", "limit must be from 1 to 200"),
            ("limit=-1", "limit must be from 1 to 200"),
            ("limit=many", "limit"),
            ("limit=1.5", "limit"),
            ("limit=", "limit"),
            ("cursor=garbage", "cursor is malformed"),
            ("colour=red", ""),
        )
    ),
    ("GET", "/v1/pricing?limit=1", None, "limit"),
    ("GET", "/v1/instances/{instance}?verbose=1", None, "verbose"),
    # SSH keys
    ("POST", "/v1/ssh-keys", {}, "name must be 1 to 63"),
    ("POST", "/v1/ssh-keys", {"name": "a"}, "public_key must be one OpenSSH public key"),
    ("POST", "/v1/ssh-keys", {"name": "a", "public_key": "garbage"}, "public_key must be one OpenSSH public key"),
    ("POST", "/v1/ssh-keys", {"name": "a", "public_key": f'command="x" {SSH_KEY}'}, "without options"),
    ("POST", "/v1/ssh-keys", {"name": "n" * 64, "public_key": SSH_KEY}, "name must be 1 to 63"),
    ("POST", "/v1/ssh-keys", {"name": "taken", "public_key": SSH_KEY}, "exists"),
    # Usage
    ("GET", "/v1/usage?bucket=year", None, "bucket must be among hour, day, week, month"),
    ("GET", "/v1/usage?group_by=region", None, "group_by must be among instance_id, gpu_type"),
    ("GET", "/v1/usage?start=yesterday", None, "start must be a time"),
    ("GET", "/v1/usage?end=2026-02-30T00:00:00Z", None, "end must be a time"),
    (
        "GET",
        "/v1/usage?start=2026-05-02T00:00:00Z&end=2026-05-01T00:00:00Z",
        None,
        "after end; got '2026-05-02T00:00:00Z'",
    ),
    ("GET", "/v1/usage?start=2099-01-01", None, "start must not lie in the future; got '2099-01-01T00:00:00Z'"),
    ("GET", "/v1/usage?start=9999-12-31T23:00:00-02:00&end=9999-12-31T23:00:00-02:00", None, "before the year 10000"),
    (
        "GET",
        "/v1/usage?bucket=hour&start=2020-01-01&end=2026-01-01",
        None,
        "10000 buckets of one hour before end; got '2020-01-01T00:00:00Z'",
    ),
    # Webhook endpoints
    ("POST", "/v1/webhook-endpoints", {}, "url is required"),
    ("POST", "/v1/webhook-endpoints", {"url": HOOK["url"]}, "event_types is required"),
    ("POST", "/v1/webhook-endpoints", HOOK | {"event_types": []}, "event_types is required"),
    ("POST", "/v1/webhook-endpoints", HOOK | {"event_types": ["instance.lost"]}, "event_types must be among"),
    ("POST", "/v1/webhook-endpoints", HOOK | {"event_types": {"a": 1}}, "event_types"),
    ("POST", "/v1/webhook-endpoints", HOOK | {"url": "nonsense"}, "url must"),
    ("POST", "/v1/webhook-endpoints", HOOK | {"url": "ftp://hooks.invalid/"}, "url must"),
    ("POST", "/v1/webhook-endpoints", HOOK | {"url": "https://169.254.169.254/"}, "url must"),
    ("POST", "/v1/webhook-endpoints", HOOK | {"url": "https://10.0.0.1/"}, "url must"),
    ("POST", "/v1/webhook-endpoints", HOOK | {"url": "https://127.0.0.1./"}, "url must not lead to a loopback"),
    ("POST", "/v1/webhook-endpoints", HOOK | {"url": "https://hooks.invalid/#x"}, "url must not hold a fragment"),
    ("POST", "/v1/webhook-endpoints", HOOK | {"url": "https://hooks.invalid/" + "x" * 2048}, "url must be at most"),
]


@pytest.mark.parametrize(("method", "path", "body", "said"), INVALID)
def test_what_breaks_a_rule_is_refused(unchanged: World, method: str, path: str, body: Any, said: str) -> None:
    refused(unchanged.ask(method, path.format(**vars(unchanged)), body), 422, "validation_failed", said)


@pytest.mark.parametrize("word", ["abacus", "h100_sxmx", "x" * 5000, "h100%00"])
def test_unknown_gpu_types(unchanged: World, word: str) -> None:
    refused(unchanged.ask("POST", "/v1/instances", wish(gpu_type=word)), 422, "invalid_gpu_type", "gpu_type must be")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/instances/inst_unknown", None),
        ("PATCH", "/v1/instances/inst_unknown", {"name": "a"}),
        ("DELETE", "/v1/instances/inst_unknown", None),
        ("GET", "/v1/instances/" + "x" * 2000, None),
        ("GET", f"/v1/operations/{NOBODY}", None),
        ("GET", "/v1/operations/no-uuid", None),
        ("GET", "/v1/ssh-keys/sshkey_unknown", None),
        ("DELETE", "/v1/ssh-keys/sshkey_unknown", None),
        ("GET", f"/v1/webhook-endpoints/{NOBODY}", None),
        ("DELETE", f"/v1/webhook-endpoints/{NOBODY}", None),
        ("POST", "/v1/instances", wish(ssh_key_ids=["sshkey_unknown"])),
        # Paths and methods that do not exist
        ("GET", "/v1/", None),
        ("GET", "/v1/nothing", None),
        ("GET", "/v1/instances/a/b", None),
        ("PUT", "/v1/instances", {}),
        ("POST", "/v1/health", {}),
        ("DELETE", "/v1/usage", None),
        ("POST", "/v1/instances/{instance}/terminate", {}),
        ("OPTIONS", "/v1/instances", None),
        ("GET", "/gpuplane/v1/instances", None),
    ],
)
def test_what_does_not_exist(unchanged: World, method: str, path: str, body: Any) -> None:
    refused(unchanged.ask(method, path.format(**vars(unchanged)), body), 404, "not_found")


def test_what_is_anothers_does_not_exist(unchanged: World) -> None:
    stranger = key_of(unchanged.plane, GPUAI)
    operation = unchanged.ask("DELETE", f"/v1/instances/{unchanged.instance}", key=stranger)
    refused(operation, 404, "not_found")
    for method, path in (
        ("GET", f"/v1/instances/{unchanged.instance}"),
        ("PATCH", f"/v1/instances/{unchanged.instance}"),
        ("GET", f"/v1/ssh-keys/{unchanged.ssh_key}"),
        ("DELETE", f"/v1/ssh-keys/{unchanged.ssh_key}"),
        ("GET", f"/v1/webhook-endpoints/{unchanged.hook}"),
        ("DELETE", f"/v1/webhook-endpoints/{unchanged.hook}"),
    ):
        refused(unchanged.ask(method, path, key=stranger), 404, "not_found")


WORDS = {
    "instances:read": "instances read", "instances:write": "instances write", "keys:read": "ssh_keys read",
    "keys:write": "ssh_keys write", "usage:read": "billing read", "webhooks:read": "webhooks read",
    "webhooks:write": "webhooks write",
}  # fmt: skip

PROTECTED = [
    ("GET", "/v1/instances", "instances:read"),
    ("POST", "/v1/instances", "instances:write"),
    ("GET", "/v1/instances/{instance}", "instances:read"),
    ("PATCH", "/v1/instances/{instance}", "instances:write"),
    ("DELETE", "/v1/instances/{instance}", "instances:write"),
    ("GET", f"/v1/operations/{NOBODY}", "instances:read"),
    ("GET", "/v1/ssh-keys", "keys:read"),
    ("POST", "/v1/ssh-keys", "keys:write"),
    ("GET", "/v1/ssh-keys/{ssh_key}", "keys:read"),
    ("DELETE", "/v1/ssh-keys/{ssh_key}", "keys:write"),
    ("GET", "/v1/usage", "usage:read"),
    ("GET", "/v1/webhook-endpoints", "webhooks:read"),
    ("POST", "/v1/webhook-endpoints", "webhooks:write"),
    ("GET", "/v1/webhook-endpoints/{hook}", "webhooks:read"),
    ("DELETE", "/v1/webhook-endpoints/{hook}", "webhooks:write"),
]


@pytest.mark.parametrize(("method", "path", "scope"), PROTECTED)
def test_keys(unchanged: World, method: str, path: str, scope: str) -> None:
    path = path.format(**vars(unchanged))
    body = {} if method in ("POST", "PATCH") else None
    refused(unchanged.ask(method, path, body, key=""), 401, "unauthenticated")
    for wrong in ("x", "gpuai_live_", unchanged.key[:-1], unchanged.account.key, unchanged.key + "x"):
        refused(unchanged.ask(method, path, body, key=wrong), 401, "invalid_api_key")
    (form,) = GPUAI.key_formats
    without = unchanged.new_key(*(other for other in form.scopes if other != scope))
    refused(
        unchanged.ask(method, path, body, key=without), 403, "insufficient_scope", f"lacks the scope {WORDS[scope]}"
    )


def test_a_revoked_key(unchanged: World) -> None:
    made = unchanged.account.keys.CreateApiKey(pb.CreateApiKeyRequest(name="r", key_format="gpuai_live"))
    unchanged.account.keys.RevokeApiKey(pb.RevokeApiKeyRequest(id=made.api_key.id))
    refused(unchanged.ask("GET", "/v1/instances", key=made.secret), 401, "invalid_api_key")


def test_the_authorization_must_be_a_bearer_token(unchanged: World) -> None:
    reply = unchanged.way.call("GET", "/v1/instances", {"Authorization": "Basic YTpi"}, None)
    refused(reply, 401, "invalid_api_key")


@pytest.mark.parametrize("key", ["", " ", "k" * 256, "tab\there", "é"])
def test_idempotency_keys_that_cannot_be_one(unchanged: World, key: str) -> None:
    for method, path, body in (
        ("POST", "/v1/instances", CPU),
        ("PATCH", f"/v1/instances/{unchanged.instance}", {"name": "other"}),
        ("DELETE", f"/v1/instances/{unchanged.instance}", None),
        ("POST", "/v1/ssh-keys", {"name": "other", "public_key": SSH_KEY}),
        ("POST", "/v1/webhook-endpoints", HOOK),
    ):
        reply = unchanged.ask(method, path, body, Idempotency_Key=key)
        refused(reply, 422, "validation_failed", "Idempotency-Key must be 1 to 255")


def test_of_two_idempotency_keys_none_counts(unchanged: World) -> None:
    connection = http.client.HTTPConnection(unchanged.way.target, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest("POST", "/v1/instances")
        for name, value in (("Authorization", f"Bearer {unchanged.key}"), ("Idempotency-Key", "a"),
                            ("Idempotency-Key", "b"), ("Content-Length", str(len(json.dumps(CPU))))):  # fmt: skip
            connection.putheader(name, value)
        connection.endheaders(json.dumps(CPU).encode())
        answer = connection.getresponse()
        reply = Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())
    refused(reply, 422, "validation_failed", "Idempotency-Key must be sent once")


def test_too_large(unchanged: World) -> None:
    refused(unchanged.ask("POST", "/v1/instances", b'"' + b"x" * (5 << 20) + b'"'), 413, "validation_failed")
    refused(unchanged.ask("GET", "/v1/instances", X_Long="x" * 70_000), 431, "validation_failed")


def test_bodies_of_another_type(unchanged: World) -> None:
    """What the body says counts, not what its type is called; but nothing is decompressed."""
    body = gzip.compress(json.dumps(CPU).encode())
    reply = unchanged.ask("POST", "/v1/instances", body, Content_Encoding="gzip", Content_Type="application/json")
    refused(reply, 422, "validation_failed", "malformed")
    reply = unchanged.ask("POST", "/v1/instances", {"gpu_type": "abacus"}, Content_Type="text/plain")
    refused(reply, 422, "invalid_gpu_type")


@pytest.mark.parametrize(
    ("name", "value"),
    [("x*y", "1"), ("x-bin", "!!!"), ("grpc-timeout", "never"), ("grpc-encoding", "none"), ("x-dialect", "gpuplane")],
)
def test_headers_that_mean_something_to_grpc_mean_nothing_here(unchanged: World, name: str, value: str) -> None:
    reply = unchanged.way.call("GET", "/v1/instances", {"Authorization": f"Bearer {unchanged.key}", name: value}, None)
    assert reply.status == 200, reply
    reply = unchanged.way.call("GET", "/v1/instances", {name: value}, None)
    refused(reply, 401, "unauthenticated")


def test_a_header_that_is_none(unchanged: World) -> None:
    reply = unchanged.way.call("GET", "/v1/instances", {"X-Control": "a\x01b"}, None)
    refused(reply, 422, "validation_failed")


def test_a_budget_that_is_used_up(world: World) -> None:
    budget = world.account.budgets.CreateBudget(
        pb.CreateBudgetRequest(name="none", limit={"nanos": 1}, period=pb.BUDGET_PERIOD_TOTAL)
    )
    try:
        refused(world.ask("POST", "/v1/instances", CPU), 402, "insufficient_balance", "budget")
    finally:
        world.account.budgets.DeleteBudget(pb.DeleteBudgetRequest(id=budget.id))


def test_a_quota_that_is_used_up(world: World) -> None:
    account = world.plane.operator.accounts.CreateAccount(pb.CreateAccountRequest(name="small", max_instances=1))
    wish = pb.CreateApiKeyRequest(name="k", key_format="gpuai_live", account_id=account.id)
    key = world.plane.operator.keys.CreateApiKey(wish).secret
    made = world.ask("POST", "/v1/instances", CPU, key=key)
    assert made.status == 202
    refused(world.ask("POST", "/v1/instances", CPU, key=key), 403, "quota_exceeded", "limit")
    assert world.ask("DELETE", f"/v1/instances/{made.body['resource_id']}", key=key).status == 202


def test_unknown_members_are_ignored_and_numbers_may_be_text(world: World) -> None:
    """The transcoder has no way to refuse them; docs/dialects/gpuai.md says so."""
    body = {"gpu_type": "h100_sxm", "gpu_count": "1", "tier": "on_demand", "region": "EU", "colour": "red"}
    reply = world.ask("POST", "/v1/instances", body)
    assert reply.status == 202
    assert world.ask("DELETE", f"/v1/instances/{reply.body['resource_id']}").status == 202
