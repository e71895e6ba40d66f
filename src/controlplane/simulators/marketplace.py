"""The base of a marketplace model: one call from arrival to answer, the same for all; what a marketplace sells and
says is the model's.

Works without sockets and on any clock, so that thousands of rentals take seconds (`handle`), and behind `server`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from controlplane.simulators.calls import BadBody, Call, Refusal, Route
from controlplane.simulators.clock import Clock
from controlplane.simulators.distortion import distorted
from controlplane.simulators.faults import FaultQueue, Faults, Misuse
from controlplane.simulators.journal import Journal, outcome_of
from controlplane.simulators.ledger import Bill
from controlplane.simulators.limits import Limits
from controlplane.simulators.machines import AddressesOnly, Premises, Tenancy
from controlplane.simulators.model import M, Model
from controlplane.simulators.wire import Cut, CutPoint, Outcome, Request, Response, html


class Marketplace(Model[M]):
    """State of one marketplace and the way of a call through it. A handler changes the state at the moment the call
    arrives; latency and lost answers come after, as in life.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        seed: int = 0,
        faults: Faults | None = None,
        keys: Sequence[str] = (),
        premises: Premises | None = None,
    ) -> None:
        """`keys`: the API keys that are accepted; none given: any key is."""
        self.clock = clock
        self.seed = seed
        self.rng = Random(seed)
        self.faults = faults or Faults()
        self.queue = FaultQueue()
        self.journal = Journal()
        self.premises = premises or AddressesOnly()
        self.machines: dict[str, M] = {}  # rented now, or ended but still listed
        self.settled: dict[str, tuple[M, Bill]] = {}  # ended, with their final bills
        self._settled_nano = 0
        self._keys = frozenset(keys)
        self._limits = Limits(self.limit_of)
        self._routes = [(route, re.compile(route.pattern)) for route in self.routes()]
        self._under_way: set[asyncio.Task[Outcome]] = set()

    def reset(self) -> None:
        """Back to the start: no machines, no faults, an empty journal."""
        self.rng.seed(self.seed)
        self.faults = Faults()
        self.queue.clear()
        self.journal.clear()
        self.machines.clear()
        self.settled.clear()
        self._settled_nano = 0
        self._limits.clear()
        self.restock()

    def configure(self, values: Mapping[str, Any]) -> None:
        """Change some switches and queue aimed faults (`queue`). Raises Misuse and then changes nothing."""
        switches = {name: value for name, value in values.items() if name != "queue"}
        changed, aimed = self.faults.changed(switches), values.get("queue", [])
        if not isinstance(aimed, list):
            raise Misuse("queue", "must be a list", aimed)
        self.queue.add(aimed)
        self.faults = changed

    def alive(self) -> list[M]:
        """Machines rented now, oldest first."""
        return [machine for machine in self.machines.values() if machine.ended_at is None]

    def listed(self, now: float) -> list[M]:
        """Machines that a list shows now: late ones not yet, ended ones perhaps still."""
        late, lingering = self.faults.listing_delay_s, self.faults.ended_listed_s
        for machine in [one for one in self.machines.values() if one.ended_at is not None]:
            if machine.ended_at is not None and now >= machine.ended_at + lingering:
                del self.machines[machine.id]
        return [machine for machine in self.machines.values() if now >= machine.created_at + late or late == 0]

    def end(self, machine: M, now: float) -> None:
        """The rental is over: its bill is final. The model frees what was rented."""
        if machine.ended_at is None:
            machine.ended_at = now
            bill = self.bill(machine, now)
            self.settled[machine.id] = (machine, bill)
            self._settled_nano += bill.billed_nano

    def billed_nano(self, now: float) -> int:
        """What all machines have cost so far."""
        return self._settled_nano + sum(self.bill(machine, now).billed_nano for machine in self.alive())

    def shuffled_rows(self, rows: list[Any], call: Call) -> list[Any]:
        """A page as it may come while things change: a row twice, or one missing."""
        rows = list(rows)
        if rows and "missing_row" in call.faults:
            rows.pop(self.rng.randrange(len(rows)))
        if rows and "repeated_row" in call.faults:
            rows.append(self.rng.choice(rows))
        return rows

    def who_answers(self, host: str, port: int) -> Tenancy | None:
        """Whose SSH port that is, for probes in virtual time."""
        now = self.clock.now()
        for machine in self.alive():
            place = self.premises.address(machine.id, machine.version)
            if place is not None and (place.host, place.port) == (host, port):
                return self.tenancy(machine, now)
        return None

    def tenancies(self) -> list[Tenancy]:
        """What should stand behind the machines now."""
        now = self.clock.now()
        return [self.tenancy(machine, now) for machine in self.alive()]

    async def handle(self, request: Request, client: str = "127.0.0.1") -> Outcome:
        """Serve one call. The work goes on when the caller gives up, as it does at a real marketplace."""
        extra = self.extra_call(request)
        if extra is not None:
            return extra
        work = asyncio.create_task(self._serve(request, client))
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)
        return await asyncio.shield(work)

    async def close(self) -> None:
        """Drop calls under way and clear the machines away."""
        for work in list(self._under_way):
            work.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self.premises.close()

    async def _serve(self, request: Request, client: str) -> Outcome:
        route, path = self._find(request)
        endpoint = route.endpoint if route else "unknown"
        hits = self.faults.hits(self.rng, endpoint) | self.queue.strike(endpoint)
        entry = self.journal.note(self.clock.now(), client, endpoint, request, hits)
        if "late_create" in hits and endpoint == "create":
            await self.clock.sleep(self.faults.late_create_s)
        response = self._respond(route, request, client, hits, path)
        delay = self.faults.latency(self.rng, endpoint)
        if self.faults.hang_all or "hang" in hits:
            delay += self.faults.hang_s
        if delay:
            await self.clock.sleep(delay)
        outcome = self._sent(response, endpoint, hits)
        entry.outcome = outcome_of(outcome)
        return outcome

    def _find(self, request: Request) -> tuple[Route | None, dict[str, str]]:
        path = request.path.rstrip("/")
        for route, pattern in self._routes:
            if route.method == request.method and (match := pattern.fullmatch(path)):
                return route, match.groupdict()
        return None, {}

    def _respond(
        self, route: Route | None, request: Request, client: str, hits: frozenset[str], path: Mapping[str, str]
    ) -> Response:
        now = self.clock.now()
        self.advance(now)
        if self.faults.outage:
            return html(503, "503 Service Temporarily Unavailable")
        if route is None:
            return self.not_found(request)
        refused = self._refused_before_work(route, request, client, hits, now)
        if refused is not None:
            return refused
        try:
            return route.handler(Call(route.endpoint, request, client, now, hits, path))
        except Refusal as refusal:
            return refusal.response
        except BadBody:
            return self.bad_body()

    def _refused_before_work(
        self, route: Route, request: Request, client: str, hits: frozenset[str], now: float
    ) -> Response | None:
        key = self.credential(request)
        wait_s = self._limits.wait_s(route.endpoint, f"{key}/{client}", now) if self.faults.rate_limits else 0.0
        if wait_s > 0 or "too_many_requests" in hits:
            form = self.faults.rate_limit_form
            form = self.rng.choice(("text", "json")) if form == "any" else form
            return self.too_many(form, max(1, round(wait_s + 0.5)) if self.faults.retry_after else 0)
        if not route.open and (self.faults.key_revoked or not self._is_good(key)):
            return self.unauthorized(self.faults.auth_form or ("" if key else "none"))
        if "server_error" in hits:
            return html(500, "500 Internal Server Error")
        return None

    def _is_good(self, key: str) -> bool:
        return bool(key) and (not self._keys or key in self._keys)

    def _sent(self, response: Response, endpoint: str, hits: frozenset[str]) -> Outcome:
        if "gateway_error" in hits:
            return html(*self.rng.choice(((502, "502 Bad Gateway"), (504, "504 Gateway Time-out"))))
        if endpoint not in self.search_endpoints:
            hits = hits - {"absurd_numbers"}
        response = distorted(response, hits, self.faults, self.rng, self.status_keys)
        if "lost_response" in hits:
            return Cut(CutPoint.BEFORE, response)
        return Cut(CutPoint.MID_BODY, response) if "cut_body" in hits else response
