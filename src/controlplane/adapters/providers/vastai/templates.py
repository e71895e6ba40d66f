"""Vast.ai's templates."""

from __future__ import annotations

import json
import re
import shlex
from decimal import Decimal
from itertools import pairwise
from typing import Any

from controlplane.adapters.providers.http import values
from controlplane.adapters.providers.vastai.offers import PROVIDER
from controlplane.domain.template import Constraint, Scalar, Template

_OPS = frozenset({"eq", "neq", "gt", "gte", "lt", "lte", "in", "notin"})
_MOST_ON_START = 4096
_MOST_DISK_GB = 1 << 20
_MOST_NUMBER = 2**31 - 1
_NUMBERS = ("id", "creator_id", "count_created")
_TEXTS = {"tag": 128, "env": 8192, "runtype": 64, "extra_filters": 8192}
_MOST_FLAGS = 16_384  # characters; splitting them as a shell does is slow
_ODD = re.compile("[\0\ud800-\udfff]")  # zero bytes and half characters: no store takes them, nor does the wire
_PORT = re.compile(r"(?:[\d.]+:)?(?:\d+:)?(\d{1,5})(?:/tcp)?\Z")


def template_of(row: Any) -> Template | None:
    """The template of a row; None if it names none."""
    if not isinstance(row, dict):
        return None
    hash_id, image = values.text(row.get("hash_id"), 128), values.text(row.get("image"), 1024)
    constraints = constraints_of(row.get("extra_filters"))
    odd = any(_ODD.search(words) for name in ("env", "onstart") if isinstance(words := row.get(name), str))
    if not hash_id or not image or constraints is None or odd:
        return None
    tag = values.text(row.get("tag"), 128)
    env, ports = flags_of(row.get("env"))
    on_start = row.get("onstart")
    return Template(
        id=hash_id, provider=PROVIDER, name=values.text(row.get("name")) or hash_id,
        image=f"{image}:{tag}" if tag else image, description=values.text(row.get("desc"), 2000), env=env, ports=ports,
        on_start=on_start[:_MOST_ON_START] if isinstance(on_start, str) else "",
        ssh=row.get("use_ssh") is not False, recommended=row.get("recommended") is not False,
        disk_gb=values.natural(row.get("recommended_disk_space"), _MOST_DISK_GB) or 0,
        created_at=values.moment(row.get("created_at")), constraints=constraints, vendor=_vendor(row),
    )  # fmt: skip


def _vendor(row: dict[str, Any]) -> dict[str, Scalar]:
    """What the vendor says beside what every template has; members that are absent or of another type are left out."""
    said: dict[str, Scalar] = {}
    for name in _NUMBERS:
        if (number := values.natural(row.get(name), _MOST_NUMBER)) is not None:
            said[name] = number
    for name, most in _TEXTS.items():
        if text := values.text(row.get(name), most):
            said[name] = text
    if isinstance(row.get("ssh_direct"), bool):
        said["ssh_direct"] = row["ssh_direct"]
    return said


def constraints_of(text: Any) -> tuple[Constraint, ...] | None:
    """Of `extra_filters`, a JSON text such as `{"num_gpus":{"gte":"2"}}`. None if it cannot be read: a template whose
    conditions are unknown fits nothing."""
    if text is None or text == "":
        return ()
    try:
        filters = json.loads(text, parse_float=Decimal) if isinstance(text, str) else text
    except (ValueError, RecursionError, ArithmeticError):
        return None
    if not isinstance(filters, dict):
        return None
    found = []
    for fact, condition in filters.items():
        for op, value in (condition if isinstance(condition, dict) else {"eq": condition}).items():
            wanted = _wanted(value)
            if op not in _OPS or wanted is None or _ODD.search(fact):
                return None
            found.append(Constraint(fact, op, wanted))
    return tuple(found)


def flags_of(text: Any) -> tuple[dict[str, str], tuple[int, ...]]:
    """Variables and TCP ports out of the flags of a `docker run`; other flags are the vendor's business."""
    env: dict[str, str] = {}
    ports: list[int] = []
    try:
        words = shlex.split(text) if isinstance(text, str) and len(text) <= _MOST_FLAGS else []
    except ValueError:
        words = text.split()
    for flag, value in pairwise(words):
        if flag in ("-e", "--env") and "=" in value:
            name, _, content = value.partition("=")
            env[name] = content
        elif flag in ("-p", "--publish") and (port := _PORT.match(value)) and 0 < int(port[1]) <= 65_535:
            ports.append(int(port[1]))
    return env, tuple(dict.fromkeys(ports))


def _wanted(value: Any) -> Scalar | tuple[Scalar, ...] | None:
    if isinstance(value, list):
        each = [_scalar(one) for one in value]
        return tuple(one for one in each if one is not None) if None not in each else None
    return _scalar(value)


def _scalar(value: Any) -> Scalar | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return None if _ODD.search(value) else value
    number = values.decimal(value)
    return None if number is None else float(number)
