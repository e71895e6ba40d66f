import asyncio

import grpc
import pytest
from gpuplane.v1 import operation_pb2, operation_service_pb2, watch_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from controlplane.api.server import build_server

BLOB = operation_pb2.Operation(id="op-1").SerializeToString() + b"\xfa\x7f\x03abc"
Code = grpc.StatusCode


PATHS = [
    f"/gpuplane.v1.Operations/{name}Operation{s}"
    for name, s in [("Get", ""), ("List", "s"), ("Wait", ""), ("Cancel", ""), ("Watch", "")]
]


class TestServer:
    async def test_health(self, farm, ended):
        async def status(service):
            check = farm.channel.unary_unary("/grpc.health.v1.Health/Check")
            raw = await check(health_pb2.HealthCheckRequest(service=service).SerializeToString())
            return health_pb2.HealthCheckResponse.FromString(raw).status

        assert await status("") == health_pb2.HealthCheckResponse.NOT_SERVING
        await farm.server.set_serving(True)
        assert await status("") == health_pb2.HealthCheckResponse.SERVING
        assert await status("gpuplane.v1.Operations") == health_pb2.HealthCheckResponse.SERVING
        assert (await ended(status("nothing"))).code is Code.NOT_FOUND

    @pytest.mark.parametrize("version", ["v1", "v1alpha"])
    async def test_reflection(self, farm, version):
        info = farm.channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="gpuplane.v1.Operations"),
        ]
        answers = [
            reflection_pb2.ServerReflectionResponse.FromString(raw)
            async for raw in info(iter([request.SerializeToString() for request in asked]))
        ]
        names = {service.name for service in answers[0].list_services_response.service}
        assert names >= {"gpuplane.v1.Operations", "grpc.health.v1.Health"}
        assert any(b"WatchOperation" in file for file in answers[1].file_descriptor_response.file_descriptor_proto)

    async def test_a_stop_lets_streams_say_good_bye(self, farm, ended):
        stream = farm.watch("forever")
        await stream.read()
        stopped = asyncio.ensure_future(farm.server.stop(grace=30))
        async with asyncio.timeout(5):
            last = operation_service_pb2.OperationEvent.FromString(await stream.read())
            assert await stream.read() is grpc.aio.EOF
            await stopped
        assert last.end.reason == watch_pb2.STREAM_END_REASON_SERVER_STOPPING
        assert (await ended(farm.get("bytes"))).code is Code.UNAVAILABLE

    async def test_a_stop_cuts_what_does_not_end(self, farm, ended):
        call = asyncio.ensure_future(farm.get("slow"))
        await farm.servicer.entered.wait()
        async with asyncio.timeout(5):
            await farm.server.stop(grace=0.05)
        assert (await ended(call)).code in (Code.UNAVAILABLE, Code.CANCELLED)
        assert farm.servicer.cancelled.is_set()

    async def test_unix_sockets(self, start, tmp_path):
        farm = await start()
        second = build_server(
            [farm.servicer],
            farm.authenticator,
            scopes=dict.fromkeys(PATHS, "public"),
            addresses=[f"unix:{tmp_path}/s"],
        )
        await second.start()
        async with grpc.aio.insecure_channel(second.addresses[0]) as channel:
            assert await channel.unary_unary("/gpuplane.v1.Operations/GetOperation")(b"") == BLOB
        assert farm.servicer.calls[0].principal.account_id == ""
        await second.stop(0)


class TestBuild:
    async def test_a_method_without_scope(self, farm):
        with pytest.raises(TypeError, match="GetOperation has no scope"):
            build_server([farm.servicer], farm.authenticator, scopes={})

    async def test_a_method_without_handler(self, farm):
        class Half:
            service = "gpuplane.v1.Operations"

        with pytest.raises(TypeError, match="Half lacks get_operation"):
            build_server([Half()], farm.authenticator, scopes=dict.fromkeys(PATHS, "public"))
