"""Offers, templates and states in this API's words, and its parameters read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from gpuplane.dialects.shopper.v1 import inventory_pb2, templates_pb2

from controlplane.api.dialects.shared import rfc3339
from controlplane.domain.errors import invalid
from controlplane.domain.money import NANO
from controlplane.domain.offer import Offer
from controlplane.domain.state import State
from controlplane.domain.template import Scalar, Template

DIALECT = "shopper"

CONSUMER = "shopper/consumer_id"
"""The label that makes an instance a session, and names its consumer."""

PROVISIONING, RUNNING, STOPPING, STOPPED, FAILED = "provisioning", "running", "stopping", "stopped", "failed"

STATES = {
    State.ACCEPTED: PROVISIONING,  # `pending` is over by the time of the first answer
    State.ALLOCATING: PROVISIONING,
    State.STARTING: PROVISIONING,
    State.RUNNING: RUNNING,
    State.STOPPING: STOPPING,
    State.STOPPED: STOPPED,
    State.TERMINATED: STOPPED,
    State.FAILED: FAILED,
}

STATUSES = ("pending", PROVISIONING, RUNNING, STOPPING, STOPPED, FAILED)
"""Every documented status."""

HOUR_S = 3600
_WHOLE = re.compile(r"[+-]?\d{1,10}")
_INT32 = 2**31 - 1
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def whole(text: str, name: str, least: int, rule: str) -> int | None:
    """A whole number from `least` up, as `rule` says in words; None for an empty text."""
    if not text:
        return None
    number = int(text) if _WHOLE.fullmatch(text) else None
    if number is None or number > _INT32:
        raise invalid(name, f"must be a whole number up to {_INT32}", text)
    if number < least:
        raise invalid(name, rule, text)
    return number


def fraction(text: str, name: str, most: float = math.inf) -> Decimal | None:
    """A number from 0 to `most`; None for an empty text."""
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number.adjusted() > 9:
        raise invalid(name, "must be a number", text)
    if not 0 <= number <= most:
        raise invalid(name, f"must be from 0 to {most:g}" if math.isfinite(most) else "must not be negative", text)
    return number


def truth(text: str, name: str) -> bool | None:
    """`true` or `false`, in the spellings that the vendor's clients send; None for an empty text."""
    if text and text not in _TRUE | _FALSE:
        raise invalid(name, "must be true or false", text)
    return text in _TRUE if text else None


def offer_shown(offer: Offer, available: bool) -> inventory_pb2.Offer:
    """An offer without the confidence in it."""
    hours = offer.max_duration_s // HOUR_S
    return inventory_pb2.Offer(
        id=offer.id,
        provider=offer.provider,
        provider_id=offer.id.removeprefix(f"{offer.provider}-"),
        gpu_type=offer.gpu_type,
        gpu_count=offer.gpu_count,
        vram_gb=offer.vram_gb,
        price_per_hour=offer.price_nano_per_hour / NANO,
        location=offer.location,
        reliability=offer.reliability or 0.0,
        available=available,
        max_duration_hours=max(1, hours) if offer.max_duration_s else 0,  # 0 would say that there is no limit
        fetched_at=rfc3339(offer.seen_at),
        cuda_version=offer.cuda_version or None,
        simulated=offer.simulated or None,
    )


def template_shown(template: Template) -> templates_pb2.Template:
    """A template, with what only its vendor says of it."""
    said = template.vendor
    return templates_pb2.Template(
        id=_number(said, "id"),
        hash_id=template.id,
        name=template.name,
        image=image_of(template),
        tag=str(said.get("tag", "")),
        env=str(said.get("env", "")),
        onstart=template.on_start,
        runtype=_text(said, "runtype"),
        use_ssh=template.ssh,
        ssh_direct=bool(said["ssh_direct"]) if "ssh_direct" in said else None,
        recommended=template.recommended,
        recommended_disk_space=template.disk_gb,
        extra_filters=_text(said, "extra_filters"),
        creator_id=_number(said, "creator_id"),
        created_at=rfc3339(template.created_at) if template.created_at is not None else None,
        count_created=_number(said, "count_created"),
    )


def template_in_short(template: Template) -> inventory_pb2.CompatibleTemplate:
    """A template as lists of compatible ones show it."""
    return inventory_pb2.CompatibleTemplate(
        hash_id=template.id,
        name=template.name,
        image=image_of(template),
        recommended_disk_space=template.disk_gb,
    )


def image_of(template: Template) -> str:
    """The image without its tag, which this API shows apart."""
    tag = template.vendor.get("tag")
    return template.image.removesuffix(f":{tag}") if tag else template.image


def _number(said: Mapping[str, Scalar], name: str) -> int | None:
    value = said.get(name)
    return int(value) if isinstance(value, (int, float)) and 0 <= value <= _INT32 else None


def _text(said: Mapping[str, Scalar], name: str) -> str | None:
    return str(said[name]) if name in said else None
