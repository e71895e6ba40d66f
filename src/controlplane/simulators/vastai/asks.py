"""What hosts offer on the simulated Vast.ai: a seeded catalogue, and an offer's row as search tells it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

_HOURS_PER_MONTH = 30 * 24
_DAY_S = 86_400.0
_GPUS_PER_HOST = 8
FIRST_ASK, FIRST_MACHINE, FIRST_HOST = 31_844_120, 24_800, 90_100


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as this market names and measures it; `usd` is a usual price of one an hour."""

    name: str
    ram_mb: int  # as reported, which wobbles around the nominal size
    compute_cap: int
    usd: float
    gb_per_s: float
    tflops: float


GPUS = (
    Gpu("RTX 4090", 24_564, 890, 0.34, 1008.0, 82.6),
    Gpu("RTX 3090", 24_576, 860, 0.19, 936.0, 35.6),
    Gpu("RTX A6000", 49_140, 860, 0.46, 768.0, 38.7),
    Gpu("A100 SXM4", 81_920, 800, 0.98, 2039.0, 19.5),
    Gpu("H100 SXM", 81_559, 900, 1.95, 3350.0, 66.9),
    Gpu("L40S", 46_068, 890, 0.62, 864.0, 91.6),
    Gpu("RTX 5090", 32_607, 1200, 0.48, 1792.0, 104.8),
    Gpu("A100 PCIE", 40_960, 800, 0.72, 1555.0, 19.5),
    Gpu("H200", 143_771, 900, 2.35, 4800.0, 66.9),
    Gpu("RTX 4080", 16_376, 890, 0.22, 716.8, 48.7),
)
_PLACES = ("Oslo, NO", "California, US", "Texas, US", ", DE", "Sofia, BG", "Quebec, CA", "Seoul, KR", None, ", PL")
_COUNTS = (1, 1, 2, 4, 1, 8)


@dataclass
class Ask:
    """One offer. Money is nano-dollars: an hour, or for storage one GB for a month. It can be rented `units` times at
    once; `held` of them are. A rival keeps it off the market until `away_until`; after a rental it may still be listed
    until `stale_until`.
    """

    id: int
    machine_id: int
    host_id: int
    gpu: Gpu
    num_gpus: int
    base_nano: int
    min_bid_nano: int
    storage_nano: int
    reliability: float
    geolocation: str | None
    verification: str
    duration_s: float
    cores: int
    ram_mb: int
    disk_gb: float
    ports: int
    units: int = 1
    held: int = 0
    away_until: float = 0.0
    stale_until: float = 0.0
    risen_percent: float = 0.0  # since it was last listed

    def is_free(self, now: float) -> bool:
        """Whether it can be rented now."""
        return self.held < self.units and now >= self.away_until

    def is_listed(self, now: float) -> bool:
        """Whether search shows it now."""
        return self.is_free(now) or now < self.stale_until

    def price_nano(self) -> int:
        """What all its GPUs cost an hour on demand, if rented now."""
        return round(self.base_nano * (100 + self.risen_percent) / 100)

    def disk_nano(self, disk_gb: float) -> int:
        """What so much storage costs an hour."""
        return round(disk_gb * self.storage_nano / _HOURS_PER_MONTH)


def catalogue(seed: int, count: int) -> list[Ask]:
    """So many offers, the same for the same seed; several of them on one host's machines."""
    rng = Random(f"asks/{seed}")
    return [new_ask(n, GPUS[n % len(GPUS)], _COUNTS[n % len(_COUNTS)], rng) for n in range(count)]


def new_ask(number: int, gpu: Gpu, num_gpus: int, rng: Random) -> Ask:
    """An offer with the facts that such machines have; `number` counts from 0."""
    machine_id = FIRST_MACHINE + number // 2
    base = round(gpu.usd * num_gpus * rng.uniform(0.85, 1.3) * 10_000) * 100_000
    return Ask(
        id=FIRST_ASK + number,
        machine_id=machine_id,
        host_id=FIRST_HOST + machine_id % 17,
        gpu=gpu,
        num_gpus=num_gpus,
        base_nano=base,
        min_bid_nano=base * 45 // 100,
        storage_nano=rng.choice((100_000_000, 150_000_000, 200_000_000)),
        reliability=round(rng.uniform(0.93, 0.9999), 7),
        geolocation=rng.choice(_PLACES),
        verification="unverified" if rng.random() < 0.1 else "verified",
        duration_s=round(rng.uniform(2, 90) * _DAY_S, 1),
        cores=rng.choice((16, 32, 64, 128, 192)),
        ram_mb=rng.choice((64, 128, 257, 515)) * 1000,
        disk_gb=round(rng.uniform(120, 2_000), 1),
        ports=rng.choice((8, 124, 250, 499)),
    )


def row(ask: Ask, now: float, *, bid: bool, storage_gb: float, skew_s: float) -> dict[str, Any]:
    """An offer as search tells it, on demand or interruptible (`bid`), with so much storage in its total price."""
    gpu, base = ask.gpu, ask.min_bid_nano if bid else ask.price_nano()
    total = base + ask.disk_nano(storage_gb)
    return {
        "id": ask.id,
        "ask_contract_id": ask.id,
        "bundle_id": ask.machine_id * 10,
        "machine_id": ask.machine_id,
        "host_id": ask.host_id,
        **hardware(ask),
        "gpu_frac": ask.num_gpus / _GPUS_PER_HOST,
        "gpu_lanes": 16,
        "gpu_max_power": 450.0,
        "cpu_name": "AMD EPYC 7B12",
        "cpu_ghz": 3.3,
        "disk_bw": 2_100.5,
        "disk_name": "nvme",
        "inet_up_cost": 0.004,
        "inet_down_cost": 0.002,
        "pci_gen": 4.0,
        "pcie_bw": 24.1,
        "mobo_name": "H12SSL-i",
        "dlperf": round(gpu.tflops * ask.num_gpus, 2),
        "dlperf_per_dphtotal": round(gpu.tflops * ask.num_gpus * 1e9 / total, 3),
        "flops_per_dphtotal": round(gpu.tflops * ask.num_gpus * 1e9 / total, 3),
        "score": round(gpu.tflops * ask.num_gpus * ask.reliability * 1e9 / total, 3),
        "dph_base": base / 1e9,
        "dph_total": total / 1e9,
        "min_bid": ask.min_bid_nano / 1e9,
        "storage_cost": ask.storage_nano / 1e9,
        "storage_total_cost": ask.disk_nano(storage_gb) / 1e9,
        "is_bid": bid,
        "rentable": True,
        "rented": False,
        "external": False,
        "hosting_type": 0,
        "datacenter": False,
        "cluster_id": None,
        "vms_enabled": False,
        "gpu_display_active": False,
        "resource_type": "gpu",
        "duration": ask.duration_s,
        "start_date": now - 30 * _DAY_S + skew_s,
        "end_date": now + ask.duration_s + skew_s,
    }


def hardware(ask: Ask) -> dict[str, Any]:
    """What offers and rented machines tell alike."""
    gpu = ask.gpu
    return {
        "gpu_name": gpu.name,
        "gpu_arch": "nvidia",
        "num_gpus": ask.num_gpus,
        "gpu_ram": gpu.ram_mb,
        "gpu_total_ram": gpu.ram_mb * ask.num_gpus,
        "gpu_mem_bw": gpu.gb_per_s,
        "total_flops": round(gpu.tflops * ask.num_gpus, 2),
        "bw_nvlink": 600.0 if "SXM" in gpu.name else 0.0,
        "compute_cap": gpu.compute_cap,
        "cuda_max_good": 12.8,
        "driver_version": "570.86.15",
        "cpu_arch": "amd64",
        "cpu_cores": ask.cores,
        "cpu_cores_effective": ask.cores * ask.num_gpus / _GPUS_PER_HOST,
        "cpu_ram": ask.ram_mb,
        "has_avx": 1,
        "ubuntu_version": "22.04",
        "disk_space": ask.disk_gb,
        "inet_up": 640.2,
        "inet_down": 811.0,
        "reliability": ask.reliability,
        "reliability2": ask.reliability,
        "geolocation": ask.geolocation,
        "direct_port_count": ask.ports,
        "static_ip": True,
        "verification": ask.verification,
    }
