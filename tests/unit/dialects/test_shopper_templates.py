"""Vast.ai's templates as the shopper shows them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from gpuplane.dialects.shopper.v1 import templates_pb2 as pb

from controlplane.adapters.providers.vastai.templates import template_of
from controlplane.api.dialects.shopper.templates import Templates
from controlplane.domain.errors import InvalidArgument, NotFound
from tests.unit.dialects.shopper_plane import FakeCall, World

ROW: dict[str, Any] = {  # the seed's, as the marketplace tells it
    "id": 338630, "hash_id": "a8a44c7363cbca20056020397e3bf072", "name": "Ollama", "image": "vastai/ollama",
    "tag": "0.15.4", "env": "-p 1111:1111 -p 21434:21434 -e OLLAMA_MODEL=qwen3:14b", "onstart": "entrypoint.sh",
    "runtype": "jupyter", "use_ssh": True, "ssh_direct": True, "recommended": True, "recommended_disk_space": 32,
    "extra_filters": '{"cpu_arch": {"in": ["arm64", "amd64"]}}', "creator_id": 62897,
    "created_at": 1770056848, "count_created": 302,
}  # fmt: skip
BARE = {"hash_id": "bbbb", "name": "vLLM", "image": "vllm/vllm", "use_ssh": False, "id": -1, "ssh_direct": "yes"}


@pytest.fixture
def templates() -> Templates:
    world = World()
    found = [template_of(row) for row in (ROW, BARE)]
    world.book.update_templates("vastai", tuple(each for each in found if each is not None))
    return Templates(world.plane)


async def listed(templates: Templates, **query: str) -> list[str]:
    answer = await templates.list_templates(pb.ListTemplatesRequest(**query), FakeCall())
    assert answer.count == len(answer.templates)
    return [each.name for each in answer.templates]


async def test_a_template_is_shown_in_the_vendors_words(templates: Templates) -> None:
    shown = await templates.get_template(pb.GetTemplateRequest(hash_id=ROW["hash_id"]), FakeCall())
    assert MessageToDict(shown, preserving_proto_field_name=True) == ROW | {"created_at": "2026-02-02T18:27:28Z"}


async def test_what_the_vendor_does_not_say_is_absent(templates: Templates) -> None:
    shown = await templates.get_template(pb.GetTemplateRequest(hash_id="bbbb"), FakeCall())
    assert MessageToDict(shown, preserving_proto_field_name=True) == {
        "hash_id": "bbbb", "name": "vLLM", "image": "vllm/vllm", "recommended": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["Ollama", "vLLM"]),
        ({"name": "oLLAm"}, ["Ollama"]),
        ({"name": "zzz"}, []),
        ({"use_ssh": "true"}, ["Ollama"]),
        ({"use_ssh": "0"}, ["vLLM"]),
        ({"recommended": "TRUE"}, ["Ollama", "vLLM"]),
        ({"recommended": "f"}, []),
        ({"image": "VLLM/"}, ["vLLM"]),
    ],
)
async def test_filters(templates: Templates, query: dict[str, str], found: list[str]) -> None:
    assert await listed(templates, **query) == found


@pytest.mark.parametrize("name", ["recommended", "use_ssh"])
async def test_bad_booleans_are_refused(templates: Templates, name: str) -> None:
    with pytest.raises(InvalidArgument, match=f"{name} must be true or false; got 'yes'"):
        await listed(templates, **{name: "yes"})


async def test_an_unknown_template_is_not_found(templates: Templates) -> None:
    with pytest.raises(NotFound):
        await templates.get_template(pb.GetTemplateRequest(hash_id="nope"), FakeCall())
