"""The provider port over TensorDock's API v2."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import structlog

from controlplane.adapters.providers.http import (
    Answer,
    MarketplaceClient,
    NotSent,
    NotUnderstood,
    Rate,
    Recent,
    Refused,
    Unclear,
)
from controlplane.adapters.providers.http.outcomes import not_bought
from controlplane.adapters.providers.http.values import identifier, text
from controlplane.adapters.providers.tensordock import launching, machines, placements
from controlplane.adapters.providers.tensordock.access import DENIED, Access, status_of
from controlplane.adapters.providers.tensordock.ended import Ended
from controlplane.adapters.providers.tensordock.placements import Placement
from controlplane.adapters.providers.tensordock.settings import TensordockSettings
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
    TooDear,
)

_CREATE_S = 90.0  # creates were seen hanging for more than a minute
_CHECK_S = 20.0  # of the price, before the purchase
_LOCATIONS_FRESH_S = 10.0
_PRICE_FRESH_S = 2.0  # of what a purchase is checked against
_MACHINES_FRESH_S = 4.0
_UNKNOWN_FOR_S = 30.0  # a new machine may be missing; for how long is not documented
_RATES = {
    # 100 a minute for the whole organisation [providers.md 3]; destroys find a tenth of it free.
    "organisation": Rate(per_minute=95, reserve=10),
    "locations": Rate(pool="organisation"),
    "read": Rate(pool="organisation"),
    "launch": Rate(pool="organisation", interval_s=0.5),  # a live user's pace
    "destroy": Rate(pool="organisation", urgent=True),
}

log = structlog.get_logger()


class TensordockProvider(Provider):
    """Virtual machines with an address of their own, by the hour, under one organisation's token."""

    name = placements.PROVIDER
    capabilities = Capabilities(
        launch_timeout_s=_CREATE_S + _CHECK_S + 5.0,
        listing_delay_s=_UNKNOWN_FOR_S + _MACHINES_FRESH_S,
        late_create_s=60.0,  # beyond the 90 s for which we listen
        start_deadline_s=900.0,
        concurrency=8,
        destroy_is_end=True,
        key_install_s=180.0,  # cloud-init takes 60 to 90 s after the address is known
        offers_pause_s=30.0,
        rest_s=600.0,  # the list goes on showing what is sold out
    )

    def __init__(
        self, settings: TensordockSettings, clock: Clock, meter: Meter,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        self.client = MarketplaceClient(
            self.name, settings.url, headers={}, rates=_RATES,
            secrets=(settings.api_token, settings.authorization_id), clock=clock, meter=meter, transport=transport,
        )  # fmt: skip
        self._access = Access(self.client, settings)
        self._clock = clock
        self._placements = Recent(self._fetch_placements, _LOCATIONS_FRESH_S, clock)
        self._machines = Recent(self._fetch_machines, _MACHINES_FRESH_S, clock)
        self._ended = Ended()
        self._endpoints: dict[str, SshEndpoint] = {}  # of running machines; not every list tells them

    async def offers(self) -> tuple[Offer, ...]:
        """See `Provider.offers`."""
        return tuple(placement.offer for placement in (await self._placements.get()).values())

    async def admit(self, call: str) -> None:
        """See `Provider.admit`. What the launch will be checked against is looked up here: from the intent on nothing
        comes before the purchase, whose moment the bill begins with, as TensorDock tells none."""
        await self.client.admit(call, probing=call == "destroy")
        if call == "launch":
            await self._placements.get(_PRICE_FRESH_S)

    def refuses(self, wish: Wish) -> str:
        """See `Provider.refuses`."""
        return launching.refusal(wish)

    async def launch(self, spec: LaunchSpec) -> LaunchOutcome:
        """See `Provider.launch`. The offer's price and shape are looked up again; the disk is priced as asked for."""
        if why := launching.refusal(spec):
            return Rejected(why)
        try:
            placement = (await self._placements.get()).get(spec.offer.id)
        except ProviderError as error:
            return not_bought(error)
        if placement is None:
            return Stockout("the location no longer lists it")
        if placement.is_smaller_than(spec.offer):
            return Stockout("the location has no room for so large a machine any more")
        storage_gb = launching.storage_gb(spec)
        if storage_gb > placement.offer.disk_gb:
            return Rejected(f"the location has disks of at most {placement.offer.disk_gb} GB")
        price, most = placement.price_nano(storage_gb), spec.max_price_nano_per_hour
        if most is not None and price > most:
            return TooDear(price)
        return await self._buy(spec, placement, price)

    async def list(self, label_prefix: str) -> Listing:
        """See `Provider.list`."""
        found = await self._machines.get()
        known = [machine for machine in found if machine is not None]
        return Listing(
            complete=len(known) == len(found) and all(machine.label for machine in known),
            machines=tuple(m for m in known if m.label.startswith(label_prefix) and m.status is not MachineStatus.GONE),
        )

    async def describe(self, machine_id: str) -> Machine:
        """See `Provider.describe`. Answered from one list for all who ask, but for an address that it lacks and for
        machines that it does not show."""
        if machine_id in self._ended:  # a list goes on showing it for a while
            return Machine(machine_id, "", MachineStatus.GONE)
        found = await self._machines.get()
        machine = next((m for m in found if m is not None and m.id == machine_id), None)
        if machine is not None and machine.status is not MachineStatus.RUNNING:
            self._endpoints.pop(machine_id, None)  # it may come back elsewhere
            return machine
        if machine is not None and (machine.ssh or machine_id in self._endpoints):
            return machine if machine.ssh else replace(machine, ssh=self._endpoints[machine_id])
        return await self._look(machine_id)

    async def verify(self, machine_id: str) -> Machine:
        """See `Provider.verify`."""
        return await self._look(machine_id, probing=True)

    async def destroy(self, machine_id: str, *, grace_s: float) -> Destruction:
        """See `Provider.destroy`. TensorDock knows no grace."""
        answer = await self._access.request(
            "destroy", "DELETE", _path(machine_id), admitted=True, prompt=True, probing=True
        )
        absent = _is_absent(answer)
        if not absent:
            _check(answer)
        # Deleted means deleted once it cannot be found. A look that fails says nothing of the destroy, which was sent.
        try:
            machine = await self._look(machine_id, probing=True)
        except ProviderError as error:
            if absent:
                raise Unclear(str(error)) from None
            return Destruction.PENDING
        if machine.status is not MachineStatus.GONE:
            return Destruction.PENDING
        self._endpoints.pop(machine_id, None)
        self._ended.add(machine_id)
        return Destruction.ABSENT if absent else Destruction.GONE

    async def close(self) -> None:
        """See `Provider.close`."""
        await self.client.close()

    async def _buy(self, spec: LaunchSpec, placement: Placement, price: int) -> LaunchOutcome:
        try:
            answer = await self._access.request(
                "launch", "POST", "/instances", json=launching.body(spec, placement), admitted=True, prompt=True,
                deadline_s=_CREATE_S, attempt_s=_CREATE_S,
            )  # fmt: skip
        except NotSent as error:
            return not_bought(error)
        except ProviderError as error:
            return Ambiguous(str(error))
        return launching.outcome(answer, price)

    async def _fetch_placements(self) -> dict[str, Placement]:
        answer = await self._access.request("locations", "GET", "/locations", deadline_s=_CHECK_S)
        data = _check(answer).object().get("data")
        locations = data.get("locations") if isinstance(data, dict) else None
        if not isinstance(locations, list):
            raise NotUnderstood("the list of locations has no locations")
        found, absurd = placements.placements(locations, self._clock.now())
        if absurd:
            log.warning("provider.odd_offers", provider=self.name, skipped=absurd, taken=len(found))
        return found

    async def _fetch_machines(self) -> tuple[Machine | None, ...]:
        """All of the organisation's; None stands for a row that makes no sense."""
        answer = _check(await self._access.request("read", "GET", "/instances"))
        rows = machines.rows(answer.object())
        if rows is None:
            raise NotUnderstood("the list of machines holds no list")
        return tuple(machines.machine(row) for row in rows)

    async def _look(self, machine_id: str, *, probing: bool = False) -> Machine:
        """One machine, asked for by itself."""
        answer = await self._access.request("read", "GET", _path(machine_id), probing=probing)
        if _is_absent(answer):
            self._endpoints.pop(machine_id, None)
            return Machine(machine_id, "", MachineStatus.GONE, message="TensorDock does not know it")
        machine = machines.machine(machines.flat(_check(answer).object()))
        if machine is None or machine.id != machine_id:
            raise NotUnderstood("the answer is about no machine, or about another one")
        if machine.ssh is not None:
            self._endpoints[machine_id] = machine.ssh
        return machine


def _path(machine_id: str) -> str:
    if not identifier(machine_id):
        raise ProviderError("it is no machine of TensorDock")
    return f"/instances/{machine_id}"


def _check(answer: Answer) -> Answer:
    """The answer, unless it says no, whatever its status. Raises Refused."""
    status = status_of(answer)
    if status >= 400:
        words = "the credential was refused" if status in DENIED else answer.reason or "no reason given"
        raise Refused(f"status {status}: {words}", status, retry_after_s=answer.retry_after_s)
    return answer


def _is_absent(answer: Answer) -> bool:
    """Whether TensorDock itself says that there is no such machine; a gateway's page or a refused credential that
    comes as 404 says nothing."""
    if status_of(answer) != 404 or answer.says("unauthori", "api key", "api token", "permission"):
        return False
    return answer.is_json or not text(answer.body.decode("utf-8", "replace"))
