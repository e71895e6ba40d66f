"""Committed changes, numbered: what Watch streams are made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EventKind(StrEnum):
    """What an event is about."""

    INSTANCE = "INSTANCE"
    OPERATION = "OPERATION"
    BUDGET = "BUDGET"


@dataclass(frozen=True, slots=True)
class Event:
    """One committed change. `seq` orders all events of the store without gaps; `body` is the serialized canonical
    message (InstanceEvent or OperationEvent) without resume token."""

    seq: int
    id: str
    kind: EventKind
    account_id: str
    subject_id: str  # instance, operation or budget
    at: int
    body: bytes
    revision: int = 0  # of the subject after the change
    final: bool = False  # nothing can follow for this subject
