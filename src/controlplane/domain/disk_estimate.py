"""How much disk a language model needs: an estimate from its name, pure arithmetic.

Weights are parameters times bytes; fetching them takes half as much again; beside them lie the container image and the
system. Sizes are GB of 10^9 bytes, as model cards and marketplaces count.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal

_BYTES = {
    "FP32": Decimal(4),
    "FP16": Decimal(2),
    "BF16": Decimal(2),
    "FP8": Decimal(1),
    "INT8": Decimal(1),
    "AWQ": Decimal("0.5625"),  # four bits, and the scales of each group
    "GPTQ": Decimal("0.5625"),
    "INT4": Decimal("0.5"),
    **dict.fromkeys(("Q4", "4BIT", "NF4", "FP4", "MXFP4"), Decimal("0.5625")),
    **dict.fromkeys(("Q8", "8BIT"), Decimal(1)),
}
_FULL = _BYTES["FP16"]
_DOWNLOAD = Decimal("0.5")
_SYSTEM_GB, _IMAGE_GB, _TEMPLATE_IMAGE_GB = Decimal(5), Decimal(10), Decimal(15)
_COMFORT, _STEP_GB = Decimal("1.2"), 5

_SIZE = re.compile(r"(?:^|[^a-z0-9.])(?:(\d{1,3})x)?(\d{1,4}(?:\.\d{1,3})?)([bm])(?![a-z0-9])")
_UNNAMED = {"deepseek-v2": 236, "deepseek-coder-v2": 236, "deepseek-v3": 671, "deepseek-r1": 671}
"""Billions of parameters of models whose names do not tell."""


@dataclass(frozen=True, slots=True)
class DiskEstimate:
    """What a model needs, in GB, and of what that consists."""

    minimum_gb: int
    recommended_gb: int
    weights_gb: Decimal
    download_gb: Decimal
    image_gb: Decimal
    system_gb: Decimal


def estimate(model: str, quantization: str, *, template: bool, template_gb: int = 0) -> DiskEstimate | None:
    """The estimate for a model; None if its name does not tell its size. A template's own recommendation is the least
    that is recommended."""
    billions = parameters(model)
    if billions is None:
        return None
    weights = billions * _bytes_per_parameter(model, quantization)
    download = weights * _DOWNLOAD
    image = _TEMPLATE_IMAGE_GB if template else _IMAGE_GB
    total = weights + download + image + _SYSTEM_GB
    recommended = _STEP_GB * math.ceil(total * _COMFORT / _STEP_GB)
    return DiskEstimate(math.ceil(total), max(recommended, template_gb), weights, download, image, _SYSTEM_GB)


def parameters(model: str) -> Decimal | None:
    """Billions of parameters by a model's name: `70B`, `8x7B`, `135M`; None if it does not tell."""
    name = model.rpartition("/")[2].lower()
    if sizes := _SIZE.findall(f"-{name.replace(':', '-').replace('_', '-')}"):
        experts, size, unit = sizes[0]
        billions = Decimal(size) * (Decimal(experts) if experts else 1)
        return billions if unit == "b" else billions / 1000
    known = next(
        (key for key in sorted(_UNNAMED, key=len, reverse=True) if re.match(f"{re.escape(key)}(-|$)", name)), ""
    )
    return Decimal(_UNNAMED[known]) if known else None


def _bytes_per_parameter(model: str, quantization: str) -> Decimal:
    """As the caller says, else as the name says, else full precision. A word with something behind it is that word:
    `awq_marlin`, `GGUF-Q4`."""
    words = re.split(r"[^A-Z0-9]+", f"{quantization} {model}".upper())
    return next((_BYTES[word] for word in words if word in _BYTES), _FULL)
