"""Hoonify: every code sample of the seed, and every documented field and state, is met by an example."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.dialects.runner import examples_of

SEED = (Path(__file__).parent / "seed.txt").read_text()
EXAMPLES = examples_of("hoonify")


def _requests() -> list[tuple[str, str]]:
    """Requests of the seed: those of its shell sample, and the address of its create."""
    found = re.findall(r"^(GET|POST) (/v1/\S+)$", SEED, re.MULTILINE)
    found += [("POST", path) for path in re.findall(r"^POSThttps://[^/]+(/\S+)$", SEED, re.MULTILINE)]
    assert len(found) == 4, found
    return found


def _documented_body() -> dict[str, Any]:
    sample: dict[str, Any] = json.loads(SEED[SEED.index("{\n") : SEED.index("}\n\nList") + 1])
    return sample


def test_every_request_of_the_seed_is_played() -> None:
    played = {(one["request"]["method"], re.sub(r"\$\{\w+\}", "{id}", one["request"]["path"])) for one in EXAMPLES}
    assert set(_requests()) - played == set()


def test_the_sample_body_is_played_as_it_stands() -> None:
    assert _comparable(_documented_body()) in [_comparable(one["request"].get("body")) for one in EXAMPLES]


def _comparable(body: Any) -> Any:
    """Without what the sample cuts short (its key) and what tells one play from another (a label)."""
    if not isinstance(body, dict) or not body.get("ssh_keys"):
        return None
    labels = {name: value for name, value in body.get("labels", {}).items() if name != "run"}
    return body | {"ssh_keys": len(body["ssh_keys"]), "labels": labels}


def test_every_documented_state_is_asked_for_or_seen() -> None:
    states = re.findall(r"^(provisioning|starting|ready|draining|terminated|failed)(?=[A-Z])", SEED, re.MULTILINE)
    assert len(states) == 6
    text = yaml.safe_dump(EXAMPLES)
    assert [state for state in states if not re.search(rf"\b{state}\b", text)] == []
