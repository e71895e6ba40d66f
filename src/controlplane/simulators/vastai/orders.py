"""What a create asks for, checked by Vast.ai's documented rules."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.simulators.calls import Refusal
from controlplane.simulators.vastai.errors import error

LEAST_DISK_GB = 8.0
_DEFAULT_DISK_GB = 10.0
_LONGEST_IMAGE, _LONGEST_LABEL, _LONGEST_START = 1024, 256, 4096
_MOST_DISK_GB = 1_000_000.0
_MOST_PORTS = 64
_LEAST_PRICE, _MOST_PRICE = 0.001, 128.0
_RUNTYPE = re.compile(
    r"ssh|args|(ssh|jupyter)_(direct|proxy)|((jupyter_direc|jupyter_proxy) )?(ssh_direc )?(ssh_direc|ssh_proxy)"
)


@dataclass(frozen=True, slots=True)
class Order:
    """A create that can be served. `price_nano` (nano-dollars an hour) makes it a bid; `facts` is the body with what
    its template adds.
    """

    label: str
    disk_gb: float
    price_nano: int | None
    running: bool
    cancel_unavail: bool
    facts: dict[str, Any]


def read_order(body: Mapping[str, Any], templates: Sequence[Mapping[str, Any]]) -> Order:
    """Raises Refusal in the market's words."""
    facts = _with_template(dict(body), templates)
    _need(isinstance(facts.get("image"), str) and 0 < len(facts["image"]) <= _LONGEST_IMAGE, "image is required")
    label = facts.get("label") or ""
    _need(isinstance(label, str) and len(label) <= _LONGEST_LABEL, f"label: at most {_LONGEST_LABEL} characters")
    _check_env(facts.get("env") or {})
    _check_start(facts)
    state = facts.get("target_state") or "running"
    _need(state in ("running", "stopped"), "target_state: running or stopped")
    price = _price(facts.get("price"))
    unavailable = facts.get("cancel_unavail")
    return Order(
        label=label,
        disk_gb=_disk(facts.get("disk")),
        price_nano=price,
        running=state == "running",
        cancel_unavail=price is None if unavailable is None else bool(unavailable),
        facts=facts,
    )


def price_nano(value: Any, most: float) -> int:
    """A bid in nano-dollars an hour. Raises Refusal."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not _LEAST_PRICE <= value <= most:
        raise Refusal(error(400, "invalid_price", f"price must be from {_LEAST_PRICE} to {most:g}"))
    return round(value * 1e9)


def _price(value: Any) -> int | None:
    return None if value is None else price_nano(value, _MOST_PRICE)


def _disk(value: Any) -> float:
    disk_gb = _DEFAULT_DISK_GB if value is None else value
    is_number = isinstance(disk_gb, int | float) and not isinstance(disk_gb, bool)
    fits = is_number and LEAST_DISK_GB <= disk_gb <= _MOST_DISK_GB
    _need(fits, f"disk: at least {LEAST_DISK_GB:g} GB, and no more than a host could have")
    return float(disk_gb)


def _check_env(env: Any) -> None:
    _need(isinstance(env, dict), "env: must be an object of names and values, not docker flags")
    ports = [name for name in env if name.startswith("-p ")]
    _need(len(ports) <= _MOST_PORTS, f"env: at most {_MOST_PORTS} ports")


def _check_start(facts: Mapping[str, Any]) -> None:
    args = facts.get("args") or []
    _need(isinstance(args, list), "args: must be a list")
    length = sum(len(str(part)) for part in (*args, facts.get("args_str") or "", facts.get("onstart") or ""))
    _need(length <= _LONGEST_START, f"onstart, args and args_str: at most {_LONGEST_START} characters together")
    runtype = facts.get("runtype") or "ssh"
    _need(isinstance(runtype, str) and _RUNTYPE.fullmatch(runtype) is not None, f"runtype: unknown: {runtype}")


def _with_template(body: dict[str, Any], templates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the body leaves out, its template says."""
    wanted = body.get("template_hash_id")
    if not wanted:
        return body
    template = next((one for one in templates if one["hash_id"] == wanted), None)
    if template is None:
        raise Refusal(error(400, "invalid_args", f"no template with hash {str(wanted)[:64]}"))
    given = {name: value for name, value in body.items() if value not in (None, "")}
    base = {
        "image": f"{template['image']}:{template['tag']}",
        "onstart": template["onstart"],
        "disk": template["recommended_disk_space"],
        "runtype": "ssh_direct" if template["ssh_direct"] else template["runtype"],
    }
    return {**base, **given, "env": {**_env_of(template["env"]), **(given.get("env") or {})}}


def _env_of(flags: str) -> dict[str, str]:
    """A template's docker flags as a create's object."""
    words = shlex.split(flags)
    env = {}
    for flag, value in zip(words[::2], words[1::2], strict=False):
        name, _, given = value.partition("=")
        env.update({f"-p {value}": "1"} if flag == "-p" else {name: given})
    return env


def _need(fine: bool, rule: str) -> None:
    if not fine:
        raise Refusal(error(400, "invalid_args", rule))
