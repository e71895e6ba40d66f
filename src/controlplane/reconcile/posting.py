"""Posting to the two ledgers and moving budget holds, as part of a step's findings."""

from __future__ import annotations

from controlplane.domain import ids as id_forms
from controlplane.domain.billing import HOUR, SECOND, BillingKind, charge, cost, first_hold
from controlplane.domain.instance import BUDGET_EXHAUSTED
from controlplane.domain.ledger import LedgerEntry, LedgerKind
from controlplane.domain.records import replace
from controlplane.domain.state import TERMINAL
from controlplane.reconcile.tenure import Rows
from controlplane.usecases.core import Policy


def post(rows: Rows, policy: Policy) -> None:
    """Bring both ledgers and the budgets up to now (or to the instance's end), one entry a metering interval."""
    interval = int(policy.meter_interval_s * SECOND)
    _post_charge(rows, interval)
    _post_cost(rows, interval)
    _move_hold(rows, policy)


def _post_charge(rows: Rows, interval: int) -> None:
    row = rows.instance
    until = row.end_at if row.end_at is not None else rows.now
    start = row.charged_until if row.charged_until is not None else row.run_at
    if row.run_at is None or start is None or until < start:
        return
    first = row.charged_until is None  # a minimum or a prepaid reservation is charged at once
    at_once = first or row.end_at is not None or (row.kept is not None and start < row.kept.at)  # another price begins
    if not at_once and until - start < interval:
        return
    posted = row.charged_nano
    for begin, end in _hours(start, until):
        total = charge(row.billing, row.price_nano_per_hour, row.run_at, end, row.kept)
        if total > posted:
            storage = row.kept is not None and begin >= row.kept.at
            _entry(rows, LedgerKind.CHARGE, begin, end, total - posted, storage=storage)
            posted = total
    spent = posted - row.charged_nano
    rows.instance = replace(row, charged_nano=posted, charged_until=max(until, start))
    rows.budgets = [budget.spend(spent).crossing() for budget in rows.budgets]


def _post_cost(rows: Rows, interval: int) -> None:
    row = rows.instance
    # What a destroy without an answer left of the bill is known once the machine was looked at.
    open_until = rows.now if row.destroy_at is None else min(rows.now, row.destroy_at)
    until = row.gone_at if row.gone_at is not None else open_until
    start = row.cost_until if row.cost_until is not None else row.machine_at
    if row.machine_at is None or start is None:
        return
    if row.gone_at is None and until - start < interval:
        return
    posted = row.cost_nano
    # A machine may have been gone before the last entry's end: what is too much or too little then stands there.
    for begin, end in _hours(start, until) if until > start else [(start, start)]:
        at = min(end, until)
        total = row.meter.total(at) if row.meter else cost(row.price_nano_per_hour, row.machine_at, at)
        if total != posted:  # less after a refund
            _entry(rows, LedgerKind.PROVIDER_COST, begin, end, total - posted)
            posted = total
    rows.instance = replace(row, cost_nano=posted, cost_until=max(until, start))


def _hours(start: int, until: int) -> list[tuple[int, int]]:
    """Cut at UTC hours, so that every entry lies in one bucket of every report."""
    cuts = list(range(start - start % HOUR + HOUR, until, HOUR))
    return list(zip([start, *cuts], [*cuts, until], strict=True))


def _entry(rows: Rows, kind: LedgerKind, start: int, end: int, nano: int, *, storage: bool = False) -> None:
    row = rows.instance
    rows.tx.put(
        LedgerEntry(
            id=id_forms.encode(id_forms.LEDGER, rows.tx.ids.uuid7()), kind=kind, account_id=row.account_id,
            instance_id=row.id, attempt=row.attempt, start_at=start, end_at=end, amount_nano=nano,
            currency=row.currency, provider=row.provider, gpu_type=row.gpu_type, gpu_count=row.gpu_count,
            posted_at=rows.now, storage=storage,
            description=f"{'storage of ' if storage else ''}{row.offer_id}, {(end - start) / SECOND:.0f} s",
        )
    )  # fmt: skip


def hold_for(rows: Rows, policy: Policy, price_nano_per_hour: int) -> bool:
    """Hold the first window at this price before it is asked for; False, and the end asked for, when none can."""
    row = rows.instance
    wanted = first_hold(row.billing, price_nano_per_hour, policy.hold_window_s)
    if wanted <= row.hold_nano:
        return True
    _hold(rows, wanted)
    return not rows.instance.ending


def _move_hold(rows: Rows, policy: Policy) -> None:
    """Hold the next window while it lives; let go of it at the end."""
    row = rows.instance
    if row.state in TERMINAL:
        _hold(rows, 0)
    elif row.run_at is not None:
        price = row.price_nano_per_hour if row.kept is None else row.kept.nano_per_hour
        wanted = cost(price, 0, int(policy.hold_window_s * SECOND))
        if row.billing.kind is BillingKind.PREPAID:
            paid_until = row.run_at + row.billing.prepaid_s * SECOND
            wanted = 0 if rows.now + int(policy.hold_window_s * SECOND) <= paid_until else wanted
        _hold(rows, wanted)


def _hold(rows: Rows, wanted: int) -> None:
    """Change what the budgets hold for the instance; ask for its end when one of them cannot."""
    row = rows.instance
    budgets = []
    for budget in rows.budgets:
        moved = budget.held(wanted - row.hold_nano)
        # While a machine is being stopped so that its disk is kept, only what was spent counts: its storage may fit.
        empty = row.keeps_disk and moved.spent_nano >= moved.limit_nano if row.ending else not moved.fits(0)
        if wanted and empty:
            moved = moved.crossing(exhausted=True)
            why = f"budget {budget.name!r} is exhausted"
            row = row.ask_to_end(BUDGET_EXHAUSTED, why, rows.now)
            row = replace(row, stop_reason=BUDGET_EXHAUSTED, stop_message=why)
        budgets.append(moved)
    rows.budgets = budgets
    rows.instance = replace(row, hold_nano=wanted)
