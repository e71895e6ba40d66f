"""Webhooks in virtual time: what is told, in which order, how often, and what another replica finishes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from controlplane.adapters.secrets import MasterKeySecrets
from controlplane.adapters.store.memory import MemoryStore
from controlplane.dialect import WebhookDelivery, WebhookFormat
from controlplane.domain.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from controlplane.domain.instance import Instance
from controlplane.domain.principal import SCOPES, Principal
from controlplane.domain.webhook import (
    KEPT_ATTEMPTS,
    Attempt,
    Delivery,
    DeliveryState,
    Lane,
    WebhookCursor,
    WebhookEndpoint,
)
from controlplane.domain.work import LeaseLost
from controlplane.metrics import Metrics
from controlplane.ports.webhooks import Answer
from controlplane.reconcile.deliver import IN_FLIGHT, PER_ENDPOINT, Deliverer
from controlplane.reconcile.fanout import Fanout
from controlplane.usecases import webhooks
from controlplane.usecases.idempotency import RequestKey
from tests.support.fakes import START, FakeIds, instance
from tests.support.lab import CALLER, Lab, in_virtual_time

URL = "https://hook.example/x"
ONCE = RequestKey("webhooks")
SECOND = 1_000_000


def _render(event_id: str, at: int, body: bytes) -> tuple[str, Mapping[str, object]] | None:
    return "changed", {"id": event_id}


def _headers(delivery: WebhookDelivery) -> Sequence[tuple[str, str]]:
    return (("Event-Id", delivery.event_id), ("Delivery", delivery.delivery_id), ("Sig", delivery.signature))


FORM = WebhookFormat(("changed", "never"), _render, _headers, (10.0, 100.0))


class AnyUrl:
    async def refusal(self, url: str) -> str:
        return "" if url.startswith("https:") else "must be https"


@dataclass
class Receiver:
    """Takes posts; `answers` decides by the event id and how often it came."""

    lab: Lab
    delay_s: float = 0.0
    down: bool = False
    bad: set[str] = field(default_factory=set)
    got: list[tuple[float, str]] = field(default_factory=list)
    deliveries: list[str] = field(default_factory=list)
    open: dict[str, int] = field(default_factory=dict)
    most_open: dict[str, int] = field(default_factory=dict)

    async def send(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        event_id = json.loads(body)["id"]
        self.open[url] = self.open.get(url, 0) + 1
        self.most_open[url] = max(self.most_open.get(url, 0), self.open[url])
        try:
            await asyncio.sleep(self.delay_s)
        finally:
            self.open[url] -= 1
        if self.down:
            return Answer(0, "the connection was refused")
        self.got.append((self.lab.seconds, event_id))
        self.deliveries.append(dict(headers)["Delivery"])
        return Answer(500) if event_id in self.bad else Answer(204)

    @property
    def events(self) -> list[str]:
        return [event_id for _, event_id in self.got]


class Site:
    """A lab with webhooks."""

    def __init__(self, lab: Lab, **receiver: object) -> None:
        lab.core = replace(lab.core, urls=AnyUrl(), webhook_events={"d": FORM.event_types})
        self.lab = lab
        self.receiver = Receiver(lab, **receiver)  # type: ignore[arg-type]

    def replica(self, name: str = "one", most_pending: int = 100_000) -> list[asyncio.Task[None]]:
        """Start the loops of one replica, with a writer of its own on the shared disk."""
        core, lab = self.lab.core, self.lab
        store = MemoryStore(lab.disk, lab.clock, FakeIds(hash(name) % 1000, lab.clock))
        core = replace(core, store=store)
        loops = [
            Fanout(core, name, {"d": FORM}, most_pending).run(),
            Deliverer(core, name, {"d": FORM}, self.receiver).run(),
        ]  # fmt: skip
        tasks = [asyncio.create_task(loop) for loop in loops]
        lab.tasks += tasks
        return tasks

    async def endpoint(self, url: str = URL, **changes: object) -> WebhookEndpoint:
        row, _ = await webhooks.create_endpoint(self.lab.core, CALLER, "d", url, (), ONCE)
        return row

    async def change(self, *ids: str, times: int = 1) -> list[str]:
        """Commit so many changes of instances, one after the other; the ids of their events."""
        before = len(self.lab.disk.events)
        for n in range(times):
            for id in ids:
                row: Instance = self.lab.disk.table(Instance).get(id) or instance(id)
                await self.lab.put(replace(row, name=f"{id} {before} {n}"))
        return [event.id for event in self.lab.disk.events[before:]]

    def pending(self) -> list[Delivery]:
        return [row for row in self.rows() if row.state is DeliveryState.PENDING]

    def rows(self) -> list[Delivery]:
        return sorted(self.lab.disk.table(Delivery).values(), key=lambda row: row.seq)

    def now(self, id: str) -> WebhookEndpoint:
        row: WebhookEndpoint = self.lab.disk.table(WebhookEndpoint)[id]
        return row

    def consistent(self) -> None:
        """Counts and lanes say what the deliveries say."""
        pending = self.pending()
        for row in self.lab.disk.table(WebhookEndpoint).values():
            if not row.deleted:
                assert row.pending == sum(d.endpoint_id == row.id for d in pending)
        lanes: dict[str, Lane] = self.lab.disk.table(Lane)
        assert {lane.id: lane.pending for lane in lanes.values()} == {
            id: sum(d.lane == id for d in pending) for id in {d.lane for d in pending}
        }


# Pure moves


def test_a_delivery_is_tried_as_often_as_its_schedule_says_and_keeps_the_last_attempts() -> None:
    row = Delivery("d", "a", "e", "i", "e/i", 1, "evt", "t", "{}", 0)
    for n in range(30):
        row = row.tried(Attempt(n, 500, "", 1), n, (1.0,) * 30)
        assert row.state is DeliveryState.PENDING
    assert [attempt.at for attempt in row.attempts] == list(range(10, 30))
    assert len(row.attempts) == KEPT_ATTEMPTS
    failed = row.tried(Attempt(30, 500, "", 1), 30, (1.0,) * 30)
    assert (failed.state, failed.done_at, failed.error) == (DeliveryState.FAILED, 30, "no success in 31 attempts")
    assert row.tried(Attempt(30, 204, "", 1), 30, (1.0,)).state is DeliveryState.DELIVERED
    assert row.tried(Attempt(30, 302, "", 1), 30, ()).state is DeliveryState.FAILED  # a redirect is no success


# What is told


@in_virtual_time
async def test_events_since_its_creation_come_once_and_in_order(lab: Lab) -> None:
    site = Site(lab)
    await site.change("inst_1")
    await asyncio.sleep(1)
    endpoint = await site.endpoint()
    await asyncio.sleep(1)
    site.replica()
    wanted = await site.change("inst_1", "inst_2", times=5)
    await asyncio.sleep(30)
    for id in ("inst_1", "inst_2"):
        told = [e.id for e in lab.disk.events if e.subject_id == id and e.id in wanted]
        assert [event_id for event_id in site.receiver.events if event_id in told] == told
    assert sorted(site.receiver.events) == sorted(wanted)
    assert len(set(site.receiver.deliveries)) == 10
    assert {row.state for row in site.rows()} == {DeliveryState.DELIVERED}
    assert site.now(endpoint.id).failures == 0
    site.consistent()


@in_virtual_time
async def test_without_endpoints_nothing_is_written_while_nothing_happens(lab: Lab) -> None:
    site = Site(lab)
    commits: list[int] = []
    store = MemoryStore(lab.disk, lab.clock, FakeIds(9, lab.clock), lambda units, seconds: commits.append(units))
    lab.core = replace(lab.core, store=store)
    fanout, deliverer = Fanout(lab.core, "x", {"d": FORM}), Deliverer(lab.core, "x", {"d": FORM}, site.receiver)
    lab.tasks += [asyncio.create_task(fanout.run()), asyncio.create_task(deliverer.run())]
    await site.change("inst_1", times=20)
    await asyncio.sleep(10)
    assert site.rows() == []
    commits.clear()
    await asyncio.sleep(100)
    assert commits == []


@in_virtual_time
async def test_an_account_gets_only_its_own_events_and_types(lab: Lab) -> None:
    site = Site(lab)
    await site.endpoint()
    await webhooks.create_endpoint(lab.core, CALLER, "d", URL, ["never"], ONCE)
    site.replica()
    await lab.put(instance("inst_b", "acct_b"))
    wanted = await site.change("inst_a")
    await asyncio.sleep(10)
    assert site.receiver.events == wanted


# Retries and order


@in_virtual_time
async def test_a_failing_event_holds_up_its_instance_alone_until_it_has_failed(lab: Lab) -> None:
    site = Site(lab)
    await site.endpoint()
    first = (await site.change("inst_1"))[0]
    site.receiver.bad = {first}
    site.replica()
    await asyncio.sleep(2)
    began = site.receiver.got[0][0]
    others = await site.change("inst_2", "inst_3")
    second = (await site.change("inst_1"))[0]
    await asyncio.sleep(5)
    assert set(site.receiver.events) == {first, *others}
    await asyncio.sleep(150)
    tries = [at - began for at, event_id in site.receiver.got if event_id == first]
    assert len(tries) == 3
    assert 10 <= tries[1] <= 13
    assert 110 <= tries[2] <= 125
    assert site.receiver.events[-1] == second
    row = next(row for row in site.rows() if row.event_id == first)
    assert (row.state, row.error) == (DeliveryState.FAILED, "no success in 3 attempts")
    assert [attempt.status for attempt in row.attempts] == [500, 500, 500]
    site.consistent()


@in_virtual_time
async def test_a_secret_that_cannot_be_read_any_more_is_said_in_the_attempts(lab: Lab) -> None:
    site = Site(lab)
    await site.endpoint()
    lab.core = replace(lab.core, secrets=MasterKeySecrets(b"another key of thirty-two bytes!"))
    site.replica()
    await site.change("inst_1")
    await asyncio.sleep(300)
    row = site.rows()[0]
    assert (row.state, site.receiver.got) == (DeliveryState.FAILED, [])
    assert "secret cannot be read" in row.attempts[0].error
    site.consistent()


@in_virtual_time
async def test_a_dead_receiver_is_asked_now_and_then_whatever_is_pending(lab: Lab) -> None:
    site = Site(lab, down=True)
    endpoint = await site.endpoint()
    site.replica()
    await site.change(*(f"inst_{n}" for n in range(200)))
    await asyncio.sleep(60)
    asked = sum(len(row.attempts) for row in site.rows())
    assert 10 <= asked <= 30
    site.receiver.down = False
    await asyncio.sleep(30)
    assert site.pending() == []
    assert site.now(endpoint.id).failures == 0
    site.consistent()


@in_virtual_time
async def test_a_stalled_receiver_gets_few_slots_and_holds_up_no_other(lab: Lab) -> None:
    site = Site(lab, delay_s=8.0)
    await site.endpoint()
    other = await site.endpoint("https://other.example/")
    site.replica()
    await site.change(*(f"inst_{n}" for n in range(40)))
    await asyncio.sleep(30)
    assert site.receiver.most_open == {URL: PER_ENDPOINT, other.url: PER_ENDPOINT}
    assert PER_ENDPOINT < IN_FLIGHT / 4


# Several replicas


@in_virtual_time
async def test_another_replica_takes_over_within_seconds_and_loses_nothing(lab: Lab) -> None:
    site = Site(lab, delay_s=0.5)
    await site.endpoint()
    first = site.replica("one")
    wanted = await site.change("inst_1", "inst_2", times=4)
    await asyncio.sleep(1.2)
    for task in first:
        task.cancel()  # what a kill leaves: leases, and an attempt that nobody wrote down
    wanted += await site.change("inst_1")
    began = lab.seconds
    site.replica("two")
    while site.pending() or len(set(site.receiver.events)) < len(wanted):
        await asyncio.sleep(0.1)
    assert lab.seconds - began < 15
    assert set(site.receiver.events) == set(wanted)
    for id in ("inst_1", "inst_2"):
        told = [e.id for e in lab.disk.events if e.subject_id == id]
        came = list(dict.fromkeys(e for e in site.receiver.events if e in told))
        assert came == told
    site.consistent()


@in_virtual_time
async def test_two_replicas_tell_each_event_once(lab: Lab) -> None:
    site = Site(lab)
    await site.endpoint()
    await site.endpoint("https://other.example/")
    site.replica("one")
    site.replica("two")
    wanted: list[str] = []
    for _ in range(20):
        wanted += await site.change("inst_1", "inst_2")
        await asyncio.sleep(0.3)
    await asyncio.sleep(20)
    assert sorted(site.receiver.events) == sorted(wanted * 2)
    site.consistent()


@in_virtual_time
async def test_a_frozen_workers_late_result_is_dropped(lab: Lab) -> None:
    site = Site(lab, delay_s=1.0)
    endpoint = await site.endpoint()
    await site.change("inst_1")
    site.replica("one")
    while not site.receiver.open.get(URL):
        await asyncio.sleep(0.05)
    row = site.now(endpoint.id)
    await lab.put(row.claimed("two", lab.clock.now(), 60 * SECOND))  # as if its lease had run out long ago
    await asyncio.sleep(5)
    assert len(site.receiver.got) == 1
    assert [row.attempts for row in site.pending()] == [()]  # the new holder's to tell
    assert site.now(endpoint.id).holder == "two"


@in_virtual_time
async def test_a_frozen_reader_of_the_log_tells_nothing(lab: Lab) -> None:
    site = Site(lab)
    await site.endpoint()
    await site.change("inst_1")
    reader = Fanout(lab.core, "one", {"d": FORM})
    await reader.step()
    assert len(site.rows()) == 1
    row: WebhookCursor = lab.disk.table(WebhookCursor)["events"]
    await lab.put(row.claimed("two", lab.clock.now(), 60 * SECOND))
    await site.change("inst_1")
    with pytest.raises(LeaseLost):
        await reader.step()
    assert len(site.rows()) == 1


@in_virtual_time
async def test_a_hold_that_follows_at_once_on_another_is_kept_alive(lab: Lab) -> None:
    site = Site(lab, delay_s=9.0)
    endpoint = await site.endpoint()
    site.replica()
    await site.change("inst_1", times=3)
    await asyncio.sleep(40)
    assert [len(row.attempts) for row in site.rows()] == [1, 1, 1]
    assert site.now(endpoint.id).pending == 0


# Endpoints come and go


@in_virtual_time
async def test_a_deleted_endpoint_is_gone_at_once_and_its_rows_later(lab: Lab) -> None:
    site = Site(lab, down=True)
    endpoint = await site.endpoint()
    await site.change("inst_1", times=3)
    site.replica()
    await asyncio.sleep(5)
    assert len(site.pending()) == 3
    await webhooks.delete_endpoint(lab.core, CALLER, endpoint.id, ONCE)
    with pytest.raises(NotFound):
        await webhooks.endpoint_of(lab.core, CALLER, endpoint.id)
    operator = Principal("operator", "operator", frozenset(SCOPES), operator=True)
    with pytest.raises(NotFound):
        await webhooks.deliveries(lab.core, operator, endpoint.id, "", 10)
    site.receiver.down = False
    await asyncio.sleep(100)
    assert site.receiver.got == []
    while await lab.core.store.webhooks.expire(START, 2):
        pass
    assert not any(lab.disk.table(table) for table in (Delivery, Lane, WebhookEndpoint))


@in_virtual_time
async def test_deleting_under_an_attempt_drops_its_result(lab: Lab) -> None:
    site = Site(lab, delay_s=2.0)
    endpoint = await site.endpoint()
    await site.change("inst_1", times=2)
    site.replica()
    while not site.receiver.open.get(URL):
        await asyncio.sleep(0.05)
    await webhooks.delete_endpoint(lab.core, CALLER, endpoint.id, ONCE)
    await asyncio.sleep(20)
    assert len(site.receiver.got) == 1
    assert all(not row.attempts for row in site.rows())


@in_virtual_time
async def test_switched_off_it_gets_nothing_and_goes_on_where_it_was(lab: Lab) -> None:
    site = Site(lab, down=True)
    endpoint = await site.endpoint()
    site.replica()
    kept = await site.change("inst_1")
    await asyncio.sleep(1)
    await webhooks.set_enabled(lab.core, CALLER, endpoint.id, False, ONCE)
    site.receiver.down = False
    await site.change("inst_1")
    await asyncio.sleep(200)
    assert site.receiver.got == []
    await webhooks.set_enabled(lab.core, CALLER, endpoint.id, True, ONCE)
    later = await site.change("inst_1")
    await asyncio.sleep(10)
    assert site.receiver.events == [*kept, *later]
    site.consistent()


@in_virtual_time
async def test_a_finished_delivery_can_be_sent_again(lab: Lab) -> None:
    site = Site(lab)
    endpoint = await site.endpoint()
    site.replica()
    wanted = await site.change("inst_1", times=2)
    await asyncio.sleep(5)
    row = site.rows()[0]
    await webhooks.redeliver(lab.core, CALLER, endpoint.id, row.id, ONCE)
    await asyncio.sleep(5)
    assert site.receiver.events == [*wanted, wanted[0]]
    assert len(site.rows()[0].attempts) == 2
    await webhooks.set_enabled(lab.core, CALLER, endpoint.id, False, ONCE)
    with pytest.raises(FailedPrecondition):
        await webhooks.redeliver(lab.core, CALLER, endpoint.id, row.id, ONCE)
    with pytest.raises(NotFound):
        await webhooks.redeliver(lab.core, CALLER, endpoint.id, "none", ONCE)
    site.consistent()


# Bounds


@in_virtual_time
async def test_beyond_the_bound_the_oldest_fail_and_the_newest_wait(lab: Lab) -> None:
    site = Site(lab, down=True)
    endpoint = await site.endpoint()
    site.replica(most_pending=5)
    for n in range(8):
        await site.change(f"inst_{n % 2}")
        await asyncio.sleep(2)
    assert [row.state for row in site.rows()] == [DeliveryState.FAILED] * 3 + [DeliveryState.PENDING] * 5
    assert "the oldest" in site.rows()[0].error
    assert site.now(endpoint.id).pending == 5
    site.consistent()
    site.receiver.down = False
    await asyncio.sleep(60)
    assert sorted(site.receiver.events) == sorted(row.event_id for row in site.rows()[3:])
    site.consistent()


@in_virtual_time
async def test_what_follows_a_delivery_that_was_given_up_does_not_wait_for_its_retry(lab: Lab) -> None:
    site = Site(lab)
    await site.endpoint()
    first = (await site.change("inst_1"))[0]
    site.receiver.bad = {first}
    site.replica(most_pending=2)
    await asyncio.sleep(20)  # the next attempt is 100 s away
    wanted = await site.change("inst_1", times=2)
    await asyncio.sleep(5)
    assert site.receiver.events == [first, first, *wanted]
    site.consistent()


@in_virtual_time
async def test_a_trimmed_log_is_read_on_from_its_oldest_event(lab: Lab) -> None:
    site = Site(lab)
    await site.endpoint()
    tasks = site.replica("one")
    first = await site.change("inst_1")
    await asyncio.sleep(10)
    for task in tasks:
        task.cancel()
    await site.change("inst_1", times=5)
    del lab.disk.events[:4]
    kept = [event.id for event in lab.disk.events]
    metrics = Metrics()
    lab.core = replace(lab.core, meter=metrics)
    site.replica("two")
    await asyncio.sleep(20)
    assert site.receiver.events == [*first, *kept]
    assert b"gpuplane_webhook_gaps_total 1.0" in metrics.exposition()
    assert b'gpuplane_webhook_attempts_total{outcome="delivered"} 2.0' in metrics.exposition()


@in_virtual_time(max_webhooks=2)
async def test_what_an_endpoint_may_not_be(lab: Lab) -> None:
    site = Site(lab)
    for dialect, url, types, name in (
        ("x", URL, (), "dialect"), ("d", "http://h", (), "url"), ("d", "https://" + "h" * 2050, (), "url"),
        ("d", URL, ("other",), "event_types"),
    ):  # fmt: skip
        with pytest.raises(InvalidArgument) as refused:
            await webhooks.create_endpoint(lab.core, CALLER, dialect, url, types, ONCE)
        assert refused.value.metadata["field"] == name
    row, secret = await webhooks.create_endpoint(lab.core, CALLER, "d", URL, (), RequestKey("m", "r1", "f"))
    again, same = await webhooks.create_endpoint(lab.core, CALLER, "d", URL, (), RequestKey("m", "r1", "f"))
    assert (again, same) == (row, secret)
    assert len(bytes.fromhex(secret)) == 32
    assert secret not in repr(lab.disk.rows)
    assert row.event_types == FORM.event_types
    await site.endpoint()
    with pytest.raises(ResourceExhausted):
        await site.endpoint()


@in_virtual_time
async def test_a_backlog_is_sent_at_a_bounded_rate(lab: Lab) -> None:
    site = Site(lab)
    await site.endpoint()
    await site.change(*(f"inst_{n}" for n in range(600)))
    site.replica()
    began = lab.seconds
    while site.pending() or not site.receiver.got:
        await asyncio.sleep(0.1)
    assert 10 < lab.seconds - began < 14
