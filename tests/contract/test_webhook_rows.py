"""One body over every store: what ports/store.WebhookRows promises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controlplane.domain.events import EventKind
from controlplane.domain.principal import ALL
from controlplane.domain.state import State
from controlplane.domain.webhook import NEVER, Attempt, Delivery, DeliveryState, Lane, WebhookCursor, WebhookEndpoint
from controlplane.ports.store import Store
from tests.contract.test_store import A, B, put
from tests.contract.test_store import clock as clock
from tests.contract.test_store import store as store
from tests.support.fakes import SECOND, START, FakeClock, instance, operation


def endpoint(id: str = "e1", account_id: str = "acct_a", **changes: Any) -> WebhookEndpoint:
    row = WebhookEndpoint(id, account_id, "d", "https://x", ("t", "ü"), "sealed", True, START)
    return replace(row, **changes)


def delivery(id: str, lane: str = "e1/i1", seq: int = 1, **changes: Any) -> Delivery:
    endpoint_id, subject_id = lane.split("/")
    row = Delivery(id, "acct_a", endpoint_id, subject_id, lane, seq, f"evt_{seq}", "t", "{}", START)
    return replace(row, **changes)


async def test_rows_are_read_back_field_by_field(store: Store) -> None:
    rows = (
        endpoint(pending=3, due_at=NEVER, holder="h", fence=2, lease_until=START, failures=4),
        delivery("d1", state=DeliveryState.FAILED, tries=2, attempts=(Attempt(1, 500, "ö", 3),), done_at=9, error="e"),
        Lane("e1/i1", "e1", START, 2),
        WebhookCursor(seq=7, holder="h", fence=1, lease_until=5),
    )
    await put(store, *rows)
    for row in rows:
        assert await store.get(ALL, type(row), row.id) == row
    assert await store.get(B, WebhookEndpoint, "e1") is None
    assert await store.get(A, Delivery, "d1") == rows[1]
    assert await store.get(A, Lane, "e1/i1") is None  # no tenant reads it
    assert await store.select(A, Delivery, {"endpoint_id": "e1"}, "", 10) == [rows[1]]


async def test_events_are_those_of_instances_of_accounts_that_listen(store: Store) -> None:
    await put(store, endpoint(), endpoint("e2", "acct_b", enabled=False))
    await put(store, instance("inst_1"), operation(), instance("inst_2", "acct_b"), instance("inst_3", "acct_c"))
    await put(store, replace(instance("inst_1"), state=State.ALLOCATING))
    newest = (await store.window()).newest
    found = await store.webhooks.events(0, newest, 10)
    assert [(e.subject_id, e.kind) for e in found] == [("inst_1", EventKind.INSTANCE)] * 2
    assert [e.seq for e in found] == sorted(e.seq for e in found)
    assert await store.webhooks.events(0, newest, 1) == found[:1]
    assert await store.webhooks.events(found[0].seq, newest, 10) == found[1:]
    assert await store.webhooks.events(0, found[1].seq - 1, 10) == found[:1]


async def test_due_endpoints_are_enabled_due_and_unheld_the_longest_due_first(
    store: Store,
    clock: FakeClock,
) -> None:
    await put(
        store, endpoint("late", due_at=START), endpoint("later", due_at=START - SECOND), endpoint("idle"),
        endpoint("off", due_at=START, enabled=False), endpoint("soon", due_at=START + SECOND),
        endpoint("held", due_at=START, lease_until=START + 2 * SECOND),
    )  # fmt: skip
    assert await store.webhooks.due_endpoints(10) == ["later", "late"]
    assert await store.webhooks.due_endpoints(1) == ["later"]
    clock.advance(2)
    assert set(await store.webhooks.due_endpoints(10)) == {"later", "late", "soon", "held"}


async def test_heads_are_the_first_pending_of_each_lane_soonest_first(store: Store) -> None:
    await put(
        store, Lane("e1/i1", "e1", START + 3 * SECOND, 2), Lane("e1/i2", "e1", START, 1), Lane("e2/i1", "e2", START, 1),
        delivery("z", seq=3), delivery("a", seq=2, state=DeliveryState.DELIVERED, done_at=START), delivery("m", seq=5),
        delivery("n", "e1/i2", 4), delivery("o", "e2/i1", 1),
    )  # fmt: skip
    assert [(due, row.id) for due, row in await store.webhooks.heads("e1", 10)] == [(0.0, "n"), (3.0, "z")]
    assert [row.id for _, row in await store.webhooks.heads("e1", 1)] == ["n"]
    assert [row.id for row in await store.webhooks.oldest("e1", 2)] == ["z", "n"]


async def test_what_ended_long_ago_and_what_deleted_endpoints_left_is_removed(store: Store) -> None:
    await put(
        store, endpoint(), endpoint("gone").forgotten(), Lane("gone/i", "gone", START, 2),
        Lane("e1/i1", "e1", START, 1),
        delivery("old", done_at=START - 1, state=DeliveryState.DELIVERED),
        delivery("new", done_at=START, state=DeliveryState.FAILED), delivery("pending"),
        *(delivery(f"left-{n}", "gone/i", n) for n in range(3)),
    )  # fmt: skip
    removed = [await store.webhooks.expire(START, 2) for _ in range(4)]
    assert removed == [4, 2, 0, 0]
    assert [row.id for row in await store.select(ALL, Delivery, {}, "", 10)] == ["pending", "new"]
    assert [row.id for row in await store.select(ALL, WebhookEndpoint, {}, "", 10)] == ["e1"]
    assert [row.id for row in await store.select(ALL, Lane, {}, "", 10)] == ["e1/i1"]
