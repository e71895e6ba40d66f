"""What the market has for a wish now: the offers that would do, what may be paid, and how large the disk is."""

from __future__ import annotations

from collections.abc import Sequence, Set

from controlplane.domain.account import Account
from controlplane.domain.errors import ON_THE_MARKET, FailedPrecondition, Unavailable, invalid, not_found
from controlplane.domain.money import text
from controlplane.domain.offer import Offer
from controlplane.domain.requirements import Requirements
from controlplane.domain.template import Template
from controlplane.usecases.core import Core
from controlplane.usecases.offer_ranking import MOST_CANDIDATES, Ranking
from controlplane.usecases.wishes import CreateInstance

NOT_YET_S = 2.0  # after which offers that are not known yet may be


def ranked(
    core: Core, wanted: Requirements, currency: str, cap: int | None = None, template: Template | None = None
) -> Ranking:
    """What would be bought for these requirements now, best first; InvalidArgument for a provider that is not here."""
    if wanted.providers:
        known = core.providers.keys() | core.credentials.marketplaces | core.offers.providers
        rule = f"must name providers that are here: {', '.join(sorted(known))}"
        for name in wanted.providers:
            if name not in known:
                raise invalid("requirements.providers", rule, name)
    return core.offers.ranked(wanted.to_rent(), currency, core.clock.now(), cap, template)


def unheard(core: Core, account_id: str, wanted: Set[str]) -> list[str]:
    """Marketplaces at which the account can buy and whose offers this process has not seen yet, of those that are
    wanted; of all if none is named. After a start they are asked at once, but may take a while to answer."""
    own = {name for name in core.credentials.marketplaces if core.credentials.of(account_id, name)}
    names = own | core.providers.keys()
    return sorted((names & wanted if wanted else names) - core.offers.providers)


def offers_for(core: Core, wish: CreateInstance, account: Account) -> list[Offer]:
    """The offers that would do for the wish, the first to be tried first. Refuses a wish that none would do for, for
    now where nobody knows yet."""
    currency = account.currency
    template = core.offers.template(wish.template) if wish.template else None
    if wish.template and template is None:
        raise not_found("template", wish.template, ON_THE_MARKET)
    if wish.requirements is None:
        return [_named(core, wish.offer_id, account, template)]
    cap = wish.max_price_nano_per_hour
    ranking = ranked(core, wish.requirements, currency, cap, template)
    if not ranking.candidates:
        if missing := unheard(core, account.id, frozenset(wish.requirements.providers)):
            raise _not_yet(missing)
        skipped = "; ".join(f"{each.count} {each.reason}" for each in ranking.skipped[:4])
        raise FailedPrecondition(
            f"no offer on the market meets: {wish.requirements.to_rent()}"
            + (f", at most {text(cap, currency)} per hour" if cap is not None else "")
            + (f" (offers passed over: {skipped})" if skipped else ""),
            reason="NO_MATCHING_OFFER", requirements=str(wish.requirements),
        )  # fmt: skip
    return [candidate.offer for candidate in ranking.candidates]


def _not_yet(missing: list[str]) -> Unavailable:
    return Unavailable(
        f"the offers of {', '.join(missing)} are not known yet, and no other offer would do; try again",
        reason="PROVIDER_UNAVAILABLE", retry_after_s=NOT_YET_S, provider=missing[0],
    )  # fmt: skip


def _named(core: Core, id: str, account: Account, template: Template | None) -> Offer:
    offer = core.offers.get(id)
    if offer is None or offer.currency != account.currency:
        if missing := [name for name in unheard(core, account.id, frozenset()) if id.startswith(f"{name}-")]:
            raise _not_yet(missing)
        raise not_found("offer", id, ON_THE_MARKET)
    if template is not None and (why := template.unmet_by(offer)):
        raise FailedPrecondition(
            f"offer {id} cannot run template {template.id}: {why}", reason="NO_MATCHING_OFFER", offer_id=id
        )
    return offer


def terms(core: Core, wish: CreateInstance, account: Account) -> tuple[int, int, Offer]:
    """The most that may be paid per hour, the disk, and the offer to be tried first, priced with that disk."""
    currency = account.currency
    offers = offers_for(core, wish, account)
    disk_gb = _disk(core, wish, offers)
    first, cap = offers[0].with_disk(disk_gb), wish.max_price_nano_per_hour
    if wish.requirements is not None:
        caps = [each for each in (cap, wish.requirements.max_price_nano_per_hour) if each is not None]
        return min(caps) if caps else _dearest(core, wish.requirements, currency, offers, disk_gb), disk_gb, first
    if cap is not None and first.price_nano_per_hour > cap:
        raise FailedPrecondition(
            f"offer {first.id} costs {text(first.price_nano_per_hour, currency)} per hour, "
            f"more than max_price_per_hour {text(cap, currency)}",
            reason="OFFER_TOO_DEAR", offer_id=first.id, price=first.price_nano_per_hour, max_price=cap,
        )  # fmt: skip
    return first.price_nano_per_hour if cap is None else cap, disk_gb, first


def _dearest(core: Core, wanted: Requirements, currency: str, offers: Sequence[Offer], disk_gb: int) -> int:
    """What the dearest offer that would do costs: where nobody says what may be paid, it may be paid. A ranking ends
    after its best thousand."""
    if len(offers) >= MOST_CANDIDATES:
        offers = core.offers.matching(wanted.to_rent(), currency)
    return max(offer.with_disk(disk_gb).price_nano_per_hour for offer in offers)


def _disk(core: Core, wish: CreateInstance, offers: Sequence[Offer]) -> int:
    local = all(offer.provider == "local" for offer in offers)
    disk = wish.disk_gb or (core.policy.default_local_disk_gb if local else core.policy.default_disk_gb)
    largest = max(offer.disk_gb for offer in offers)
    if not wish.disk_gb:
        return min(disk, largest)
    if disk > largest:
        raise invalid("disk_gb", f"must be at most {largest}, the largest that a matching offer has", disk)
    return disk
