"""Machines of Vast.ai that serve by their image's own entrypoint, and have no SSH: what the image is told, and where it
answers [providers.md 2.2]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.adapters.providers.http import values
from controlplane.domain.instance import Wish
from controlplane.ports.provider import LaunchSpec

RUNTYPE = "args"
PORT = 8000  # inside the container, where the wish names none

_PORT_NAME = "GPUPLANE_PORT"
"""The variable that holds that port. A machine's row shows it again: of several mapped ports it tells the server's."""


@dataclass(frozen=True, slots=True)
class _Family:
    """Images that take the same options."""

    name: str  # a part of their names
    model: str
    host: str
    quantization: str


_FAMILIES = (
    _Family("text-generation-inference", "--model-id", "--hostname", "--quantize"),
    _Family("vllm", "--model", "--host", "--quantization"),
)


def refusal(wish: Wish | LaunchSpec, image: str) -> str:
    """Why an image cannot serve what is asked for; empty if it can, or while the image is not known yet (empty)."""
    if wish.on_start:
        return "Vast.ai runs no start command on machines that serve by their image's own entrypoint (on_start)"
    if wish.model.startswith("-") or wish.quantization.startswith("-"):
        return "model and quantization become arguments of the image, and must not begin with a hyphen"
    if wish.model and image and _family(image) is None:
        names = " or ".join(family.name for family in reversed(_FAMILIES))
        return f"only images of {names} are known to take a model's name; leave out the model for {image[:200]}"
    return ""


def arguments(spec: LaunchSpec, image: str) -> list[str]:
    """Of the image's entrypoint; none where it serves something of its own."""
    family = _family(image)
    if not spec.model or family is None:
        return []
    options = {
        family.model: spec.model, family.host: "0.0.0.0", "--port": str(ports(spec)[0]),
        "--api-key": spec.model_api_key, family.quantization: spec.quantization,
    }  # fmt: skip
    return [word for option, value in options.items() if value for word in (option, value)]


def ports(spec: LaunchSpec) -> tuple[int, ...]:
    """The ports to open; the first is where the image serves."""
    return spec.ports or (PORT,)


def environment(spec: LaunchSpec) -> dict[str, str]:
    """What the image is told beside its arguments."""
    return {_PORT_NAME: str(ports(spec)[0])}


def only_serves(row: Mapping[str, Any]) -> bool:
    """Whether a machine keeps its image's entrypoint, and so has no SSH."""
    return row.get("image_runtype") == RUNTYPE


def port_of(row: Mapping[str, Any]) -> int | None:
    """Where a machine serves, inside its container."""
    pairs = row.get("extra_env")
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, list) and len(pair) == 2 and pair[0] == _PORT_NAME:
            return values.natural(pair[1], 65_535)
    return None


def _family(image: str) -> _Family | None:
    return next((family for family in _FAMILIES if family.name in image.lower()), None)
