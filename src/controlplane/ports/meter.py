"""Counting and timing as a port; what is counted is named here, how it is published is the adapter's business."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Count(StrEnum):
    """Things that happen. The labels that each takes, in order, stand behind it."""

    STEPS = "steps"  # state, outcome
    ORPHANS = "orphans"
    GHOSTS = "ghosts"
    DESTROY_FAILURES = "destroy_failures"
    SSH_VERIFY_FAILURES = "ssh_verify_failures"
    PROVIDER_ERRORS = "provider_errors"  # provider, operation
    MARKETPLACE_ANSWERS = "marketplace_answers"  # provider, call, what came: 2xx, 4xx, 429, 5xx, none
    WEBHOOK_ATTEMPTS = "webhook_attempts"  # outcome: delivered, retried, failed
    WEBHOOK_GAPS = "webhook_gaps"


class Timing(StrEnum):
    """Things that take time, in seconds."""

    PROVISIONING = "provisioning"  # provider: from acceptance to RUNNING
    SSH_VERIFY = "ssh_verify"  # from the machine's creation to the first login
    PROVIDER_CALL = "provider_call"  # provider, operation


class Meter(Protocol):
    """Takes counts and times; never fails, never waits."""

    def count(self, what: Count, *labels: str) -> None:
        """It happened once more."""
        ...

    def observe(self, what: Timing, seconds: float, *labels: str) -> None:
        """It took that long."""
        ...


class NoMeter:
    """For those who do not look."""

    def count(self, what: Count, *labels: str) -> None:
        """Nothing."""

    def observe(self, what: Timing, seconds: float, *labels: str) -> None:
        """Nothing."""
