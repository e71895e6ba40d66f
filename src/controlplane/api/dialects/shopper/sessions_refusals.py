"""Refusals of sessions that the document does not foresee and the vendor's server has."""

from __future__ import annotations

from controlplane.domain.errors import FailedPrecondition, InvalidArgument


class ProvisionFailed(FailedPrecondition):
    """The marketplace refused the request, the credential, or the account's funds: another offer of it may do no
    better."""

    reason = "PROVIDER_REFUSED"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.extras = {"error_type": "provision_failed", "retry_suggested": False}


class InvalidRequest(InvalidArgument):
    """No machine of the offer's provider can be what is asked for, as it says itself."""

    def __init__(self, message: str) -> None:
        super().__init__(message, field="offer_id", rule="cannot be had with this request", value="")
        self.extras = {"error_type": "invalid_request", "retry_suggested": False}
