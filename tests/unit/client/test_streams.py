"""Waiting and watching, over cuts, restarts and lost resume points; the same body for both clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from gpuplane.v1 import operation_pb2, watch_pb2
from gpuplane.v1.instance_pb2 import Instance
from gpuplane.v1.instance_service_pb2 import ListInstancesRequest, ListInstancesResponse
from gpuplane.v1.operation_pb2 import Operation
from gpuplane.v1.operation_service_pb2 import OperationEvent
from gpuplane.v1.watch_pb2 import InstanceEvent, StreamEnd
from gpuplane_client import ApiError, AsyncClient, Client, OperationFailed

from tests.unit.client.fake import FakePlane, Refusal

LOST = Refusal(grpc.StatusCode.UNAVAILABLE, message="socket closed")
TOO_OLD = Refusal(grpc.StatusCode.OUT_OF_RANGE, "RESUME_TOKEN_TOO_OLD")
RUNNING = Operation(id="op", state=operation_pb2.OPERATION_STATE_RUNNING)
DONE = Operation(id="op", state=operation_pb2.OPERATION_STATE_SUCCEEDED)
DONE.done_time.GetCurrentTime()
FAILED = Operation(id="op", state=operation_pb2.OPERATION_STATE_FAILED)
FAILED.done_time.GetCurrentTime()
FAILED.error.reason, FAILED.error.message = "NO_CAPACITY", "nothing could be had"


class Both:
    """The synchronous client behind the asynchronous one's face, so that one test body serves both."""

    def __init__(self, endpoint: str) -> None:
        self._client = Client(endpoint, retry_for=5, outage=5)

    async def wait(self, *args: Any, **kwargs: Any) -> Operation:
        return self._client.wait(*args, **kwargs)

    async def close(self) -> None:
        self._client.close()

    def __getattr__(self, name: str) -> Callable[..., AsyncIterator[Any]]:
        async def stream(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            for item in getattr(self._client, name)(*args, **kwargs):
                yield item

        return stream


@pytest.fixture(params=["sync", "aio"])
async def client(request: pytest.FixtureRequest, plane: FakePlane) -> AsyncIterator[Any]:
    made = Both(plane.endpoint) if request.param == "sync" else AsyncClient(plane.endpoint, retry_for=5, outage=5)
    yield made
    await made.close()


def changed(id: str, token: str) -> InstanceEvent:
    return InstanceEvent(type=watch_pb2.INSTANCE_EVENT_TYPE_CHANGED, instance=Instance(id=id), resume_token=token)


def end(reason: int, token: str = "") -> InstanceEvent:
    return InstanceEvent(
        type=watch_pb2.INSTANCE_EVENT_TYPE_END, end=StreamEnd(reason=reason, message="bye"), resume_token=token
    )


BOOKMARK = InstanceEvent(type=watch_pb2.INSTANCE_EVENT_TYPE_BOOKMARK, resume_token="b")
FINISHED = end(watch_pb2.STREAM_END_REASON_DONE)


async def read(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


async def test_wait_survives_an_outage_and_reports_progress(client: Any, plane: FakePlane) -> None:
    plane.on("WaitOperation", RUNNING, LOST, LOST, RUNNING, DONE)
    seen: list[int] = []
    done = await client.wait(RUNNING, on_progress=lambda op: seen.append(op.state))
    assert done.state == operation_pb2.OPERATION_STATE_SUCCEEDED
    assert len(seen) == 3


async def test_wait_raises_the_failure_with_the_operation(client: Any, plane: FakePlane) -> None:
    plane.on("WaitOperation", FAILED)
    with pytest.raises(OperationFailed, match="op failed: nothing could be had") as caught:
        await client.wait("op")
    assert caught.value.reason == "NO_CAPACITY"
    assert caught.value.operation == FAILED


async def test_wait_gives_up_at_its_timeout(client: Any, plane: FakePlane) -> None:
    plane.on("WaitOperation", RUNNING)
    with pytest.raises(TimeoutError, match="it goes on"):
        await client.wait("op", timeout=0.05)


async def test_wait_gives_up_at_its_timeout_while_nobody_answers(client: Any, plane: FakePlane) -> None:
    plane.on("WaitOperation", LOST)
    with pytest.raises(TimeoutError, match="it goes on"):
        await client.wait("op", timeout=0.05)


async def test_wait_does_not_repeat_a_refusal(client: Any, plane: FakePlane) -> None:
    plane.on("WaitOperation", Refusal(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"))
    with pytest.raises(ApiError):
        await client.wait("op")
    assert len(plane.calls) == 1


@pytest.mark.parametrize(
    "cut",
    [
        LOST,
        Refusal(grpc.StatusCode.INTERNAL, message="RST_STREAM"),
        end(watch_pb2.STREAM_END_REASON_SERVER_STOPPING),
        BOOKMARK,  # and then the stream just stops
    ],
)
async def test_watch_goes_on_from_the_last_token(client: Any, plane: FakePlane, cut: Any) -> None:
    plane.on("WatchInstance", [changed("i", "t1"), changed("i", "t2"), cut], [changed("i", "t3"), FINISHED])
    events = await read(client.watch_instance("i"))
    assert [event.resume_token for event in events] == ["t1", "t2", "t3"]
    tokens = [request.resume_token for request in plane.requests("WatchInstance")]
    assert tokens == ["", "b" if cut is BOOKMARK else "t2"]


async def test_bookmarks_on_request(client: Any, plane: FakePlane) -> None:
    plane.on("WatchInstance", [BOOKMARK, FINISHED])
    assert len(await read(client.watch_instance("i", bookmarks=True))) == 1


async def test_watching_all_lists_first_and_misses_nothing_between(client: Any, plane: FakePlane) -> None:
    plane.on(
        "ListInstances",
        ListInstancesResponse(instances=[Instance(id="a")], next_page_token="p", resume_token="list"),
        ListInstancesResponse(instances=[Instance(id="b")], resume_token="list"),
    )
    plane.on("WatchInstances", [changed("a", "t1"), FINISHED])
    events = await read(client.watch_instances())
    assert [(event.instance.id, event.resume_token) for event in events] == [("a", ""), ("b", "list"), ("a", "t1")]
    assert plane.requests("WatchInstances")[0].resume_token == "list"
    assert [r.active_only for r in plane.requests("ListInstances")] == [True, True]


@pytest.mark.parametrize("lost", [TOO_OLD, end(watch_pb2.STREAM_END_REASON_RESYNC)])
async def test_a_lost_resume_point_is_mended_by_a_list(client: Any, plane: FakePlane, lost: Any) -> None:
    plane.on("ListInstances", ListInstancesResponse(instances=[Instance(id="a")], resume_token="fresh"))
    plane.on("WatchInstances", [lost], [changed("a", "t9"), FINISHED])
    events = await read(client.watch_instances("ancient"))
    assert [event.type for event in events] == [
        watch_pb2.INSTANCE_EVENT_TYPE_SNAPSHOT,
        watch_pb2.INSTANCE_EVENT_TYPE_CHANGED,
    ]
    assert [r.resume_token for r in plane.requests("WatchInstances")] == ["ancient", "fresh"]
    assert not plane.requests("ListInstances")[0].active_only  # what ended meanwhile must be seen to have ended


async def test_of_one_instance_by_a_stream_without_token(client: Any, plane: FakePlane) -> None:
    plane.on("WatchInstance", [TOO_OLD], [changed("i", "t"), FINISHED])
    assert len(await read(client.watch_instance("i", "ancient"))) == 1
    assert [r.resume_token for r in plane.requests("WatchInstance")] == ["ancient", ""]


async def test_a_revoked_key_ends_the_watch(client: Any, plane: FakePlane) -> None:
    plane.on("WatchInstances", [end(watch_pb2.STREAM_END_REASON_KEY_REVOKED)])
    with pytest.raises(ApiError) as caught:
        await read(client.watch_instances(snapshot=False))
    assert caught.value.reason == "KEY_INVALID"
    assert len(plane.requests("WatchInstances")) == 1


async def test_watch_gives_up_after_the_outage_allowance(plane: FakePlane) -> None:
    plane.on("WatchInstance", [LOST])
    with Client(plane.endpoint, outage=0.05) as client, pytest.raises(ApiError) as caught:
        list(client.watch_instance("i"))
    assert caught.value.unreachable
    assert len(plane.calls) > 1


async def test_watch_operation_shows_each_revision_once(client: Any, plane: FakePlane) -> None:
    def at(revision: int) -> OperationEvent:
        return OperationEvent(operation=Operation(id="op", revision=revision))

    finished = OperationEvent(end=StreamEnd(reason=watch_pb2.STREAM_END_REASON_DONE))
    plane.on("WatchOperation", [at(1), at(2), OperationEvent(), LOST], [at(2), at(3), finished])
    assert [op.revision for op in await read(client.watch_operation("op"))] == [1, 2, 3]


async def test_async_list_all(plane: FakePlane) -> None:
    plane.on(
        "ListInstances",
        ListInstancesResponse(instances=[Instance(id="a")], next_page_token="2"),
        ListInstancesResponse(instances=[Instance(id="b")]),
    )
    async with AsyncClient(plane.endpoint) as client:
        items = await read(client.list_all(client.instances.ListInstances, ListInstancesRequest()))
    assert [item.id for item in items] == ["a", "b"]
