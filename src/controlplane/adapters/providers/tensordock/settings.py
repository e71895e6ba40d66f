"""Settings of the TensorDock adapter."""

from __future__ import annotations

from dataclasses import dataclass, field

URL = "https://dashboard.tensordock.com/api/v2"


@dataclass(frozen=True, slots=True)
class TensordockSettings:
    """The credential, and where the API is.

    `authorization_id` belongs to the older way of authenticating, by query parameters, which some accounts need for
    some routes; without it only the bearer token is used.
    """

    api_token: str = field(repr=False)
    authorization_id: str = field(default="", repr=False)
    url: str = URL
