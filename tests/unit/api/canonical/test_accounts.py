"""gpuplane.v1.Keys, Budgets and Accounts."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from tests.support.fakes import SECOND, START
from tests.unit.api.canonical.support import (
    SSH_KEY,
    Client,
    Code,
    Farm,
    pb,
)


class TestKeys:
    async def test_ssh_keys(self, farm: Farm, ended: Any) -> None:
        request = pb.CreateSshKeyRequest(name="laptop", public_key=SSH_KEY, request_id="r1")
        made = await farm.alice.keys.CreateSshKey(request)
        assert made.public_key == SSH_KEY.rpartition(" ")[0]
        assert await farm.alice.keys.CreateSshKey(request) == made
        end = await ended(farm.alice.keys.CreateSshKey(pb.CreateSshKeyRequest(name="laptop", public_key=SSH_KEY)))
        assert end.code is Code.ALREADY_EXISTS
        assert list((await farm.alice.keys.ListSshKeys(pb.ListSshKeysRequest())).ssh_keys) == [made]
        await farm.alice.keys.DeleteSshKey(pb.DeleteSshKeyRequest(id=made.id))
        assert (await ended(farm.alice.keys.GetSshKey(pb.GetSshKeyRequest(id=made.id)))).code is Code.NOT_FOUND

    async def test_api_keys(self, farm: Farm, ended: Any) -> None:
        made = await farm.alice.keys.CreateApiKey(
            pb.CreateApiKeyRequest(
                name="reader", scopes=["offers:read"] * 2, expire_time=Timestamp(seconds=START // SECOND + 60)
            )
        )
        assert list(made.api_key.scopes) == ["offers:read"]
        reader = Client(farm.channel, made.secret)
        await reader.offers.ListOffers(pb.ListOffersRequest())
        end = await ended(reader.instances.ListInstances(pb.ListInstancesRequest()))
        assert end.info.reason == "SCOPE_MISSING"
        listed = await farm.alice.keys.ListApiKeys(pb.ListApiKeysRequest(page_size=1))
        assert list(listed.api_keys) == [made.api_key]
        assert listed.next_page_token
        revoked = await farm.alice.keys.RevokeApiKey(pb.RevokeApiKeyRequest(id=made.api_key.id))
        assert revoked.HasField("revoke_time")
        assert await farm.alice.keys.GetApiKey(pb.GetApiKeyRequest(id=made.api_key.id)) == revoked
        end = await ended(reader.offers.ListOffers(pb.ListOffersRequest()))
        assert end.code is Code.UNAUTHENTICATED


class TestBudgets:
    async def test_life_of_a_budget(self, farm: Farm, ended: Any) -> None:
        limit = Money(currency_code="USD", units=2, nanos=5 * 10**8)
        made = await farm.alice.budgets.CreateBudget(
            pb.CreateBudgetRequest(name="b", limit=limit, period="BUDGET_PERIOD_DAY")
        )
        assert made.limit == limit
        assert list((await farm.alice.budgets.ListBudgets(pb.ListBudgetsRequest())).budgets) == [made]
        changed = await farm.alice.budgets.UpdateBudget(
            pb.UpdateBudgetRequest(id=made.id, name="c", limit=Money(units=3))
        )
        assert (changed.name, changed.limit.units) == ("c", 3)
        kept = await farm.alice.budgets.UpdateBudget(pb.UpdateBudgetRequest(id=made.id))
        assert (kept.name, kept.limit.units) == ("c", 3)
        await farm.alice.budgets.DeleteBudget(pb.DeleteBudgetRequest(id=made.id))
        end = await ended(farm.alice.budgets.GetBudget(pb.GetBudgetRequest(id=made.id)))
        assert end.code is Code.NOT_FOUND

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"name": "b"}, "limit"),
            ({"name": "b", "limit": Money(currency_code="EUR", units=1)}, "limit.currency_code"),
            ({"name": "b", "limit": Money(units=1), "period": 9}, "period"),
            ({"limit": Money(units=1)}, "name"),
        ],
    )
    async def test_bad_fields_are_named(self, farm: Farm, ended: Any, fields: Any, field: str) -> None:
        end = await ended(farm.alice.budgets.CreateBudget(pb.CreateBudgetRequest(**fields)))
        assert (end.code, end.info.metadata["field"]) == (Code.INVALID_ARGUMENT, field)


class TestAccounts:
    async def test_only_operators(self, farm: Farm, ended: Any) -> None:
        end = await ended(farm.alice.accounts.ListAccounts(pb.ListAccountsRequest()))
        assert (end.code, end.info.reason) == (Code.PERMISSION_DENIED, "OPERATOR_ONLY")

    async def test_defaults_and_pages(self, farm: Farm) -> None:
        first = await farm.operator.accounts.ListAccounts(pb.ListAccountsRequest(page_size=1))
        second = await farm.operator.accounts.ListAccounts(
            pb.ListAccountsRequest(page_size=1, page_token=first.next_page_token)
        )
        assert [a.name for a in (*first.accounts, *second.accounts)] == ["bob", "alice"]
        assert (first.accounts[0].currency, first.accounts[0].max_instances) == ("USD", 1000)
        got = await farm.operator.accounts.GetAccount(pb.GetAccountRequest(id=farm.account_id))
        assert got == second.accounts[0]

    async def test_close(self, farm: Farm, ended: Any) -> None:
        closed = await farm.operator.accounts.CloseAccount(pb.CloseAccountRequest(id=farm.account_id))
        assert closed.HasField("close_time")
        assert (await ended(farm.create())).code is Code.UNAUTHENTICATED
