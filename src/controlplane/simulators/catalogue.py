"""The marketplaces that can be simulated, by name. Each is loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from controlplane.simulators.marketplace import Marketplace

_MODELS = {
    "ionet": "ionet:IonetMarketplace",
    "tensordock": "tensordock:TensordockMarketplace",
    "vastai": "vastai:VastMarketplace",
}
NAMES = tuple(_MODELS)


def model(name: str) -> Any:
    """The model's class, a `Marketplace`; beside what that takes, `offers=N` is the number of its offers."""
    module, _, attribute = _MODELS[name].partition(":")
    return getattr(import_module(f"controlplane.simulators.{module}"), attribute)


def user(name: str) -> str:
    """Who logs in to its machines."""
    found: type[Marketplace[Any]] = model(name)
    return found.ssh_user
