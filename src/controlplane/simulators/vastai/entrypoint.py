"""Instances of the simulated Vast.ai that keep their image's entrypoint (runtype args): they have no SSH, and what they
serve is at a port that the order publishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.simulators.machines import Service

RUNTYPE = "args"


def service_of(order: Mapping[str, Any]) -> Service:
    """What it serves, as far as its arguments are understood: those of vLLM and of text-generation-inference."""
    given = _options(order)
    return Service(given.get("--model") or given.get("--model-id") or "", given.get("--api-key", ""))


def served_port(order: Mapping[str, Any], published: Sequence[str]) -> str:
    """The inner port where it serves, as docker names it: the one that its arguments say, or else the first that is
    published. Empty when nobody can reach it."""
    said = _options(order).get("--port")
    inside = f"{said}/tcp" if said else next((port for port in published if port.endswith("/tcp")), "")
    return inside if inside in published else ""


def _options(order: Mapping[str, Any]) -> dict[str, str]:
    args = [str(arg) for arg in order.get("args") or []]
    return dict(zip(args[::2], args[1::2], strict=False))
