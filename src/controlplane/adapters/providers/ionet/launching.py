"""What a purchase at io.net says, and what its answers mean."""

from __future__ import annotations

import json
from typing import Any

from controlplane.adapters.providers.http import Answer, Refused
from controlplane.adapters.providers.http.outcomes import not_bought, refused
from controlplane.adapters.providers.http.values import decimal, identifier, natural, price
from controlplane.adapters.providers.ionet import envelope
from controlplane.adapters.providers.ionet.hardware import Order
from controlplane.domain.instance import Wish
from controlplane.ports.provider import (
    Created,
    LaunchMode,
    LaunchOutcome,
    LaunchSpec,
    ProviderError,
    Stockout,
    TooDear,
)

HOURS = 1  # bought at the start; who stays longer extends

_IMAGES = ("general", "datascience")
_STOCK_WORDS = (
    "capacity", "not available", "no available", "no longer available", "unavailable", "out of stock", "sold out",
    "replicas",
)  # fmt: skip
_ANYWHERE = ["0.0.0.0/0"]
_NOT_SOLD = frozenset({400, 404, 409, 410, 422})  # of a quote: this is not, or no more, to be had like that


def refusal(wish: Wish | LaunchSpec) -> str:
    """Why no machine of io.net can be what is asked for; empty if one can."""
    if wish.mode == LaunchMode.MODEL:
        return "io.net machines are rented with SSH; they serve no models"
    if wish.template:
        return "io.net has no templates"
    if wish.image and wish.image not in _IMAGES:
        return f"io.net machines run one of its own images ({' or '.join(_IMAGES)}), not container images"
    if wish.env or wish.on_start:
        return "io.net machines take no environment variables and no start command"
    return ""


def mistake(spec: LaunchSpec) -> str:
    """Why this launch cannot be; empty if it can."""
    if why := refusal(spec):
        return why
    if spec.disk_gb > spec.offer.disk_gb > 0:
        return f"the machine has a disk of {spec.offer.disk_gb} GB"
    return ""


def price_query(order: Order) -> dict[str, str]:
    """Parameters of the quote; the locations are a JSON array in one of them."""
    return {
        "hardware_id": str(order.deploy_id),
        "gpus_per_vm": str(order.gpus),
        "duration_hours": str(HOURS),
        "replica_count": "1",
        "currency": "usdc",
        "location_ids": json.dumps([order.location_id]),
    }


def quoted(quote: dict[str, Any]) -> int | None:
    """Nano-dollars per hour; None if the quote names no price."""
    total = decimal(quote.get("total_cost_usdc"))
    return price(total / HOURS) if total is not None else None


def unquoted(error: ProviderError) -> LaunchOutcome:
    """Of a launch whose quote failed. A quote is about one offer: where it is refused, the offer is gone."""
    if isinstance(error, Refused) and error.status in _NOT_SOLD:
        return Stockout("io.net does not sell it any more")
    return not_bought(error)


def unacceptable(quote: dict[str, Any], most_nano: int | None) -> LaunchOutcome | None:
    """Why not to buy at this quote; None if it is fine. An unreadable price is never below a cap."""
    counts = quote.get("available_replica_count")
    left = [natural(count, 1_000_000) or 0 for count in counts] if isinstance(counts, list) else []
    if left and not max(left):
        return Stockout("the quote says that none is left")
    if most_nano is None:
        return None
    hourly = quoted(quote)
    if hourly is None:
        return Stockout("the quote names no price")
    return TooDear(hourly) if hourly > most_nano else None


def body(spec: LaunchSpec, order: Order) -> dict[str, Any]:
    """The request; unknown fields would be refused.

    The control plane's key opens a full login: whether io.net takes key options is not documented, and a refused key
    would make every machine unusable.
    """
    request: dict[str, Any] = {
        "resource_private_name": spec.label,
        "hardware_id": order.deploy_id,
        "duration_hours": HOURS,
        "gpus_per_vm": order.gpus,
        "ssh_keys": {
            "probe": spec.probe_key,
            **{f"key-{number}": key for number, key in enumerate(spec.authorized_keys, start=1)},
        },
        "vm_image_type": spec.image or _IMAGES[0],
        "location_ids": [order.location_id],
    }
    if spec.ports:
        request["network_services"] = {
            f"tcp-{port}": {"port": port, "protocol": "tcp", "whitelist": _ANYWHERE} for port in spec.ports
        }
    return request


def outcome(answer: Answer, price_nano: int | None) -> LaunchOutcome:
    """What the answer to a purchase at that price means."""
    if machine_id := _machine_id(answer):
        return Created(machine_id, answer.sent_at, price_nano)
    return refused(answer, envelope.status_of(answer), _STOCK_WORDS)


def _machine_id(answer: Answer) -> str:
    try:
        told = envelope.data(answer)
    except ProviderError:
        return ""
    return next((id for name in ("deployment_id", "id", "resource_id") if (id := identifier(told.get(name)))), "")
