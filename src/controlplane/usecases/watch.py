"""The streams: what a caller gets, from the first message to the last, and waiting for an operation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TypeVar

from controlplane.domain.errors import not_found
from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation
from controlplane.domain.principal import Principal
from controlplane.ports.store import Store
from controlplane.usecases.hub import EventHub
from controlplane.usecases.subscriptions import Subscription

BOOKMARK_S = 15.0

Row = TypeVar("Row", Instance, Operation)


async def watch_instances(hub: EventHub, caller: Principal, resume_token: str) -> AsyncIterator[bytes]:
    """Every change of the account's instances, and its budget alerts."""
    after = await hub.resume_point(caller.account_id, resume_token)
    subscription = await hub.subscribe(caller, "", after)
    try:
        # A first bookmark at once: the client has a token, and proxies have something to send on.
        yield hub.messages.bookmark(hub.tokens.resume(caller.account_id, after))
        async for message in _instance_stream(hub, subscription, after):
            yield message
    finally:
        hub.unsubscribe(subscription)


async def watch_instance(
    hub: EventHub, store: Store, caller: Principal, id: str, resume_token: str
) -> AsyncIterator[bytes]:
    """One instance, from a snapshot (or a token) to its end."""
    stored, seen = b"", 0
    if resume_token:
        # Read before the hub is brought up to date: of a row that has ended, the hub then has the last event.
        async with hub.opening:
            row = await _row(store, caller, Instance, id)
        after = await hub.resume_point(row.account_id, resume_token)
    else:
        # Read after `after` was fixed: events up to this revision may still come and are skipped.
        after = await hub.resume_point(caller.account_id, "")
        async with hub.opening:
            row = await _row(store, caller, Instance, id)
            stored = await store.message(caller.scope, Instance, id) or b""
        seen = row.revision
    owner = replace(caller, account_id=row.account_id)  # whose events and tokens they are, also for an operator
    subscription = await hub.subscribe(owner, id, after)
    try:
        if not resume_token:
            yield hub.messages.snapshot(stored, hub.tokens.resume(row.account_id, after))
            if row.settled:
                yield hub.messages.end("DONE", "the instance has ended", hub.tokens.resume(row.account_id, after))
                return
        elif row.settled and subscription.idle:
            yield hub.messages.end("DONE", "the instance has ended", resume_token)
            return
        async for message in _instance_stream(hub, subscription, after, seen):
            yield message
    finally:
        hub.unsubscribe(subscription)


async def _row(store: Store, caller: Principal, record: type[Row], id: str) -> Row:
    row = await store.get(caller.scope, record, id)
    if row is None:
        raise not_found(record.__name__.lower(), id)
    return row


async def _instance_stream(
    hub: EventHub, subscription: Subscription, delivered: int, seen_revision: int = 0
) -> AsyncIterator[bytes]:
    while True:
        position = hub.position
        pending = await subscription.next(BOOKMARK_S)
        if pending is not None:
            event = pending.entry.event
            delivered = max(delivered, event.seq)
            if subscription.subject_id and event.revision <= seen_revision:
                continue
            yield hub.instance_wire(subscription, pending)
            if event.final and subscription.subject_id:
                token = hub.tokens.resume(event.account_id, event.seq)
                yield hub.messages.end("DONE", "the instance has ended", token)
                return
        elif subscription.ended is not None:
            token = hub.tokens.resume(subscription.account_id, delivered)
            yield hub.messages.end(*subscription.ended, token)
            return
        else:
            delivered = max(delivered, position)
            yield hub.messages.bookmark(hub.tokens.resume(subscription.account_id, delivered))


async def watch_operation(hub: EventHub, store: Store, caller: Principal, id: str) -> AsyncIterator[bytes]:
    """One operation, from now to its end."""
    after = await hub.resume_point(caller.account_id, "")
    async with hub.opening:
        row = await _row(store, caller, Operation, id)
        stored = await store.message(caller.scope, Operation, id) or b""
    subscription = await hub.subscribe(caller, id, after)
    try:
        yield hub.messages.operation_snapshot(stored)
        done = row.done
        while not done:
            pending = await subscription.next(BOOKMARK_S)
            if pending is not None:
                event = pending.entry.event
                if event.revision > row.revision:
                    yield event.body + (hub.messages.coalesced_operation if pending.coalesced else b"")
                    done = event.final
            elif subscription.ended is not None:
                yield hub.messages.operation_end(*subscription.ended)
                return
            else:
                yield hub.messages.operation_bookmark
        yield hub.messages.operation_end("DONE", "the operation is done")
    finally:
        hub.unsubscribe(subscription)


async def wait_operation(hub: EventHub, store: Store, caller: Principal, id: str, timeout_s: float) -> bytes:
    """The operation as soon as it is done, or as it is when time ran out."""
    after = await hub.resume_point(caller.account_id, "")
    row = await _row(store, caller, Operation, id)
    if not row.done:
        subscription = await hub.subscribe(caller, id, after)
        try:
            async with asyncio.timeout(timeout_s):
                while subscription.ended is None:
                    pending = await subscription.next(timeout_s)
                    if pending is not None and pending.entry.event.final:
                        break
        except TimeoutError:
            pass
        finally:
            hub.unsubscribe(subscription)
    return await store.message(caller.scope, Operation, id) or b""
