"""gpuplane.v1.ProviderCredentials."""

from __future__ import annotations

from gpuplane.v1 import provider_credential_pb2
from gpuplane.v1 import provider_credential_service_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.canonical.shapes import Plane, request_key
from controlplane.domain.credential import ProviderCredential
from controlplane.usecases import account_credentials
from controlplane.usecases.account_credentials import NewCredential
from controlplane.usecases.pages import read_page
from controlplane.wire.provider_credential import credential_message


class ProviderCredentials:
    """Manages the keys at marketplaces that accounts bring along."""

    service = "gpuplane.v1.ProviderCredentials"

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._core = plane.core

    async def create_provider_credential(
        self, request: pb.CreateProviderCredentialRequest, call: Call
    ) -> provider_credential_pb2.ProviderCredential:
        wish = NewCredential(request.provider, request.name, request.secret)
        row = await account_credentials.create(self._core, call.principal, wish, request_key(request, call))
        return credential_message(row)

    async def get_provider_credential(
        self, request: pb.GetProviderCredentialRequest, call: Call
    ) -> provider_credential_pb2.ProviderCredential:
        return credential_message(await account_credentials.credential_of(self._core, call.principal, request.id))

    async def list_provider_credentials(
        self, request: pb.ListProviderCredentialsRequest, call: Call
    ) -> pb.ListProviderCredentialsResponse:
        async def fetch(before_id: str, limit: int) -> list[tuple[str, ProviderCredential]]:
            return await account_credentials.credentials(self._core, call.principal, before_id, limit)

        query = ("provider credentials", call.principal.account_id)
        page = await read_page(self._plane.tokens, query, request.page_size, request.page_token, None, fetch)
        return pb.ListProviderCredentialsResponse(
            provider_credentials=map(credential_message, page.items), next_page_token=page.next_page_token
        )

    async def revoke_provider_credential(
        self, request: pb.RevokeProviderCredentialRequest, call: Call
    ) -> provider_credential_pb2.ProviderCredential:
        return credential_message(await account_credentials.revoke(self._core, call.principal, request.id))
