"""One call of a marketplace's API, and the table by which it finds its handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.simulators.wire import Request, Response


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the marketplace's API, being served. `faults` are those that befall it."""

    endpoint: str
    request: Request
    client: str
    now: float
    faults: frozenset[str]
    path: Mapping[str, str]

    def body(self) -> dict[str, Any]:
        """The body as a JSON object. Raises Refusal when it is none."""
        try:
            value = self.request.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise BadBody
        return value


class Refusal(Exception):
    """A call ends here, with this answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class BadBody(Exception):
    """The body is no JSON object; the model has its own words for that (`Marketplace.bad_body`)."""


Handler = Callable[[Call], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """A call of the API. `pattern` is matched against the whole path without its trailing slash; named groups reach
    the handler by `Call.path`. `open`: needs no key.
    """

    method: str
    pattern: str
    endpoint: str
    handler: Handler
    open: bool = False
