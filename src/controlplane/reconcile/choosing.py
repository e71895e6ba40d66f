"""Which offer to try next for an instance, and why not the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controlplane.domain.billing import SECOND
from controlplane.domain.instance import Instance
from controlplane.domain.offer import Offer
from controlplane.domain.operation import Attempt, Outcome, SkippedOffers
from controlplane.usecases.core import Core
from controlplane.usecases.sellers import seller, unmet

RETRY_LIMITED_S = 5.0  # for how long a provider that limited us is left alone
OUT = "at a provider that cannot be asked at the moment"
MAX_REPEATS = 10  # tries of one offer whose answers were lost

_REPEATABLE = frozenset({Outcome.RATE_LIMITED, Outcome.NOT_CREATED})


@dataclass(frozen=True, slots=True)
class Choice:
    """The offer to try next, if any is left, and why others are not."""

    offer: Offer | None
    skipped: tuple[SkippedOffers, ...] = ()
    waiting: bool = False  # for what has to be known first


def choose(core: Core, instance: Instance, attempts: tuple[Attempt, ...]) -> Choice:
    """The best-ranked matching offer that was not tried, at a provider that did not refuse us.

    An attempt that our own crash or a lost answer cut short says nothing about its offer: it may be tried again,
    after all others.
    """
    if len(attempts) >= core.policy.max_attempts:
        return Choice(None)
    wish, shut = instance.wish, _shut(core, instance, attempts)
    if wish.requirements is not None:
        template = core.offers.template(wish.template) if wish.template else None
        if wish.template and template is None:
            return Choice(None, waiting=True)  # a fresh process has not read them yet
        cap, now = wish.max_price_nano_per_hour, core.clock.now()
        ranking = core.offers.ranked(wish.requirements, instance.currency, now, cap, template, shut)
        candidates = [candidate.offer for candidate in ranking.candidates]
        skipped = list(ranking.skipped)
    else:
        named = core.offers.get(wish.offer_id)
        candidates = [named] if named is not None else []
        skipped = []
    repeats = Counter(a.offer_id for a in attempts if a.outcome is Outcome.NOT_CREATED)
    left, passed = [], dict[str, list[str]]()
    unfit = _unfit(core, instance, attempts, shut)
    for offer in (offer.with_disk(wish.disk_gb) for offer in candidates):
        if why := unfit(offer):
            passed.setdefault(why, []).append(offer.id)
        elif repeats[offer.id] < MAX_REPEATS:
            left.append(offer)
    skipped += [SkippedOffers(why, len(ids), ids[0]) for why, ids in passed.items()]
    # Candidates are by rank; min keeps the first of equals.
    return Choice(min(left, key=lambda o: repeats[o.id], default=None), tuple(skipped))


def _unfit(
    core: Core, instance: Instance, attempts: tuple[Attempt, ...], shut: Mapping[str, str]
) -> Callable[[Offer], str]:
    """Tells why an offer on the market is not for this instance now; empty when it is."""
    tried = {a.offer_id for a in attempts if a.outcome not in _REPEATABLE}
    cap = instance.wish.max_price_nano_per_hour

    def unfit(offer: Offer) -> str:
        if offer.id in tried:
            return "tried already"
        if cap is not None and offer.price_nano_per_hour > cap:
            return "too dear"
        return shut.get(offer.provider) or ("of another host" if offer.host_id not in ("", core.host_id) else "")

    return unfit


def _shut(core: Core, instance: Instance, attempts: tuple[Attempt, ...]) -> dict[str, str]:
    """Providers that are no use to this instance now, whatever they offer, and why."""
    refused = {a.provider for a in attempts if a.outcome in (Outcome.AUTH_FAILED, Outcome.NO_FUNDS)}
    limited = resting(core, attempts)

    def why(name: str) -> str:
        credential = core.credentials.of(instance.account_id, name)
        provider = seller(core, name, credential)
        if provider is None:
            return f"no credential for {name}"
        if core.offers.shunned(name, credential, core.clock.now()):
            return OUT
        if name in refused:
            return f"{name} refused the credential or its account cannot pay"
        if name in limited:
            return f"{name} asked to come back later"
        return unmet(provider, instance.wish)

    return {name: reason for name in core.offers.providers if (reason := why(name))}


def resting(core: Core, attempts: tuple[Attempt, ...]) -> set[str]:
    """Providers that asked us to come back later, a moment ago."""
    since = core.clock.now() - int(RETRY_LIMITED_S * SECOND)
    return {a.provider for a in attempts if a.outcome is Outcome.RATE_LIMITED and (a.ended_at or 0) > since}
