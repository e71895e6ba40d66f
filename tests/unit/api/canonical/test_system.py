"""gpuplane.v1.System, and every rpc in the hands of strangers."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.type.money_pb2 import Money

from controlplane.api.methods import methods_of_all
from controlplane.api.scopes import CANONICAL_SERVICES, PUBLIC, canonical_scopes
from controlplane.api.vitals import Check
from tests.unit.api.canonical.support import (
    SSH_KEY,
    Code,
    Farm,
    pb,
)


class TestSystem:
    async def test_health(self, farm: Farm) -> None:
        call = farm.alice.system.GetHealth(pb.GetHealthRequest())
        got = await call
        assert (got.status, got.timestamp) == ("degraded", "2026-01-01T00:00:00.000Z")
        assert got.checks["store"].response_time_ms == 1.2
        assert got.checks["vastai"].message == "asked in vain"

    @pytest.mark.parametrize("method", ["GetHealth", "GetReadiness"])
    async def test_rest_sees_503(self, farm: Farm, method: str) -> None:
        farm.vitals.found, farm.vitals.ready = (Check("store", False, vital=True),), False
        call = farm.channel.unary_unary(f"/gpuplane.v1.System/{method}")
        answer = call(b"", metadata=(("x-dialect", "gpuplane"),))
        await answer
        assert dict(await answer.initial_metadata())["x-http-status"] == "503"

    async def test_metrics_and_info(self, farm: Farm) -> None:
        body = await farm.operator.system.GetMetrics(pb.GetMetricsRequest())
        assert body.content_type.startswith("text/plain")
        assert b"gpuplane_rpcs_total{" in body.data
        info = await farm.alice.system.GetServerInfo(pb.GetServerInfoRequest())
        assert (info.version, info.deployment_id, list(info.providers)) == ("0.1.0", "dep1", ["local"])


class TestStrangers:
    """Every rpc, without a key and with a stranger's."""

    @staticmethod
    async def result(farm: Farm, method: Any, request: Any, token: str | None) -> Any:
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        kind = farm.channel.unary_stream if method.server_streaming else farm.channel.unary_unary
        call = kind(method.path, response_deserializer=method.response.FromString)
        answer = call(request.SerializeToString(), metadata=metadata, timeout=5)
        try:
            return await (answer.read() if method.server_streaming else answer)
        except grpc.aio.AioRpcError as error:
            return error.code()

    async def test_no_key(self, farm: Farm) -> None:
        for method in methods_of_all(CANONICAL_SERVICES):
            got = await self.result(farm, method, method.request(), None)
            assert (got is Code.UNAUTHENTICATED) == (canonical_scopes()[method.path] is not PUBLIC), method.path

    async def test_a_strangers_key(self, farm: Farm) -> None:
        instance_id = await farm.running()
        ids = {
            "Instances": instance_id,
            "Operations": (await farm.create()).id,
            "SshKey": (await farm.alice.keys.CreateSshKey(pb.CreateSshKeyRequest(name="k", public_key=SSH_KEY))).id,
            "ApiKey": (await farm.alice.keys.ListApiKeys(pb.ListApiKeysRequest())).api_keys[0].id,
            "Budgets": (
                await farm.alice.budgets.CreateBudget(pb.CreateBudgetRequest(name="b", limit=Money(units=9)))
            ).id,
            "Accounts": farm.account_id,
            "Strays": "stray_1",
        }
        before = await farm.alice.instances.GetInstance(pb.GetInstanceRequest(id=instance_id))
        seen = 0
        for method in methods_of_all(CANONICAL_SERVICES):
            if "id" not in method.request.DESCRIPTOR.fields_by_name:
                continue
            noun = next((n for n in ids if n in method.path.rpartition("/")[2]), method.service.rpartition(".")[2])
            if noun not in ids:
                continue
            request = method.request(id=ids[noun])
            if "duration" in method.request.DESCRIPTOR.fields_by_name:
                request.duration.seconds = 60
            got = await self.result(farm, method, request, farm.bob.token)
            expected = Code.PERMISSION_DENIED if noun in ("Accounts", "Strays") else Code.NOT_FOUND
            assert got is expected, method.path
            seen += 1
        assert seen >= 20
        assert await farm.alice.instances.GetInstance(pb.GetInstanceRequest(id=instance_id)) == before

    async def test_lists_show_nothing_of_others(self, farm: Farm) -> None:
        await farm.running()
        await farm.alice.keys.CreateSshKey(pb.CreateSshKeyRequest(name="k", public_key=SSH_KEY))
        assert not (await farm.bob.instances.ListInstances(pb.ListInstancesRequest())).instances
        assert not (await farm.bob.operations.ListOperations(pb.ListOperationsRequest())).operations
        assert not (await farm.bob.keys.ListSshKeys(pb.ListSshKeysRequest())).ssh_keys
        assert len((await farm.bob.keys.ListApiKeys(pb.ListApiKeysRequest())).api_keys) == 1
        everything = await farm.operator.instances.ListInstances(pb.ListInstancesRequest())
        assert len(everything.instances) == 1
