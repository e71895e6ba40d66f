"""Shopper: every call, and every documented parameter, member and status, is met by an example."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

from controlplane.api.dialects.shopper import SHOPPER
from tests.architecture.test_routes import bindings
from tests.dialects.runner import examples_of

SEED = (Path(__file__).parent / "seed.txt").read_text()
EXAMPLES = examples_of("shopper")

VASTAI = {
    "hash_id", "name", "image", "tag", "env", "onstart", "runtype", "use_ssh", "ssh_direct", "recommended",
    "recommended_disk_space", "extra_filters", "creator_id", "count_created", "cuda_version", "cpu_arch", "in",
    "vastai", "tensordock", "A100", "retry_suggested",
}  # fmt: skip
"""Members that only a marketplace fills: tests/unit/dialects/test_shopper_{inventory,templates,system}.py have them."""


def _members(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {name for one in value.values() for name in _members(one)}
    return {name for one in value for name in _members(one)} if isinstance(value, list) else set()


def _sent() -> set[str]:
    """Every parameter and member of a request."""
    found: set[str] = set()
    for one in EXAMPLES:
        found |= {name for name, _ in parse_qsl(urlsplit(one["request"]["path"]).query)}
        found |= _members(one["request"].get("body"))
    return found


def test_every_call_is_played() -> None:
    played = {
        (one["request"]["method"], re.sub(r"\$\{\w+\}|local-cpu|vastai-\d+|a8a4\w+", "{}", urlsplit(path).path))
        for one in EXAMPLES
        for path in [one["request"]["path"]]
    }
    wanted = {(binding.verb, re.sub(r"\{\w+\}", "{}", binding.path)) for binding in bindings(SHOPPER)}
    assert wanted - played == set()


def test_every_documented_parameter_is_sent() -> None:
    documented = re.findall(r"^\| (\w+) \| (?:string|int|float|array) \|", SEED, re.MULTILINE)
    assert len(documented) > 30
    assert set(documented) - _sent() == set()


def test_every_documented_member_is_seen() -> None:
    documented = set(re.findall(r'"(\w+)": ', SEED)) - VASTAI
    assert len(documented) > 40
    seen = {name for one in EXAMPLES for name in _members(one["response"].get("body"))}
    assert documented - seen - _sent() == set()


def test_every_status_that_can_be_seen_is() -> None:
    states = re.findall(r"^\| (pending|provisioning|running|stopping|stopped|failed) \|", SEED, re.MULTILINE)
    assert len(states) == 6
    text = yaml.safe_dump(EXAMPLES)
    assert [state for state in states if not re.search(rf"\b{state}\b", text)] == []
