"""What the channel adds to every call: key, request id, retries, typed errors."""

from __future__ import annotations

import threading

import grpc
import grpc_testing
import pytest
from google.protobuf.empty_pb2 import Empty
from gpuplane.v1 import instance_service_pb2
from gpuplane.v1.budget_service_pb2 import (
    Budget,
    DeleteBudgetRequest,
    ListBudgetsRequest,
    ListBudgetsResponse,
)
from gpuplane.v1.instance_pb2 import Instance
from gpuplane.v1.instance_service_pb2 import (
    CreateInstanceRequest,
    GetInstanceRequest,
    ListInstancesRequest,
    ListInstancesResponse,
)
from gpuplane.v1.operation_pb2 import Operation
from gpuplane_client import ApiError, Client

from tests.unit.client.fake import FakePlane, Refusal

LOST = Refusal(grpc.StatusCode.UNAVAILABLE, message="connection reset")


def test_key_travels_as_bearer(plane: FakePlane) -> None:
    plane.on("GetInstance", Instance(id="inst_1"))
    with Client(plane.endpoint, "gp_secret") as client:
        assert client.instances.GetInstance(GetInstanceRequest(id="inst_1")).id == "inst_1"
    assert plane.calls[0].metadata["authorization"] == "Bearer gp_secret"


def test_no_key_sends_none(plane: FakePlane) -> None:
    plane.on("GetInstance", Instance())
    with Client(plane.endpoint) as client:
        client.instances.GetInstance(GetInstanceRequest(id="inst_1"))
    assert "authorization" not in plane.calls[0].metadata


def test_a_create_repeated_after_a_lost_answer_carries_the_same_request_id(plane: FakePlane) -> None:
    plane.on("CreateInstance", LOST, LOST, Operation(id="op"))
    request = CreateInstanceRequest(offer_id="local-cpu")
    with Client(plane.endpoint) as client:
        assert client.instances.CreateInstance(request).id == "op"
    ids = [call.request_id for call in plane.requests("CreateInstance")]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert ids[0]
    assert request.request_id == ""  # the caller's message stays as it was: a second create is a second machine


def test_two_creates_have_two_request_ids_and_a_given_one_stays(plane: FakePlane) -> None:
    plane.on("CreateInstance", Operation(id="op"))
    with Client(plane.endpoint) as client:
        client.instances.CreateInstance(CreateInstanceRequest())
        client.instances.CreateInstance(CreateInstanceRequest())
        client.instances.CreateInstance(CreateInstanceRequest(request_id="mine"))
    first, second, third = [call.request_id for call in plane.requests("CreateInstance")]
    assert first != second
    assert third == "mine"


def test_a_call_that_cannot_be_repeated_safely_is_not(plane: FakePlane) -> None:
    plane.on("DeleteBudget", LOST, Empty())
    with Client(plane.endpoint) as client, pytest.raises(ApiError) as caught:
        client.budgets.DeleteBudget(DeleteBudgetRequest(id="budget_1"))
    assert caught.value.unreachable
    assert len(plane.calls) == 1


def test_but_it_is_when_the_server_says_that_nothing_changed(plane: FakePlane) -> None:
    busy = Refusal(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    plane.on("DeleteBudget", busy, Empty())
    with Client(plane.endpoint) as client:
        client.budgets.DeleteBudget(DeleteBudgetRequest(id="budget_1"))
    assert len(plane.calls) == 2


def test_rate_limit_waits_as_long_as_it_is_told(plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", pauses.append)
    limited = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", metadata={"retry_after_s": "1.5"})
    plane.on("GetInstance", limited, Instance(id="inst_1"))
    with Client(plane.endpoint) as client:
        client.instances.GetInstance(GetInstanceRequest(id="inst_1"))
    assert pauses == [1.5]


def test_a_wait_longer_than_the_allowance_is_not_begun(plane: FakePlane) -> None:
    limited = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", metadata={"retry_after_s": "60"})
    plane.on("GetInstance", limited)
    with Client(plane.endpoint) as client, pytest.raises(ApiError):
        client.instances.GetInstance(GetInstanceRequest(id="inst_1"))
    assert len(plane.calls) == 1


def test_errors_are_typed(plane: FakePlane) -> None:
    plane.on(
        "GetInstance",
        Refusal(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", "there is none", {"resource": "instance", "id": "x"}),
    )
    with Client(plane.endpoint) as client, pytest.raises(ApiError) as caught:
        client.instances.GetInstance(GetInstanceRequest(id="x"))
    error = caught.value
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert (error.message, error.metadata) == ("there is none", {"resource": "instance", "id": "x"})
    assert not error.unreachable
    assert str(error) == "RESOURCE_NOT_FOUND: there is none"


def test_no_server(unused_tcp_port: int) -> None:
    with Client(f"127.0.0.1:{unused_tcp_port}", retry_for=0) as client, pytest.raises(ApiError) as caught:
        client.instances.GetInstance(GetInstanceRequest(id="x"))
    assert caught.value.unreachable


def test_a_server_that_never_answers_ends_at_the_deadline(plane: FakePlane) -> None:
    import time

    plane.on("GetInstance", lambda _: time.sleep(0.5) or Instance())
    with Client(plane.endpoint) as client, pytest.raises(ApiError) as caught:
        client.instances.GetInstance(GetInstanceRequest(id="x"), timeout=0.1)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_list_all_reads_every_page(plane: FakePlane) -> None:
    pages = [
        ListInstancesResponse(instances=[Instance(id="a"), Instance(id="b")], next_page_token="2"),
        ListInstancesResponse(instances=[Instance(id="c")]),
    ]
    plane.on("ListInstances", *pages)
    with Client(plane.endpoint) as client:
        request = ListInstancesRequest(active_only=True)
        assert [i.id for i in client.list_all(client.instances.ListInstances, request)] == ["a", "b", "c"]
    asked = plane.requests("ListInstances")
    assert [(r.page_token, r.active_only) for r in asked] == [("", True), ("2", True)]


def test_list_all_stops_at_the_limit_without_another_page(plane: FakePlane) -> None:
    plane.on("ListInstances", ListInstancesResponse(instances=[Instance(id="a")], next_page_token="2"))
    with Client(plane.endpoint) as client:
        items = list(client.list_all(client.instances.ListInstances, ListInstancesRequest(), limit=1))
    assert len(items) == len(plane.calls) == 1


def test_list_all_of_an_unpaged_list(plane: FakePlane) -> None:
    plane.on("ListBudgets", ListBudgetsResponse(budgets=[Budget(id="b")]))
    with Client(plane.endpoint) as client:
        assert len(list(client.list_all(client.budgets.ListBudgets, ListBudgetsRequest()))) == 1


def test_with_grpcio_testing() -> None:
    """The same helper on grpcio-testing's channel: no server, no socket."""
    service = instance_service_pb2.DESCRIPTOR.services_by_name["Instances"]
    channel = grpc_testing.channel([service], grpc_testing.strict_real_time())
    client = Client("unused", "gp_key", channel=channel)
    answers: list[Operation] = []
    thread = threading.Thread(
        target=lambda: answers.append(client.instances.CreateInstance(CreateInstanceRequest(name="n")))
    )
    thread.start()
    metadata, request, rpc = channel.take_unary_unary(service.methods_by_name["CreateInstance"])
    rpc.send_initial_metadata(())
    rpc.terminate(Operation(id="op"), (), grpc.StatusCode.OK, "")
    thread.join(5)
    assert answers[0].id == "op"
    assert request.name == "n"
    assert request.request_id
    assert ("authorization", "Bearer gp_key") in [tuple(pair) for pair in metadata]
