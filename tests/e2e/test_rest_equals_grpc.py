"""Every rpc gives the same result as JSON over REST and as native gRPC on the same port, errors included."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from tests.support.plane import Caller, Plane, eventually, failure_of, pb, rest_failure
from tests.support.recipes import TEMPLATE
from tests.support.rpcs import RPCS, Rpc

# google.rpc.Code -> HTTP, as the transcoder and our own replies have it.
HTTP = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "ABORTED": 409, "RESOURCE_EXHAUSTED": 429,
}  # fmt: skip
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9y9SYGOgcBlnK9Wj7oqOl0NkrH7R1T9vWm1Zu4a7Qe me@home"
HOUR = {"seconds": 3600}
NOBODY = "https://nobody.invalid/hook"
NO_INSTANCE, NO_OPERATION = "inst_00000000000000000000000000", "00000000-0000-7000-8000-000000000000"


@dataclass
class World:
    """What the calls are about."""

    plane: Plane
    running: Any
    ended: Any
    ssh_key: Any
    api_key: Any
    budget: Any
    webhook: Any
    delivery_id: str
    account: Any
    stray_id: str
    credential: Any

    def spare_ssh_key(self) -> str:
        request = pb.CreateSshKeyRequest(name=f"spare {uuid.uuid4()}", public_key=SSH_KEY)
        return str(self.plane.me.keys.CreateSshKey(request).id)

    def spare_budget(self) -> str:
        request = pb.CreateBudgetRequest(name=f"spare {uuid.uuid4()}", limit={"units": 9})
        return str(self.plane.me.budgets.CreateBudget(request).id)

    def spare_webhook(self) -> str:
        request = pb.CreateWebhookEndpointRequest(url=NOBODY)
        return str(self.plane.me.webhooks.CreateWebhookEndpoint(request).webhook_endpoint.id)


def _switched_off(me: Caller, webhook_id: str) -> str:
    """Stop the webhook, so that what is stored of it stays as it is; the id of something that it was to be told."""
    request = pb.ListWebhookDeliveriesRequest(endpoint_id=webhook_id)
    told = eventually(lambda: me.webhooks.ListWebhookDeliveries(request).deliveries)
    me.webhooks.UpdateWebhookEndpoint(pb.UpdateWebhookEndpointRequest(id=webhook_id, enabled=False))
    time.sleep(4)  # an attempt that is under way comes back
    return str(told[0].id)


def _stray(plane: Plane) -> str:
    """A stray of a provider that this plane never sweeps, so that it stays as it is."""
    id = "stray_00000000000000000000000000"
    row = {
        "id": id, "provider": "vastai", "credential_id": "", "machine_id": "1", "label": f"gp-x-{'0' * 26}-1",
        "kind": "FOREIGN", "status": "running", "price_nano_per_hour": 1, "first_seen_at": 1, "last_seen_at": 1,
        "wish": "", "account_id": "", "error": "",
    }  # fmt: skip
    names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
    with contextlib.closing(sqlite3.connect(plane.state / "gpuplane.db", timeout=30)) as database, database:
        database.execute(f"INSERT INTO strays ({names}) VALUES ({values})", row)
    return id


@pytest.fixture(scope="module")
def world(shared_plane: Plane) -> World:
    me = shared_plane.me
    webhook = me.webhooks.CreateWebhookEndpoint(pb.CreateWebhookEndpointRequest(url=NOBODY)).webhook_endpoint
    ended = shared_plane.rent(name="ended", labels={"a": "1"})
    shared_plane.terminate(ended.id)
    eventually(lambda: me.instances.GetInstance(pb.GetInstanceRequest(id=ended.id)).HasField("gone_time"))
    api_key = me.keys.CreateApiKey(pb.CreateApiKeyRequest(name="shown", scopes=["usage:read"])).api_key
    return World(
        plane=shared_plane,
        running=shared_plane.rent(
            name="running ünïcode ✓", labels={"team": "blue", "x/y": ""}, reservation={"seconds": 3600}
        ),
        ended=me.instances.GetInstance(pb.GetInstanceRequest(id=ended.id)),
        ssh_key=me.keys.CreateSshKey(pb.CreateSshKeyRequest(name="mine", public_key=SSH_KEY)),
        api_key=api_key,
        budget=me.budgets.CreateBudget(pb.CreateBudgetRequest(name="big", limit={"units": 1000})),
        webhook=webhook,
        delivery_id=_switched_off(me, webhook.id),
        account=shared_plane.operator.accounts.CreateAccount(pb.CreateAccountRequest(name="tenant")),
        stray_id=_stray(shared_plane),
        credential=me.provider_credentials.CreateProviderCredential(
            pb.CreateProviderCredentialRequest(provider="ionet", name="mine", secret="other")
        ),
    )


@dataclass(frozen=True)
class Case:
    """A call that works and one that does not.

    `same`: how answers of two calls are compared; `once`: each way gets a request of its own (a delete).
    """

    ok: Callable[[World], dict[str, Any]]
    bad: Callable[[World], dict[str, Any]] | None
    code: str = "NOT_FOUND"
    reason: str = "RESOURCE_NOT_FOUND"
    operator: bool = False
    same: Callable[[Any], Any] = lambda answer: answer
    once: bool = False


def _shape(message: Any) -> Any:
    """Which fields are filled, not with what."""
    if not isinstance(message, Message):
        return type(message)
    return {
        f.name: [_shape(v) for v in value] if f.is_repeated else _shape(value)
        for f, value in message.ListFields()
    }  # fmt: skip


def _without(*names: str) -> Callable[[Any], Any]:
    def strip(message: Any) -> Any:
        for name in names:
            message.ClearField(name)
        return message

    return strip


def _steady_health(message: Any) -> Any:
    return message.status, {name: check.healthy for name, check in message.checks.items()}, bool(message.timestamp)


def _metric_names(message: Any) -> Any:
    lines = message.data.decode().splitlines()
    return message.content_type, {line.split(" ")[2] for line in lines if line.startswith("# TYPE")}


def _offers(message: Any) -> Any:
    for offer in getattr(message, "offers", [message]):
        offer.ClearField("seen_time")
    return message


def _accepted(message: Any) -> Any:
    """Which operations, and what was refused: the work on them goes on between the calls."""
    return [(result.operation.id, result.error) for result in message.results]


def _request_id(key: str) -> str:
    """The same in both calls: the second is answered with the first one's result."""
    return f"{key}-{_RUN}"


_RUN = uuid.uuid4().hex
NEVER = None  # nothing that a caller sends, short of what Envoy refuses, makes it fail

CASES: dict[str, Case] = {
    "CreateInstance": Case(
        lambda w: {
            "offer_id": "local-cpu", "name": "both", "labels": {"a": "b"}, "env": {"K": "v"},
            "ssh_key_ids": [w.ssh_key.id], "max_price_per_hour": {"units": 1}, "reservation": "3600s",
            "idle_timeout": "90.5s", "request_id": _request_id("create"),
        },
        lambda w: {"offer_id": "local-none"},
        same=lambda operation: (operation.id, operation.instance_id, operation.request_id),
    ),
    "BatchCreateInstances": Case(
        lambda w: {
            "requests": [{"offer_id": "local-cpu", "ports": [8080], "on_start": "true"}, {"offer_id": "local-none"}],
            "request_id": _request_id("batch"),
        },
        lambda w: {"requests": []}, "INVALID_ARGUMENT", "INVALID_FIELD", same=_accepted,
    ),
    "ReserveInstances": Case(
        lambda w: {
            "create": {"offer_id": "local-cpu", "max_retries": 0}, "count": 2, "min_count": 1,
            "request_id": _request_id("reserve"),
        },
        lambda w: {"create": {"offer_id": "local-none"}, "count": 1}, same=_accepted,
    ),
    "GetInstance": Case(lambda w: {"id": w.running.id}, lambda w: {"id": NO_INSTANCE}),
    "ListInstances": Case(
        lambda w: {"states": ["INSTANCE_STATE_TERMINATED"], "provider": "local", "label_selector": "a=1"},
        lambda w: {"page_size": -1}, "INVALID_ARGUMENT", "INVALID_FIELD", same=_without("resume_token"),
    ),
    "UpdateInstance": Case(
        lambda w: {"id": w.running.id, "name": "new", "labels": {"k": "v"}, "remove_labels": ["team"]}
        | {"request_id": _request_id("update")},
        lambda w: {"id": w.running.id, "labels": {"bad key": "v"}}, "INVALID_ARGUMENT", "INVALID_FIELD",
    ),
    "TerminateInstance": Case(lambda w: {"id": w.ended.id, "force": True}, lambda w: {"id": NO_INSTANCE}),
    "ExtendInstance": Case(
        lambda w: {"id": w.running.id, "duration": "60s", "request_id": _request_id("extend")},
        lambda w: {"id": w.ended.id, "duration": "60s"}, "FAILED_PRECONDITION", "STATE_CONFLICT",
    ),
    "WatchInstance": Case(lambda w: {"id": w.ended.id}, lambda w: {"id": NO_INSTANCE}),
    "WatchInstances": Case(
        lambda w: {}, lambda w: {"resume_token": "forged"}, "INVALID_ARGUMENT", "INVALID_RESUME_TOKEN"
    ),
    "GetConnection": Case(
        lambda w: {"id": w.running.id}, lambda w: {"id": w.ended.id}, "FAILED_PRECONDITION", "STATE_CONFLICT"
    ),
    "GetDiagnostics": Case(
        lambda w: {"id": w.running.id}, lambda w: {"id": NO_INSTANCE},
        same=_without("last_seen_time", "cpu_percent", "provider_message"),
    ),
    "GetInstanceLogs": Case(
        lambda w: {"id": w.running.id, "tail": 5}, lambda w: {"id": w.running.id, "tail": 10_001},
        "INVALID_ARGUMENT", "INVALID_FIELD",
    ),
    "GetOperation": Case(lambda w: {"id": w.running.create_operation_id}, lambda w: {"id": NO_OPERATION}),
    "ListOperations": Case(
        lambda w: {"instance_id": w.ended.id, "state": "OPERATION_STATE_SUCCEEDED", "page_size": 1},
        lambda w: {"page_token": "forged"}, "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN",
    ),
    "WaitOperation": Case(
        lambda w: {"id": w.running.create_operation_id, "timeout": "1.5s"}, lambda w: {"id": NO_OPERATION}
    ),
    "CancelOperation": Case(lambda w: {"id": w.running.create_operation_id}, lambda w: {"id": NO_OPERATION}),
    "WatchOperation": Case(lambda w: {"id": w.running.create_operation_id}, lambda w: {"id": NO_OPERATION}),
    "ListOffers": Case(
        lambda w: {
            "requirements": {"gpu_types": ["H100", "rtx-4090"], "regions": ["eu", "na"], "tier": "TIER_SPOT",
                             "min_reliability": 0.5, "gpu_count": 2, "max_price_per_hour": {"units": 5}},
            "order_by": "price_per_hour desc", "page_size": 3,
        },
        lambda w: {"requirements": {"gpu_types": ["abacus"]}}, "INVALID_ARGUMENT", "INVALID_FIELD", same=_offers,
    ),
    "RankOffers": Case(
        lambda w: {"requirements": {"gpu_types": ["cpu"], "min_confidence": 0.5}},
        lambda w: {"requirements": {"min_confidence": 2}}, "INVALID_ARGUMENT", "INVALID_FIELD", same=_shape,
    ),
    "ListPrices": Case(
        lambda w: {"provider": "local"}, lambda w: {"gpu_type": "abacus"}, "INVALID_ARGUMENT", "INVALID_FIELD",
    ),
    "ListTemplates": Case(
        lambda w: {"name": "TORCH", "provider": "recipes"}, lambda w: {"page_size": -1}, "INVALID_ARGUMENT",
        "INVALID_FIELD",
    ),
    "GetTemplate": Case(lambda w: {"id": TEMPLATE.id}, lambda w: {"id": "none"}),
    "ListCompatibleTemplates": Case(lambda w: {"offer_id": "local-cpu"}, lambda w: {"offer_id": "local-none"}),
    "CreateProviderCredential": Case(
        lambda w: {"provider": "vastai", "name": "both", "secret": "s3cret", "request_id": _request_id("credential")},
        lambda w: {"provider": "nobody", "name": "x", "secret": "s"}, "INVALID_ARGUMENT", "INVALID_FIELD",
    ),
    "GetProviderCredential": Case(lambda w: {"id": w.credential.id}, lambda w: {"id": "cred_none"}),
    "ListProviderCredentials": Case(
        lambda w: {"page_size": 1}, lambda w: {"page_token": "forged"}, "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN",
    ),
    "RevokeProviderCredential": Case(lambda w: {"id": w.credential.id}, lambda w: {"id": "cred_none"}),
    "GetOffer": Case(lambda w: {"id": "local-cpu"}, lambda w: {"id": "local-none"}, same=_offers),
    "ListGpuTypes": Case(lambda w: {"vendor": "NVIDIA", "offered_only": True}, NEVER),
    "CreateSshKey": Case(
        lambda w: {"name": "both", "public_key": SSH_KEY, "request_id": _request_id("ssh")},
        lambda w: {"name": "mine", "public_key": SSH_KEY}, "ALREADY_EXISTS", "RESOURCE_EXISTS",
    ),
    "GetSshKey": Case(lambda w: {"id": w.ssh_key.id}, lambda w: {"id": "sshkey_none"}),
    "ListSshKeys": Case(
        lambda w: {"page_size": 1000}, lambda w: {"page_size": -1}, "INVALID_ARGUMENT", "INVALID_FIELD"
    ),
    "DeleteSshKey": Case(lambda w: {"id": w.spare_ssh_key()}, lambda w: {"id": "sshkey_none"}, once=True),
    "CreateApiKey": Case(
        lambda w: {"name": "k", "scopes": ["usage:read"], "expire_time": "2099-01-01T00:00:00Z"},
        lambda w: {"name": "k", "scopes": ["everything"]}, "INVALID_ARGUMENT", "INVALID_FIELD", same=_shape,
    ),
    "GetApiKey": Case(lambda w: {"id": w.api_key.id}, lambda w: {"id": "key_none"}),
    "ListApiKeys": Case(
        lambda w: {"page_size": 1}, lambda w: {"page_token": "forged"}, "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN",
    ),
    "RevokeApiKey": Case(lambda w: {"id": w.api_key.id}, lambda w: {"id": "key_none"}),
    "QueryUsage": Case(
        lambda w: {"start_time": "2026-01-01T00:00:00Z", "bucket": "USAGE_BUCKET_SIZE_MONTH",
                   "group_by": "USAGE_GROUP_GPU_TYPE"},
        lambda w: {"bucket": "USAGE_BUCKET_SIZE_HOUR", "start_time": "1970-01-01T00:00:00Z"},
        "INVALID_ARGUMENT", "INVALID_FIELD",
    ),
    "GetCostSummary": Case(
        lambda w: {"instance_id": w.ended.id},
        lambda w: {"start_time": "2026-02-01T00:00:00Z", "end_time": "2026-01-01T00:00:00Z"},
        "INVALID_ARGUMENT", "INVALID_FIELD",
    ),
    "ListLedgerEntries": Case(
        lambda w: {"instance_id": w.ended.id}, lambda w: {"page_size": -5}, "INVALID_ARGUMENT", "INVALID_FIELD"
    ),
    "CreateBudget": Case(
        lambda w: {"name": "both", "limit": {"currency_code": "USD", "units": 7, "nanos": 5}}
        | {"period": "BUDGET_PERIOD_DAY", "request_id": _request_id("budget")},
        lambda w: {"name": "b", "limit": {"currency_code": "EUR", "units": 7}}, "INVALID_ARGUMENT", "INVALID_FIELD",
    ),
    "GetBudget": Case(lambda w: {"id": w.budget.id}, lambda w: {"id": "budget_none"}),
    "ListBudgets": Case(lambda w: {}, NEVER),
    "UpdateBudget": Case(
        lambda w: {"id": w.budget.id, "name": "bigger", "limit": {"units": 2000}}, lambda w: {"id": "budget_none"},
        same=_without("spent", "held"),  # the change meets running machines at once
    ),
    "DeleteBudget": Case(lambda w: {"id": w.spare_budget()}, lambda w: {"id": "budget_none"}, once=True),
    "CreateWebhookEndpoint": Case(
        lambda w: {"url": NOBODY, "dialect": "gpuplane", "request_id": _request_id("webhook")},
        lambda w: {"url": "https://10.0.0.1/"}, "INVALID_ARGUMENT", "INVALID_FIELD",
    ),
    "GetWebhookEndpoint": Case(lambda w: {"id": w.webhook.id}, lambda w: {"id": "none"}),
    "ListWebhookEndpoints": Case(
        lambda w: {"page_size": 1}, lambda w: {"page_token": "forged"}, "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN",
    ),
    "UpdateWebhookEndpoint": Case(
        lambda w: {"id": w.webhook.id, "enabled": False}, lambda w: {"id": w.webhook.id}, "INVALID_ARGUMENT",
        "INVALID_FIELD",
    ),
    "DeleteWebhookEndpoint": Case(lambda w: {"id": w.spare_webhook()}, lambda w: {"id": "none"}, once=True),
    "ListWebhookDeliveries": Case(lambda w: {"endpoint_id": w.webhook.id}, lambda w: {"endpoint_id": "none"}),
    "RedeliverWebhook": Case(
        lambda w: {"endpoint_id": w.webhook.id, "id": w.delivery_id},
        lambda w: {"endpoint_id": w.webhook.id, "id": "none"},
    ),
    "CreateAccount": Case(
        lambda w: {"name": "acc", "currency": "EUR", "max_instances": 3, "request_id": _request_id("account")},
        lambda w: {"name": "acc", "currency": "euro"}, "INVALID_ARGUMENT", "INVALID_FIELD", operator=True,
    ),
    "GetAccount": Case(lambda w: {"id": w.account.id}, lambda w: {"id": "acct_none"}, operator=True),
    "ListAccounts": Case(
        lambda w: {"page_size": 2}, lambda w: {"page_size": -1}, "INVALID_ARGUMENT", "INVALID_FIELD", operator=True
    ),
    "CloseAccount": Case(lambda w: {"id": w.account.id}, lambda w: {"id": "acct_none"}, operator=True),
    "GetStray": Case(lambda w: {"id": w.stray_id}, lambda w: {"id": "stray_none"}, operator=True),
    "ListStrays": Case(
        lambda w: {"provider": "vastai", "kind": "STRAY_KIND_FOREIGN"}, lambda w: {"page_size": -1},
        "INVALID_ARGUMENT", "INVALID_FIELD", operator=True,
    ),
    "AdoptStray": Case(
        lambda w: {"id": w.stray_id, "account_id": w.plane.account_id},
        lambda w: {"id": "stray_none", "account_id": w.plane.account_id}, operator=True,
    ),
    "DestroyStray": Case(
        lambda w: {"id": w.stray_id}, lambda w: {"id": "stray_none"}, operator=True
    ),
    "GetHealth": Case(lambda w: {}, NEVER, same=_steady_health),
    "GetReadiness": Case(lambda w: {}, NEVER, same=lambda message: message.ready),
    "GetMetrics": Case(lambda w: {}, NEVER, same=_metric_names),
    "GetServerInfo": Case(lambda w: {}, NEVER),
}  # fmt: skip


def test_every_rpc_has_a_case() -> None:
    assert set(CASES) == set(RPCS)


@pytest.fixture
def ways(world: World, request: pytest.FixtureRequest) -> SimpleNamespace:
    """The rpc of the test, its case, and who calls."""
    name = request.node.callspec.params["name"]
    caller: Caller = world.plane.operator if CASES[name].operator else world.plane.me
    return SimpleNamespace(rpc=RPCS[name], case=CASES[name], caller=caller, plane=world.plane)


def _request(rpc: Rpc, fields: dict[str, Any]) -> Any:
    return json_format.ParseDict(fields, rpc.request())


def _rest(ways: SimpleNamespace, request: Message, **more: Any) -> Any:
    verb, path, body = ways.rpc.rest(request)
    return ways.plane.rest(verb, path, body, key=more.pop("key", ways.caller.key), **more)


def _over_rest(ways: SimpleNamespace, request: Message) -> Any:
    answer = _rest(ways, request)
    assert answer.status == 200, answer.body
    if ways.rpc.response.DESCRIPTOR.full_name == "google.api.HttpBody":
        return ways.rpc.response(content_type=answer.headers["Content-Type"], data=answer.body)
    assert answer.headers["Content-Type"] == "application/json"
    return json_format.Parse(answer.body, ways.rpc.response())


@pytest.mark.parametrize("name", [name for name, rpc in RPCS.items() if not rpc.streams])
def test_same_answer(world: World, ways: SimpleNamespace, name: str) -> None:
    case, rpc = ways.case, ways.rpc
    for left in (2, 1, 0):  # a machine may be metered, or offers refreshed, between the two calls
        request = _request(rpc, case.ok(world))
        over_rest = case.same(_over_rest(ways, request))
        if case.once:
            request = _request(rpc, case.ok(world))
        over_grpc = case.same(rpc.grpc(ways.caller)(request))
        if over_rest == over_grpc or not left:
            break
    assert over_rest == over_grpc


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.bad is not NEVER])
def test_same_error(world: World, ways: SimpleNamespace, name: str) -> None:
    case, rpc = ways.case, ways.rpc
    request = _request(rpc, case.bad(world))
    over_grpc = failure_of(lambda: rpc.grpc(ways.caller)(request))
    answer = _rest(ways, request)
    assert rest_failure(answer) == over_grpc, (answer.body, over_grpc)
    assert (over_grpc.code, over_grpc.reason) == (case.code, case.reason)
    assert over_grpc.message
    assert answer.status == HTTP[case.code]
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json["details"][0]["domain"] == "gpuplane"


@pytest.mark.parametrize("name", list(CASES))
def test_same_refusal_without_a_key(world: World, ways: SimpleNamespace, name: str) -> None:
    if name in ("GetHealth", "GetReadiness", "GetServerInfo", "GetMetrics"):
        assert _rest(ways, ways.rpc.request(), key="").status == 200
        ways.rpc.grpc(world.plane.caller())(ways.rpc.request())
        return
    request = _request(ways.rpc, dict.fromkeys(re.findall(r"{(\w+)}", ways.rpc.template), "x"))
    answer = _rest(ways, request, key="")
    assert answer.status == 401
    over_grpc = failure_of(lambda: ways.rpc.grpc(world.plane.caller())(request))
    assert rest_failure(answer) == over_grpc
    assert over_grpc.reason == "KEY_MISSING"


def _both_streams(world: World, name: str, fields: dict[str, Any]) -> tuple[Any, Any]:
    rpc, me = RPCS[name], world.plane.me
    request = _request(rpc, fields)
    return world.plane.sse(rpc.rest(request)[1]), me.watch(rpc.grpc(me), request)


def _parsed(rpc: Rpc, events: list[Any]) -> list[Any]:
    return [json_format.ParseDict(event, rpc.response()) for event in events]


@pytest.mark.parametrize("name", ["WatchInstance", "WatchOperation"])
def test_same_stream_to_its_end(world: World, name: str) -> None:
    sse, stream = _both_streams(world, name, CASES[name].ok(world))
    over_rest, over_grpc = _parsed(RPCS[name], sse.rest()), stream.rest()
    assert len(over_grpc) == 2
    assert over_grpc[-1].end.reason == pb.STREAM_END_REASON_DONE
    for event in (*over_rest, *over_grpc):  # tokens point to "now", which moves between the two calls
        if name == "WatchInstance":
            event.ClearField("resume_token")
    assert over_rest == over_grpc


def test_same_stream_of_changes(world: World) -> None:
    me = world.plane.me
    token = me.instances.ListInstances(pb.ListInstancesRequest()).resume_token
    sse, stream = _both_streams(world, "WatchInstances", {"resume_token": token})
    with sse, stream:
        for name in ("one", "two"):
            me.instances.UpdateInstance(pb.UpdateInstanceRequest(id=world.running.id, name=name))
        stream.until(lambda event: event.instance.name == "two")
        sse.until(lambda event: event.get("instance", {}).get("name") == "two")
        assert _parsed(RPCS["WatchInstances"], sse.seen) == stream.seen


def test_request_ids_travel_both_ways(world: World) -> None:
    answer = world.plane.rest("GET", f"/gpuplane/v1/instances/{NO_INSTANCE}", x_request_id="abc-1")
    assert answer.headers["X-Request-Id"] == "abc-1"
    assert world.plane.rest("GET", "/health").headers["X-Request-Id"]
