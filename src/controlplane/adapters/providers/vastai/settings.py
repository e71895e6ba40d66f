"""Settings of the Vast.ai provider."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class VastaiSettings:
    """Whose account buys, and what a machine is when its buyer does not say."""

    api_key: str = field(repr=False)
    url: str = "https://console.vast.ai"
    spot: bool = True  # also offer interruptible machines
    image: str = "nvidia/cuda:12.4.1-base-ubuntu22.04"
    model_image: str = "vllm/vllm-openai:latest"  # of machines that serve a model
    disk_gb: int = 16  # offers are priced with it
