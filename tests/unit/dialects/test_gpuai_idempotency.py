"""GPU.ai: 24 hours of Idempotency-Key, in virtual time and across processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from controlplane.adapters.secrets import MasterKeySecrets
from controlplane.api.dialects.gpuai.idempotency import RULE
from controlplane.domain.errors import Aborted, InvalidArgument
from controlplane.usecases import instances
from controlplane.usecases.idempotency import FirstAnswers, RequestKey
from controlplane.usecases.wishes import CreateInstance
from tests.support.lab import CALLER, Lab, in_virtual_time

KEY = RequestKey("gpuai.CreateInstance", "a key", "body", RULE)


def making(lab: Lab, said: str, takes_s: float = 0.0) -> Callable[[], Awaitable[bytes]]:
    async def make() -> bytes:
        made = await instances.create(lab.core, CALLER, CreateInstance(offer_id="alpha-o1"), KEY)
        await asyncio.sleep(takes_s)
        return f"{said} {made.instance_id}".encode()

    return make


@in_virtual_time
async def test_a_key_names_one_request_for_a_day(lab: Lab) -> None:
    answers = FirstAnswers(lab.core)
    first = await answers.once(CALLER, KEY, making(lab, "first"))
    await asyncio.sleep(24 * 3600 - 1)
    assert await answers.once(CALLER, KEY, making(lab, "repeat")) == first
    await asyncio.sleep(2)
    later = await answers.once(CALLER, KEY, making(lab, "later"))
    assert later.startswith(b"later")
    assert later.split()[1] != first.split()[1]


@in_virtual_time
async def test_while_it_is_under_way_a_repeat_is_a_conflict(lab: Lab) -> None:
    answers = FirstAnswers(lab.core)
    running = asyncio.ensure_future(answers.once(CALLER, KEY, making(lab, "first", takes_s=5)))
    await asyncio.sleep(1)
    with pytest.raises(Aborted) as refused:
        await answers.once(CALLER, KEY, making(lab, "repeat"))
    assert refused.value.reason == "IDEMPOTENCY_IN_PROGRESS"
    assert (await running).startswith(b"first")


@in_virtual_time
async def test_two_processes_give_one_answer(lab: Lab) -> None:
    """They do not see each other's work; who is first to keep its answer gives it for both."""
    slow = asyncio.ensure_future(FirstAnswers(lab.core).once(CALLER, KEY, making(lab, "slow", takes_s=5)))
    await asyncio.sleep(1)
    quick = await FirstAnswers(lab.core).once(CALLER, KEY, making(lab, "quick"))
    assert quick.startswith(b"quick")
    assert await slow == quick


@in_virtual_time
async def test_killed_between_deed_and_answer_a_repeat_asks_the_market_nothing(lab: Lab) -> None:
    made = await instances.create(lab.core, CALLER, CreateInstance(offer_id="alpha-o1"), KEY)

    async def refused() -> bytes:
        raise AssertionError("the offers have moved on: it would be refused, while its machine runs")

    async def again(operation_id: str) -> bytes:
        return f"again {operation_id}".encode()

    answers = FirstAnswers(lab.core)
    assert await answers.once(CALLER, KEY, refused, again) == f"again {made.id}".encode()
    assert await answers.once(CALLER, KEY, refused) == f"again {made.id}".encode()  # kept now


@in_virtual_time
async def test_after_the_master_key_was_lost_a_repeat_makes_nothing_and_is_answered(lab: Lab) -> None:
    first = await FirstAnswers(lab.core).once(CALLER, KEY, making(lab, "first"))
    core = replace(lab.core, secrets=MasterKeySecrets(b"another key of thirty-two bytes!"))
    again = await FirstAnswers(core).once(CALLER, KEY, making(lab, "again"))
    assert (again.split()[0], again.split()[1]) == (b"again", first.split()[1])


def test_a_key_has_at_most_255_characters() -> None:
    RequestKey("m", "k" * 255, "", RULE).check()
    for key in ("k" * 256, "a\tb", "é"):
        with pytest.raises(InvalidArgument, match="Idempotency-Key must be"):
            RequestKey("m", key, "", RULE).check()
