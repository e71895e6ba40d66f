"""gpuplane.v1.Strays."""

from __future__ import annotations

from typing import Any

import pytest
from gpuplane.v1 import stray_pb2

from controlplane.domain import ids
from controlplane.domain.stray import StrayKind, StrayMachine, StrayWish, stray_id
from tests.support.fakes import START
from tests.unit.api.canonical.support import Code, Farm, pb

NOT_FOUND = (Code.NOT_FOUND, "RESOURCE_NOT_FOUND")
CONFLICT = (Code.FAILED_PRECONDITION, "STATE_CONFLICT")


def stray(name: str = "m1", kind: StrayKind = StrayKind.FOREIGN, provider: str = "vastai", **more: Any) -> StrayMachine:
    label = ids.label("dep1", "inst_" + "0" * 26, 2)
    price = more.pop("price", 25 * 10**7)
    return StrayMachine(
        stray_id(provider, "", name), provider, "", name, label, kind, "running", price, START, START + 10**6, **more
    )


class TestReading:
    async def test_get(self, farm: Farm, ended: Any) -> None:
        row = stray(wish=StrayWish.ADOPT, account_id="acct_1", error="why")
        await farm.put(row)
        got = await farm.operator.strays.GetStray(pb.GetStrayRequest(id=row.id))
        assert (got.id, got.provider, got.machine_id, got.label) == (row.id, "vastai", "m1", row.label)
        assert (got.kind, got.wish) == (stray_pb2.STRAY_KIND_FOREIGN, stray_pb2.STRAY_WISH_ADOPT)
        assert (got.instance_id, got.account_id, got.error) == ("inst_" + "0" * 26, "acct_1", "why")
        assert (got.price_per_hour.currency_code, got.price_per_hour.nanos) == ("USD", 25 * 10**7)
        assert (got.provider_status, got.last_seen_time.seconds - got.first_seen_time.seconds) == ("running", 1)
        end = await ended(farm.operator.strays.GetStray(pb.GetStrayRequest(id="stray_none")))
        assert (end.code, end.info.reason) == NOT_FOUND

    async def test_a_price_that_nobody_told_is_absent(self, farm: Farm) -> None:
        await farm.put(stray(price=0))
        (got,) = (await farm.operator.strays.ListStrays(pb.ListStraysRequest())).strays
        assert not got.HasField("price_per_hour")

    async def test_pages_and_filters(self, farm: Farm, ended: Any) -> None:
        every = [stray("a"), stray("b", StrayKind.ORPHAN), stray("c", provider="ionet"), stray("d")]
        await farm.put(*every)
        found, token = [], ""
        while True:
            page = await farm.operator.strays.ListStrays(pb.ListStraysRequest(page_size=1, page_token=token))
            found += [s.id for s in page.strays]
            token = page.next_page_token
            if not token:
                break
        assert found == sorted((row.id for row in every), reverse=True)
        asked = pb.ListStraysRequest(provider="vastai", kind=stray_pb2.STRAY_KIND_ORPHAN)
        assert [s.machine_id for s in (await farm.operator.strays.ListStrays(asked)).strays] == ["b"]
        end = await ended(farm.operator.strays.ListStrays(pb.ListStraysRequest(kind=7)))
        assert (end.code, end.info.metadata["field"]) == (Code.INVALID_ARGUMENT, "kind")

    @pytest.mark.parametrize("method", ["GetStray", "ListStrays", "AdoptStray", "DestroyStray"])
    async def test_only_operators(self, farm: Farm, ended: Any, method: str) -> None:
        end = await ended(getattr(farm.alice.strays, method)(getattr(pb, f"{method}Request")()))
        assert (end.code, end.info.reason) == (Code.PERMISSION_DENIED, "OPERATOR_ONLY")


class TestDeciding:
    async def adopt(self, farm: Farm, row: StrayMachine, account_id: str = "") -> Any:
        request = pb.AdoptStrayRequest(id=row.id, account_id=account_id or farm.account_id)
        return await farm.operator.strays.AdoptStray(request)

    async def destroy(self, farm: Farm, row: StrayMachine) -> Any:
        return await farm.operator.strays.DestroyStray(pb.DestroyStrayRequest(id=row.id))

    async def test_adopt_is_recorded_and_repeatable(self, farm: Farm) -> None:
        row = stray(error="an older wish failed")
        await farm.put(row)
        wished = await self.adopt(farm, row)
        assert (wished.wish, wished.account_id, wished.error) == (
            stray_pb2.STRAY_WISH_ADOPT, farm.account_id, "",
        )  # fmt: skip
        assert await self.adopt(farm, row) == wished
        assert (await farm.operator.strays.GetStray(pb.GetStrayRequest(id=row.id))) == wished

    async def test_destroy_outdoes_an_adoption_and_not_the_other_way_round(self, farm: Farm, ended: Any) -> None:
        row = stray()
        await farm.put(row)
        await self.adopt(farm, row)
        wished = await self.destroy(farm, row)
        assert (wished.wish, wished.account_id) == (stray_pb2.STRAY_WISH_DESTROY, "")
        assert await self.destroy(farm, row) == wished
        end = await ended(self.adopt(farm, row))
        assert (end.code, end.info.reason, end.info.metadata["state"]) == (*CONFLICT, "DESTROY")

    async def test_orphans_can_only_be_destroyed(self, farm: Farm, ended: Any) -> None:
        row = stray(kind=StrayKind.ORPHAN)
        await farm.put(row)
        end = await ended(self.adopt(farm, row))
        assert (end.code, end.info.reason, end.info.metadata["state"]) == (*CONFLICT, "ORPHAN")
        assert (await self.destroy(farm, row)).wish == stray_pb2.STRAY_WISH_DESTROY

    async def test_who_may_get_it(self, farm: Farm, ended: Any) -> None:
        row = stray()
        await farm.put(row)
        end = await ended(self.adopt(farm, row, "acct_none"))
        assert (end.code, end.info.reason, end.info.metadata["resource"]) == (*NOT_FOUND, "account")
        request = pb.CreateAccountRequest(name="euro", currency="EUR")
        euro = await farm.operator.accounts.CreateAccount(request)
        end = await ended(self.adopt(farm, row, euro.id))
        assert (end.code, end.info.reason, end.info.metadata["state"]) == (*CONFLICT, "EUR")
        await farm.operator.accounts.CloseAccount(pb.CloseAccountRequest(id=farm.account_id))
        end = await ended(self.adopt(farm, row))
        assert (end.code, end.info.reason) == (Code.FAILED_PRECONDITION, "ACCOUNT_CLOSED")

    async def test_unknown_ones(self, farm: Farm, ended: Any) -> None:
        for call in (self.adopt, self.destroy):
            end = await ended(call(farm, stray()))
            assert (end.code, end.info.reason, end.info.metadata["resource"]) == (*NOT_FOUND, "stray")
