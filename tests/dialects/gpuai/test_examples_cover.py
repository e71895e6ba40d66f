"""GPU.ai: the seed has no samples of its own; what it documents is operations and their answers, and each is played."""

from __future__ import annotations

import re

from tests.dialects.runner import examples_of
from tests.unit.dialects.test_gpuai_errors import DOCUMENT

ELSEWHERE = "429"
"""Played by test_promises.py, on a plane with a low limit."""


def test_every_documented_answer_is_an_example() -> None:
    played = [
        (one["request"]["method"], one["request"]["path"].partition("?")[0], str(one["response"]["status"]))
        for one in examples_of("gpuai")
    ]
    missing = [
        (verb, path, status)
        for path, operations in DOCUMENT["paths"].items()
        for verb, operation in operations.items()
        if verb != "parameters"
        for status in operation["responses"].keys() - {"default", ELSEWHERE}
        if not any(
            (method, answered) == (verb.upper(), status)
            and re.fullmatch("/v1" + re.sub(r"\{\w+\}", r"\\$\\{\\w+\\}", path), called)
            for method, called, answered in played
        )
    ]
    assert missing == []
