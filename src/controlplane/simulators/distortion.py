"""Answers in wrong shapes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from controlplane.simulators.faults import Faults
from controlplane.simulators.wire import Response, html, json_response

_ABSURD: tuple[Any, ...] = (-1, -0.5, 0, 1e30, 10**24, None, "NaN", "cheap")
_ABSURD_SHARE = 0.1  # of the numbers in a search that is hit


def distorted(
    response: Response, hits: frozenset[str], faults: Faults, rng: Random, status_keys: frozenset[str]
) -> Response:
    """A good JSON answer as the faults have it; any other answer as it is. `status_keys` are the members that hold a
    machine's state.
    """
    if response.status not in (200, 201) or response.headers.get("content-type") != "application/json":
        return response
    if "html_200" in hits:
        return html(200, "Just a moment...")
    if "empty_200" in hits:
        return Response(200, b"", response.headers)
    if "truncated_json" in hits:
        return Response(response.status, response.body[: max(1, len(response.body) * 2 // 3)], response.headers)
    wanted = hits & {"numbers_as_strings", "unknown_status", "absurd_numbers"}
    if not wanted and not faults.extra_fields:
        return response
    value = response.json()
    if "unknown_status" in hits:
        value = _each_member(value, lambda key, old: "quiescing" if key in status_keys and old else old)
    if "absurd_numbers" in hits:
        value = _each_member(value, lambda _, old: _absurd(old, rng))
    if "numbers_as_strings" in hits:
        value = _each_member(value, lambda _, old: str(old) if _is_number(old) else old)
    if faults.extra_fields:
        value = _extended(value)
    return json_response(response.status, value, response.headers)


def _each_member(value: Any, change: Callable[[str, Any], Any]) -> Any:
    """The value with `change(key, member)` in place of every member that is no container."""
    if isinstance(value, list):
        return [_each_member(item, change) for item in value]
    if not isinstance(value, dict):
        return value
    return {k: _each_member(v, change) if isinstance(v, dict | list) else change(k, v) for k, v in value.items()}


def _extended(value: Any) -> Any:
    if isinstance(value, list):
        return [_extended(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {**{key: _extended(member) for key, member in value.items()}, "x_future": {"of": [1, None, "?"]}}


def _absurd(value: Any, rng: Random) -> Any:
    return rng.choice(_ABSURD) if _is_number(value) and rng.random() < _ABSURD_SHARE else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
