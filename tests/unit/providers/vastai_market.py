"""Vast.ai's answers, composed from its documented fields, and the adapter in front of them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, TypeVar

from controlplane.adapters.providers.vastai import VastaiProvider, VastaiSettings
from controlplane.adapters.providers.vastai.offers import offer_of
from controlplane.domain.offer import Offer, Tier
from controlplane.ports.meter import NoMeter
from controlplane.ports.provider import LaunchSpec
from tests.simulation.world import VirtualClock
from tests.support.fakes import START
from tests.unit.providers.support import Marketplace, answer, in_virtual_time

T = TypeVar("T")

KEY = "vast-secret-key"
ASK = 31844120
BUNDLES = "POST /api/v0/bundles/"
CREATE = f"PUT /api/v0/asks/{ASK}/"
LIST = "GET /api/v1/instances/"
TENANT = "ssh-ed25519 AAAATENANT me@home"
PROBE = "ssh-ed25519 AAAAPROBE gpuplane-probe"


def row(**changes: Any) -> dict[str, Any]:
    """One search result."""
    return {
        "id": ASK, "ask_contract_id": ASK, "machine_id": 24871, "host_id": 90112, "gpu_name": "RTX 4090",
        "num_gpus": 1, "gpu_ram": 24564, "gpu_total_ram": 24564, "gpu_frac": 0.125, "compute_cap": 890,
        "cuda_max_good": 12.8, "cpu_cores": 128, "cpu_cores_effective": 16.0, "cpu_ram": 515890, "disk_space": 812.4,
        "inet_up": 640.2, "inet_down": 811.0, "dph_base": 0.31, "dph_total": 0.3189, "min_bid": 0.142,
        "storage_cost": 0.18, "reliability": 0.9962, "reliability2": 0.9962, "duration": 1716300.0,
        "geolocation": "Oslo, NO", "direct_port_count": 124, "static_ip": True, "verification": "verified",
        "rentable": True, "rented": False, "is_bid": False,
    } | changes  # fmt: skip


def instance(number: int = 31900417, **changes: Any) -> dict[str, Any]:
    """One running instance."""
    return {
        "id": number, "label": "gp-dep-aaaa-1", "machine_id": 24871, "actual_status": "running",
        "intended_status": "running", "cur_state": "running", "next_state": "running",
        "status_msg": "success, running img/ssh", "image_runtype": "ssh_direc ssh_proxy", "ssh_host": "ssh6.vast.ai",
        "ssh_port": 10416, "public_ipaddr": "203.0.113.45\n",
        "ports": {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": "41022"}]}, "dph_base": 0.31, "dph_total": 0.3189,
        "is_bid": False, "start_date": 1795212345.5, "end_date": 1796928645.0, "uptime_mins": 3.2,
    } | changes  # fmt: skip


def page(*rows: Any, next_token: str | None = None, **changes: Any) -> dict[str, Any]:
    """One page of the list."""
    found = {"success": True, "instances_found": len(rows), "next_token": next_token, "instances": list(rows)}
    return found | changes


def offer(tier: Tier = Tier.ON_DEMAND, **changes: Any) -> Offer:
    """An offer as the adapter reads it."""
    found = offer_of(decimals(row(**changes)), tier, 16, START)
    assert found is not None
    return found


def decimals(value: dict[str, Any]) -> dict[str, Any]:
    """As the client's decoder would have it: numbers with a point are Decimal."""
    parsed: dict[str, Any] = json.loads(json.dumps(value), parse_float=Decimal)
    return parsed


def spec(**changes: Any) -> LaunchSpec:
    """A plain launch."""
    fields: dict[str, Any] = {
        "label": "gp-dep-aaaa-1", "offer": offer(), "authorized_keys": (TENANT,), "probe_key": PROBE, "disk_gb": 0,
    } | changes  # fmt: skip
    return LaunchSpec(**fields)


def market(**routes: Any) -> Marketplace:
    """A market that sells the one offer."""
    return Marketplace({BUNDLES: lambda _: answer({"offers": [row()]}), **routes})


def with_provider(
    marketplace: Marketplace, body: Callable[[VastaiProvider, VirtualClock], Awaitable[T]], **settings: Any
) -> T:
    """What the body finds with an adapter in front of that marketplace."""

    async def run(clock: VirtualClock) -> T:
        provider = VastaiProvider(
            VastaiSettings(KEY, "http://vast.test", **settings), clock, NoMeter(), transport=marketplace
        )
        try:
            return await body(provider, clock)
        finally:
            await provider.close()

    return in_virtual_time(run)
