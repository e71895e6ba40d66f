"""What is told about machines, and streams."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from gpuplane.v1 import (
    watch_pb2,
)

from controlplane.domain.instance import Wish
from controlplane.ports.provider import Capabilities, ProviderError
from controlplane.usecases.machine_secrets import model_key
from tests.support.fakes import SECOND, START
from tests.unit.api.canonical.support import (
    Code,
    Farm,
    pb,
)


class TestMachines:
    async def test_connection(self, farm: Farm, ended: Any) -> None:
        id = await farm.running(wish=Wish(offer_id="local-cpu", mode="model", model="m"), model_url="http://x/v1")
        got = await farm.alice.instances.GetConnection(pb.GetConnectionRequest(id=id))
        assert got.ssh_command == "ssh -p 22 root@10.0.0.1"
        assert got.model_api_key == model_key(farm.core.secrets, id)
        shown = await farm.alice.instances.GetInstance(pb.GetInstanceRequest(id=id))
        assert shown.connection.model_url
        assert not shown.connection.model_api_key
        waiting = (await farm.create()).instance_id
        end = await ended(farm.alice.instances.GetConnection(pb.GetConnectionRequest(id=waiting)))
        assert (end.code, end.info.metadata["state"]) == (Code.FAILED_PRECONDITION, "ACCEPTED")

    async def test_diagnostics(self, farm: Farm) -> None:
        id = await farm.running()
        got = await farm.alice.instances.GetDiagnostics(pb.GetDiagnosticsRequest(id=id))
        assert (got.provider_status, got.cpu_percent) == ("running", 12.5)
        assert not got.HasField("gpu_percent")

    @pytest.mark.parametrize("answer", [ProviderError("secret text"), "silence"])
    async def test_a_provider_that_cannot_be_asked(self, farm: Farm, ended: Any, answer: Any) -> None:
        id = await farm.running()
        farm.provider.answer = answer
        got = await farm.alice.instances.GetDiagnostics(pb.GetDiagnosticsRequest(id=id))
        assert (got.provider_status, got.provider_message) == ("unknown", "")
        assert got.last_seen_time.seconds == START // SECOND
        end = await ended(farm.alice.instances.GetInstanceLogs(pb.GetInstanceLogsRequest(id=id)))
        assert (end.code, end.info.reason) == (Code.UNAVAILABLE, "PROVIDER_UNAVAILABLE")
        assert "secret" not in end.message

    async def test_logs(self, farm: Farm, ended: Any) -> None:
        id = await farm.running()
        got = await farm.alice.instances.GetInstanceLogs(pb.GetInstanceLogsRequest(id=id))
        assert got.text == "last 100 of m1\n"
        end = await ended(farm.alice.instances.GetInstanceLogs(pb.GetInstanceLogsRequest(id=id, tail=-1)))
        assert end.info.metadata["field"] == "tail"
        farm.provider.capabilities = Capabilities()
        end = await ended(farm.alice.instances.GetInstanceLogs(pb.GetInstanceLogsRequest(id=id)))
        assert end.code is Code.FAILED_PRECONDITION
        gone = await farm.running(gone_at=START)
        end = await ended(farm.alice.instances.GetInstanceLogs(pb.GetInstanceLogsRequest(id=gone)))
        assert end.code is Code.FAILED_PRECONDITION


class TestStreams:
    async def test_watch_one_instance(self, farm: Farm, until: Any) -> None:
        id = (await farm.create()).instance_id
        stream = farm.alice.instances.WatchInstance(pb.WatchInstanceRequest(id=id))
        first = await stream.read()
        assert (first.type, first.instance.id) == (watch_pb2.INSTANCE_EVENT_TYPE_SNAPSHOT, id)
        await farm.alice.instances.UpdateInstance(pb.UpdateInstanceRequest(id=id, name="new"))
        second = await stream.read()
        assert (second.type, second.instance.name) == (watch_pb2.INSTANCE_EVENT_TYPE_CHANGED, "new")
        assert farm.hub.streams == 1
        stream.cancel()
        await until(lambda: farm.hub.streams == 0)

    async def test_watch_the_account_from_a_list(self, farm: Farm) -> None:
        listed = await farm.alice.instances.ListInstances(pb.ListInstancesRequest())
        made = await farm.create()
        await farm.create(farm.bob)
        stream = farm.alice.instances.WatchInstances(pb.WatchInstancesRequest(resume_token=listed.resume_token))
        assert (await stream.read()).type == watch_pb2.INSTANCE_EVENT_TYPE_BOOKMARK
        event = await stream.read()
        assert (event.type, event.instance.id) == (watch_pb2.INSTANCE_EVENT_TYPE_CREATED, made.instance_id)

    async def test_a_foreign_token(self, farm: Farm, ended: Any) -> None:
        token = (await farm.bob.instances.ListInstances(pb.ListInstancesRequest())).resume_token
        stream = farm.alice.instances.WatchInstances(pb.WatchInstancesRequest(resume_token=token))
        end = await ended(stream.read())
        assert (end.code, end.info.reason) == (Code.INVALID_ARGUMENT, "INVALID_RESUME_TOKEN")

    async def test_a_stop_is_said_in_band(self, farm: Farm) -> None:
        id = (await farm.create()).id
        stream = farm.alice.operations.WatchOperation(pb.WatchOperationRequest(id=id))
        assert (await stream.read()).operation.id == id
        farm.hub.stop()
        assert (await stream.read()).end.reason == watch_pb2.STREAM_END_REASON_SERVER_STOPPING
        assert await stream.read() is grpc.aio.EOF
