"""ACCEPTED and ALLOCATING: buy one machine, trying offers in order, never two for one wish.

Every attempt is recorded before the provider hears of it. A launch is sent once; when its outcome is unknown (a lost
answer, a crash, a lost lease) the attempt's label is looked up, and only a complete listing without it, seen twice and
late enough, lets the next attempt begin.
"""

from __future__ import annotations

import structlog

from controlplane.domain import ids as id_forms
from controlplane.domain.billing import SECOND
from controlplane.domain.instance import Instance
from controlplane.domain.money import text
from controlplane.domain.offer import Offer
from controlplane.domain.operation import OPEN, Attempt, Operation, Outcome, SkippedOffers
from controlplane.domain.records import replace
from controlplane.domain.state import State
from controlplane.ports.provider import (
    LOST,
    Ambiguous,
    AuthFailed,
    Created,
    CreatedButUnusable,
    LaunchMode,
    LaunchOutcome,
    LaunchSpec,
    Machine,
    NoFunds,
    Provider,
    ProviderError,
    RateLimited,
    Rejected,
    Stockout,
    TooDear,
)
from controlplane.reconcile import endings
from controlplane.reconcile.asking import admit, launch
from controlplane.reconcile.choosing import OUT, RETRY_LIMITED_S, Choice, choose, resting
from controlplane.reconcile.metering import metered
from controlplane.reconcile.posting import hold_for, post
from controlplane.reconcile.stop import returned
from controlplane.reconcile.tenure import Rows, Tenure, nothing
from controlplane.usecases import market
from controlplane.usecases.asking import ask, provider_of
from controlplane.usecases.core import Core
from controlplane.usecases.failure_memory import remember
from controlplane.usecases.machine_secrets import jupyter_token, model_key, probe_seed
from controlplane.usecases.offerbook import BEING_BOUGHT
from controlplane.usecases.sellers import seller, wish_at

LOOKUP_GRACE_S = 1.0  # beyond what the provider's lateness explains, before a missing label counts as "not created"
SHUN_S = 10.0  # for how long purchases go elsewhere after a provider could not be asked

log = structlog.get_logger()


async def allocate(tenure: Tenure, instance: Instance) -> Instance | None:
    """Go on until there is a machine, nothing left to try, or a reason to wait. The instance, if it may start now."""
    while instance.state in (State.ACCEPTED, State.ALLOCATING):
        operation = tenure.create
        last = operation.attempts[-1] if operation and operation.attempts else None
        if last is not None and last.outcome in OPEN:
            settled = await _settle(tenure, instance, last)
        elif instance.machine_id:
            settled = await _return_unusable(tenure, instance)
        elif instance.ending:
            await tenure.apply(lambda rows: endings.terminated(rows, tenure.core.policy), due_in_s=0)
            return None
        else:
            settled = await _try_next(tenure, instance, operation)
        if settled is None:
            return None
        instance = settled
    if instance.state is State.STARTING:
        return instance
    await tenure.apply(nothing, due_in_s=0)
    return None


async def _try_next(tenure: Tenure, instance: Instance, operation: Operation | None) -> Instance | None:
    """Record an attempt on the next offer, ask for it, and record the outcome. None: the hold was given up."""
    core = tenure.core
    attempts = operation.attempts if operation else ()
    choice = choose(core, instance, attempts)
    if choice.offer is None:
        await _out_of_offers(tenure, instance, attempts, choice)
        return None
    offer = choice.offer
    core.offers.claim(offer.id)
    try:
        return await _try(tenure, instance, attempts, offer, choice.skipped)
    finally:
        core.offers.release(offer.id)


async def _try(
    tenure: Tenure, instance: Instance, attempts: tuple[Attempt, ...], offer: Offer, skipped: tuple[SkippedOffers, ...]
) -> Instance | None:
    """One attempt on one offer."""
    core = tenure.core
    credential = core.credentials.of(instance.account_id, offer.provider)
    provider = seller(core, offer.provider, credential)
    assert provider is not None, "choose takes offers of known providers only"
    # The turn comes before the intent: from the commit on it is milliseconds until the provider hears of it.
    try:
        await admit(core, provider, "launch")
    except ProviderError as error:
        log.warning("allocate.provider_out", provider=offer.provider, instance=instance.id, error=str(error))
        pause_s = error.retry_after_s or SHUN_S
        core.offers.shun(offer.provider, credential, core.clock.now() + int(pause_s * SECOND))
        return await tenure.apply(nothing)  # another provider may be next
    number = instance.attempt + 1
    label = id_forms.label(core.deployment_id, instance.id, number)
    replaced = attempts[-1].number if attempts and attempts[-1].outcome is Outcome.NOT_READY else 0

    def intend(rows: Rows) -> None:
        if rows.instance.ending:
            return
        if not hold_for(rows, core.policy, offer.price_nano_per_hour):
            return
        row = rows.instance
        row = row.to(State.ALLOCATING, rows.now) if row.state is State.ACCEPTED else row
        rows.instance = row.trying(offer, number, label, credential, rows.now)
        if rows.create is not None:
            attempt = Attempt(
                number, offer.id, offer.provider, offer.price_nano_per_hour, offer.currency, rows.now,
                retry_of=replaced,
            )  # fmt: skip
            rows.create = replace(rows.create.enter("allocate", rows.now), skipped=skipped).attempting(
                attempt, rows.now
            )

    intended = await tenure.apply(intend)
    if intended.attempt != number:
        return intended  # somebody asked for the end in between; nothing was asked for
    outcome = await launch(core, provider, _spec(core, provider, intended, offer))
    return await _record(tenure, provider, number, offer, outcome)


def _spec(core: Core, provider: Provider, instance: Instance, offer: Offer) -> LaunchSpec:
    wish = wish_at(provider, instance.wish)
    mode = LaunchMode(wish.mode)
    return LaunchSpec(
        label=instance.label,
        offer=offer,
        authorized_keys=wish.ssh_public_keys,
        probe_key=core.prober.public_key(probe_seed(core.secrets, instance.id)),
        disk_gb=wish.disk_gb,
        mode=mode,
        image=wish.image,
        template=wish.template,
        on_start=wish.on_start,
        ports=wish.ports,
        model=wish.model,
        model_api_key=model_key(core.secrets, instance.id) if wish.model else "",
        quantization=wish.quantization,
        jupyter_token=jupyter_token(core.secrets, instance.id) if mode is LaunchMode.JUPYTER else "",
        env=wish.env,
        max_price_nano_per_hour=wish.max_price_nano_per_hour,
    )


def _unheard(core: Core, instance: Instance) -> list[str]:
    requirements = instance.wish.requirements
    wanted = frozenset(requirements.providers) if requirements is not None else frozenset()
    return market.unheard(core, instance.account_id, wanted)


async def _out_of_offers(tenure: Tenure, instance: Instance, attempts: tuple[Attempt, ...], choice: Choice) -> None:
    core, skipped = tenure.core, choice.skipped
    overdue = core.clock.now() - instance.created_at > core.policy.allocate_deadline_s * SECOND
    # A fresh process has not asked the providers yet; a limited one only wants patience.
    waiting = choice.waiting or bool(_unheard(core, instance)) or bool(resting(core, attempts))
    waiting = waiting or any(each.reason in (BEING_BOUGHT, OUT) for each in skipped)
    if waiting and not overdue and len(attempts) < core.policy.max_attempts:
        age_s = (core.clock.now() - instance.created_at) / SECOND
        await tenure.apply(nothing, due_in_s=min(RETRY_LIMITED_S, max(0.2, age_s / 10)))
        return
    refusals = {Outcome.AUTH_FAILED, Outcome.NO_FUNDS, Outcome.REJECTED}
    if attempts and all(a.outcome in refusals for a in attempts):
        code, reason = endings.FAILED_PRECONDITION, "PROVIDER_REFUSED"
        message = f"the provider refused: {attempts[-1].message}"
    else:
        code, reason = endings.RESOURCE_EXHAUSTED, "NO_CAPACITY"
        message = _no_capacity(attempts, skipped)

    def none_left(rows: Rows) -> None:
        if rows.create is not None:
            rows.create = replace(rows.create, skipped=skipped)
        endings.fail(rows, core.policy, code, reason, message, gone=True)

    await tenure.apply(none_left, due_in_s=0)


def _no_capacity(attempts: tuple[Attempt, ...], skipped: tuple[SkippedOffers, ...]) -> str:
    if not attempts:
        reasons = "; ".join(f"{each.count} {each.reason}" for each in skipped[:4])
        return "no matching offer is left" + (f" ({reasons})" if reasons else "")
    last = f"{attempts[-1].offer_id}: {attempts[-1].message}"
    return (
        f"the offer could not be had ({last})"
        if len(attempts) == 1
        else (f"none of {len(attempts)} offers tried could be had; the last was {last}")
    )


async def _record(
    tenure: Tenure, provider: Provider, number: int, offer: Offer, outcome: LaunchOutcome
) -> Instance | None:
    """Record what a launch came to."""
    kind, message, machine_id = _classify(outcome)
    created_at = outcome.created_at if isinstance(outcome, Created) else None

    def found(rows: Rows) -> None:
        if rows.create is not None:
            sent_at = outcome.sent_at if isinstance(outcome, Ambiguous) else None
            rows.create = rows.create.outcome(number, kind, message, rows.now, sent_at)
        if machine_id:
            at = rows.now if created_at is None else min(created_at, rows.now)
            price = outcome.price_nano_per_hour if isinstance(outcome, Created) else None
            rows.instance = rows.instance.made(machine_id, at, price)
        elif kind not in OPEN:
            # Nothing exists under this label; nothing is left to return.
            rows.instance = replace(rows.instance, label="", updated_at=rows.now)
        if kind is Outcome.CREATED:
            _begin_start(rows, provider, offer)

    if kind is Outcome.AMBIGUOUS:
        await tenure.apply(found, due_in_s=min(1.0, provider.capabilities.transition_poll_s))
        return None
    recorded = await tenure.apply(found)
    await remember(tenure.core, offer, kind, provider.capabilities.rest_s)
    return recorded


async def note_failure(core: Core, provider: Provider, offer_id: str, outcome: Outcome) -> None:
    """Remember a failure of an offer that is known by its id only; one that left the market needs no memory."""
    offer = core.offers.known(offer_id)
    if offer is not None:
        await remember(core, offer, outcome, provider.capabilities.rest_s)


def _begin_start(rows: Rows, provider: Provider, offer: Offer | None) -> None:
    if rows.instance.ending:
        endings.stopping(rows)
        return
    patience_s = (offer.start_deadline_s if offer is not None else 0) or provider.capabilities.start_deadline_s
    deadline = rows.now + int(patience_s * SECOND)
    rows.instance = replace(rows.instance.to(State.STARTING, rows.now), start_deadline_at=deadline)
    if rows.create is not None:
        rows.create = rows.create.enter("start", rows.now)


def _classify(outcome: LaunchOutcome) -> tuple[Outcome, str, str]:
    """(attempt outcome, sentence for the caller, machine id)."""
    match outcome:
        case Created(machine_id):
            return Outcome.CREATED, "", machine_id
        case Stockout(reason):
            return Outcome.STOCKOUT, reason, ""
        case Rejected(reason):
            return Outcome.REJECTED, reason, ""
        case TooDear(price):
            return Outcome.TOO_DEAR, f"the price had risen to {text(price, 'per hour')}", ""
        case AuthFailed():
            return Outcome.AUTH_FAILED, "the provider refused the credential", ""
        case NoFunds():
            return Outcome.NO_FUNDS, "the account at the provider cannot pay", ""
        case RateLimited(after_s):
            return Outcome.RATE_LIMITED, f"the provider asked to come back in {after_s:.0f} s", ""
        case Ambiguous(reason):
            return Outcome.AMBIGUOUS, reason, ""
        case CreatedButUnusable(machine_id, reason):
            return Outcome.UNUSABLE, reason, machine_id


async def _settle(tenure: Tenure, instance: Instance, attempt: Attempt) -> Instance | None:
    """Find out by its label whether an attempt made a machine."""
    provider = provider_of(tenure.core, instance)
    capabilities = provider.capabilities
    listing = await ask(tenure.core, provider, "list", provider.list(instance.label))
    machine = next((m for m in listing.machines if m.label == instance.label), None)
    if machine is not None and machine.status in LOST:
        return await tenure.apply(lambda rows: _half_made(rows, attempt, machine))
    if machine is not None:
        offer = tenure.core.offers.known(attempt.offer_id)
        return await tenure.apply(lambda rows: _adopt(rows, provider, attempt, machine, offer))
    if not listing.complete:
        await tenure.apply(nothing, due_in_s=capabilities.transition_poll_s)
        return None
    grace = int((capabilities.late_create_s + capabilities.listing_delay_s + LOOKUP_GRACE_S) * SECOND)

    def missing(rows: Rows) -> None:
        row = rows.instance
        if row.missing_since is None:
            rows.instance = replace(row, missing_since=rows.now)
        elif rows.now - row.missing_since >= grace:
            rows.instance = replace(row, missing_since=None, label="", updated_at=rows.now)
            if rows.create is not None:
                rows.create = rows.create.outcome(
                    attempt.number, Outcome.NOT_CREATED, "the provider made no machine", rows.now
                )

    after = await tenure.apply(missing)
    if after.label == instance.label:
        await tenure.apply(nothing, due_in_s=min(1.0, capabilities.transition_poll_s))
        return None
    return after


def _adopt(rows: Rows, provider: Provider, attempt: Attempt, machine: Machine, offer: Offer | None) -> None:
    """The machine was made after all. Where the provider does not tell when, it was when it was asked."""
    if rows.create is not None:
        rows.create = rows.create.outcome(attempt.number, Outcome.CREATED, "found by its label", rows.now)
    rows.instance = rows.instance.made(machine.id, attempt.sent_at or attempt.started_at)
    metered(rows, machine)
    _begin_start(rows, provider, offer)


def _half_made(rows: Rows, attempt: Attempt, machine: Machine) -> None:
    """Only wreckage was made: it is returned before the next attempt, and costs what it costs until then."""
    if rows.create is not None:
        message = "the machine was left half-made and is being returned"
        rows.create = rows.create.outcome(attempt.number, Outcome.NOT_CREATED, message, rows.now)
    rows.instance = replace(rows.instance.made(machine.id, attempt.sent_at or attempt.started_at), updated_at=rows.now)
    metered(rows, machine)


async def _return_unusable(tenure: Tenure, instance: Instance) -> Instance | None:
    """Destroy a machine that was made but cannot be used, before the next attempt."""
    provider = provider_of(tenure.core, instance)
    gone = await returned(tenure, provider, instance, grace_s=0)
    if gone is None or not gone.billed:
        await tenure.apply(nothing, due_in_s=provider.capabilities.transition_poll_s)
        return None

    def settled(rows: Rows) -> None:
        rows.instance = replace(rows.instance, gone_at=min(gone.at, rows.now))
        post(rows, tenure.core.policy)
        rows.instance = replace(
            rows.instance, gone_at=None, machine_id="", machine_at=None, cost_nano=0, cost_until=None, meter=None,
            destroy_at=None, label="",
        )  # fmt: skip

    return await tenure.apply(settled)
