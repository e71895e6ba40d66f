"""Watch streams of a real plane: nothing is missed or repeated over disconnects, kills and restarts."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from tests.support.plane import Plane, Stream, eventually, failure_of, pb, rest_failure, tried

END = pb.INSTANCE_EVENT_TYPE_END


@pytest.fixture
def instance(shared_plane: Plane) -> Iterator[Any]:
    made = shared_plane.rent(name="watched")
    yield made
    shared_plane.terminate(made.id)


def _rename(plane: Plane, id: str, name: str) -> None:
    plane.me.instances.UpdateInstance(pb.UpdateInstanceRequest(id=id, name=name))


def _watch(plane: Plane, token: str = "") -> Stream:
    me = plane.me
    return me.watch(me.instances.WatchInstances, pb.WatchInstancesRequest(resume_token=token))


def _names(stream: Stream, id: str, last: str) -> list[str]:
    """The names that an instance went through, up to one."""
    stream.until(lambda event: event.instance.id == id and event.instance.name == last)
    return [event.instance.name for event in stream.seen if event.instance.id == id]


def _assert_unbroken(events: list[Any]) -> None:
    """Every revision of every instance once, in order, and no event twice."""
    ids = [event.event_id for event in events if event.event_id]
    assert len(ids) == len(set(ids)), "repeated"
    revisions: dict[str, list[int]] = {}
    for event in events:
        if event.HasField("instance"):
            assert not event.coalesced
            revisions.setdefault(event.instance.id, []).append(event.instance.revision)
    for seen in revisions.values():
        assert seen == list(range(seen[0], seen[0] + len(seen))), "missed"


def test_list_then_watch(shared_plane: Plane, instance: Any) -> None:
    """A watch from a list's token brings every change made after the list, however late it begins."""
    listed = shared_plane.me.instances.ListInstances(pb.ListInstancesRequest(active_only=True))
    assert [i.id for i in listed.instances] == [instance.id]
    for n in range(10):
        _rename(shared_plane, instance.id, str(n))
    other = shared_plane.rent(name="later")
    with _watch(shared_plane, listed.resume_token) as stream:
        assert stream.next().type == pb.INSTANCE_EVENT_TYPE_BOOKMARK
        stream.until(lambda e: e.instance.id == other.id and e.instance.state == pb.INSTANCE_STATE_RUNNING)
        events = [e for e in stream.seen if e.instance.id == instance.id]
        assert [e.instance.name for e in events] == [str(n) for n in range(10)]
        created = next(e for e in stream.seen if e.instance.id == other.id)
        assert (created.type, created.instance.revision) == (pb.INSTANCE_EVENT_TYPE_CREATED, 1)
        _assert_unbroken(stream.seen)
    shared_plane.terminate(other.id)


def test_pages_carry_one_token(shared_plane: Plane, instance: Any) -> None:
    """All pages have the first one's token, so that changes made while paging are not missed."""
    other = shared_plane.rent()
    me = shared_plane.me
    first = me.instances.ListInstances(pb.ListInstancesRequest(page_size=1))
    _rename(shared_plane, instance.id, "between two pages")
    second = me.instances.ListInstances(pb.ListInstancesRequest(page_size=1, page_token=first.next_page_token))
    assert second.resume_token == first.resume_token
    with _watch(shared_plane, second.resume_token) as stream:
        assert _names(stream, instance.id, "between two pages") == ["between two pages"]
    shared_plane.terminate(other.id)


def test_many_writers_and_a_reader_that_keeps_up(shared_plane: Plane, instance: Any) -> None:
    with _watch(shared_plane) as stream:
        stream.next()
        with ThreadPoolExecutor(8) as pool:
            for writing in [
                pool.submit(lambda w=w: [_rename(shared_plane, instance.id, f"{w}.{n}") for n in range(25)])
                for w in range(8)
            ]:
                writing.result()
        _rename(shared_plane, instance.id, "last")
        names = _names(stream, instance.id, "last")
        assert len(names) == 201
        for w in range(8):
            assert [n for n in names if n.startswith(f"{w}.")] == [f"{w}.{n}" for n in range(25)]
        _assert_unbroken(stream.seen)


@pytest.mark.parametrize("way", ["grpc", "sse"])
def test_resume_after_disconnects(shared_plane: Plane, instance: Any, way: str) -> None:
    """A reader that hangs up again and again, while the instance changes all the time, sees each change once."""
    stop = threading.Event()

    def write() -> int:
        for n in range(10_000):
            if stop.is_set():
                return n
            _rename(shared_plane, instance.id, f"{way} {n}")
        raise AssertionError("too many")

    token = shared_plane.me.instances.ListInstances(pb.ListInstancesRequest()).resume_token
    events: list[Any] = []
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        for round in range(6):
            taken, token = _take(shared_plane, way, token, 10 + round)
            events += taken
        stop.set()
        count = writing.result()
    while len(events) < count:
        taken, token = _take(shared_plane, way, token, min(50, count - len(events)))
        events += taken
    assert [name for name, _, _ in events] == [f"{way} {n}" for n in range(count)]
    revisions = [revision for _, revision, _ in events]
    assert revisions == list(range(revisions[0], revisions[0] + count))
    assert len({event_id for _, _, event_id in events}) == count


def _take(plane: Plane, way: str, token: str, count: int) -> tuple[list[tuple[str, int, str]], str]:
    """So many changes as (name, revision, event id) and the last token, over a new stream."""
    found: list[tuple[str, int, str]] = []
    if way == "grpc":
        with _watch(plane, token) as stream:
            while len(found) < count:
                event = stream.next()
                token = event.resume_token
                if event.event_id:
                    found.append((event.instance.name, event.instance.revision, event.event_id))
    else:
        with plane.sse(f"/gpuplane/v1/watch/instances?resume_token={token}") as stream:
            while len(found) < count:
                message = stream.next()
                token = message["resume_token"]
                if message["event_id"]:
                    shown = message["instance"]
                    found.append((shown["name"], int(shown["revision"]), message["event_id"]))
    return found, token


def test_resume_after_kill_9(make_plane: Callable[..., Plane]) -> None:
    """The server is killed while it is written to; what was committed arrives once, what was not never."""
    plane = make_plane().start()
    instance = plane.rent()
    token = plane.me.instances.ListInstances(pb.ListInstancesRequest()).resume_token
    stop, accepted = threading.Event(), []

    def write() -> None:
        for n in range(100_000):
            if stop.is_set():
                return
            with contextlib.suppress(grpc.RpcError, ValueError):  # refused, cut, or on a channel closed by a restart
                _rename(plane, instance.id, str(n))
                accepted.append(str(n))

    writer = threading.Thread(target=write)
    writer.start()
    events: list[Any] = []
    for _ in range(2):
        stream = _watch(plane, token)
        for _ in range(40):
            events.append(stream.next())
        plane.kill9()
        with contextlib.suppress(grpc.RpcError, StopIteration):
            while True:
                events.append(stream.next())
        token = events[-1].resume_token
        plane.start()
    stop.set()
    writer.join()
    eventually(lambda: tried(lambda: _rename(plane, instance.id, "last") or True))
    with _watch(plane, token) as stream:
        _names(stream, instance.id, "last")
        events += stream.seen
    _assert_unbroken(events)
    names = [e.instance.name for e in events if e.event_id]
    positions = [names.index(name) for name in accepted]
    assert positions == sorted(positions), "every accepted change, in order"
    assert len(names) == len(set(names))


def test_server_stopping(make_plane: Callable[..., Plane]) -> None:
    """SIGTERM: every stream says why it ends, and its last token resumes after the restart."""
    plane = make_plane(drain=5).start()
    instance, me = plane.rent(), plane.me
    streams = [
        _watch(plane),
        me.watch(me.instances.WatchInstance, pb.WatchInstanceRequest(id=instance.id)),
        plane.sse("/gpuplane/v1/watch/instances"),
        plane.sse(f"/gpuplane/v1/instances/{instance.id}/watch"),
    ]
    for stream in streams:
        stream.next()
    _rename(plane, instance.id, "before the stop")
    began = time.monotonic()
    plane.stop()
    assert time.monotonic() - began < 4, "streams do not hold up the stop"
    ends = [stream.rest()[-1] for stream in streams]
    for end in ends[:2]:
        assert (end.type, end.end.reason) == (END, pb.STREAM_END_REASON_SERVER_STOPPING)
        assert "connect again" in end.end.message
    for end in ends[2:]:
        assert end["end"]["reason"] == "STREAM_END_REASON_SERVER_STOPPING"
    plane.start()
    _rename(plane, instance.id, "after the restart")
    for token in (ends[0].resume_token, ends[2]["resume_token"]):
        with _watch(plane, token) as stream:
            assert _names(stream, instance.id, "after the restart") == ["after the restart"]


def test_an_instance_from_wish_to_end(shared_plane: Plane) -> None:
    plane, me = shared_plane, shared_plane.me
    operation = plane.create(name="whole life")
    stream = me.watch(me.instances.WatchInstance, pb.WatchInstanceRequest(id=operation.instance_id))
    creating = me.watch(me.operations.WatchOperation, pb.WatchOperationRequest(id=operation.id))
    sse = plane.sse(f"/gpuplane/v1/instances/{operation.instance_id}/watch")
    assert plane.wait(operation.id).state == pb.OPERATION_STATE_SUCCEEDED
    ending = me.instances.TerminateInstance(pb.TerminateInstanceRequest(id=operation.instance_id))
    terminating = me.watch(me.operations.WatchOperation, pb.WatchOperationRequest(id=ending.id))

    events = stream.rest()
    assert events[0].type == pb.INSTANCE_EVENT_TYPE_SNAPSHOT
    assert (events[-1].type, events[-1].end.reason) == (END, pb.STREAM_END_REASON_DONE)
    assert events[-2].instance.HasField("gone_time")
    _assert_unbroken(events)
    states = list(dict.fromkeys(event.instance.state for event in events[:-1]))
    assert states == [s for s in states if s <= pb.INSTANCE_STATE_TERMINATED]
    assert states[-3:] == [pb.INSTANCE_STATE_RUNNING, pb.INSTANCE_STATE_STOPPING, pb.INSTANCE_STATE_TERMINATED]
    for event, before in zip(events[1:-1], events, strict=False):
        assert event.previous_state == before.instance.state

    for watched in (creating, terminating):
        *_, last, end = watched.rest()
        assert last.operation.state == pb.OPERATION_STATE_SUCCEEDED
        assert end.end.reason == pb.STREAM_END_REASON_DONE

    shown = sse.rest()
    assert shown[-1]["end"]["reason"] == "STREAM_END_REASON_DONE"
    assert shown[-2]["event_id"] == events[-2].event_id

    resumed = me.watch(
        me.instances.WatchInstance,
        pb.WatchInstanceRequest(id=operation.instance_id, resume_token=events[0].resume_token),
    )
    # What happened while the snapshot was read is in it, and may come once more.
    known = events[0].instance.revision
    again = [e for e in resumed.rest() if not e.HasField("instance") or e.instance.revision > known]
    assert [e.event_id for e in again] == [e.event_id for e in events[1:]], "the same events, ids included"


def test_a_token_older_than_the_log(shared_plane: Plane, instance: Any) -> None:
    """The retention is minutes at least, so the test removes old events itself."""
    me = shared_plane.me
    token = me.instances.ListInstances(pb.ListInstancesRequest()).resume_token
    for n in range(3):
        _rename(shared_plane, instance.id, str(n))
    with contextlib.closing(sqlite3.connect(shared_plane.state / "gpuplane.db", timeout=10)) as database, database:
        database.execute("DELETE FROM events WHERE seq < (SELECT max(seq) FROM events)")
    for request in (
        lambda: me.instances.WatchInstances(pb.WatchInstancesRequest(resume_token=token)),
        lambda: me.instances.WatchInstance(pb.WatchInstanceRequest(id=instance.id, resume_token=token)),
    ):
        failure = failure_of(request)
        assert (failure.code, failure.reason) == ("OUT_OF_RANGE", "RESUME_TOKEN_TOO_OLD")
        assert set(failure.metadata or ()) == {"oldest", "got"}
        assert "list again" in failure.message
    answer = shared_plane.sse(f"/gpuplane/v1/watch/instances?resume_token={token}").next()
    assert answer.status == 400
    assert rest_failure(answer).reason == "RESUME_TOKEN_TOO_OLD"
    fresh = me.instances.ListInstances(pb.ListInstancesRequest()).resume_token
    with _watch(shared_plane, fresh) as stream:
        _rename(shared_plane, instance.id, "again")
        assert _names(stream, instance.id, "again") == ["again"]


def test_tokens_of_others_and_forged_ones(shared_plane: Plane) -> None:
    stranger = shared_plane.new_account("stranger")
    theirs = stranger.instances.ListInstances(pb.ListInstancesRequest()).resume_token
    mine = shared_plane.me.instances.ListInstances(pb.ListInstancesRequest()).resume_token
    for token in (theirs, mine[:-4], ("B" if mine[0] == "A" else "A") + mine[1:], "x" * 5000, "é"):
        failure = failure_of(
            lambda token=token: shared_plane.me.instances.WatchInstances(pb.WatchInstancesRequest(resume_token=token))
        )
        assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "INVALID_RESUME_TOKEN"), token
        assert failure.metadata == {"field": "resume_token"}
