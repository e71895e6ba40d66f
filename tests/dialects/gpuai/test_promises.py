"""GPU.ai: what takes several calls to see: pages, first answers, rate limits."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from controlplane.api.dialects.gpuai import GPUAI
from tests.dialects.conftest import key_of, ways
from tests.dialects.gpuai.conftest import CPU, SSH_KEY, World, refused
from tests.dialects.runner import Reply
from tests.support.plane import Plane, pb, running_plane


def walk(world: World, path: str, limit: int) -> list[Any]:
    """All items, page by page."""
    found: list[Any] = []
    query = f"limit={limit}"
    while True:
        page = world.ask("GET", f"{path}{'&' if '?' in path else '?'}{query}").body
        assert len(page["data"]) <= limit
        found += page["data"]
        if page["next_cursor"] is None:
            return found
        assert len(page["data"]) == limit
        query = f"limit={limit}&cursor={page['next_cursor']}"


def test_pages_hold_everything_once(world: World) -> None:
    for n in range(4):
        world.ask("POST", "/v1/ssh-keys", {"name": f"page {n}", "public_key": SSH_KEY})
    whole = world.ask("GET", "/v1/ssh-keys").body["data"]
    assert [key["name"] for key in whole] == ["page 3", "page 2", "page 1", "page 0", "taken"]
    for limit in (1, 2, 5, 200):
        assert walk(world, "/v1/ssh-keys", limit) == whole
    assert walk(world, "/v1/gpu-types", 1) == world.ask("GET", "/v1/gpu-types").body["data"]


def test_a_cursor_belongs_to_its_query_and_its_account(world: World) -> None:
    for n in range(2):
        world.ask("POST", "/v1/ssh-keys", {"name": f"cursor {n}", "public_key": SSH_KEY})
    cursor = world.ask("GET", "/v1/ssh-keys?limit=1").body["next_cursor"]
    refused(world.ask("GET", f"/v1/instances?cursor={cursor}"), 422, "validation_failed", "another query")
    stranger = key_of(world.plane, GPUAI)
    refused(world.ask("GET", f"/v1/ssh-keys?cursor={cursor}", key=stranger), 422, "validation_failed", "another query")


def test_many_at_once_with_one_key_make_one_instance(world: World) -> None:
    """The first answer, or `idempotency_conflict` while it is made."""
    key = uuid.uuid4().hex
    before = len(walk(world, "/v1/instances", 200))

    def create(_: int) -> Reply:
        return world.ask("POST", "/v1/instances", CPU, Idempotency_Key=key)

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(create, range(24)))
    made = {reply.body["operation_id"] for reply in replies if reply.status == 202}
    assert len(made) == 1
    for reply in replies:
        if reply.status != 202:
            refused(reply, 409, "idempotency_conflict", "in progress")
            assert int(reply.headers["retry-after"]) >= 1
    assert len(walk(world, "/v1/instances", 200)) == before + 1
    (operation,) = made
    instance = world.ask("GET", f"/v1/operations/{operation}").body["resource_id"]
    assert world.ask("DELETE", f"/v1/instances/{instance}").status == 202


def test_a_key_names_requests_of_this_api_only(world: World) -> None:
    """The same key in the canonical API, or for another kind of request, names another request."""
    key = uuid.uuid4().hex
    wish = pb.CreateSshKeyRequest(name=f"canonical {key}", public_key=SSH_KEY, request_id=key)
    world.account.keys.CreateSshKey(wish)
    body = {"name": f"dialect {key}", "public_key": SSH_KEY}
    assert world.ask("POST", "/v1/ssh-keys", body, Idempotency_Key=key).status == 201
    path = f"/v1/instances/{world.instance}"
    assert world.ask("PATCH", path, {"name": "a"}, Idempotency_Key=key).body["name"] == "a"
    # A repeat gets the first answer, whatever the instance is called by now.
    assert world.ask("PATCH", path, {"name": "b"}).body["name"] == "b"
    assert world.ask("PATCH", path, {"name": "a"}, Idempotency_Key=key).body["name"] == "a"
    assert world.ask("GET", path).body["name"] == "b"


@pytest.mark.parametrize(
    ("name", "prefix"), [("gpuplane", "gp_live_"), ("gpuai", "gpuai_live_"), ("hoonify", "hoon_sk_live_")]
)
def test_the_name_of_an_api_is_its_first_key_format(world: World, name: str, prefix: str) -> None:
    made = world.account.keys.CreateApiKey(pb.CreateApiKeyRequest(name="k", key_format=name))
    assert made.secret.startswith(prefix)
    world.account.keys.RevokeApiKey(pb.RevokeApiKeyRequest(id=made.api_key.id))


def test_a_key_format_that_is_none(world: World) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        world.account.keys.CreateApiKey(pb.CreateApiKeyRequest(name="k", key_format="gpu.ai"))
    assert refused.value.details() == (
        "key_format must be among gp_live, gpuai, gpuai_live, gpuplane, hoon_pk_live, hoon_sk_live, hoon_sk_test, "
        "hoonify, shopper, shopper_live; got 'gpu.ai'"
    )


def test_read_only_is_four_scopes(world: World) -> None:
    """As docs/dialects/gpuai.md says it; the vendor's words are no scopes."""
    key = world.new_key("instances:read", "keys:read", "usage:read", "webhooks:read")
    for path in ("instances", "ssh-keys", "usage", "webhook-endpoints"):
        assert world.ask("GET", f"/v1/{path}", key=key).status == 200
    refused(world.ask("POST", "/v1/instances", CPU, key=key), 403, "insufficient_scope", "instances write")
    for word in ("full_access", "read_only", "ssh_keys:read"):
        with pytest.raises(grpc.RpcError, match="scopes must be among"):
            world.new_key(word)


def test_what_clients_may_send_beside_the_document(world: World) -> None:
    """Member names in camelCase; request ids are kept as far as a log can hold them."""
    body = {"name": "camel", "publicKey": SSH_KEY}
    reply = world.ask("POST", "/v1/ssh-keys", body, X_Request_Id="a b/" + "c" * 200)
    assert reply.status == 201, reply
    assert reply.headers["x-request-id"] == "a_b_" + "c" * 124
    assert world.ask("DELETE", f"/v1/ssh-keys/{reply.body['id']}").status == 204
    made = world.ask("POST", "/v1/instances", CPU).body
    operation = made["operation_id"]
    assert world.ask("DELETE", f"/v1/instances/{made['resource_id']}").status == 202
    for path in ("/v1/operations", "/v1/webhook-endpoints"):
        id = world.hook if "hook" in path else operation
        assert str(uuid.UUID(id)) == id
        assert world.ask("GET", f"{path}/{id}").status == 200
        for other in (id.replace("-", ""), id.upper()):
            assert world.ask("GET", f"{path}/{other}").status == 404
    given = world.ask("GET", "/v1/instances", X_Request_Id="").headers["x-request-id"]
    assert str(uuid.UUID(given)) == given
    assert world.ask("HEAD", "/v1/instances").status == 404
    refused(world.ask("FOO", "/v1/instances"), 422, "validation_failed")


def test_too_many_calls() -> None:
    """429 with `Retry-After`; what needs no key is not counted."""

    def ask(plane: Plane, path: str) -> Reply:
        headers = {"Authorization": f"Bearer {key_of(plane, GPUAI)}"}
        return ways(plane, GPUAI)[0].call("GET", path, headers, None)

    with running_plane(local=False, rate_limit=1, rate_burst=2) as plane:
        replies = [ask(plane, "/v1/instances") for _ in range(5)]
        assert [reply.status for reply in replies[:2]] == [200, 200]
        refused(replies[-1], 429, "rate_limited")
        assert int(replies[-1].headers["retry-after"]) >= 1
        assert {ask(plane, "/v1/health").status for _ in range(5)} == {200}
