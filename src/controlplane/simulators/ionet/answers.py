"""The ways in which io.net says no: one shape for business, one for credentials, one for bad bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from controlplane.simulators.calls import Call, Refusal
from controlplane.simulators.ionet.orders import details
from controlplane.simulators.stock import usd
from controlplane.simulators.wire import Response, json_response, text

_B = TypeVar("_B", bound=BaseModel)


def parsed(model: type[_B], call: Call) -> _B:
    """A call's body. Raises Refusal."""
    return _checked(model, call.body(), "body")


def asked(model: type[_B], call: Call) -> _B:
    """A call's query. Raises Refusal."""
    return _checked(model, {name: values[0] for name, values in call.request.query.items()}, "query")


def failed(status: int, words: str) -> Response:
    """A rule of the business is broken."""
    return json_response(status, {"status": "failed", "error": words})


def invalid(found: list[dict[str, Any]]) -> Response:
    """422."""
    return json_response(422, {"detail": found})


def too_many_gpus(field: str, most: int) -> Response:
    """More GPUs than the hardware has: a limit of the server's settings, not of the schema."""
    words = f"Input should be less than or equal to {most}"
    return invalid([{"loc": ["body", field], "msg": words, "type": "less_than_equal"}])


def not_found() -> Response:
    """No such deployment, or one of another account."""
    return failed(404, "Deployment not found")


def no_hardware() -> Response:
    """No such hardware id."""
    return failed(404, "Hardware not found")


def no_route() -> Response:
    """No such path."""
    return json_response(404, {"detail": "Not Found"})


def no_stock(http_status: int = 400) -> Response:
    """Nothing of that hardware is left."""
    return failed(http_status, "Not enough available replicas for the selected hardware and location")


def no_funds(nano: int) -> Response:
    """The credits do not cover a purchase. The status is a guess: no document has it."""
    return failed(402, f"Insufficient credits: {usd(nano):.2f} USDC required")


def unauthorized(form: str) -> Response:
    """A missing or bad key."""
    if form == "403":
        return failed(403, "This API key has no access to the project")
    return json_response(401, {"detail": "Invalid API key"})


def too_many(form: str, retry_after_s: int) -> Response:
    """429."""
    headers = {"retry-after": str(retry_after_s)} if retry_after_s else {}
    words = "Rate limit exceeded: 300 requests per minute"
    return text(429, words, headers) if form == "text" else json_response(429, {"detail": words}, headers)


def _checked(model: type[_B], values: Mapping[str, Any], where: str) -> _B:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise Refusal(invalid(details(error, where))) from None
