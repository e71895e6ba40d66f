"""Machines of Vast.ai that serve by their image's own entrypoint, and how busy machines are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controlplane.adapters.providers.vastai import VastaiProvider, VastaiSettings
from controlplane.adapters.providers.vastai.machines import machine_of
from controlplane.domain.instance import Wish
from controlplane.ports.meter import NoMeter
from controlplane.ports.provider import Created, LaunchMode, LaunchOutcome, Machine, Rejected, Utilisation
from tests.simulation.world import VirtualClock
from tests.unit.providers.support import Marketplace, answer, in_turn, in_virtual_time
from tests.unit.providers.vastai_market import CREATE, KEY, decimals, instance, market, spec, with_provider

MADE = {"success": True, "new_contract": 31900417}
SERVES = {"image_runtype": "args", "extra_env": [["HF_TOKEN", "x"], ["GPUPLANE_PORT", "9000"], ["-p 9000:9000", "1"]]}
MAPPED = {"8080/tcp": [{"HostPort": "41001"}], "9000/tcp": [{"HostIp": "0.0.0.0", "HostPort": "41002"}]}


def served(**wish: Any) -> Any:
    """A launch of a machine that serves."""
    return spec(mode=LaunchMode.MODEL, **({"model": "x/y-7B", "model_api_key": "gpm_k"} | wish))


def launch(marketplace: Marketplace, **wish: Any) -> LaunchOutcome:
    async def body(provider: VastaiProvider, _: VirtualClock) -> LaunchOutcome:
        await provider.admit("launch")
        return await provider.launch(served(**wish))

    return with_provider(marketplace, body)


def sent(marketplace: Marketplace | None = None, **wish: Any) -> dict[str, Any]:
    """The request that rents it."""
    marketplace = marketplace or market()
    marketplace.routes[CREATE] = in_turn(answer(MADE))
    assert isinstance(launch(marketplace, **wish), Created)
    body: dict[str, Any] = json.loads(marketplace.sent("PUT")[0].content)
    return body


def refused(**wish: Any) -> str:
    """Why a wish for a machine that serves cannot be met."""

    async def body(clock: VirtualClock) -> str:
        provider = VastaiProvider(VastaiSettings(KEY, "http://vast.test"), clock, NoMeter())
        return provider.refuses(Wish(mode="model", **wish))

    return in_virtual_time(body)


def test_vllm_is_told_its_model_and_has_no_ssh() -> None:
    body = sent(ports=(9000, 8080), quantization="awq", env={"HF_TOKEN": "x"})
    assert (body["runtype"], body["image"]) == ("args", "vllm/vllm-openai:latest")
    assert body["args"] == [
        "--model", "x/y-7B", "--host", "0.0.0.0", "--port", "9000", "--api-key", "gpm_k", "--quantization", "awq",
    ]  # fmt: skip
    assert body["env"] == {"HF_TOKEN": "x", "GPUPLANE_PORT": "9000", "-p 9000:9000": "1", "-p 8080:8080": "1"}
    assert "onstart" not in body, "nobody logs in, so no key is installed"
    assert (body["cancel_unavail"], body["target_state"]) == (True, "running")


def test_text_generation_inference_has_words_of_its_own() -> None:
    body = sent(image="ghcr.io/huggingface/Text-Generation-Inference:3.0", quantization="eetq")
    assert body["args"] == [
        "--model-id", "x/y-7B", "--hostname", "0.0.0.0", "--port", "8000", "--api-key", "gpm_k", "--quantize", "eetq",
    ]  # fmt: skip
    assert body["env"] == {"GPUPLANE_PORT": "8000", "-p 8000:8000": "1"}


def test_another_image_serves_what_it_will() -> None:
    body = sent(image="me/comfy:1", model="", model_api_key="", ports=(8188,))
    assert (body["runtype"], body["image"]) == ("args", "me/comfy:1")
    assert "args" not in body
    assert body["env"] == {"GPUPLANE_PORT": "8188", "-p 8188:8188": "1"}


def test_a_template_names_the_image() -> None:
    template = {"hash_id": "abc", "name": "t", "image": "vllm/vllm-openai", "tag": "v0.9", "onstart": "serve"}
    found = {"success": True, "templates": [template]}
    body = sent(market(**{"GET /api/v0/template/": in_turn(answer(found))}), template="abc")
    assert (body["template_hash_id"], body["image"]) == ("abc", "vllm/vllm-openai:v0.9")
    assert body["args"][:2] == ["--model", "x/y-7B"]


def test_a_template_whose_image_takes_no_model_is_refused() -> None:
    found = {"success": True, "templates": [{"hash_id": "abc", "name": "t", "image": "vastai/pytorch"}]}
    marketplace = market(**{"GET /api/v0/template/": in_turn(answer(found))})
    outcome = launch(marketplace, template="abc")
    assert isinstance(outcome, Rejected)
    assert "vastai/pytorch" in outcome.reason
    assert not marketplace.sent("PUT")


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"model": "m", "on_start": "nvidia-smi"}, "on_start"), ({"model": "m", "image": "me/comfy:1"}, "me/comfy:1"),
        ({"model": "--trust-remote-code"}, "hyphen"), ({"model": "m", "quantization": "-x"}, "hyphen"),
    ],
)  # fmt: skip
def test_what_cannot_serve_is_refused_before_an_attempt(wish: dict[str, Any], said: str) -> None:
    assert said in refused(**wish)


@pytest.mark.parametrize(
    "wish",
    [{"model": "m"}, {"model": "m", "image": "my/vllm:2"}, {"image": "me/comfy:1"}, {"model": "m", "template": "abc"}],
)
def test_what_can_serve_is_not(wish: dict[str, Any]) -> None:
    assert refused(**wish) == ""


def machine(**changes: Any) -> Machine:
    found = machine_of(decimals(instance(**changes)))
    assert found is not None
    return found


def test_a_machine_that_serves_is_shown_with_its_mapped_port_and_no_way_in() -> None:
    found = machine(**SERVES, ports=MAPPED)
    assert (found.ssh, found.ssh_also, found.model_url) == (None, (), "http://203.0.113.45:41002/v1")
    assert machine(**SERVES, ports=MAPPED, public_ipaddr="2001:db8::1").model_url == "http://[2001:db8::1]:41002/v1"


@pytest.mark.parametrize(
    "changes",
    [
        {"ports": None}, {"ports": {"8080/tcp": MAPPED["8080/tcp"]}}, {"ports": MAPPED, "extra_env": None},
        {"ports": MAPPED, "extra_env": [["GPUPLANE_PORT", "x"], ["GPUPLANE_PORT"], 7]},
        {"ports": MAPPED, "public_ipaddr": None}, {"ports": MAPPED, "actual_status": "loading"},
    ],
)  # fmt: skip
def test_until_its_port_is_known_it_has_no_url(changes: dict[str, Any]) -> None:
    found = machine(**(SERVES | changes))
    assert (found.ssh, found.model_url) == (None, "")


def test_a_machine_with_ssh_has_no_url() -> None:
    assert machine(ports=MAPPED, extra_env=SERVES["extra_env"]).model_url == ""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"gpu_util": 97.5, "cpu_util": 12}, Utilisation(12.0, 97.5)), ({"gpu_util": 0.0}, Utilisation(None, 0.0)),
        ({"gpu_util": "3.5", "cpu_util": -1}, Utilisation(None, 3.5)), ({"cpu_util": 0.0}, None), ({}, None),
        ({"gpu_util": -1, "cpu_util": 0.0}, None), ({"gpu_util": None}, None),
        ({"gpu_util": 0.0, "cpu_util": 0.0, "actual_status": "loading"}, None),
    ],
)  # fmt: skip
def test_how_busy_a_machine_is(changes: dict[str, Any], expected: Utilisation | None) -> None:
    assert machine(**changes).utilisation == expected
