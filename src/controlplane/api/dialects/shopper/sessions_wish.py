"""A request for a session as a wish for an instance (seed 001; what it leaves open: docs/dialects/shopper.md)."""

from __future__ import annotations

from gpuplane.dialects.shopper.v1 import sessions_pb2 as pb

from controlplane.api.dialects.shopper.errors import InsufficientDisk
from controlplane.api.dialects.shopper.sessions_view import label
from controlplane.api.dialects.shopper.translate import CONSUMER, HOUR_S
from controlplane.domain import disk_estimate
from controlplane.domain.errors import InvalidArgument, invalid, not_found
from controlplane.domain.offer import Offer, Tier
from controlplane.domain.requirements import Requirements
from controlplane.domain.template import Template
from controlplane.ports.provider import LaunchMode
from controlplane.usecases import validation
from controlplane.usecases.core import Core
from controlplane.usecases.sellers import seller_for, unmet
from controlplane.usecases.wishes import CreateInstance

REQUIRED = ("consumer_id", "offer_id", "workload_type", "reservation_hours")
WORKLOADS = (
    "llm", "training", "batch",  # the seed's
    "llm_vllm", "llm_tgi", "interactive", "inference", "ssh", "benchmark",  # the vendor's server's
)  # fmt: skip
MAX_HOURS = 12
MAX_IDLE_MINUTES = MAX_HOURS * 60
DEFAULT_DISK_GB = 50
DEFAULT_RETRIES, MAX_RETRIES = 3, 5
SAME_GPU, SAME_VRAM, ANY = "same_gpu", "same_vram", "any"
PRICE_PERCENT = {SAME_GPU: 120, SAME_VRAM: 150, ANY: 200}
"""What another offer may cost of the first one's price, by the scope of retries."""

SSH, ENTRYPOINT = "ssh", "entrypoint"
DESTROY, PRESERVE = "destroy", "preserve"

SOLE = (CONSUMER, label("offer_id"))
"""A consumer has one active session on an offer."""


def wish_of(core: Core, account_id: str, request: pb.CreateSessionRequest) -> CreateInstance:
    """The wish, still without a key. Raises what is wrong with it, all missing fields together."""
    _check_fields(request)
    offer = core.offers.get(request.offer_id)
    if offer is None or offer.tier is not Tier.ON_DEMAND:  # as in the inventory, which shows no others
        raise not_found("offer", request.offer_id)
    template = _template(core, offer, request.template_hash_id)
    _check_disk(request, template)
    mode = request.launch_mode or SSH
    longest_s = min(MAX_HOURS * HOUR_S, core.policy.max_duration_s)
    if request.reservation_hours * HOUR_S > longest_s:
        raise invalid("reservation_hours", f"must be at most {longest_s / HOUR_S:g} here", request.reservation_hours)
    serves = mode == ENTRYPOINT
    wanted = _alternatives(request, offer) if request.auto_retry else None
    wish = CreateInstance(
        offer_id="" if wanted is not None else offer.id,
        requirements=wanted,
        labels=_labels(request, offer, mode, template),
        image=request.docker_image,
        disk_gb=_disk_gb(request, offer),
        mode=(LaunchMode.MODEL if serves else LaunchMode.SSH).value,
        model=request.model_id if serves else "",
        quantization=request.quantization if serves else "",
        template=request.template_hash_id,
        on_start=request.on_start_cmd,
        ports=tuple(request.exposed_ports),
        max_retries=_retries(request),
        reservation_s=request.reservation_hours * HOUR_S,
        max_duration_s=longest_s,
        idle_timeout_s=request.idle_threshold_minutes * 60,
        preserve=request.storage_policy == PRESERVE,
        sole_labels=SOLE,
    )
    wish.check(core.policy.max_duration_s)
    _check_provider(core, account_id, offer, wish)
    return wish


def _check_fields(request: pb.CreateSessionRequest) -> None:
    missing = [name for name in REQUIRED if not getattr(request, name)]
    if missing:
        rule = "is required"
        sentence = "; ".join(f"{name} {rule}" for name in missing)
        raise InvalidArgument(sentence, field=missing[0], rule=rule, value="")
    validation.check_length("consumer_id", request.consumer_id, 255)
    _check_word("workload_type", request.workload_type, WORKLOADS)
    _check_range("reservation_hours", request.reservation_hours, 1, MAX_HOURS)
    _check_range("idle_threshold_minutes", request.idle_threshold_minutes, 0, MAX_IDLE_MINUTES)
    _check_word("storage_policy", request.storage_policy or DESTROY, (PRESERVE, DESTROY))
    _check_word("launch_mode", request.launch_mode or SSH, (SSH, ENTRYPOINT))
    _check_word("retry_scope", request.retry_scope or SAME_GPU, tuple(PRICE_PERCENT))
    _check_range("max_retries", _retries(request), 0, MAX_RETRIES)
    _check_range("disk_gb", request.disk_gb, 0, 10_000)
    validation.check_length("model_id", request.model_id, 255)
    validation.check_length("quantization", request.quantization, 63)
    validation.check_count("exposed_ports", request.exposed_ports, 32)
    for index, port in enumerate(request.exposed_ports):
        _check_range(f"exposed_ports[{index}]", port, 1, 65_535)
    if request.launch_mode == ENTRYPOINT:
        if not (request.model_id or request.docker_image):
            raise invalid("model_id", "is required for launch_mode entrypoint without docker_image", "")
        if request.quantization and not request.model_id:
            raise invalid("quantization", "needs model_id for launch_mode entrypoint", request.quantization)


def _check_word(field: str, value: str, words: tuple[str, ...]) -> None:
    if value not in words:
        raise invalid(field, f"must be one of {', '.join(words)}", value)


def _check_range(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise invalid(field, f"must be from {least} to {most}", value)


def _retries(request: pb.CreateSessionRequest) -> int:
    return request.max_retries if request.HasField("max_retries") else DEFAULT_RETRIES


def _template(core: Core, offer: Offer, hash_id: str) -> Template | None:
    if not hash_id:
        return None
    template = core.offers.template(hash_id)
    if template is None:
        raise not_found("template", hash_id)
    if why := template.unmet_by(offer):
        raise invalid("template_hash_id", f"must be a template that runs on offer {offer.id}: {why}", hash_id)
    return template


def _disk_gb(request: pb.CreateSessionRequest, offer: Offer) -> int:
    """The disk to ask for; 0 for a machine on a host of ours, where the plane's own smaller default is what fits."""
    if request.disk_gb or (offer.host_id and not offer.simulated):
        return request.disk_gb
    return min(DEFAULT_DISK_GB, offer.disk_gb)


def _check_disk(request: pb.CreateSessionRequest, template: Template | None) -> None:
    """Refuse a disk that cannot hold the model, as far as its name tells."""
    need = disk_estimate.estimate(
        request.model_id, request.quantization, template=template is not None,
        template_gb=template.disk_gb if template is not None else 0,
    )  # fmt: skip
    asked_gb = request.disk_gb or DEFAULT_DISK_GB
    if need is None or asked_gb >= need.minimum_gb:
        return
    breakdown = {
        "model_weight_gb": float(need.weights_gb), "download_buffer_gb": float(need.download_gb),
        "docker_image_gb": float(need.image_gb), "system_overhead_gb": float(need.system_gb),
    }  # fmt: skip
    given = f"got {request.disk_gb}" if request.disk_gb else f"it is {DEFAULT_DISK_GB} where nothing is given"
    sentence = (
        f"disk_gb must be at least {need.minimum_gb} for {request.model_id}, better {need.recommended_gb}; {given}"
    )
    raise InsufficientDisk(sentence, asked_gb, need.minimum_gb, need.recommended_gb, breakdown)


def _check_provider(core: Core, account_id: str, offer: Offer, wish: CreateInstance) -> None:
    """Refuse what no machine of the provider can be, whatever the offer."""
    provider = seller_for(core, account_id, offer.provider)
    if provider is None:
        return  # its attempt will say so
    if wish.preserve and not provider.capabilities.stop:
        rule = f"must be {DESTROY} at {offer.provider}, whose machines cannot be stopped and kept"
        raise invalid("storage_policy", rule, PRESERVE)
    if why := unmet(provider, wish.recorded()):
        raise invalid("offer_id", f"cannot be had with this request: {why}", offer.id)


def _alternatives(request: pb.CreateSessionRequest, offer: Offer) -> Requirements:
    """The offer first, and what may take its place."""
    scope = request.retry_scope or SAME_GPU
    same_gpu = scope == SAME_GPU or not offer.gpu_count  # machines without GPU are alike
    return Requirements(
        gpu_types=(offer.gpu_type,) if same_gpu else (),
        gpu_count=offer.gpu_count if scope != ANY else 0,
        min_gpu_count=1 if offer.gpu_count else 0,
        min_vram_gb=offer.vram_gb if scope == SAME_VRAM else 0,
        tier=offer.tier,
        max_price_nano_per_hour=offer.with_disk(_disk_gb(request, offer)).price_nano_per_hour
        * PRICE_PERCENT[scope]
        // 100,
        simulated=offer.simulated,
        preferred_offer=offer.id,
    )


def _labels(request: pb.CreateSessionRequest, offer: Offer, mode: str, template: Template | None) -> dict[str, str]:
    facts = {
        "offer_id": offer.id,
        "provider": offer.provider,
        "workload_type": request.workload_type,
        "storage_policy": request.storage_policy or DESTROY,
        "launch_mode": mode,
        "model_id": request.model_id,
        "quantization": request.quantization,
        "exposed_ports": ",".join(map(str, request.exposed_ports)),
        "template": request.template_hash_id,
        "template_name": template.name[:255] if template is not None else "",
        "auto_retry": "true" if request.auto_retry else "",
    }
    return {CONSUMER: request.consumer_id} | {label(name): value for name, value in facts.items() if value}
