"""What a request for a session means, and what is wrong with one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gpuplane.dialects.shopper.v1 import sessions_pb2 as pb

from controlplane.adapters.providers.local import launching
from controlplane.api.dialects.shopper.errors import InsufficientDisk, render_error
from controlplane.api.dialects.shopper.sessions_wish import wish_of
from controlplane.domain.errors import InvalidArgument, NotFound
from controlplane.domain.instance import Wish
from controlplane.domain.offer import Offer, Tier
from controlplane.domain.template import Constraint, Template
from controlplane.usecases.wishes import CreateInstance
from tests.support.lab import Lab, in_virtual_time
from tests.unit.dialects.shopper_desk import ASKED

OLLAMA = Template(
    "a8a44c73", "alpha", "Ollama", "vastai/ollama", disk_gb=32, constraints=(Constraint("cuda", "gte", 12),)
)


def wish(lab: Lab, **fields: Any) -> CreateInstance:
    return wish_of(lab.core, "acct_a", pb.CreateSessionRequest(**(ASKED | fields)))


def offered(lab: Lab, **changes: Any) -> None:
    """The first offer is another one."""
    offers: list[Offer] = lab.provider.catalogue()
    lab.core.offers.update("alpha", (replace(offers[1], **changes), *offers[2:]), lab.clock.now())


@in_virtual_time
async def test_an_offer_that_its_owner_may_take_back_is_none_of_the_inventorys(lab: Lab) -> None:
    offered(lab, tier=Tier.SPOT)
    with pytest.raises(NotFound):
        wish(lab)


@in_virtual_time
async def test_the_documents_example(lab: Lab) -> None:
    asked = wish(lab, idle_threshold_minutes=30, storage_policy="destroy", disk_gb=100, docker_image="me/train:1")
    assert (asked.offer_id, asked.requirements) == ("alpha-o1", None)
    assert (asked.reservation_s, asked.max_duration_s, asked.idle_timeout_s) == (7200, 12 * 3600, 1800)
    assert (asked.disk_gb, asked.mode, asked.model, asked.image) == (100, "ssh", "", "me/train:1")
    assert asked.labels == {
        "shopper/consumer_id": "app", "shopper/offer_id": "alpha-o1", "shopper/provider": "alpha",
        "shopper/workload_type": "llm", "shopper/storage_policy": "destroy", "shopper/launch_mode": "ssh",
    }  # fmt: skip
    assert asked.sole_labels == ("shopper/consumer_id", "shopper/offer_id")


@in_virtual_time
async def test_an_entrypoint_is_a_model_server(lab: Lab) -> None:
    asked = wish(lab, launch_mode="entrypoint", model_id="x/y-1B", quantization="awq", exposed_ports=[8000])
    assert (asked.mode, asked.model, asked.quantization, asked.ports) == ("model", "x/y-1B", "awq", (8000,))
    kept = {name.removeprefix("shopper/"): value for name, value in asked.labels.items()}
    assert kept["launch_mode"] == "entrypoint"
    assert (kept["model_id"], kept["quantization"], kept["exposed_ports"]) == ("x/y-1B", "awq", "8000")


@in_virtual_time
async def test_over_ssh_ports_are_opened_and_the_model_is_only_noted(lab: Lab) -> None:
    asked = wish(lab, model_id="x/y-1B", quantization="awq", exposed_ports=[8000, 8080], on_start_cmd="serve &")
    assert (asked.mode, asked.model, asked.quantization) == ("ssh", "", "")
    assert (asked.ports, asked.on_start) == ((8000, 8080), "serve &")


@in_virtual_time
async def test_what_is_missing_is_said_together(lab: Lab) -> None:
    with pytest.raises(InvalidArgument) as refused:
        wish_of(lab.core, "acct_a", pb.CreateSessionRequest(workload_type="llm"))
    assert refused.value.message == "consumer_id is required; offer_id is required; reservation_hours is required"


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("consumer_id", "x" * 256, "consumer_id must be at most 255 characters"),
        ("consumer_id", "a\nb", "consumer_id must be printable"),
        ("workload_type", "mining", "workload_type must be one of llm, training, batch, llm_vllm"),
        ("reservation_hours", 13, "reservation_hours must be from 1 to 12; got '13'"),
        ("reservation_hours", -1, "reservation_hours must be from 1 to 12; got '-1'"),
        ("idle_threshold_minutes", -5, "idle_threshold_minutes must be from 0 to 720; got '-5'"),
        ("storage_policy", "keep", "storage_policy must be one of preserve, destroy; got 'keep'"),
        ("storage_policy", "preserve", "storage_policy must be destroy at alpha"),
        ("launch_mode", "vnc", "launch_mode must be one of ssh, entrypoint; got 'vnc'"),
        ("launch_mode", "entrypoint", "model_id is required for launch_mode entrypoint without docker_image"),
        ("retry_scope", "world", "retry_scope must be one of same_gpu, same_vram, any; got 'world'"),
        ("max_retries", 6, "max_retries must be from 0 to 5; got '6'"),
        ("max_retries", -1, "max_retries must be from 0 to 5; got '-1'"),
        ("disk_gb", -1, "disk_gb must be from 0 to 10000; got '-1'"),
        ("exposed_ports", [8000, 0], "exposed_ports[1] must be from 1 to 65535; got '0'"),
        ("exposed_ports", list(range(1, 34)), "exposed_ports must have at most 32 entries; got '33'"),
        ("model_id", "m" * 256, "model_id must be at most 255 characters"),
        ("quantization", "q" * 64, "quantization must be at most 63 characters"),
        ("docker_image", "i" * 1025, "image must be at most 1024 characters"),
        ("on_start_cmd", "x" * 16_385, "on_start must be at most 16384 bytes"),
    ],
)
def test_a_field_out_of_its_range_is_named_with_its_rule(field: str, value: Any, sentence: str) -> None:
    @in_virtual_time
    async def play(lab: Lab) -> None:
        with pytest.raises(InvalidArgument) as refused:
            wish(lab, **{field: value})
        assert refused.value.message.startswith(sentence)

    play()


@in_virtual_time
async def test_an_entrypoint_may_be_that_of_an_image(lab: Lab) -> None:
    asked = wish(lab, launch_mode="entrypoint", docker_image="me/comfy:1")
    assert (asked.mode, asked.model, asked.image) == ("model", "", "me/comfy:1")
    asked = wish(lab, launch_mode="entrypoint", model_id="x/y-1B", docker_image="vllm/vllm-openai")
    assert (asked.model, asked.image) == ("x/y-1B", "vllm/vllm-openai")
    with pytest.raises(InvalidArgument, match="quantization needs model_id for launch_mode entrypoint"):
        wish(lab, launch_mode="entrypoint", docker_image="me/comfy:1", quantization="awq")


@in_virtual_time
async def test_a_provider_that_cannot_serve_it_says_which_field_is_in_the_way(lab: Lab) -> None:
    lab.provider.refuses = launching.refusal  # type: ignore[method-assign]
    for field, value in (("docker_image", "vllm/vllm-openai"), ("quantization", "awq"), ("exposed_ports", [1, 2])):
        with pytest.raises(InvalidArgument, match="offer_id cannot be had with this request: ") as refused:
            wish(lab, launch_mode="entrypoint", model_id="x/y-1B", **{field: value})
        assert {"docker_image": "image", "exposed_ports": "ports"}.get(field, field) in refused.value.message
    assert wish(lab, launch_mode="entrypoint", model_id="x/y-1B", exposed_ports=[8000]).ports == (8000,)


@in_virtual_time(max_duration_s=4 * 3600)
async def test_a_deployment_may_allow_less(lab: Lab) -> None:
    assert wish(lab, reservation_hours=4).max_duration_s == 4 * 3600
    with pytest.raises(InvalidArgument, match="reservation_hours must be at most 4 here; got '5'"):
        wish(lab, reservation_hours=5)


@in_virtual_time
async def test_a_disk_too_small_for_the_model_is_told_with_its_breakdown(lab: Lab) -> None:
    with pytest.raises(InsufficientDisk) as refused:
        wish(lab, model_id="x/y-70B", quantization="awq", disk_gb=60)
    shown = render_error(refused.value, "rid")
    assert shown.status == 400
    assert shown.body == {
        "error": "disk_gb must be at least 75 for x/y-70B, better 90; got 60", "error_type": "insufficient_disk",
        "requested_gb": 60, "minimum_gb": 75, "recommended_gb": 90, "request_id": "rid",
        "breakdown": {
            "model_weight_gb": 39.375, "download_buffer_gb": 19.6875, "docker_image_gb": 10.0,
            "system_overhead_gb": 5.0,
        },
    }  # fmt: skip
    assert wish(lab, model_id="x/y-70B", quantization="awq", disk_gb=75).disk_gb == 75


@in_virtual_time
async def test_without_a_disk_the_default_must_do(lab: Lab) -> None:
    assert wish(lab, model_id="x/y-8B").disk_gb == 50
    with pytest.raises(InsufficientDisk, match="it is 50 where nothing is given"):
        wish(lab, model_id="x/y-70B")


@pytest.mark.parametrize(
    ("changes", "disk_gb"),
    [
        ({"disk_gb": 40}, 40),
        ({"host_id": "here", "simulated": True}, 50),
        ({"host_id": "here"}, 0),  # the plane's own default for machines on its hosts
    ],
)
def test_the_default_disk_by_offer(changes: dict[str, Any], disk_gb: int) -> None:
    @in_virtual_time
    async def play(lab: Lab) -> None:
        offered(lab, **changes)
        assert wish(lab).disk_gb == disk_gb

    play()


@in_virtual_time
async def test_a_template_is_applied(lab: Lab) -> None:
    lab.core.offers.update_templates("alpha", (OLLAMA,))
    offered(lab, facts={"cuda": 12.4})
    asked = wish(lab, template_hash_id="a8a44c73")
    assert asked.template == "a8a44c73"
    assert (asked.labels["shopper/template"], asked.labels["shopper/template_name"]) == ("a8a44c73", "Ollama")


@in_virtual_time
async def test_a_template_must_be_known_and_run_on_the_offer(lab: Lab) -> None:
    lab.core.offers.update_templates("alpha", (OLLAMA,))
    with pytest.raises(NotFound) as refused:
        wish(lab, template_hash_id="gone")
    assert render_error(refused.value, "rid").body["error"] == "template not found: gone"
    with pytest.raises(InvalidArgument, match="template_hash_id must be a template that runs on offer alpha-o1: cuda"):
        wish(lab, template_hash_id="a8a44c73")


@in_virtual_time
async def test_what_no_machine_of_the_provider_can_be_is_said_at_once(lab: Lab) -> None:
    def refuses(asked: Wish) -> str:
        return "local machines know no ports" if asked.ports else ""

    lab.provider.refuses = refuses  # type: ignore[method-assign]
    assert wish(lab).ports == ()
    with pytest.raises(InvalidArgument, match="cannot be had with this request: local machines know no ports"):
        wish(lab, exposed_ports=[8000])


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("", {"gpu_types": ("RTX 4090",), "gpu_count": 1, "max_price_nano_per_hour": 492_000_000}),
        ("same_gpu", {"gpu_types": ("RTX 4090",), "gpu_count": 1, "max_price_nano_per_hour": 492_000_000}),
        ("same_vram", {"min_vram_gb": 24, "gpu_count": 1, "max_price_nano_per_hour": 615_000_000}),
        ("any", {"max_price_nano_per_hour": 820_000_000}),
    ],
)
def test_retries_by_scope(scope: str, expected: dict[str, Any]) -> None:
    @in_virtual_time
    async def play(lab: Lab) -> None:
        asked = wish(lab, auto_retry=True, retry_scope=scope, max_retries=2)
        assert (asked.offer_id, asked.max_retries) == ("", 2)
        wanted = asked.requirements
        assert wanted is not None
        names = ("gpu_types", "min_vram_gb", "gpu_count", "max_price_nano_per_hour")
        found = {name: value for name in names if (value := getattr(wanted, name))}
        assert found == expected
        assert (wanted.preferred_offer, wanted.tier, wanted.min_gpu_count) == ("alpha-o1", Tier.ON_DEMAND, 1)
        assert wanted.simulated is False, "real hardware is not replaced by pretended"

    play()


@in_virtual_time
async def test_a_larger_disk_than_the_offers_price_has_may_cost_more(lab: Lab) -> None:
    offered(lab, priced_disk_gb=50, disk_nano_per_gb_hour=1_000_000)
    wanted = wish(lab, auto_retry=True, disk_gb=150).requirements
    assert wanted is not None
    assert wanted.max_price_nano_per_hour == (410_000_000 + 100_000_000) * 120 // 100


@in_virtual_time
async def test_a_machine_without_gpu_is_replaced_by_one_without(lab: Lab) -> None:
    offered(lab, gpu_type="cpu", gpu_count=0, vram_gb=0)
    wanted = wish(lab, auto_retry=True, retry_scope="any").requirements
    assert wanted is not None
    assert (wanted.gpu_types, wanted.min_gpu_count) == (("cpu",), 0)
