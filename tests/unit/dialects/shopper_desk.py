"""A servicer of sessions over a core, its calls and its keys, for tests of the shopper dialect."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace
from typing import Any

from gpuplane.dialects.shopper.v1 import costs_pb2
from gpuplane.dialects.shopper.v1 import sessions_pb2 as pb

from controlplane.api.dialects.shopper.costs import Costs
from controlplane.api.dialects.shopper.sessions import Sessions
from controlplane.api.plane import Plane
from controlplane.domain.instance import Instance
from controlplane.domain.principal import Principal
from controlplane.ports.key_pairs import KeyPair
from controlplane.usecases.core import Core
from controlplane.usecases.hub import EventHub
from controlplane.usecases.idempotency import FirstAnswers
from controlplane.usecases.keys import KeyAuthenticator
from controlplane.usecases.tokens import Tokens
from controlplane.wire import event as stream_messages
from tests.support.lab import CALLER, Lab

ASKED: dict[str, Any] = {
    "consumer_id": "app", "offer_id": "alpha-o1", "workload_type": "llm", "reservation_hours": 2,
}  # fmt: skip

_KINDS: dict[str, Any] = {
    "CreateSession": pb.CreatedSession, "ExtendSession": pb.ExtendedSession, "RekeySession": pb.CreatedSession,
}  # fmt: skip


class FakeKeyPairs:
    """Numbered pairs; counts those that are away."""

    def __init__(self) -> None:
        self.made = 0
        self.away = 0
        self.takes_s = 0.0

    async def take(self) -> KeyPair:
        await asyncio.sleep(self.takes_s)
        self.made += 1
        self.away += 1
        return KeyPair(f"ssh-rsa public{self.made}", f"private{self.made}")

    def give_back(self, pair: KeyPair) -> None:
        self.away -= 1


class FakeVitals:
    """What readiness is read from."""

    def __init__(self) -> None:
        self.ready = self.swept = True


class FakeCall:
    """One REST call."""

    def __init__(self, principal: Principal, method: str, idempotency_key: str = "") -> None:
        self.principal = principal
        self.method = SimpleNamespace(label=f"shopper.Sessions/{method}")
        self.metadata = {"idempotency-key": idempotency_key} if idempotency_key else {}
        self.status = 200

    def values(self, name: str) -> list[str]:
        return [self.metadata[name]]

    def set_http_status(self, code: int) -> None:
        self.status = code


class Desk:
    """Sessions of one process over a core."""

    def __init__(self, core: Core, hub: EventHub, principal: Principal = CALLER) -> None:
        self.keys = FakeKeyPairs()
        self.vitals = FakeVitals()
        self.hub = hub
        self.core = dataclasses.replace(core, key_pairs=self.keys)
        authenticator = KeyAuthenticator(core.store, core.clock, "")
        vitals: Any = self.vitals
        plane = Plane(self.core, hub.tokens, hub, authenticator, vitals=vitals)
        self.sessions = Sessions(plane, FirstAnswers(self.core))
        self.costs = Costs(plane)
        self._principal = principal

    async def ask(self, method: str, request: Any, idempotency_key: str = "") -> Any:
        """One call, answered as its message."""
        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in method)[1:]
        call = FakeCall(self._principal, method, idempotency_key)
        answer = await getattr(self.sessions, name)(request, call)
        if isinstance(answer, bytes):
            answer = _KINDS[method].FromString(answer)
        assert call.status == (201 if method == "CreateSession" else 200)
        return answer

    async def create(self, idempotency_key: str = "", **fields: Any) -> Any:
        """A session as in `ASKED`, but for these fields."""
        return await self.ask("CreateSession", pb.CreateSessionRequest(**(ASKED | fields)), idempotency_key)

    async def get(self, id: str) -> Any:
        return await self.ask("GetSession", pb.GetSessionRequest(id=id))

    async def list(self, **filters: str) -> list[str]:
        """The listed ids."""
        listed = await self.ask("ListSessions", pb.ListSessionsRequest(**filters))
        assert listed.count == len(listed.sessions)
        return [session.id for session in listed.sessions]

    async def done(self, id: str) -> Any:
        return await self.ask("FinishSession", pb.FinishSessionRequest(id=id))

    async def destroy(self, id: str) -> Any:
        return await self.ask("DestroySession", pb.DestroySessionRequest(id=id))

    async def extend(self, id: str, hours: int, idempotency_key: str = "") -> Any:
        request = pb.ExtendSessionRequest(id=id, additional_hours=hours)
        return await self.ask("ExtendSession", request, idempotency_key)

    async def rekey(self, id: str, idempotency_key: str = "") -> Any:
        return await self.ask("RekeySession", pb.RekeySessionRequest(id=id), idempotency_key)

    async def cost(self, **query: str) -> Any:
        """What `/api/v1/costs` says."""
        return await self.costs.get_costs(costs_pb2.GetCostsRequest(**query), FakeCall(self._principal, "GetCosts"))


def hub_over(core: Core) -> EventHub:
    """A hub of one process."""
    tokens = Tokens(core.secrets, "epoch")
    return EventHub(core.store, core.bus, tokens, stream_messages, KeyAuthenticator(core.store, core.clock, ""))


async def desk_of(lab: Lab) -> Desk:
    """A process of its own over a lab's plane."""
    hub = hub_over(lab.core)
    await hub.start()
    lab.tasks += [asyncio.create_task(hub.run()), asyncio.create_task(hub.watch_keys())]
    return Desk(lab.core, hub)


def only(lab: Lab) -> Instance:
    """The one instance there is."""
    (row,) = lab.disk.table(Instance).values()
    assert isinstance(row, Instance)
    return row
