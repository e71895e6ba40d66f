"""Deployments of io.net as machines."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from controlplane.adapters.providers.http.values import decimal, identifier, natural, price, text
from controlplane.adapters.providers.ionet.launching import HOURS
from controlplane.domain.money import nano
from controlplane.ports.provider import Machine, MachineStatus, SshEndpoint

_HOUR_US = 3_600_000_000
_STATUS = {
    "unpaid": MachineStatus.PROVISIONING,
    "deployment requested": MachineStatus.PROVISIONING,
    "deploying": MachineStatus.STARTING,
    "running": MachineStatus.RUNNING,
    "termination requested": MachineStatus.STOPPING,
    "failed": MachineStatus.FAILED,
    "completed": MachineStatus.GONE,
    "destroyed": MachineStatus.GONE,
    "terminated": MachineStatus.GONE,
}
ENDED = frozenset({MachineStatus.GONE, MachineStatus.FAILED})
"""What io.net never leaves again: nothing is left, and what was not delivered was refunded."""

_WITH_VALUE = frozenset("BbcDEeFIiLlmoOPpQRSWw")  # options of ssh that take a word
_ADDRESS = re.compile(r"\[?([A-Za-z0-9:][A-Za-z0-9.:-]{0,252})\]?")  # neither this nor the user reads as an option
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_MOST_PAID = 100_000_000  # dollars, for one machine: beyond lies nonsense


@dataclass(frozen=True, slots=True)
class Row:
    """What every sight of a deployment says: the list's rows and the details alike."""

    id: str
    label: str  # only the list tells it
    status: MachineStatus
    word: str
    bought_hours: int  # 0: not told


def row(value: Any) -> Row | None:
    """None if it does not even say which deployment it is about."""
    machine_id = identifier(value.get("id")) if isinstance(value, dict) else ""
    if not machine_id:
        return None
    word = " ".join(re.split(r"[\s_-]+", text(value.get("status")).lower()))
    minutes = [natural(value.get(f"compute_minutes_{part}"), 10_000_000) or 0 for part in ("served", "remaining")]
    return Row(machine_id, text(value.get("name")), _STATUS.get(word, MachineStatus.UNKNOWN), word,
               (sum(minutes) + 30) // 60)  # fmt: skip


def brief(seen: Row) -> Machine:
    """The machine as far as a row of the list tells."""
    message = "" if seen.status is MachineStatus.RUNNING else f"io.net says {seen.word or 'nothing'}"
    return Machine(seen.id, seen.label, seen.status, message=message)


def full(seen: Row, details: dict[str, Any], ssh: SshEndpoint | None) -> Machine:
    """The machine with its times and money.

    Hours are counted as paid from the creation on: so is our cost what io.net took, and an extension is paid early
    rather than late. The end itself counts from the start, where that is told. The price is what the first purchase
    cost; later ones only add to a sum. Once it has ended, the minutes no longer say what was bought.
    """
    machine = brief(seen)
    created, started = instant(details.get("created_at")), instant(details.get("started_at"))
    live = seen.status not in ENDED
    hours = seen.bought_hours if live else 0
    paid = decimal(details.get("amount_paid"))
    begun = started or created
    return Machine(
        seen.id, seen.label, seen.status, ssh=ssh, message=machine.message, created_at=created,
        price_nano_per_hour=price(paid / hours) if paid is not None and hours == HOURS else None,
        billed_nano=nano(paid) if paid is not None and 0 <= paid <= _MOST_PAID else None,
        paid_until=created + hours * _HOUR_US if created is not None and hours else None,
        expires_at=begun + hours * _HOUR_US if begun is not None and hours else None,
        ended_at=None if live else instant(details.get("finished_at")),
    )  # fmt: skip


def instant(value: Any) -> int | None:
    """Microseconds of a time in ISO 8601; io.net's are UTC also where they do not say so. None for anything else."""
    try:
        told = datetime.fromisoformat(text(value))
    except ValueError:
        return None
    told = told if told.tzinfo else told.replace(tzinfo=UTC)
    return int(told.timestamp()) * 1_000_000 + told.microsecond if 2001 <= told.year <= 2100 else None


def endpoint(command: Any) -> SshEndpoint | None:
    """Where SSH answers, from the command line that io.net shows (`ssh -p 22022 ubuntu@203.0.113.7`).

    None while there is none, and for what this cannot reach: a jump host.
    """
    try:
        words = shlex.split(text(command))
    except ValueError:
        return None
    user, host, port = "", "", "22"
    rest = iter(words[1:] if words[:1] == ["ssh"] else ())
    for word in rest:
        if not word.startswith("-"):
            host = host or word
            continue
        value = (word[2:] or next(rest, "")) if word[1:2] in _WITH_VALUE else ""
        if word[1:2] == "J" or (word[1:2] == "o" and value.lower().startswith("proxy")):
            return None
        user, port = (value if word[1:2] == "l" else user), (value if word[1:2] == "p" else port)
    named, _, address = host.rpartition("@")
    user = named or user
    match, number = _ADDRESS.fullmatch(address), natural(port, 65535)
    return SshEndpoint(match[1], number, user) if match and number and _USER.fullmatch(user) else None
