"""io.net's envelopes: `{"data": ...}` around everything, lists under varying names."""

from __future__ import annotations

from typing import Any

from controlplane.adapters.providers.http import Answer, NotUnderstood, Refused


def status_of(answer: Answer) -> int:
    """The status that counts: a failure may come with a good one."""
    failed = isinstance(answer.value, dict) and answer.value.get("status") == "failed" and "error" in answer.value
    return 400 if answer.ok and failed else answer.status


def check(answer: Answer) -> dict[str, Any]:
    """The JSON object that a success is. Raises Refused or NotUnderstood."""
    status = status_of(answer)
    if status != answer.status:
        raise Refused(f"status {answer.status}, but failed: {answer.reason}", status)
    return answer.object()


def data(answer: Answer) -> dict[str, Any]:
    """The object inside. Raises Refused for an error, NotUnderstood for anything that is no object."""
    outside = check(answer)
    inside = outside.get("data", outside)
    if not isinstance(inside, dict):
        raise NotUnderstood("the answer holds no object where one belongs")
    return inside


def items(answer: Answer, *names: str) -> tuple[list[Any], dict[str, Any]]:
    """The list inside, bare or under one of these names, and what stands beside it. Raises as `data`."""
    inside = check(answer).get("data")
    if isinstance(inside, list):
        return inside, {}
    beside = data(answer)
    found = next((beside[name] for name in names if isinstance(beside.get(name), list)), None)
    if found is None:
        raise NotUnderstood(f"the answer holds no list of {names[0]}")
    return found, beside
