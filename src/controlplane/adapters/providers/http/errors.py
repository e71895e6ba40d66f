"""How a call to a marketplace can fail. All are ProviderErrors: what an adapter does not catch may leave it."""

from __future__ import annotations

from controlplane.ports.provider import ProviderError


class NotSent(ProviderError):
    """The request provably never left: no connection was made."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s, undone=True)


class Held(NotSent):
    """We did not send it ourselves: the provider is known to be down, or its limits leave no turn in time."""


class Unclear(ProviderError):
    """The request may have taken effect; its answer was lost, broken off or not in time."""


class Refused(ProviderError):
    """The provider answered, with an error."""

    def __init__(self, message: str, status: int, *, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s, undone=status < 500)
        self.status = status


class NotUnderstood(ProviderError):
    """The provider answered, and the answer is not what its documentation says: HTML, empty, cut or misshapen."""
