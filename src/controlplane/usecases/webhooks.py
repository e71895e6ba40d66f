"""Webhook endpoints of an account, and the history of what was sent to them."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.domain.account import Account
from controlplane.domain.errors import FailedPrecondition, ResourceExhausted, invalid, not_found
from controlplane.domain.principal import Principal
from controlplane.domain.records import replace
from controlplane.domain.webhook import Delivery, DeliveryState, Lane, WebhookEndpoint, lane_id
from controlplane.ports.bus import Topic
from controlplane.ports.store import Get, Load, Transaction, UnitOfWork, Where
from controlplane.usecases import validation
from controlplane.usecases.core import Core
from controlplane.usecases.idempotency import RequestKey

SEALED = "webhook"  # what endpoints' secrets are sealed for
LONGEST_URL = 2048


async def create_endpoint(
    core: Core, caller: Principal, dialect: str, url: str, event_types: Sequence[str], request: RequestKey
) -> tuple[WebhookEndpoint, str]:
    """A new endpoint and its secret of 64 hex digits, which is shown now and, to repeats of the request, for minutes.

    It gets the account's events from now on, in the dialect's words; no `event_types` means all of the dialect.
    """
    validation.check_tenant(caller)
    request.check()
    known = core.webhook_events.get(dialect)
    if known is None:
        raise invalid("dialect", f"must be among {', '.join(sorted(core.webhook_events))}", dialect)
    for event_type in event_types:
        if event_type not in known:
            raise invalid("event_types", f"must be among {', '.join(known)}", event_type)
    await _check_url(core, url)
    account_id = caller.account_id
    secret = core.ids.entropy(32).hex()

    def decide(tx: Transaction) -> tuple[str, str]:
        if first := request.replay(tx, account_id):
            return first, request.sealed(tx, account_id)
        validation.check_open(tx.get(Account, account_id))
        have = len(tx.where(WebhookEndpoint, "account_id", account_id))
        if have >= core.policy.max_webhooks:
            raise ResourceExhausted(
                f"the account has {have} webhook endpoints, which is its limit",
                reason="QUOTA_EXCEEDED", resource="webhook endpoints", limit=core.policy.max_webhooks,
            )  # fmt: skip
        id = str(tx.ids.uuid7())
        sealed = core.secrets.seal(SEALED, id, secret.encode())
        wanted = tuple(dict.fromkeys(event_types)) or known
        tx.put(WebhookEndpoint(id, account_id, dialect, url, wanted, sealed, True, tx.now))
        request.record(tx, account_id, id, sealed)
        return id, sealed

    loads: list[Load] = [
        Get(Account, account_id), Where(WebhookEndpoint, "account_id", account_id), *request.loads(account_id),
    ]  # fmt: skip
    id, sealed = await core.store.run(UnitOfWork(caller.scope, loads, decide))
    return await endpoint_of(core, caller, id), core.secrets.open(SEALED, id, sealed).decode()


async def _check_url(core: Core, url: str) -> None:
    validation.check_length("url", url, LONGEST_URL)
    if rule := await core.urls.refusal(url):
        raise invalid("url", rule, "..." if "@" in url else url)  # it may hold a password


async def endpoint_of(core: Core, caller: Principal, id: str, dialect: str = "") -> WebhookEndpoint:
    """One endpoint, or NotFound. With `dialect`, only if it is one of that."""
    found = await core.store.get(caller.scope, WebhookEndpoint, id)
    return _existing(found, id, dialect)


def _existing(row: WebhookEndpoint | None, id: str, dialect: str = "") -> WebhookEndpoint:
    if row is None or row.deleted or dialect not in ("", row.dialect):
        raise not_found("webhook endpoint", id)
    return row


async def endpoints(
    core: Core, caller: Principal, before_id: str, limit: int, dialect: str = ""
) -> list[tuple[str, WebhookEndpoint]]:
    """A page of the account's endpoints (of one dialect, if given), newest first; for `pages.read_page`."""
    where: dict[str, object] = {"account_id": caller.account_id}
    if dialect:
        where["dialect"] = dialect
    rows = await core.store.select(caller.scope, WebhookEndpoint, where, before_id, limit)
    return [(row.id, row) for row in rows]


async def set_enabled(core: Core, caller: Principal, id: str, enabled: bool, request: RequestKey) -> WebhookEndpoint:
    """Switch an endpoint on or off. Off, it gets no events, and what is pending waits until it is on again."""
    request.check()

    def decide(tx: Transaction) -> WebhookEndpoint:
        row = _existing(tx.get(WebhookEndpoint, id), id)
        if request.replay(tx, caller.account_id):
            return row
        row = replace(row, enabled=enabled)
        if enabled and row.pending:
            row = row.expecting(0, tx.now)
        tx.put(row)
        request.record(tx, caller.account_id, id)
        return row

    loads = [Get(WebhookEndpoint, id), *request.loads(caller.account_id)]
    changed = await core.store.run(UnitOfWork(caller.scope, loads, decide))
    core.bus.notify(Topic.WEBHOOKS)
    return changed


async def delete_endpoint(core: Core, caller: Principal, id: str, request: RequestKey, dialect: str = "") -> None:
    """Remove an endpoint. What is pending for it is dropped; an attempt under way may still arrive."""
    request.check()

    def decide(tx: Transaction) -> None:
        if request.replay(tx, caller.account_id):
            return
        row = _existing(tx.get(WebhookEndpoint, id), id, dialect)
        tx.put(row.forgotten())
        request.record(tx, caller.account_id, id)

    loads = [Get(WebhookEndpoint, id), *request.loads(caller.account_id)]
    await core.store.run(UnitOfWork(caller.scope, loads, decide))


async def deliveries(
    core: Core, caller: Principal, endpoint_id: str, before_id: str, limit: int
) -> list[tuple[str, Delivery]]:
    """A page of an endpoint's deliveries, newest first; for `pages.read_page`. NotFound without the endpoint."""
    await endpoint_of(core, caller, endpoint_id)
    rows = await core.store.select(caller.scope, Delivery, {"endpoint_id": endpoint_id}, before_id, limit)
    return [(row.id, row) for row in rows]


async def redeliver(core: Core, caller: Principal, endpoint_id: str, id: str, request: RequestKey) -> Delivery:
    """Send a delivered or failed event again, with the whole schedule before it. A pending one is left as it is."""
    request.check()

    def decide(tx: Transaction) -> Delivery:
        endpoint = _existing(tx.get(WebhookEndpoint, endpoint_id), endpoint_id)
        row = tx.get(Delivery, id)
        if row is None or row.endpoint_id != endpoint_id:
            raise not_found("webhook delivery", id)
        if row.state is DeliveryState.PENDING or request.replay(tx, caller.account_id):
            return row
        if not endpoint.enabled:
            raise FailedPrecondition("the webhook endpoint is disabled", reason="STATE_CONFLICT")
        row = row.again()
        tx.put(row)
        tx.put(Lane(row.lane, endpoint_id, tx.now, 1))
        tx.put(endpoint.expecting(1, tx.now))
        request.record(tx, caller.account_id, id)
        return row

    loads = [
        Get(WebhookEndpoint, endpoint_id), Get(Delivery, id), Get(Lane, lane_id(endpoint_id, id)),
        *request.loads(caller.account_id),
    ]  # fmt: skip
    row = await core.store.run(UnitOfWork(caller.scope, loads, decide))
    core.bus.notify(Topic.WEBHOOKS)
    return row
