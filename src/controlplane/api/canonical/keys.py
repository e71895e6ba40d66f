"""gpuplane.v1.Keys."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from gpuplane.v1 import key_pb2
from gpuplane.v1 import key_service_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.canonical.shapes import Plane, request_key
from controlplane.domain.account import ApiKey, SshKey
from controlplane.domain.errors import invalid
from controlplane.domain.key_format import CANONICAL_KEYS, KeyFormat
from controlplane.usecases import keys, validation
from controlplane.usecases.pages import read_page
from controlplane.wire.common import micros
from controlplane.wire.key import api_key_message, ssh_key_message


class Keys:
    """Manages SSH keys and API keys."""

    service = "gpuplane.v1.Keys"

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._core = plane.core

    async def create_ssh_key(self, request: pb.CreateSshKeyRequest, call: Call) -> key_pb2.SshKey:
        key = request_key(request, call)
        row = await keys.create_ssh_key(self._core, call.principal, request.name, request.public_key, key)
        return ssh_key_message(row)

    async def get_ssh_key(self, request: pb.GetSshKeyRequest, call: Call) -> key_pb2.SshKey:
        return ssh_key_message(await keys.ssh_key_of(self._core, call.principal, request.id))

    async def list_ssh_keys(self, request: pb.ListSshKeysRequest, call: Call) -> pb.ListSshKeysResponse:
        caller = call.principal

        async def fetch(before_id: str, limit: int) -> list[tuple[str, SshKey]]:
            where: dict[str, object] = {"account_id": caller.account_id}
            rows = await self._core.store.select(caller.scope, SshKey, where, before_id, limit)
            return [(row.id, row) for row in rows]

        key = ("ssh keys", caller.account_id)
        page = await read_page(self._plane.tokens, key, request.page_size, request.page_token, None, fetch)
        return pb.ListSshKeysResponse(ssh_keys=map(ssh_key_message, page.items), next_page_token=page.next_page_token)

    async def delete_ssh_key(self, request: pb.DeleteSshKeyRequest, call: Call) -> Empty:
        await keys.delete_ssh_key(self._core, call.principal, request.id, request_key(request, call))
        return Empty()

    async def create_api_key(self, request: pb.CreateApiKeyRequest, call: Call) -> pb.CreateApiKeyResponse:
        validation.check_count("scopes", request.scopes, 64)
        wish = keys.NewApiKey(
            request.name,
            tuple(dict.fromkeys(request.scopes)),
            micros(request.expire_time) if request.HasField("expire_time") else None,
            request.account_id,
            self._format(request.key_format),
        )
        row, secret = await keys.create_api_key(self._core, call.principal, wish, request_key(request, call))
        return pb.CreateApiKeyResponse(api_key=api_key_message(row), secret=secret)

    def _format(self, name: str) -> KeyFormat:
        if not name:
            return CANONICAL_KEYS
        formats = {form.name: form for form in self._plane.key_formats}
        for form in self._plane.key_formats:
            formats.setdefault(form.dialect, form)  # an API's name means its first
        if name not in formats:
            raise invalid("key_format", f"must be among {', '.join(sorted(formats))}", name)
        return formats[name]

    async def get_api_key(self, request: pb.GetApiKeyRequest, call: Call) -> key_pb2.ApiKey:
        return api_key_message(await keys.api_key_of(self._core, call.principal, request.id))

    async def list_api_keys(self, request: pb.ListApiKeysRequest, call: Call) -> pb.ListApiKeysResponse:
        caller = call.principal

        async def fetch(before_id: str, limit: int) -> list[tuple[str, ApiKey]]:
            where: dict[str, object] = {"account_id": caller.account_id}
            rows = await self._core.store.select(caller.scope, ApiKey, where, before_id, limit)
            return [(row.id, row) for row in rows]

        key = ("api keys", caller.account_id)
        page = await read_page(self._plane.tokens, key, request.page_size, request.page_token, None, fetch)
        return pb.ListApiKeysResponse(api_keys=map(api_key_message, page.items), next_page_token=page.next_page_token)

    async def revoke_api_key(self, request: pb.RevokeApiKeyRequest, call: Call) -> key_pb2.ApiKey:
        row = await keys.revoke_api_key(self._core, call.principal, request.id, self._plane.authenticator)
        return api_key_message(row)
