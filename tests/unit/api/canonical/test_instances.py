"""gpuplane.v1.Instances and Operations."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.type.money_pb2 import Money
from gpuplane.v1 import (
    instance_pb2,
    operation_pb2,
)

from tests.unit.api.canonical.support import (
    Code,
    Farm,
    pb,
)


class TestInstances:
    async def test_create_get_list(self, farm: Farm) -> None:
        made = await farm.create(name="box", labels={"team": "a"}, env={"A": "1"}, reservation=Duration(seconds=600))
        assert made.kind == operation_pb2.OPERATION_KIND_CREATE_INSTANCE
        got = await farm.alice.instances.GetInstance(pb.GetInstanceRequest(id=made.instance_id))
        assert (got.name, dict(got.labels), got.state) == ("box", {"team": "a"}, instance_pb2.INSTANCE_STATE_ACCEPTED)
        assert got.expire_time.seconds - got.create_time.seconds == 600
        listed = await farm.alice.instances.ListInstances(pb.ListInstancesRequest(active_only=True))
        assert list(listed.instances) == [got]
        assert listed.resume_token

    async def test_a_request_id_makes_a_repeat_harmless(self, farm: Farm, ended: Any) -> None:
        first = await farm.create(request_id="r1", labels={"a": "1", "b": "2"})
        again = await farm.create(request_id="r1", labels={"b": "2", "a": "1"})
        assert again.id == first.id
        end = await ended(farm.create(request_id="r1", name="other"))
        assert (end.code, end.info.reason) == (Code.ABORTED, "IDEMPOTENCY_MISMATCH")

    async def test_requirements(self, farm: Farm, ended: Any) -> None:
        wanted = pb.Requirements(gpu_types=["H100"], gpu_count=2)
        made = await farm.create(offer_id=None, requirements=wanted)
        assert made.instance_id
        cap = Money(currency_code="USD", units=1)
        end = await ended(farm.create(offer_id=None, requirements=wanted, max_price_per_hour=cap))
        assert (end.code, end.info.reason) == (Code.FAILED_PRECONDITION, "NO_MATCHING_OFFER")

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"offer_id": None}, "target"),
            ({"launch_mode": 9}, "launch_mode"),
            ({"reservation": Duration(seconds=5)}, "reservation"),
            ({"idle_timeout": Duration(seconds=1)}, "idle_timeout"),
            ({"max_duration": Duration(seconds=10**9)}, "max_duration"),
            ({"max_price_per_hour": Money(currency_code="EUR", units=1)}, "max_price_per_hour.currency_code"),
            ({"ssh_public_keys": ["nonsense"]}, "ssh_public_keys[0]"),
            ({"request_id": "white space"}, "request_id"),
            ({"name": "x" * 64}, "name"),
        ],
    )
    async def test_bad_fields_are_named(self, farm: Farm, ended: Any, fields: Any, field: str) -> None:
        end = await ended(farm.create(**fields))
        assert (end.code, end.info.metadata["field"]) == (Code.INVALID_ARGUMENT, field)

    async def test_pages_join_to_the_whole(self, farm: Farm) -> None:
        made = [(await farm.create(labels={"n": str(n % 2)})).instance_id for n in range(7)]
        seen, token, resume = [], "", set()
        while True:
            request = pb.ListInstancesRequest(page_size=3, page_token=token, label_selector="n")
            page = await farm.alice.instances.ListInstances(request)
            seen += [row.id for row in page.instances]
            resume.add(page.resume_token)
            if not token:
                await farm.create(labels={"n": "9"})  # not seen: it came after the first page
            token = page.next_page_token
            if not token:
                break
        assert seen == made[::-1]
        assert len(resume) == 1
        odd = await farm.alice.instances.ListInstances(pb.ListInstancesRequest(label_selector="n=1,n"))
        assert [row.id for row in odd.instances] == made[1::2][::-1]

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"states": [0]}, "states[0]"),
            ({"page_size": -1}, "page_size"),
            ({"label_selector": "a,,b"}, "label_selector"),
            ({"page_token": "nonsense"}, "page_token"),
        ],
    )
    async def test_bad_queries_are_named(self, farm: Farm, ended: Any, fields: Any, field: str) -> None:
        end = await ended(farm.alice.instances.ListInstances(pb.ListInstancesRequest(**fields)))
        assert (end.code, end.info.metadata["field"]) == (Code.INVALID_ARGUMENT, field)

    async def test_a_page_token_is_bound_to_its_query(self, farm: Farm, ended: Any) -> None:
        for _ in range(2):
            await farm.create()
        states = [instance_pb2.INSTANCE_STATE_ACCEPTED, instance_pb2.INSTANCE_STATE_RUNNING]
        request = pb.ListInstancesRequest(page_size=1, states=states)
        token = (await farm.alice.instances.ListInstances(request)).next_page_token
        turned = pb.ListInstancesRequest(page_size=1, states=states[::-1], page_token=token)
        assert len((await farm.alice.instances.ListInstances(turned)).instances) == 1
        other = pb.ListInstancesRequest(page_size=1, page_token=token)
        end = await ended(farm.alice.instances.ListInstances(other))
        assert end.info.reason == "INVALID_PAGE_TOKEN"

    async def test_update_extend_terminate(self, farm: Farm, ended: Any) -> None:
        id = (await farm.create(labels={"a": "1"}, reservation=Duration(seconds=600))).instance_id
        changed = await farm.alice.instances.UpdateInstance(
            pb.UpdateInstanceRequest(id=id, name="n", labels={"b": "2"}, remove_labels=["a"])
        )
        assert (changed.name, dict(changed.labels)) == ("n", {"b": "2"})
        longer = await farm.alice.instances.ExtendInstance(
            pb.ExtendInstanceRequest(id=id, duration=Duration(seconds=60))
        )
        assert longer.expire_time.seconds - longer.create_time.seconds == 660
        end = await ended(farm.alice.instances.ExtendInstance(pb.ExtendInstanceRequest(id=id)))
        assert end.info.metadata["field"] == "duration"
        first = await farm.alice.instances.TerminateInstance(pb.TerminateInstanceRequest(id=id))
        assert first.kind == operation_pb2.OPERATION_KIND_TERMINATE_INSTANCE
        again = await farm.alice.instances.TerminateInstance(pb.TerminateInstanceRequest(id=id, force=True))
        assert again.id == first.id


class TestOperations:
    async def test_get_list_cancel(self, farm: Farm, ended: Any) -> None:
        made = await farm.create()
        assert await farm.alice.operations.GetOperation(pb.GetOperationRequest(id=made.id)) == made
        pending = pb.ListOperationsRequest(instance_id=made.instance_id, state="OPERATION_STATE_PENDING")
        assert [o.id for o in (await farm.alice.operations.ListOperations(pending)).operations] == [made.id]
        end = await ended(farm.alice.operations.ListOperations(pb.ListOperationsRequest(state=99)))
        assert end.info.metadata["field"] == "state"
        cancelled = await farm.alice.operations.CancelOperation(pb.CancelOperationRequest(id=made.id))
        assert cancelled.cancel_requested

    async def test_a_wait_ends_with_its_timeout_or_deadline(self, farm: Farm, ended: Any) -> None:
        id = (await farm.create()).id
        for request, kw in (
            (pb.WaitOperationRequest(id=id, timeout=Duration()), {}),
            (pb.WaitOperationRequest(id=id, timeout=Duration(nanos=10_000_000)), {}),
            (pb.WaitOperationRequest(id=id), {"timeout": 0.3}),
        ):
            got = await farm.alice.operations.WaitOperation(request, **kw)
            assert got.state == operation_pb2.OPERATION_STATE_PENDING
        bad = pb.WaitOperationRequest(id=id, timeout=Duration(seconds=301))
        assert (await ended(farm.alice.operations.WaitOperation(bad))).info.metadata["field"] == "timeout"
