"""Rules that several requests share. Each refusal names field, rule and value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from controlplane.domain.account import Account
from controlplane.domain.errors import AlreadyExists, FailedPrecondition, PermissionDenied, invalid
from controlplane.domain.instance import Instance
from controlplane.domain.principal import Principal
from controlplane.domain.state import State

_LABEL_KEY = re.compile(r"[A-Za-z0-9._/-]{1,63}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def check_name(name: str, *, required: bool = False) -> None:
    """0 (or 1) to 63 printable characters."""
    least = 1 if required else 0
    if not least <= len(name) <= 63 or not (name.isprintable()):
        raise invalid("name", f"must be {least} to 63 printable characters", name)


def check_labels(labels: Mapping[str, str]) -> None:
    """At most 64 labels with bounded keys and values."""
    if len(labels) > 64:
        raise invalid("labels", "must have at most 64 entries", len(labels))
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            raise invalid("labels", "keys must be 1 to 63 characters of [A-Za-z0-9._/-]", key)
        if len(value) > 255:
            raise invalid(f"labels[{key}]", "must be at most 255 characters", value)


def check_sole(labels: Mapping[str, str], sole: Sequence[str], live: Iterable[Instance]) -> None:
    """Refuse an instance whose labels named by `sole` another active one has, too: one that neither ends nor stands
    still."""
    for other in live:
        same = all(other.labels.get(name) == labels.get(name) for name in sole)
        if same and not other.ending and other.state not in (State.STOPPING, State.STOPPED):
            shown = ", ".join(f"{name}={labels.get(name)}" for name in sole)
            raise AlreadyExists(
                f"instance {other.id} with the labels {shown} is {other.state}",
                resource="instance", field="labels", value=shown, id=other.id, state=other.state,
            )  # fmt: skip


def check_env(env: Mapping[str, str]) -> None:
    """At most 64 variables, 32 KiB in all, no NUL."""
    if len(env) > 64:
        raise invalid("env", "must have at most 64 entries", len(env))
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            raise invalid("env", "names must be letters, digits and underscores, not starting with a digit", name)
        if "\0" in value:
            raise invalid(f"env[{name}]", "must not contain NUL", "...")
    size = sum(len(name.encode()) + len(value.encode()) for name, value in env.items())
    if size > 32 * 1024:
        raise invalid("env", "must be at most 32768 bytes in all", size)


def check_length(field: str, value: str, most: int) -> None:
    """At most so many characters, all printable."""
    if len(value) > most:
        raise invalid(field, f"must be at most {most} characters", f"{len(value)} characters")
    if not value.isprintable():
        raise invalid(field, "must be printable", value)


def check_count(field: str, values: Sequence[object], most: int) -> None:
    """At most so many entries."""
    if len(values) > most:
        raise invalid(field, f"must have at most {most} entries", len(values))


def check_tenant(caller: Principal) -> None:
    """Refuse an operator where an account would have to own what is made."""
    if caller.operator:
        raise PermissionDenied("an operator key has no account to own this; use a key of the account", scope="account")


def check_open(account: Account | None) -> Account:
    """The account, unless it is closed."""
    if account is None or account.closed_at is not None:
        raise FailedPrecondition("the account is closed", reason="ACCOUNT_CLOSED")
    return account
