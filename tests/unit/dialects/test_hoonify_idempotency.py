"""The five minutes of X-Hoonify-Idempotency-Key, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.api.dialects.hoonify.translate import IDEMPOTENCY
from controlplane.domain.errors import Aborted
from controlplane.usecases import instances
from controlplane.usecases.idempotency import FirstAnswers, RequestKey
from controlplane.usecases.wishes import CreateInstance
from tests.support.lab import CALLER, Lab, in_virtual_time

KEY = RequestKey("hoonify.CreateInstance", "k", "body", IDEMPOTENCY)
OTHER = RequestKey("hoonify.CreateInstance", "k", "another body", IDEMPOTENCY)


@in_virtual_time
async def test_a_name_means_one_request_for_five_minutes(lab: Lab) -> None:
    answers = FirstAnswers(lab.core)

    async def create(key: RequestKey) -> str:
        async def make() -> bytes:
            wish = CreateInstance(offer_id="alpha-o1")
            return (await instances.create(lab.core, CALLER, wish, key)).instance_id.encode()

        return (await answers.once(CALLER, key, make)).decode()

    first = await create(KEY)
    await asyncio.sleep(299)
    assert await create(KEY) == first
    with pytest.raises(Aborted):
        await create(OTHER)
    await asyncio.sleep(2)
    second = await create(OTHER)
    assert second != first
    assert await create(OTHER) == second, "and it begins anew"
