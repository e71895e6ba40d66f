"""What a look at a machine says about its bill and its term."""

from __future__ import annotations

from controlplane.domain.metering import ProviderMeter
from controlplane.domain.records import replace
from controlplane.ports.provider import Machine, MachineStatus
from controlplane.reconcile.tenure import Rows


def metered(rows: Rows, machine: Machine) -> None:
    """Carry what the provider tells about time and price over to the row.

    A provider's clock may be wrong: what it says of a beginning is believed between the moment at which we were about
    to ask and now.
    """
    row = rows.instance
    if row.machine_at is None:
        return
    began = _attempt_began(rows)
    created_at = None
    if machine.created_at is not None:
        created_at = min(max(machine.created_at, began), rows.now)
    told = any(each is not None for each in (machine.running_s, machine.paid_until, machine.billed_nano))
    drifted = machine.price_nano_per_hour is not None and machine.price_nano_per_hour != row.price_nano_per_hour
    meter = row.meter
    if meter is None and (told or drifted):
        meter = ProviderMeter(row.price_nano_per_hour, row.machine_at)
    if meter is not None:
        # Between the look and this commit a probe or a wait for a turn may lie.
        seen_at = rows.now if machine.seen_at is None else min(machine.seen_at, rows.now)
        meter = meter.seen(
            seen_at, running=machine.status is MachineStatus.RUNNING, running_s=machine.running_s,
            created_at=created_at, paid_until=machine.paid_until, price=machine.price_nano_per_hour,
            standby=machine.standby_nano_per_hour, billed_nano=machine.billed_nano, first=row.cost_until is None,
        )  # fmt: skip
    rows.instance = replace(
        row, meter=meter, machine_at=created_at if created_at is not None and not row.cost_nano else row.machine_at,
        provider_expire_at=machine.expires_at if machine.expires_at is not None else row.provider_expire_at,
    )  # fmt: skip


def _attempt_began(rows: Rows) -> int:
    attempts = rows.create.attempts if rows.create is not None else ()
    return attempts[-1].started_at if attempts else rows.instance.created_at
