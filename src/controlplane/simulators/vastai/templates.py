"""Templates of the simulated Vast.ai."""

from __future__ import annotations

import hashlib
import json
from typing import Any

_DAY_S = 86_400.0


def template_rows(now: float) -> list[dict[str, Any]]:
    """The market's recommended templates. `env` is a docker-flag string here, unlike in a create."""
    return [_template(number, now, *facts) for number, facts in enumerate(_TEMPLATES)]


_TEMPLATES: tuple[tuple[str, str, str, str, int, dict[str, Any]], ...] = (
    ("PyTorch (Vast)", "vastai/pytorch", "cuda-12.8.1-auto", "-p 1111:1111 -e OPEN_BUTTON_PORT=1111", 32, {}),
    ("NVIDIA CUDA", "nvidia/cuda", "12.4.1-base-ubuntu22.04", "", 16, {"cuda_max_good": {"gte": 12.4}}),
    (
        "vLLM",
        "vllm/vllm-openai",
        "latest",
        "-p 8000:8000 -e HF_HUB_ENABLE_HF_TRANSFER=1",
        64,
        {"gpu_ram": {"gte": 40_000}, "compute_cap": {"gte": 800}, "num_gpus": {"in": ["1", "2", "4", "8"]}},
    ),
    ("Ubuntu Desktop", "vastai/linux-desktop", "latest", "-p 6100:6100", 24, {"verified": {"eq": True}}),
)


def _template(
    number: int, now: float, name: str, image: str, tag: str, env: str, disk_gb: int, filters: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": 62_000 + number,
        "hash_id": hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(),
        "name": name,
        "image": image,
        "tag": tag,
        "env": env,
        "onstart": "",
        "runtype": "ssh",
        "use_ssh": True,
        "ssh_direct": True,
        "recommended": True,
        "recommended_disk_space": disk_gb,
        "extra_filters": json.dumps(filters),
        "created_at": now - 90 * _DAY_S,
        "count_created": 1000 * (number + 1),
    }
