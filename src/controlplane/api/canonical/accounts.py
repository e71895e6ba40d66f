"""gpuplane.v1.Accounts. The scope table lets only operators in."""

from __future__ import annotations

from gpuplane.v1 import account_service_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.canonical.shapes import DEFAULT_CURRENCY, Plane, request_key
from controlplane.domain.account import Account
from controlplane.domain.principal import ALL
from controlplane.usecases import accounts
from controlplane.usecases.pages import read_page
from controlplane.wire.account import account_message

DEFAULT_MAX_INSTANCES = 1000


class Accounts:
    """Manages tenants."""

    service = "gpuplane.v1.Accounts"

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._core = plane.core

    async def create_account(self, request: pb.CreateAccountRequest, call: Call) -> pb.Account:
        row = await accounts.create(
            self._core,
            request.name,
            request.currency or DEFAULT_CURRENCY,
            request.max_instances or DEFAULT_MAX_INSTANCES,
            request_key(request, call),
        )
        return account_message(row)

    async def get_account(self, request: pb.GetAccountRequest, _call: Call) -> pb.Account:
        return account_message(await accounts.account_of(self._core, request.id))

    async def list_accounts(self, request: pb.ListAccountsRequest, _call: Call) -> pb.ListAccountsResponse:
        async def fetch(before_id: str, limit: int) -> list[tuple[str, Account]]:
            rows = await self._core.store.select(ALL, Account, {}, before_id, limit)
            return [(row.id, row) for row in rows]

        page = await read_page(self._plane.tokens, ("accounts",), request.page_size, request.page_token, None, fetch)
        return pb.ListAccountsResponse(accounts=map(account_message, page.items), next_page_token=page.next_page_token)

    async def close_account(self, request: pb.CloseAccountRequest, _call: Call) -> pb.Account:
        return account_message(await accounts.close(self._core, request.id, self._plane.authenticator))
