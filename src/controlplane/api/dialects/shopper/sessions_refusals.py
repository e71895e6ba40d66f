"""Refusals of sessions that the document does not foresee and the vendor's server has."""

from __future__ import annotations

from controlplane.domain.errors import FailedPrecondition


class ProvisionFailed(FailedPrecondition):
    """The marketplace refused the request, the credential, or the account's funds: another offer of it may do no
    better."""

    reason = "PROVIDER_REFUSED"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.extras = {"error_type": "provision_failed", "retry_suggested": False}
