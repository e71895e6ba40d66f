"""The offer book: what every provider was last seen to offer. In memory; rebuilt within seconds of a start."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

import numpy as np

from controlplane.domain.billing import SECOND
from controlplane.domain.failures import FailureRecord, subjects
from controlplane.domain.offer import Offer
from controlplane.domain.requirements import Requirements
from controlplane.domain.template import Template
from controlplane.usecases.offer_columns import Mask
from controlplane.usecases.offer_confidence import (
    Damage,
    FailureMemory,
    Freshness,
    Outlook,
    freshness,
    resting,
    worth,
)
from controlplane.usecases.offer_index import OfferIndex
from controlplane.usecases.offer_match import matching
from controlplane.usecases.offer_page import OfferPage
from controlplane.usecases.offer_ranking import BEING_BOUGHT, Candidate, Moment, Ranking, rank

__all__ = ["BEING_BOUGHT", "Candidate", "OfferBook", "Ranking", "View"]

MOST_TRIED = 10_000
"""Offers that are known for a while after they left the market."""

LARGE = 2000
"""Offers from which on a page is put in order beside the event loop and not on it."""


@dataclass(frozen=True, slots=True)
class View:
    """What the pages of one listing share: when its first page was made, and what each provider's page was worth then.
    A listing that orders or filters by confidence keeps to it, whatever is refreshed in between."""

    at: int
    worths: Mapping[str, float]


class OfferBook:
    """Offers, templates and failures of all providers. Times are microseconds since the epoch."""

    def __init__(self) -> None:
        self._pages: dict[str, OfferPage] = {}
        self._index = OfferIndex(())
        self._unreachable: set[str] = set()
        self._templates: dict[str, tuple[Template, ...]] = {}
        self._memory = FailureMemory()
        self._damage: tuple[OfferIndex, int, Damage] | None = None
        self._claims: Counter[str] = Counter()
        self._tried: dict[str, Offer] = {}
        self._shunned: dict[tuple[str, str], int] = {}
        self._building = asyncio.Lock()

    @property
    def index(self) -> OfferIndex:
        """All offers, to be searched."""
        return self._index

    @property
    def providers(self) -> frozenset[str]:
        """Those that have answered yet."""
        return frozenset(self._pages)

    def update(self, provider: str, offers: tuple[Offer, ...], now: int) -> None:
        """Replace what one provider offers, at once. Takes a third of a second for 100,000 offers: see `refresh`."""
        self._install(OfferPage(provider, offers, now), now)
        self._index = OfferIndex(tuple(self._pages.values()))

    async def refresh(self, provider: str, offers: tuple[Offer, ...], now: int) -> None:
        """As `update`, without holding up the event loop: a large book is put in order in a thread, and what is seen
        until then is the former one. A small one needs no thread."""
        if len(offers) + len(self._index) < LARGE:
            self.update(provider, offers, now)
            return
        page = await asyncio.to_thread(OfferPage, provider, offers, now)
        async with self._building:  # one at a time, and each with all pages there are
            self._install(page, now)
            index = None
            while index is None or self._pages != index.pages:  # somebody may have updated meanwhile
                index = await asyncio.to_thread(OfferIndex, tuple(self._pages.values()))
            self._index = index

    def _install(self, page: OfferPage, now: int) -> None:
        self._pages[page.provider] = page
        self._unreachable.discard(page.provider)
        self._memory.forget(now)

    def unreachable(self, provider: str, now: int) -> None:
        """A refresh failed: the page stays, ages, and is not fresh until the next one that succeeds."""
        self._unreachable.add(provider)

    def get(self, id: str) -> Offer | None:
        """One offer, if it is on the market."""
        return self._index.get(id)

    def __iter__(self) -> Iterator[Offer]:
        """All offers, cheapest first."""
        return iter(self._index.offers)

    def matching(self, requirements: Requirements, currency: str) -> list[Offer]:
        """Offers in that currency that meet the requirements: preferred regions first, and then the cheapest. The
        confidence in them is not looked at: see `ranked`."""
        rows = np.flatnonzero(matching(self._index, requirements, currency)).tolist()
        found = [self._index.offers[row] for row in rows]
        order = requirements.preferred_regions
        if not order:
            return found
        return sorted(found, key=lambda o: order.index(o.region) if o.region in order else len(order))

    def ranked(
        self, requirements: Requirements, currency: str, now: int, cap: int | None = None,
        template: Template | None = None, shut: Mapping[str, str] = MappingProxyType({}),
    ) -> Ranking:  # fmt: skip
        """What would be bought now, best first, and why the rest would not be.

        Preferred regions come first, in their order. Then the lowest expected price: the price per hour divided by
        `confidence * reliability` (1.0 where the provider gives no reliability; the product counts as 0.05 at least).
        Then the lowest price, then the id. `cap` bounds the price per hour beside what the requirements say; a
        `template` must run on the offer; providers that are `shut` to the buyer are left out for the reason given.
        At most 1,000 candidates; see usecases/offer_ranking.py.
        """
        index = self._index
        claimed = np.zeros(len(index), np.bool_)
        for id, count in self._claims.items():
            offer = index.get(id)
            if offer is not None and count >= offer.available:
                claimed[index.rows_of(offer.provider, "offer", id)] = True
        moment = Moment(
            self.outlook(self.view(now)),
            resting(index, self._memory.all(), now),
            claimed,
            self._stale(now),
            shut,
        )
        return rank(index, requirements, currency, moment, cap, template)

    def sellable(self, now: int) -> Mask:
        """The rows that can be rented now: there are some, they do not rest, and the page is not stale."""
        index = self._index
        stale = self._stale(now)
        found = index.numbers["available"].compare(">", 0) & ~resting(index, self._memory.all(), now)
        return found & ~index.texts["provider"].where(stale.__contains__) if stale else found

    def _stale(self, now: int) -> frozenset[str]:
        return frozenset(name for name in self._pages if self.freshness(name, now) is Freshness.STALE)

    def failures(self) -> list[FailureRecord]:
        """What is remembered of failures, by subject."""
        return sorted(self._memory.all(), key=lambda record: record.id)

    def view(self, now: int) -> View:
        """The book's own ages, as of now."""
        return View(now, {name: worth(self._age_s(name, now)) for name in self._pages})

    def outlook(self, view: View) -> Outlook:
        """The confidence in every offer, as it was to that view. Failures that were learned of since then do not
        count, as far as they are told apart by their time."""
        index, memory = self._index, self._memory
        if view.at < memory.newest:
            return Outlook.of(index, view.worths, Damage.of(index, memory.as_of(view.at)), view.at)
        kept = self._damage
        if kept is None or kept[:2] != (index, memory.version):
            kept = self._damage = (index, memory.version, Damage.of(index, memory.all()))
        return Outlook.of(index, view.worths, kept[2], view.at)

    def confidence(self, offer: Offer, now: int) -> float:
        """How sure it is that the offer can be had: 0 to 1, see usecases/offer_confidence.py."""
        return self._memory.confidence(offer, worth(self._age_s(offer.provider, now)), now)

    def freshness(self, provider: str, now: int) -> Freshness:
        """How old the provider's page is."""
        return freshness(self._age_s(provider, now), provider not in self._unreachable)

    def _age_s(self, provider: str, now: int) -> float:
        page = self._pages.get(provider)
        return max(0, now - page.fetched_at) / SECOND if page is not None else float("inf")

    def remember(self, records: Iterable[FailureRecord]) -> None:
        """Take what is remembered of failures, each record in the place of the last one of its subject."""
        self._memory.remember(records)

    def resting(self, offer: Offer, now: int) -> str:
        """Why the offer is not to be tried now, in a few words; empty when it may be."""
        records = (self._memory.get(id) for id in subjects(offer))
        last = max((r for r in records if r is not None), key=lambda r: r.rest_until, default=None)
        if last is None or last.rest_until <= now:
            return ""
        until = datetime.fromtimestamp(last.rest_until / SECOND, UTC)
        return f"{last.cause.lower().replace('_', ' ')} a moment ago, rests until {until:%H:%M:%S} UTC"

    def claim(self, offer_id: str) -> None:
        """A purchase of the offer is under way in this process; pair with `release`."""
        self._claims[offer_id] += 1
        offer = self.get(offer_id)
        if offer is not None:
            self._tried.pop(offer_id, None)
            self._tried[offer_id] = offer
        if len(self._tried) > MOST_TRIED:
            del self._tried[next(iter(self._tried))]

    def known(self, offer_id: str) -> Offer | None:
        """An offer on the market, or one that was bought and has left it, as it was then."""
        return self.get(offer_id) or self._tried.get(offer_id)

    def release(self, offer_id: str) -> None:
        """The purchase has ended, whichever way."""
        self._claims[offer_id] -= 1
        if self._claims[offer_id] <= 0:
            del self._claims[offer_id]

    def shun(self, provider: str, credential_id: str, until: int) -> None:
        """The provider cannot be asked under that credential: purchases go elsewhere until then."""
        self._shunned[provider, credential_id] = until

    def shunned(self, provider: str, credential_id: str, now: int) -> bool:
        """Whether it is of no use to ask the provider now."""
        return self._shunned.get((provider, credential_id), 0) > now

    def update_templates(self, provider: str, templates: tuple[Template, ...]) -> None:
        """Replace a provider's templates."""
        self._templates[provider] = templates

    def templates(self, provider: str = "") -> tuple[Template, ...]:
        """Templates of one provider or of all, by name and then id."""
        found = [t for name, each in self._templates.items() if provider in ("", name) for t in each]
        return tuple(sorted(found, key=lambda template: (template.name.lower(), template.id)))

    def template(self, id: str) -> Template | None:
        """The template of that id."""
        return next((t for each in self._templates.values() for t in each if t.id == id), None)

    async def prepare(self, template: Template) -> None:
        """Have a template's constraints met by all offers, before a search asks for it: on a large page in a thread."""
        page = self._pages.get(template.provider)
        if page is not None and len(page.offers) >= LARGE:
            await asyncio.to_thread(page.fitting, template)
