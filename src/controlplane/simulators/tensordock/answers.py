"""The ways in which TensorDock says no; there are at least three."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from controlplane.simulators.calls import Call, Refusal
from controlplane.simulators.tensordock.orders import issues
from controlplane.simulators.wire import Response, json_response, text

NO_NODES = "No available nodes found"
NO_ADDRESSES = "No available public IPs"
LOW_BALANCE = "Insufficient balance: a balance of at least 1 USD is required"
_B = TypeVar("_B", bound=BaseModel)


def parsed(model: type[_B], call: Call) -> _B:
    """A call's body. Raises Refusal."""
    try:
        return model.model_validate(call.body())
    except ValidationError as error:
        raise Refusal(invalid(issues(error))) from None


def failed(words: str, *, status: int = 400, http_status: int = 200) -> Response:
    """A failure inside a 200, as the deploying part of the service puts it."""
    return json_response(http_status, {"status": status, "error": words})


def invalid(found: list[dict[str, Any]]) -> Response:
    """A body that breaks the schema: a bare array."""
    return json_response(400, found)


def errors(status: int, title: str, detail: str) -> Response:
    """A JSON:API error."""
    return json_response(status, {"errors": [{"status": str(status), "title": title, "detail": detail}]})


def too_many(form: str, retry_after_s: int) -> Response:
    """429."""
    headers = {"retry-after": str(retry_after_s)} if retry_after_s else {}
    words = "Too many requests: 100 requests per minute per organization"
    if form == "text":
        return text(429, words, headers)
    body = {"errors": [{"status": "429", "title": "Too Many Requests", "detail": words}]}
    return json_response(429, body, headers)
