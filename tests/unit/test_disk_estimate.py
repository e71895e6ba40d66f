"""Disk for language models, by their names."""

from __future__ import annotations

from decimal import Decimal

import pytest

from controlplane.domain.disk_estimate import estimate, parameters


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("meta-llama/Llama-3.1-70B-Instruct", "70"),
        ("mistralai/Mixtral-8x7B-v0.1", "56"),
        ("TinyLlama/TinyLlama-1.1B-Chat", "1.1"),
        ("HuggingFaceTB/SmolLM2-135M", "0.135"),
        ("qwen3:14b", "14"),
        ("Qwen/Qwen2.5-7B-Instruct-1M", "7"),  # the size comes before the length of its context
        ("org-7b/unnamed", None),  # the owner's name says nothing
        ("deepseek-ai/DeepSeek-V2.5", None),  # the document allots it 132 GB, which only some forms of it fit into
        ("deepseek-ai/DeepSeek-R1", "671"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "32"),
        ("openai-community/gpt2", None),
        ("some/model-v1.5", None),
        ("", None),
    ],
)
def test_parameters_by_name(model: str, billions: str | None) -> None:
    assert parameters(model) == (None if billions is None else Decimal(billions))


@pytest.mark.parametrize(
    ("model", "quantization", "weights"),
    [
        ("x/y-10B", "", "20"),
        ("x/y-10B", "fp32", "40"),
        ("x/y-10B", "bf16", "20"),
        ("x/y-10B", "int8", "10"),
        ("x/y-10B", "gptq", "5.625"),
        ("x/y-10B", "INT4", "5"),
        ("x/y-10B-AWQ", "", "5.625"),
        ("x/y-10B-AWQ", "fp16", "20"),  # the caller knows better than the name
        ("x/y-10B", "unheard-of", "20"),
        ("x/y-10B", "awq_marlin", "5.625"),
        ("x/y-10B", "GGUF-Q4", "5.625"),
        ("x/y-10B-AWQ", "unheard-of", "5.625"),
        ("DeepSeek-V2.5 236B", "awq", "132.75"),  # the document's own example: about 132 GB
    ],
)
def test_weights_by_quantization(model: str, quantization: str, weights: str) -> None:
    need = estimate(model, quantization, template=False)
    assert need is not None
    assert need.weights_gb == Decimal(weights)
    assert need.download_gb == need.weights_gb / 2


def test_the_breakdown_adds_up() -> None:
    need = estimate("x/y-70B", "awq", template=False)
    assert need is not None
    parts = need.weights_gb + need.download_gb + need.image_gb + need.system_gb
    assert parts == Decimal("74.0625")
    assert (need.minimum_gb, need.recommended_gb) == (75, 90)


def test_a_template_has_a_larger_image_and_a_say_in_what_is_recommended() -> None:
    plain, told = (estimate("x/y-7B", "", template=True, template_gb=gb) for gb in (0, 200))
    assert plain is not None
    assert told is not None
    assert (plain.image_gb, plain.minimum_gb, plain.recommended_gb) == (15, 41, 50)
    assert (told.minimum_gb, told.recommended_gb) == (41, 200)


def test_without_a_size_there_is_no_estimate() -> None:
    assert estimate("openai-community/gpt2", "awq", template=True, template_gb=32) is None
