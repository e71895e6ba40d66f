"""The provider port over io.net's VMaaS API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

import httpx2
import structlog

from controlplane.adapters.providers.http import Answer, MarketplaceClient, NotSent, NotUnderstood, Rate, Recent
from controlplane.adapters.providers.http.client import DEADLINE_S
from controlplane.adapters.providers.http.outcomes import not_bought
from controlplane.adapters.providers.http.values import identifier
from controlplane.adapters.providers.ionet import envelope, hardware, launching, listing, machines
from controlplane.adapters.providers.ionet.hardware import Kind
from controlplane.adapters.providers.ionet.listing import Deployments
from controlplane.adapters.providers.ionet.machines import ENDED, Row
from controlplane.adapters.providers.ionet.settings import IonetSettings
from controlplane.domain.instance import Wish
from controlplane.domain.offer import Offer
from controlplane.ports.clock import Clock
from controlplane.ports.meter import Meter
from controlplane.ports.provider import (
    Ambiguous,
    Capabilities,
    Destruction,
    LaunchOutcome,
    LaunchSpec,
    Listing,
    Machine,
    MachineStatus,
    Provider,
    ProviderError,
    Rejected,
    SshEndpoint,
    Stockout,
)

_UNKNOWN_FOR_S = 60.0  # a get right after a create may be 404 [SDK]; for how long is not told
_PREFIX = "/enterprise/v1/io-cloud/vmaas"
_CREATE_S = 90.0
_QUOTE_S = 20.0
_LISTED_S = 10.0  # for how long a whole list serves; it holds every deployment there ever was
_LIVE_S = 4.0
_KNOWN_S = 300.0  # for how long the address of a running machine serves
_LIVE_WORDS = ("deployment requested", "running")  # in the order in which a machine passes through them
_STOCK_AT_ONCE = 8
_PERHAPS_ENDED = frozenset({400, 404, 409, 410, 422})
_RATES = {
    # 300 a minute for each key [SDK]; a fifth is kept for destroys.
    "key": Rate(per_minute=290, reserve=60),
    "hardware": Rate(pool="key"),
    "stock": Rate(pool="key"),
    "read": Rate(pool="key"),
    "launch": Rate(pool="key"),
    "extend": Rate(pool="key", urgent=True),
    "destroy": Rate(pool="key", urgent=True),
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Known:
    """A running machine as last asked for by itself."""

    machine: Machine
    bought_hours: int
    at: float  # monotonic


class IonetProvider(Provider):
    """Virtual machines, paid an hour in advance at a time, under one API key. Containers (CaaS) are not rented: they
    have no SSH."""

    name = hardware.PROVIDER
    capabilities = Capabilities(
        launch_timeout_s=_CREATE_S + _QUOTE_S + 5.0,
        call_timeout_s=60.0,  # of a list in many pages, and of the offers
        listing_delay_s=_UNKNOWN_FOR_S + _LISTED_S,
        late_create_s=60.0,  # beyond the 90 s for which we listen
        start_deadline_s=1800.0,  # the vendor's own client waits that long
        concurrency=16,
        extend=True,
        destroy_is_end=False,  # what was paid is paid; the end is asynchronous
        key_install_s=60.0,
        offers_pause_s=60.0,  # one call for each kind of hardware
        rest_s=300.0,
    )

    def __init__(
        self, settings: IonetSettings, clock: Clock, meter: Meter, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self.client = MarketplaceClient(
            self.name, settings.url, headers={"x-api-key": settings.api_key}, rates=_RATES,
            secrets=(settings.api_key,), clock=clock, meter=meter, transport=transport,
        )  # fmt: skip
        self._clock = clock
        self._listed = Recent(self._fetch_all, _LISTED_S, clock)
        self._live = Recent(self._fetch_live, _LIVE_S, clock)
        self._known: dict[str, _Known] = {}
        self._offers: dict[tuple[int, int], tuple[Offer, ...]] = {}

    async def offers(self) -> tuple[Offer, ...]:
        """See `Provider.offers`. One call lists the hardware, and one for each kind tells where any is left."""
        rows, _ = envelope.items(await self._get("hardware", "/hardware"), "hardware")
        kinds, absurd = hardware.kinds(rows)
        if absurd:
            log.warning("provider.odd_offers", provider=self.name, skipped=absurd, taken=len(kinds))
        gate = asyncio.Semaphore(_STOCK_AT_ONCE)
        found = await asyncio.gather(*(self._offers_of(kind, gate) for kind in kinds), return_exceptions=True)
        failures = [each for each in found if isinstance(each, BaseException)]
        if failures and (len(failures) == len(found) or not all(isinstance(f, ProviderError) for f in failures)):
            raise failures[0]
        if failures:
            log.warning("provider.stock_unknown", provider=self.name, kinds=len(failures), reason=str(failures[0]))
        # A kind that could not be asked about keeps what was last seen of it, with the time of that look.
        self._offers = {
            kind.key: self._offers.get(kind.key, ()) if isinstance(offers, BaseException) else offers
            for kind, offers in zip(kinds, found, strict=True)
        }
        return tuple({offer.id: offer for offers in self._offers.values() for offer in offers}.values())

    async def admit(self, call: str) -> None:
        """See `Provider.admit`."""
        await self.client.admit(call, probing=call == "destroy")

    def refuses(self, wish: Wish) -> str:
        """See `Provider.refuses`."""
        return launching.refusal(wish)

    async def launch(self, spec: LaunchSpec) -> LaunchOutcome:
        """See `Provider.launch`. Buys one hour, at the price of a quote asked for just before."""
        if why := launching.mistake(spec):
            return Rejected(why)
        order = hardware.order(spec.offer.id)
        if order is None:
            return Stockout("the offer is none of io.net's")
        try:
            answer = await self._get("read", "/price", launching.price_query(order), deadline_s=_QUOTE_S)
            quote = envelope.data(answer)
        except ProviderError as error:
            return launching.unquoted(error)
        if refusal := launching.unacceptable(quote, spec.max_price_nano_per_hour):
            return refusal
        try:
            answer = await self.client.request(
                "launch", "POST", f"{_PREFIX}/deploy", json=launching.body(spec, order), admitted=True,
                deadline_s=_CREATE_S, attempt_s=_CREATE_S,
            )  # fmt: skip
        except NotSent as error:
            return not_bought(error)
        except ProviderError as error:
            return Ambiguous(str(error))
        return launching.outcome(answer, launching.quoted(quote))

    async def list(self, label_prefix: str) -> Listing:
        """See `Provider.list`. Ended deployments stay on record for ever and are left out: nothing of them is left."""
        listed = await self._listed.get()
        live = (row for row in listed.rows.values() if row.label.startswith(label_prefix) and row.status not in ENDED)
        return Listing(complete=listed.complete, machines=tuple(machines.brief(row) for row in live))

    async def describe(self, machine_id: str) -> Machine:
        """See `Provider.describe`. Answered from one list for all who ask, as long as nothing changes."""
        row = (await self._live.get()).get(machine_id)
        if row is None:
            return await self._look(machine_id)
        if row.status is not MachineStatus.RUNNING:
            return machines.brief(row)
        known = self._known.get(machine_id)
        fresh = known is not None and self._clock.monotonic() - known.at < _KNOWN_S
        if known is not None and fresh and known.bought_hours == row.bought_hours:
            return known.machine
        return await self._look(machine_id, label=row.label)

    async def verify(self, machine_id: str) -> Machine:
        """See `Provider.verify`."""
        return await self._look(machine_id, probing=True)

    async def destroy(self, machine_id: str, *, grace_s: float) -> Destruction:
        """See `Provider.destroy`. io.net knows no grace, and takes its time. A refusal is looked behind: one that has
        ended or is ending cannot be ended again."""
        self._known.pop(machine_id, None)
        answer = await self.client.request(
            "destroy", "DELETE", _PREFIX + _path(machine_id), safe=True, admitted=True, probing=True
        )
        status = envelope.status_of(answer)
        if status >= 400 and status not in _PERHAPS_ENDED:
            envelope.check(answer)
        machine = await self._look(machine_id, probing=True)
        if machine.status in ENDED:
            return Destruction.GONE
        if status >= 400 and machine.status is MachineStatus.RUNNING:
            envelope.check(answer)
        return Destruction.PENDING

    async def extend(self, machine_id: str, seconds: int) -> None:
        """See `Provider.extend`. Whole hours, rounded up."""
        hours = -(-seconds // hardware.HOUR_S)
        answer = await self.client.request(
            "extend", "POST", f"{_PREFIX}{_path(machine_id)}/extend", json={"duration_hours": hours}, probing=True
        )
        self._known.pop(machine_id, None)
        envelope.check(answer)

    async def close(self) -> None:
        """See `Provider.close`."""
        await self.client.close()

    async def _get(
        self, call: str, path: str, query: Mapping[str, str] | None = None, *, probing: bool = False,
        deadline_s: float = DEADLINE_S,
    ) -> Answer:  # fmt: skip
        return await self.client.request(
            call, "GET", _PREFIX + path, query=query, probing=probing, deadline_s=deadline_s
        )

    async def _offers_of(self, kind: Kind, gate: asyncio.Semaphore) -> tuple[Offer, ...]:
        """Of one kind of hardware. One that io.net will not tell about is left out, and not the others with it."""
        async with gate:
            answer = await self._get(
                "stock", "/available-vms", {"hardware_id": str(kind.deploy_id), "hardware_qty": str(kind.gpus)}
            )
        if answer.is_json and answer.status in (400, 404, 422):
            log.info("provider.stock_unknown", provider=self.name, hardware=kind.deploy_id, reason=answer.reason)
            return ()
        locations, _ = envelope.items(answer, "locations", "available_vms")
        offers = (hardware.offer(kind, location, self._clock.now()) for location in locations)
        return tuple(offer for offer in offers if offer is not None)

    async def _fetch_live(self) -> Mapping[str, Row]:
        """What is on its way or running. What moves on between two pages is met twice, and asked for by itself if it
        is not met at all."""
        rows: dict[str, Row] = {}
        for word in _LIVE_WORDS:
            rows |= (await listing.read(self._page, word)).rows
        return rows

    async def _fetch_all(self) -> Deployments:
        return await listing.read(self._page)

    async def _page(self, parameters: Mapping[str, str]) -> Answer:
        return await self._get("read", "/deployments", parameters)

    async def _look(self, machine_id: str, *, label: str = "", probing: bool = False) -> Machine:
        """One deployment, asked for by itself: its details do not hold its label, nor its address."""
        answer = await self._get("read", _path(machine_id), probing=probing)
        if answer.status == 404 and answer.is_json:
            self._known.pop(machine_id, None)
            return Machine(machine_id, label, MachineStatus.GONE, message="io.net does not know it")
        details = envelope.data(answer)
        row = machines.row(details)
        if row is None or row.id != machine_id:
            raise NotUnderstood("the answer is about no deployment, or about another one")
        row = replace(row, label=row.label or label)
        ssh = await self._address(machine_id) if row.status is MachineStatus.RUNNING else None
        machine = machines.full(row, details, ssh)
        if ssh is not None:
            self._known[machine_id] = _Known(machine, row.bought_hours, self._clock.monotonic())
        return machine

    async def _address(self, machine_id: str) -> SshEndpoint | None:
        """Of the deployment's only machine; None until io.net tells it."""
        answer = await self._get("read", f"{_path(machine_id)}/vms", {"page": "1", "page_size": "10"})
        if answer.status == 404:
            return None
        workers, _ = envelope.items(answer, "workers", "vms")
        found = (machines.endpoint(worker.get("ssh_access")) for worker in workers if isinstance(worker, dict))
        return next((ssh for ssh in found if ssh is not None), None)


def _path(machine_id: str) -> str:
    if not identifier(machine_id):
        raise ProviderError("it is no deployment of io.net")
    return f"/deployment/{machine_id}"
