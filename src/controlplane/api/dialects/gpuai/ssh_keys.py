"""gpuplane.dialects.gpuai.v1.SshKeys."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from gpuplane.dialects.gpuai.v1 import ssh_keys_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.dialects.gpuai.idempotency import request_key
from controlplane.api.dialects.gpuai.translate import limit_of, next_cursor
from controlplane.api.dialects.shared import rfc3339
from controlplane.api.plane import Plane
from controlplane.domain.account import SshKey
from controlplane.usecases import keys
from controlplane.usecases.idempotency import FirstAnswers, RequestKey
from controlplane.usecases.pages import read_page


class SshKeys:
    """Stores, shows and forgets public keys."""

    service = "gpuplane.dialects.gpuai.v1.SshKeys"

    def __init__(self, plane: Plane, answers: FirstAnswers) -> None:
        self._plane = plane
        self._core = plane.core
        self._answers = answers

    async def create_ssh_key(self, request: pb.CreateSshKeyRequest, call: Call) -> bytes:
        key = request_key(request, call)

        async def make() -> bytes:
            row = await keys.create_ssh_key(self._core, call.principal, request.name, request.public_key, key)
            return _shown(row).SerializeToString()

        answer = await self._answers.once(call.principal, key, make)
        call.set_http_status(201)
        return answer

    async def list_ssh_keys(self, request: pb.ListSshKeysRequest, call: Call) -> pb.SshKeyPage:
        size = limit_of(request.limit if request.HasField("limit") else None)
        store, caller = self._core.store, call.principal

        async def fetch(before_id: str, limit: int) -> list[tuple[str, SshKey]]:
            where: dict[str, object] = {"account_id": caller.account_id}
            rows = await store.select(caller.scope, SshKey, where, before_id, limit)
            return [(row.id, row) for row in rows]

        query = ("gpuai ssh keys", caller.account_id)
        page = await read_page(self._plane.tokens, query, size, request.cursor, None, fetch)
        return pb.SshKeyPage(data=map(_shown, page.items), next_cursor=next_cursor(page.next_page_token))

    async def get_ssh_key(self, request: pb.GetSshKeyRequest, call: Call) -> pb.SshKey:
        return _shown(await keys.ssh_key_of(self._core, call.principal, request.id))

    async def delete_ssh_key(self, request: pb.DeleteSshKeyRequest, call: Call) -> Empty:
        await keys.delete_ssh_key(self._core, call.principal, request.id, RequestKey(call.method.label))
        call.set_http_status(204)
        return Empty()


def _shown(row: SshKey) -> pb.SshKey:
    return pb.SshKey(id=row.id, name=row.name, fingerprint=row.fingerprint, created_at=rfc3339(row.created_at))
