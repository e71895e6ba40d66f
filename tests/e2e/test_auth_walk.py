"""A walk over every rpc with no key, with keys that do not work or do not reach, and with a stranger's key."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from tests.support.plane import Caller, Plane, eventually, failure_of, pb, rest_failure, running_plane, tried
from tests.support.recipes import PLUGIN as RECIPES
from tests.support.recipes import TEMPLATE
from tests.support.rpcs import RPCS

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9y9SYGOgcBlnK9Wj7oqOl0NkrH7R1T9vWm1Zu4a7Qe me@home"
OPERATOR, PUBLIC = "operator", "public"


@dataclass
class World:
    """The first account's belongings, a stranger, and keys of every kind of uselessness."""

    plane: Plane
    instance: Any
    operation_id: str
    ssh_key: Any
    api_key: Any
    budget: Any
    webhook: Any
    delivery_id: str
    credential: Any
    stranger: Caller
    revoked: str
    expired: str

    def ids(self) -> list[bytes]:
        """What no stranger may ever be shown."""
        me = self.plane.account_id
        found = (
            self.instance.id, self.operation_id, self.ssh_key.id, self.api_key.id, self.budget.id, self.webhook.id,
            self.delivery_id, self.credential.id, me,
        )  # fmt: skip
        return [id.encode() for id in found]

    def snapshot(self) -> list[Any]:
        """Everything that the first account has."""
        me = self.plane.me
        return [
            me.instances.GetInstance(pb.GetInstanceRequest(id=self.instance.id)),
            me.operations.ListOperations(pb.ListOperationsRequest()),
            me.keys.ListSshKeys(pb.ListSshKeysRequest()),
            me.keys.ListApiKeys(pb.ListApiKeysRequest()),
            me.budgets.GetBudget(pb.GetBudgetRequest(id=self.budget.id)).limit,
            me.webhooks.ListWebhookEndpoints(pb.ListWebhookEndpointsRequest()),
            me.provider_credentials.ListProviderCredentials(pb.ListProviderCredentialsRequest()),
            self.plane.operator.accounts.GetAccount(pb.GetAccountRequest(id=self.plane.account_id)),
        ]


def _key(caller: Caller, **fields: Any) -> Any:
    return caller.keys.CreateApiKey(pb.CreateApiKeyRequest(**{"name": "k"} | fields))


def _switched_off(me: Caller, webhook_id: str) -> str:
    """Stop the webhook, so that what is stored of it stays as it is; the id of something that it was told."""
    request = pb.ListWebhookDeliveriesRequest(endpoint_id=webhook_id)
    told = eventually(lambda: me.webhooks.ListWebhookDeliveries(request).deliveries)
    me.webhooks.UpdateWebhookEndpoint(pb.UpdateWebhookEndpointRequest(id=webhook_id, enabled=False))
    time.sleep(1)  # what is under way comes back
    return str(told[0].id)


def _in(seconds: float) -> dict[str, int]:
    """A timestamp that far ahead."""
    at = time.time() + seconds
    return {"seconds": int(at), "nanos": int(at % 1 * 1e9)}


@pytest.fixture(scope="module")
def world() -> Any:
    # Not on loopback: there metrics need an operator key.
    with running_plane(bind="0.0.0.0", webhook_allow_private=True, plugins=RECIPES) as plane:
        me = plane.me
        expired = _key(me, expire_time=_in(0.5))
        revoked = _key(me)
        me.keys.RevokeApiKey(pb.RevokeApiKeyRequest(id=revoked.api_key.id))
        late = plane.caller(expired.secret)
        eventually(lambda: tried(lambda: late.offers.ListOffers(pb.ListOffersRequest())) is None)
        webhook = me.webhooks.CreateWebhookEndpoint(pb.CreateWebhookEndpointRequest(url=NOBODY)).webhook_endpoint
        instance = plane.rent(name="mine", reservation={"seconds": 3600})
        yield World(
            plane, instance, instance.create_operation_id,
            me.keys.CreateSshKey(pb.CreateSshKeyRequest(name="mine", public_key=SSH_KEY)),
            _key(me).api_key,
            me.budgets.CreateBudget(pb.CreateBudgetRequest(name="mine", limit={"units": 5})),
            webhook, _switched_off(me, webhook.id),
            me.provider_credentials.CreateProviderCredential(
                pb.CreateProviderCredentialRequest(provider="vastai", name="mine", secret="mine-alone")
            ),
            plane.new_account("stranger"), revoked.secret, expired.secret,
        )  # fmt: skip


Build = Callable[[World], dict[str, Any]]

NOBODY = "http://127.0.0.1:9/hook"  # nothing listens there

# What a stranger gets: an error's code and reason, or a rule for the answer.
NOT_FOUND = ("NOT_FOUND", "RESOURCE_NOT_FOUND")
OPERATOR_ONLY = ("PERMISSION_DENIED", "OPERATOR_ONLY")
EMPTY = "nothing but zeros, its currency and tokens"
OWN = "what is the stranger's own"
MARKET = "the market, which is the same for everyone"

WALK: dict[str, tuple[str, Build, Any]] = {
    "CreateInstance": (
        "instances:write", lambda w: {"offer_id": "local-cpu", "ssh_key_ids": [w.ssh_key.id]}, NOT_FOUND,
    ),
    "BatchCreateInstances": ("instances:write", lambda w: {"requests": [{"offer_id": "local-none"}]}, OWN),
    "ReserveInstances": (
        "instances:write",
        lambda w: {"create": {"offer_id": "local-cpu", "ssh_key_ids": [w.ssh_key.id]}, "count": 1}, NOT_FOUND,
    ),
    "GetInstance": ("instances:read", lambda w: {"id": w.instance.id}, NOT_FOUND),
    "ListInstances": ("instances:read", lambda w: {}, EMPTY),
    "UpdateInstance": ("instances:write", lambda w: {"id": w.instance.id, "name": "stolen"}, NOT_FOUND),
    "TerminateInstance": ("instances:write", lambda w: {"id": w.instance.id, "force": True}, NOT_FOUND),
    "ExtendInstance": ("instances:write", lambda w: {"id": w.instance.id, "duration": "60s"}, NOT_FOUND),
    "WatchInstance": ("instances:read", lambda w: {"id": w.instance.id}, NOT_FOUND),
    "WatchInstances": ("instances:read", lambda w: {}, OWN),
    "GetConnection": ("instances:write", lambda w: {"id": w.instance.id}, NOT_FOUND),
    "GetDiagnostics": ("instances:read", lambda w: {"id": w.instance.id}, NOT_FOUND),
    "GetInstanceLogs": ("instances:read", lambda w: {"id": w.instance.id}, NOT_FOUND),
    "GetOperation": ("instances:read", lambda w: {"id": w.operation_id}, NOT_FOUND),
    "ListOperations": ("instances:read", lambda w: {"instance_id": w.instance.id}, EMPTY),
    "WaitOperation": ("instances:read", lambda w: {"id": w.operation_id, "timeout": "0s"}, NOT_FOUND),
    "CancelOperation": ("instances:write", lambda w: {"id": w.operation_id}, NOT_FOUND),
    "WatchOperation": ("instances:read", lambda w: {"id": w.operation_id}, NOT_FOUND),
    "ListOffers": ("offers:read", lambda w: {}, MARKET),
    "GetOffer": ("offers:read", lambda w: {"id": "local-cpu"}, MARKET),
    "ListGpuTypes": ("offers:read", lambda w: {}, MARKET),
    "RankOffers": ("offers:read", lambda w: {}, MARKET),
    "ListPrices": ("offers:read", lambda w: {}, MARKET),
    "ListTemplates": ("offers:read", lambda w: {}, MARKET),
    "GetTemplate": ("offers:read", lambda w: {"id": TEMPLATE.id}, MARKET),
    "ListCompatibleTemplates": ("offers:read", lambda w: {"offer_id": "local-cpu"}, MARKET),
    "CreateProviderCredential": ("providers:write", lambda w: {"provider": "vastai", "name": "n", "secret": "k"}, OWN),
    "GetProviderCredential": ("providers:read", lambda w: {"id": w.credential.id}, NOT_FOUND),
    "ListProviderCredentials": ("providers:read", lambda w: {}, OWN),
    "RevokeProviderCredential": ("providers:write", lambda w: {"id": w.credential.id}, NOT_FOUND),
    "CreateSshKey": ("keys:write", lambda w: {"name": "mine", "public_key": SSH_KEY}, OWN),
    "GetSshKey": ("keys:read", lambda w: {"id": w.ssh_key.id}, NOT_FOUND),
    "ListSshKeys": ("keys:read", lambda w: {}, OWN),
    "DeleteSshKey": ("keys:write", lambda w: {"id": w.ssh_key.id}, NOT_FOUND),
    "CreateApiKey": ("keys:write", lambda w: {"name": "k", "account_id": w.plane.account_id}, OPERATOR_ONLY),
    "GetApiKey": ("keys:read", lambda w: {"id": w.api_key.id}, NOT_FOUND),
    "ListApiKeys": ("keys:read", lambda w: {}, OWN),
    "RevokeApiKey": ("keys:write", lambda w: {"id": w.api_key.id}, NOT_FOUND),
    "QueryUsage": ("usage:read", lambda w: {"group_by": "USAGE_GROUP_INSTANCE"}, EMPTY),
    "GetCostSummary": ("usage:read", lambda w: {"instance_id": w.instance.id}, EMPTY),
    "ListLedgerEntries": ("usage:read", lambda w: {"instance_id": w.instance.id}, EMPTY),
    "CreateBudget": ("budgets:write", lambda w: {"name": "mine", "limit": {"units": 1}}, OWN),
    "GetBudget": ("budgets:read", lambda w: {"id": w.budget.id}, NOT_FOUND),
    "ListBudgets": ("budgets:read", lambda w: {}, OWN),
    "UpdateBudget": ("budgets:write", lambda w: {"id": w.budget.id, "limit": {"nanos": 1}}, NOT_FOUND),
    "DeleteBudget": ("budgets:write", lambda w: {"id": w.budget.id}, NOT_FOUND),
    "CreateWebhookEndpoint": ("webhooks:write", lambda w: {"url": NOBODY}, OWN),
    "GetWebhookEndpoint": ("webhooks:read", lambda w: {"id": w.webhook.id}, NOT_FOUND),
    "ListWebhookEndpoints": ("webhooks:read", lambda w: {}, OWN),
    "UpdateWebhookEndpoint": ("webhooks:write", lambda w: {"id": w.webhook.id, "enabled": True}, NOT_FOUND),
    "DeleteWebhookEndpoint": ("webhooks:write", lambda w: {"id": w.webhook.id}, NOT_FOUND),
    "ListWebhookDeliveries": ("webhooks:read", lambda w: {"endpoint_id": w.webhook.id}, NOT_FOUND),
    "RedeliverWebhook": ("webhooks:write", lambda w: {"endpoint_id": w.webhook.id, "id": w.delivery_id}, NOT_FOUND),
    "CreateAccount": (OPERATOR, lambda w: {"name": "x"}, OPERATOR_ONLY),
    "GetAccount": (OPERATOR, lambda w: {"id": w.plane.account_id}, OPERATOR_ONLY),
    "ListAccounts": (OPERATOR, lambda w: {}, OPERATOR_ONLY),
    "CloseAccount": (OPERATOR, lambda w: {"id": w.plane.account_id}, OPERATOR_ONLY),
    "GetStray": (OPERATOR, lambda w: {"id": "stray_1"}, OPERATOR_ONLY),
    "ListStrays": (OPERATOR, lambda w: {}, OPERATOR_ONLY),
    "AdoptStray": (OPERATOR, lambda w: {"id": "stray_1", "account_id": w.plane.account_id}, OPERATOR_ONLY),
    "DestroyStray": (OPERATOR, lambda w: {"id": "stray_1"}, OPERATOR_ONLY),
    "GetHealth": (PUBLIC, lambda w: {}, MARKET),
    "GetReadiness": (PUBLIC, lambda w: {}, MARKET),
    "GetMetrics": (OPERATOR, lambda w: {}, OPERATOR_ONLY),
    "GetServerInfo": (PUBLIC, lambda w: {}, MARKET),
}  # fmt: skip

GUARDED = [name for name, (scope, _, _) in WALK.items() if scope != PUBLIC]
SCOPES = sorted({scope for scope, _, _ in WALK.values()} - {OPERATOR, PUBLIC})


def test_every_rpc_is_walked() -> None:
    assert set(WALK) == set(RPCS)


def _call(world: World, name: str, caller: Caller) -> Any:
    """The answer, or a stream's first message."""
    rpc = RPCS[name]
    answer = rpc.grpc(caller)(json_format.ParseDict(WALK[name][1](world), rpc.request()))
    if not rpc.streams:
        return answer
    first = next(answer)
    answer.cancel()
    return first


def _refusal(world: World, name: str, caller: Caller) -> tuple[str, str]:
    failure = failure_of(lambda: _call(world, name, caller))
    assert failure.message
    for id in world.ids():
        assert id.decode() not in failure.message or id.decode() in str(WALK[name][1](world))
    return failure.code, failure.reason


@pytest.mark.parametrize("name", [name for name in WALK if name not in GUARDED])
def test_public_methods_need_no_key(world: World, name: str) -> None:
    _call(world, name, world.plane.caller())
    _call(world, name, world.plane.caller("nonsense"))


@pytest.mark.parametrize("name", GUARDED)
def test_no_key(world: World, name: str) -> None:
    assert _refusal(world, name, world.plane.caller()) == ("UNAUTHENTICATED", "KEY_MISSING")


@pytest.mark.parametrize("name", GUARDED)
def test_keys_that_do_not_work(world: World, name: str) -> None:
    good = world.plane.key
    for key in (
        world.expired,
        world.revoked,
        "nonsense",
        good[:-1] + ("a" if good[-1] != "a" else "b"),  # the checksum
        good[:20] + ("a" if good[20] != "a" else "b") + good[21:],
        good.upper(),
        good + "x",
        "gp_live_",
        "x" * 5000,
        "' OR 1=1 --",
    ):
        assert _refusal(world, name, world.plane.caller(key)) == ("UNAUTHENTICATED", "KEY_INVALID"), key


@pytest.mark.parametrize("header", ["Basic {}", "{}", "Bearer", "Bearer ", "Token {}", "Bearer {} {}", "Bearer\t{}"])
def test_other_ways_to_send_a_key(world: World, header: str) -> None:
    answer = world.plane.rest(
        "GET", "/gpuplane/v1/instances", key="", authorization=header.format(*[world.plane.key] * 2)
    )
    assert answer.status == 401
    assert rest_failure(answer).reason == "KEY_INVALID"


def test_the_word_bearer_in_any_case(world: World) -> None:
    for word in ("bearer", "BEARER"):
        header = f"{word} {world.plane.key}"
        assert world.plane.rest("GET", "/gpuplane/v1/instances", key="", authorization=header).status == 200


@pytest.fixture(scope="module")
def scoped(world: World) -> dict[tuple[str, bool], Caller]:
    """Keys by (scope, whether they have this one alone or all but it)."""
    wanted = {(s, True): [s] for s in SCOPES} | {(s, False): [o for o in SCOPES if o != s] for s in SCOPES}
    return {which: world.plane.caller(_key(world.plane.me, scopes=scopes).secret) for which, scopes in wanted.items()}


def test_a_key_has_only_the_scopes_given(world: World, scoped: dict[tuple[str, bool], Caller]) -> None:
    assert len(SCOPES) == 12
    keys = scoped["keys:write", True]
    failure = failure_of(lambda: _key(keys, scopes=["keys:write", "instances:write"]))
    assert (failure.code, failure.reason) == ("PERMISSION_DENIED", "SCOPE_MISSING")
    assert failure.metadata == {"scope": "instances:write"}
    assert _key(keys).api_key.scopes == ["keys:write"], "empty: what the caller has"


@pytest.mark.parametrize("name", GUARDED)
def test_a_key_without_the_scope(world: World, scoped: dict[tuple[str, bool], Caller], name: str) -> None:
    scope = WALK[name][0]
    before = world.snapshot()
    if scope == OPERATOR:
        assert _refusal(world, name, world.plane.me) == OPERATOR_ONLY
    else:
        failure = failure_of(lambda: _call(world, name, scoped[scope, False]))
        assert (failure.code, failure.reason) == ("PERMISSION_DENIED", "SCOPE_MISSING")
        assert failure.metadata == {"scope": scope}
        assert scope in failure.message
    assert world.snapshot() == before


@pytest.mark.parametrize("name", [name for name in GUARDED if WALK[name][0] != OPERATOR and "Get" in name])
def test_the_scope_is_enough(world: World, scoped: dict[tuple[str, bool], Caller], name: str) -> None:
    _call(world, name, scoped[WALK[name][0], True])


def _without_tokens(answer: Any) -> Any:
    """Without what even nothing has: a place in the log, and a sum of zero in some currency."""
    if isinstance(answer, pb.ListInstancesResponse):
        answer.ClearField("resume_token")
    if isinstance(answer, pb.CostSummary):
        answer.total.ClearField("currency_code")
        assert answer.total == type(answer.total)()
        answer.ClearField("total")
    return answer


@pytest.mark.parametrize("name", list(WALK))
def test_a_stranger(world: World, name: str) -> None:
    before = world.snapshot()
    expected = WALK[name][2]
    if isinstance(expected, tuple):
        assert _refusal(world, name, world.stranger) == expected
    else:
        answer = _call(world, name, world.stranger)
        sent = answer.SerializeToString()
        for id in world.ids():
            assert id not in sent
        if expected == EMPTY:
            assert _without_tokens(answer) == type(answer)()
    assert world.snapshot() == before


def test_a_strangers_tokens(world: World) -> None:
    """Page and resume tokens of one account say nothing to another."""
    me, other = world.plane.me, world.stranger
    for _ in range(2):
        _key(me)
    page = me.keys.ListApiKeys(pb.ListApiKeysRequest(page_size=1)).next_page_token
    assert page
    failure = failure_of(lambda: other.keys.ListApiKeys(pb.ListApiKeysRequest(page_size=1, page_token=page)))
    assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")
    token = me.instances.ListInstances(pb.ListInstancesRequest()).resume_token
    failure = failure_of(lambda: other.instances.WatchInstances(pb.WatchInstancesRequest(resume_token=token)))
    assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "INVALID_RESUME_TOKEN")
    request = pb.WatchInstanceRequest(id=world.instance.id, resume_token=token)
    failure = failure_of(lambda: other.instances.WatchInstance(request))
    assert failure.reason in ("INVALID_RESUME_TOKEN", "RESOURCE_NOT_FOUND")


def test_a_strangers_request_id(world: World) -> None:
    """Request ids belong to an account: a stranger's use of the same one is its own request."""
    request = {"name": "same id", "public_key": SSH_KEY, "request_id": "shared-request-id"}
    mine = world.plane.me.keys.CreateSshKey(pb.CreateSshKeyRequest(**request))
    other = world.stranger.keys.CreateSshKey(pb.CreateSshKeyRequest(**request | {"name": "other body"}))
    assert mine.id != other.id


def test_a_stranger_sees_no_events(world: World) -> None:
    with world.stranger.watch(world.stranger.instances.WatchInstances, pb.WatchInstancesRequest()) as stream:
        stream.next()
        for name in ("a", "b"):
            world.plane.me.instances.UpdateInstance(pb.UpdateInstanceRequest(id=world.instance.id, name=name))
        with pytest.raises(TimeoutError):
            stream.next(0.7)


def test_an_operator_owns_nothing(world: World) -> None:
    operator = world.plane.operator
    for call in (
        lambda: world.plane.create(operator),
        lambda: operator.keys.CreateSshKey(pb.CreateSshKeyRequest(name="x", public_key=SSH_KEY)),
        lambda: operator.budgets.CreateBudget(pb.CreateBudgetRequest(name="x", limit={"units": 1})),
    ):
        assert failure_of(call).code == "PERMISSION_DENIED"
    assert failure_of(lambda: _key(operator)).code == "INVALID_ARGUMENT"


def _streams(world: World, key: str) -> list[Any]:
    caller = world.plane.caller(key)
    found = [
        caller.watch(caller.instances.WatchInstances, pb.WatchInstancesRequest()),
        caller.watch(caller.instances.WatchInstance, pb.WatchInstanceRequest(id=world.instance.id)),
        world.plane.sse("/gpuplane/v1/watch/instances", key=key),
    ]
    for stream in found:
        stream.next()
    return found


def _end_reason(message: Any) -> str:
    if isinstance(message, dict):
        return str(message["end"]["reason"])
    return str(pb.StreamEndReason.Name(message.end.reason))


def _assert_ended_by_key(streams: list[Any], within_s: float) -> None:
    began = time.monotonic()
    for stream in streams:
        *_, last = stream.rest(within_s + 2)
        assert _end_reason(last) == "STREAM_END_REASON_KEY_REVOKED"
    assert time.monotonic() - began < within_s


def test_revocation_ends_streams_within_a_second(world: World) -> None:
    made = _key(world.plane.me)
    streams = _streams(world, made.secret)
    assert world.plane.rest("GET", "/gpuplane/v1/instances", key=made.secret).status == 200
    world.plane.me.keys.RevokeApiKey(pb.RevokeApiKeyRequest(id=made.api_key.id))
    failure = failure_of(lambda: world.plane.caller(made.secret).instances.ListInstances(pb.ListInstancesRequest()))
    assert (failure.code, failure.reason) == ("UNAUTHENTICATED", "KEY_INVALID"), "at once"
    _assert_ended_by_key(streams, 1.0)


def test_expiry_ends_streams(world: World) -> None:
    made = _key(world.plane.me, expire_time=_in(1))
    _assert_ended_by_key(_streams(world, made.secret), 2.0)


def test_closing_an_account_ends_its_keys_and_streams(world: World) -> None:
    tenant = world.plane.new_account("leaving")
    with tenant.watch(tenant.instances.WatchInstances, pb.WatchInstancesRequest()) as stream:
        stream.next()
        world.plane.operator.accounts.CloseAccount(pb.CloseAccountRequest(id=tenant.account_id))
        assert failure_of(lambda: world.plane.create(tenant)).reason == "KEY_INVALID"
        _assert_ended_by_key([stream], 1.0)
    failure = failure_of(lambda: _key(world.plane.operator, account_id=tenant.account_id))
    assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "ACCOUNT_CLOSED")


def test_unknown_methods_and_paths(world: World) -> None:
    call = world.plane.channel.unary_unary("/gpuplane.v1.Instances/StealInstance")
    with pytest.raises(grpc.RpcError) as refused:
        call(b"", timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert world.plane.rest("GET", "/gpuplane/v1/nowhere", key="").status == 404
