"""What the Vast.ai API looks like: paths, limits of its endpoints, and answers that are errors in disguise."""

from __future__ import annotations

from typing import Any

from controlplane.adapters.providers.http import Answer, NotUnderstood, Rate, Refused

BUNDLES = "/api/v0/bundles/"
INSTANCES = "/api/v1/instances/"  # the list; its v0 twin is dead, all else is v0
TEMPLATES = "/api/v0/template/"


def ask_path(ask_id: str) -> str:
    """Where an offer is taken."""
    return f"/api/v0/asks/{ask_id}/"


def instance_path(machine_id: str, rest: str = "") -> str:
    """One machine, or something of it."""
    return f"/api/v0/instances/{machine_id}/{rest}"


def logs_path(machine_id: str) -> str:
    """Where a machine's log is asked for."""
    return f"/api/v0/instances/request_logs/{machine_id}/"


# Least seconds between two calls of an endpoint by one key, from the vendor's OpenAPI files. Searches are limited by
# address; part of them is kept for the price checks of purchases.
RATES = {
    "launch": Rate(interval_s=4.5, penalty_s=12.0),
    "destroy": Rate(interval_s=3.0, penalty_s=6.0, urgent=True),
    "stop": Rate(interval_s=1.0, urgent=True),
    "attach_key": Rate(interval_s=1.0),
    "show": Rate(interval_s=2.0),
    "list": Rate(interval_s=1.0),
    "search": Rate(per_minute=10, reserve=5),
    "offers": Rate(pool="search"),
    "price": Rate(pool="search", urgent=True),
    "templates": Rate(interval_s=3.0),
    "charges": Rate(interval_s=1.0),
    "logs": Rate(interval_s=1.5),  # not documented; that of running a command, which it is a form of
}

_AUTH_WORDS = ("auth_error", "invalid user key", "requires login", "not authorized")


def is_auth(answer: Answer) -> bool:
    """Whether our key was refused, in whatever status: a bad key is also answered with 404."""
    failed = not answer.ok or (isinstance(answer.value, dict) and answer.value.get("success") is False)
    return answer.status == 401 or (failed and answer.says(*_AUTH_WORDS))


def is_absent(answer: Answer) -> bool:
    """Whether the answer says that there is no such machine; a bare 404 does not, nor does a machine's own message."""
    told = answer.value if answer.is_json and isinstance(answer.value, dict) else {}
    failed = answer.status == 404 or told.get("success") is False
    words = f"{told.get('error')} {told.get('msg')}"
    return failed and not is_auth(answer) and ("no_such_instance" in words or "not_found" in words)


def is_attached(answer: Answer) -> bool:
    """Whether the answer says that a machine has the SSH key already. That is not documented; other people's clients
    expect it where a call is repeated after a lost answer."""
    return not is_auth(answer) and answer.says("already attached", "already exists")


class KeyRefused(Refused):
    """The provider did not accept our key."""


def well_formed(answer: Answer) -> dict[str, Any]:
    """The object of a success. Raises KeyRefused, Refused for an error in any
    disguise, or NotUnderstood."""
    if is_auth(answer):
        raise KeyRefused(f"the API key was refused (status {answer.status})", answer.status)
    found = answer.object()
    if found.get("success") is False:
        raise Refused(f"the answer says failure: {answer.reason or 'no reason given'}", answer.status)
    return found


def rows(answer: Answer, name: str) -> list[Any]:
    """The list of that name in a success. Raises as `well_formed` does."""
    found = well_formed(answer).get(name)
    if not isinstance(found, list):
        raise NotUnderstood(f"status {answer.status} without a list of {name}")
    return found
