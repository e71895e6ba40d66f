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
    provider_credentials: Any
    accounts: Any
    strays: Any
    system: Any

    def __init__(self, channel: Any) -> None:
        for name, module in _MODULES.items():
            stubs = import_module(f"gpuplane.v1.{module}_service_pb2_grpc")
            stub = f"{name.title().replace('_', '')}Stub"
            setattr(self, name, getattr(stubs, stub)(channel))


_MODULES = {
    "instances": "instance",
    "offers": "offer",
    "operations": "operation",
    "keys": "key",
    "usage": "usage",
    "budgets": "budget",
    "webhooks": "webhook",
    "provider_credentials": "provider_credential",
    "accounts": "account",
    "strays": "stray",
    "system": "system",
}
