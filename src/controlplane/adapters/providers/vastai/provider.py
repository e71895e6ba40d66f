"""The provider port over the Vast.ai marketplace."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2
import structlog

from controlplane.adapters.providers.http import (
    MarketplaceClient,
    NotSent,
    NotUnderstood,
    Recent,
    outcomes,
)
from controlplane.adapters.providers.vastai import charges, launching, logs, offers, wire
from controlplane.adapters.providers.vastai.purchase import PriceCheck, Purchase
from controlplane.adapters.providers.vastai.roster import LISTING_S, Roster
from controlplane.adapters.providers.vastai.settings import VastaiSettings
from controlplane.adapters.providers.vastai.templates import template_of
from controlplane.domain.instance import Wish
from controlplane.domain.offer import Offer, Tier
from controlplane.domain.template import Template
from controlplane.ports.clock import Clock
from controlplane.ports.meter import Meter
from controlplane.ports.provider import (
    Ambiguous,
    AuthFailed,
    Capabilities,
    Destruction,
    LaunchOutcome,
    LaunchSpec,
    Listing,
    Machine,
    Provider,
    ProviderError,
    RateLimited,
    Rejected,
)

PREPARE_S = 30.0
"""For what a purchase needs to know: the template and the present price."""
CREATE_S = 60.0
SEARCH_S = 28.0
_TEMPLATES_FRESH_S = 600.0
_ADMIT_S = 90.0  # destroys come in bulk, three seconds apart

log = structlog.get_logger()


class VastaiProvider(Provider):
    """Machines of Vast.ai under one API key; a machine's id is the vendor's contract number."""

    name = offers.PROVIDER
    capabilities = Capabilities(
        logs=True,
        templates=True,
        stop=True,
        add_keys=True,
        utilisation=True,
        launch_timeout_s=PREPARE_S + CREATE_S + 5.0,
        call_timeout_s=LISTING_S + 10.0,  # every other call ends by itself within a minute
        listing_delay_s=30.0,  # not documented; seconds have been seen
        late_create_s=60.0,  # a gateway's patience: what it let through by then has taken effect
        transition_poll_s=5.0,
        steady_poll_s=30.0,
        start_deadline_s=900.0,
        concurrency=16,
        spot=True,
        destroy_is_end=True,
        key_install_s=60.0,  # 10 to 15 s have been seen
        offers_pause_s=30.0,  # two searches a look, of ten a minute of which half are kept for price checks
        rest_s=300.0,  # a rented machine comes back to the market after hours, a flapping one after minutes
    )

    def __init__(
        self, settings: VastaiSettings, clock: Clock, meter: Meter, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self.client = MarketplaceClient(
            self.name, settings.url, headers={"Authorization": f"Bearer {settings.api_key}"}, rates=wire.RATES,
            secrets=(settings.api_key,), clock=clock, meter=meter, transport=transport,
        )  # fmt: skip
        self._prices = PriceCheck(self.client)
        self._roster = Roster(self.client, clock)
        self._templates = Recent(self._read_templates, _TEMPLATES_FRESH_S, clock)

    async def offers(self) -> tuple[Offer, ...]:
        """See `Provider.offers`: on-demand machines and, if wanted, interruptible ones."""
        tiers = (Tier.ON_DEMAND, Tier.SPOT) if self._settings.spot else (Tier.ON_DEMAND,)
        found = [await self._search(tier) for tier in tiers]
        return tuple(offer for each in found for offer in each)

    async def admit(self, call: str) -> None:
        """See `Provider.admit`."""
        await self.client.admit(call, probing=call == "destroy", within_s=_ADMIT_S)

    def refuses(self, wish: Wish) -> str:
        """See `Provider.refuses`."""
        return launching.refusal(wish, self._settings)

    async def launch(self, spec: LaunchSpec) -> LaunchOutcome:
        """See `Provider.launch`. Without a turn it is still sent no sooner than the vendor's interval allows."""
        if reason := launching.mistake(spec, self._settings):
            return Rejected(reason)
        try:
            async with asyncio.timeout(PREPARE_S):  # nothing is asked for in here
                runs = launching.container(spec, self._settings, await self._template(spec))
                checked = await self._prices.check(spec, launching.disk_gb(spec, self._settings))
        except TimeoutError:
            return RateLimited(outcomes.LIMITED_S)
        except wire.KeyRefused:
            return AuthFailed("the API key was refused")
        except ProviderError as error:
            return outcomes.not_bought(error)
        if isinstance(runs, Rejected):
            return runs
        if not isinstance(checked, Purchase):
            return checked
        return await self._buy(spec, checked, runs)

    async def list(self, label_prefix: str) -> Listing:
        """See `Provider.list`."""
        return await self._roster.list(label_prefix)

    async def describe(self, machine_id: str) -> Machine:
        """See `Provider.describe`."""
        return await self._roster.describe(_checked(machine_id))

    async def verify(self, machine_id: str) -> Machine:
        """See `Provider.verify`."""
        return await self._roster.verify(_checked(machine_id))

    async def destroy(self, machine_id: str, *, grace_s: float) -> Destruction:
        """See `Provider.destroy`. The marketplace knows no grace: its machines end at once."""
        answer = await self.client.request(
            "destroy", "DELETE", wire.instance_path(_checked(machine_id)), admitted=True, prompt=True, probing=True
        )
        if wire.is_absent(answer):
            return Destruction.ABSENT
        if wire.well_formed(answer).get("success") is not True:
            raise NotUnderstood("an answer to a destroy that tells no success")
        return Destruction.GONE

    async def stop(self, machine_id: str) -> None:
        """See `Provider.stop`."""
        answer = await self.client.request(
            "stop", "PUT", wire.instance_path(_checked(machine_id)), json={"state": "stopped"}, safe=True
        )
        wire.well_formed(answer)

    async def add_key(self, machine_id: str, line: str) -> None:
        """See `Provider.add_key`."""
        answer = await self.client.request(
            "attach_key", "POST", wire.instance_path(_checked(machine_id), "ssh/"), json={"ssh_key": line}, safe=True
        )
        if not wire.is_attached(answer) and wire.well_formed(answer).get("success") is not True:
            raise NotUnderstood("an answer to a key that tells no success")

    async def bill(self, machine_id: str, since: int) -> int | None:
        """See `Provider.bill`."""
        now_s = self._clock.now() // 1_000_000
        return await charges.total(self.client, _checked(machine_id), since // 1_000_000, now_s)

    async def templates(self) -> tuple[Template, ...]:
        """See `Provider.templates`: those that the vendor recommends."""
        return await self._templates.get()

    async def logs(self, machine_id: str, *, tail: int) -> str:
        """See `Provider.logs`."""
        return await logs.read(self.client, self._clock, _checked(machine_id), tail, self._settings.url)

    async def close(self) -> None:
        """See `Provider.close`."""
        self._prices.close()
        self._roster.close()
        await self.client.close()

    async def _search(self, tier: Tier) -> tuple[Offer, ...]:
        disk_gb = max(launching.LEAST_DISK_GB, self._settings.disk_gb)
        answer = await self.client.request(
            "offers", "POST", wire.BUNDLES, json=offers.search(tier, disk_gb), safe=True, deadline_s=SEARCH_S,
            attempt_s=SEARCH_S,
        )  # fmt: skip
        found, odd = await offers.parse(wire.rows(answer, "offers"), tier, disk_gb, self._clock.now())
        if odd:
            log.warning("provider.odd_offers", provider=self.name, tier=tier.value, skipped=odd, taken=len(found))
        return tuple(found.values())

    async def _read_templates(self) -> tuple[Template, ...]:
        query = {"select_filters": '{"recommended":{"eq":true}}'}
        answer = await self.client.request("templates", "GET", wire.TEMPLATES, query=query)
        rows = wire.rows(answer, "templates")
        found = [template for row in rows if (template := template_of(row)) is not None]
        if len(found) < len(rows):
            log.warning("provider.odd_templates", provider=self.name, skipped=len(rows) - len(found))
        return tuple(found)

    async def _template(self, spec: LaunchSpec) -> Template | None:
        """The template to start from, where something of it is needed: a command takes the place of its own."""
        if spec.on_start or not spec.template:
            return None
        return next((template for template in await self._templates.get() if template.id == spec.template), None)

    async def _buy(self, spec: LaunchSpec, purchase: Purchase, runs: Mapping[str, Any]) -> LaunchOutcome:
        request = launching.body(spec, self._settings, runs, purchase.price.bid)
        try:
            answer = await self.client.request(
                "launch", "PUT", wire.ask_path(purchase.ask_id), json=request, admitted=True, deadline_s=CREATE_S,
                attempt_s=CREATE_S,
            )  # fmt: skip
        except NotSent as error:
            return outcomes.not_bought(error)
        except ProviderError as error:
            return Ambiguous(str(error))
        return launching.outcome(answer, purchase.price.total)


def _checked(machine_id: str) -> str:
    """It becomes part of a path."""
    if not (machine_id.isascii() and machine_id.isdigit()):
        raise ProviderError("it is no machine of this marketplace")
    return machine_id
