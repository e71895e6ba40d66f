"""The generated stubs by the words that users know them by."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Services:
    """One attribute per service of `gpuplane.v1`."""

    instances: Any
    offers: Any
    operations: Any
    keys: Any
    usage: Any
    budgets: Any
    webhooks: Any
    accounts: Any
    system: Any

    def __init__(self, channel: Any) -> None:
        for name, module in _MODULES.items():
            stubs = import_module(f"gpuplane.v1.{module}_service_pb2_grpc")
            setattr(self, name, getattr(stubs, f"{name.capitalize()}Stub")(channel))


_MODULES = {
    "instances": "instance",
    "offers": "offer",
    "operations": "operation",
    "keys": "key",
    "usage": "usage",
    "budgets": "budget",
    "webhooks": "webhook",
    "accounts": "account",
    "system": "system",
}
