"""gpuplane.v1.Instances: several machines in one call."""

from __future__ import annotations

from typing import Any

import pytest
from google.type.money_pb2 import Money

from controlplane.domain.account import Account
from controlplane.domain.instance import Instance
from controlplane.domain.principal import ALL
from controlplane.domain.records import replace
from tests.unit.api.canonical.support import Code, Farm, offer, pb

CPU = pb.CreateInstanceRequest(offer_id="local-cpu")


async def batch(farm: Farm, *requests: Any, request_id: str = "") -> list[Any]:
    request = pb.BatchCreateInstancesRequest(requests=requests, request_id=request_id)
    return list((await farm.alice.instances.BatchCreateInstances(request)).results)


async def reserve(farm: Farm, count: int, least: int = 0, request_id: str = "", **wish: Any) -> list[Any]:
    request = pb.ReserveInstancesRequest(
        create=pb.CreateInstanceRequest(**({"offer_id": "local-cpu"} | wish)), count=count, min_count=least,
        request_id=request_id,
    )  # fmt: skip
    return list((await farm.alice.instances.ReserveInstances(request)).results)


async def rented(farm: Farm) -> int:
    return len((await farm.alice.instances.ListInstances(pb.ListInstancesRequest(page_size=1000))).instances)


async def quota(farm: Farm, most: int) -> None:
    account = await farm.core.store.get(ALL, Account, farm.account_id)
    assert account is not None
    await farm.put(replace(account, max_instances=most))


def units(farm: Farm, available: int, **changes: Any) -> None:
    farm.core.offers.update("local", (offer("local-cpu", available=available, **changes),), farm.clock.now())


class TestBatch:
    async def test_each_by_itself_in_order(self, farm: Farm) -> None:
        bad = [
            pb.CreateInstanceRequest(offer_id="local-none"),
            pb.CreateInstanceRequest(),
            pb.CreateInstanceRequest(offer_id="local-cpu", launch_mode=9),
            pb.CreateInstanceRequest(offer_id="local-cpu", max_price_per_hour=Money(nanos=1)),
        ]
        results = await batch(farm, CPU, *bad, CPU)
        assert [result.WhichOneof("result") for result in results] == ["operation", *["error"] * 4, "operation"]
        assert results[0].operation.instance_id != results[5].operation.instance_id
        errors = [(r.error.code, r.error.reason, r.error.field) for r in results[1:5]]
        assert errors == [
            (Code.NOT_FOUND.value[0], "RESOURCE_NOT_FOUND", ""),
            (Code.INVALID_ARGUMENT.value[0], "INVALID_FIELD", "target"),
            (Code.INVALID_ARGUMENT.value[0], "INVALID_FIELD", "launch_mode"),
            (Code.FAILED_PRECONDITION.value[0], "OFFER_TOO_DEAR", ""),
        ]
        assert results[3].error.message.startswith("launch_mode must be")
        assert await rented(farm) == 2

    async def test_a_repeat_makes_nothing_twice_and_tries_the_refused_again(self, farm: Farm) -> None:
        wishes = [CPU, pb.CreateInstanceRequest(offer_id="local-late")]
        first = await batch(farm, *wishes, request_id="b" * 128)
        assert first[1].error.reason == "RESOURCE_NOT_FOUND"
        farm.core.offers.update("late", (offer("local-late"),), farm.clock.now())
        again = await batch(farm, *wishes, request_id="b" * 128)
        assert again[0].operation.id == first[0].operation.id
        assert again[1].operation.request_id == "b" * 128 + "/1"
        assert await batch(farm, *wishes, request_id="b" * 128) == again
        assert await rented(farm) == 2

    async def test_the_same_id_for_something_else(self, farm: Farm, ended: Any) -> None:
        await batch(farm, CPU, request_id="r")
        end = await ended(batch(farm, CPU, CPU, request_id="r"))
        assert (end.code, end.info.reason) == (Code.ABORTED, "IDEMPOTENCY_MISMATCH")
        assert await rented(farm) == 1

    async def test_without_an_id_every_call_counts(self, farm: Farm) -> None:
        await batch(farm, CPU)
        await batch(farm, CPU)
        assert await rented(farm) == 2

    async def test_bounds(self, farm: Farm, ended: Any) -> None:
        named = pb.CreateInstanceRequest(offer_id="local-cpu", request_id="mine")
        for requests, field in (((), "requests"), ((CPU,) * 101, "requests"), ((CPU, named), "requests[1].request_id")):
            end = await ended(batch(farm, *requests))
            assert (end.code, end.info.metadata["field"]) == (Code.INVALID_ARGUMENT, field)
        end = await ended(batch(farm, CPU, request_id="white space"))
        assert end.info.metadata["field"] == "request_id"
        assert await rented(farm) == 0

    async def test_a_hundred_at_once(self, farm: Farm) -> None:
        results = await batch(farm, *[CPU] * 100)
        assert len({result.operation.instance_id for result in results}) == 100

    async def test_operators_own_no_machines(self, farm: Farm, ended: Any) -> None:
        request = pb.BatchCreateInstancesRequest(requests=[CPU])
        end = await ended(farm.operator.instances.BatchCreateInstances(request))
        assert end.code is Code.PERMISSION_DENIED


class TestReserve:
    async def test_all_of_them(self, farm: Farm) -> None:
        units(farm, 8)
        results = await reserve(farm, 5, 5, name="worker")
        assert len({result.operation.instance_id for result in results}) == 5

    async def test_the_market_has_fewer_than_the_least(self, farm: Farm, ended: Any) -> None:
        units(farm, 3)
        for wish in ({}, {"offer_id": None, "requirements": pb.Requirements(gpu_types=["cpu"], providers=["local"])}):
            end = await ended(reserve(farm, 5, 4, **wish))
            assert (end.code, end.info.reason) == (Code.FAILED_PRECONDITION, "NO_MATCHING_OFFER")
        assert await rented(farm) == 0
        assert len(await reserve(farm, 5, 3)) == 5

    async def test_the_quota_has_room_for_some(self, farm: Farm, ended: Any) -> None:
        units(farm, 99)
        await quota(farm, 3)
        end = await ended(reserve(farm, 5, 4))
        assert (end.code, end.info.reason) == (Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
        assert await rented(farm) == 0
        results = await reserve(farm, 5, 3, request_id="r")
        assert sum(result.HasField("operation") for result in results) == 3
        assert {r.error.reason for r in results if r.HasField("error")} == {"QUOTA_EXCEEDED"}
        await quota(farm, 5)
        again = await reserve(farm, 5, 3, request_id="r")
        assert all(result.HasField("operation") for result in again)
        assert await rented(farm) == 5
        assert await reserve(farm, 5, 3, request_id="r") == again, "its own machines do not use up its quota"

    async def test_the_budget_holds_some(self, farm: Farm, ended: Any) -> None:
        units(farm, 99, price_nano_per_hour=3600 * 10**9)  # one a second; 120 s are held
        request = pb.CreateBudgetRequest(name="b", limit=Money(currency_code="USD", units=250))
        await farm.alice.budgets.CreateBudget(request)
        end = await ended(reserve(farm, 5, 3))
        assert (end.code, end.info.reason) == (Code.RESOURCE_EXHAUSTED, "BUDGET_EXHAUSTED")
        results = await reserve(farm, 5, 2)
        assert sum(result.HasField("operation") for result in results) == 2

    async def test_when_all_are_refused_the_first_refusal_is_the_answer(self, farm: Farm, ended: Any) -> None:
        units(farm, 9)
        end = await ended(reserve(farm, 3, disk_gb=10_000))
        assert (end.code, end.info.metadata["field"]) == (Code.INVALID_ARGUMENT, "disk_gb")
        end = await ended(reserve(farm, 3, offer_id="local-none"))
        assert end.code is Code.NOT_FOUND

    async def test_the_same_id_for_another_count(self, farm: Farm, ended: Any) -> None:
        units(farm, 9)
        await reserve(farm, 2, request_id="r")
        end = await ended(reserve(farm, 3, request_id="r"))
        assert (end.code, end.info.reason) == (Code.ABORTED, "IDEMPOTENCY_MISMATCH")
        assert await rented(farm) == 2

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"count": 0}, "count"),
            ({"count": 101}, "count"),
            ({"count": 2, "min_count": 3}, "min_count"),
            ({"count": 2, "min_count": -1}, "min_count"),
            ({"count": 2, "create": pb.CreateInstanceRequest(request_id="x")}, "create.request_id"),
        ],
    )
    async def test_bad_fields_are_named(self, farm: Farm, ended: Any, fields: Any, field: str) -> None:
        end = await ended(farm.alice.instances.ReserveInstances(pb.ReserveInstancesRequest(**fields)))
        assert (end.code, end.info.metadata["field"]) == (Code.INVALID_ARGUMENT, field)


class TestNewFieldsOfTheWish:
    async def test_they_reach_the_wish(self, farm: Farm) -> None:
        made = await farm.create(on_start="echo hi", ports=[8080, 443])
        row = await farm.core.store.get(ALL, Instance, made.instance_id)
        assert row is not None
        assert (row.wish.on_start, row.wish.ports) == ("echo hi", (8080, 443))

    @pytest.mark.parametrize(("asked", "kept"), [({}, 2), ({"max_retries": 0}, 0), ({"max_retries": 5}, 5)])
    async def test_how_often_a_machine_is_replaced(self, farm: Farm, asked: Any, kept: int) -> None:
        wanted = pb.Requirements(gpu_types=["H100"])
        made = await farm.create(offer_id=None, requirements=wanted, **asked)
        row = await farm.core.store.get(ALL, Instance, made.instance_id)
        assert row is not None
        assert row.wish.max_retries == kept

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"on_start": "x" * 16_385}, "on_start"),
            ({"ports": [1] * 33}, "ports"),
            ({"ports": [22, 0]}, "ports[1]"),
            ({"ports": [65_536]}, "ports[0]"),
            ({"max_retries": 6}, "max_retries"),
            ({"max_retries": -1}, "max_retries"),
        ],
    )
    async def test_bad_fields_are_named(self, farm: Farm, ended: Any, fields: Any, field: str) -> None:
        end = await ended(farm.create(**fields))
        assert (end.code, end.info.metadata["field"]) == (Code.INVALID_ARGUMENT, field)
