"""Reading strangers' answers: JSON in pieces, numbers, waits, regions, batches."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from controlplane.adapters.providers.http import Batcher, Recent, classify, values
from controlplane.adapters.providers.http.decode import decode
from controlplane.adapters.providers.http.redact import Redactor
from controlplane.adapters.providers.http.regions import region_of
from controlplane.ports.provider import ProviderError
from tests.simulation.world import VirtualClock
from tests.support.fakes import START
from tests.unit.providers.support import in_virtual_time

ROW = {"id": 1, "price": 0.25, "name": "RTX 4090", "nested": {"a": [1, "]}"]}, "none": None}


async def test_a_large_body_reads_as_a_small_one_does() -> None:
    value = {"success": True, "offers": [ROW] * 5000, "after": "x", "empty": [], "object": {}}
    large = json.dumps(value, indent=1).encode()
    assert len(large) > 1 << 18
    assert await decode(large) == json.loads(large, parse_float=Decimal)
    assert await decode(json.dumps([ROW] * 5000).encode()) == [json.loads(json.dumps(ROW), parse_float=Decimal)] * 5000


@pytest.mark.parametrize("end", ["", "]", "]}}", "]} x", ",]}", '],"a"}', "],1:2}"])
async def test_a_large_body_that_is_no_json_is_none(end: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)expect|extra|follows|without a name"):
        await decode(('{"offers":[' + ",".join([json.dumps(ROW)] * 5000) + end).encode())


async def test_a_large_body_lets_others_run() -> None:
    task = asyncio.create_task(decode(json.dumps({"offers": [ROW] * 20_000}).encode()))
    rounds = 0
    while not task.done():
        rounds += 1
        await asyncio.sleep(0)
    assert rounds > 100


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.25", Decimal("0.25")), (3, Decimal(3)), (True, None), (None, None), ("abc", None), ("NaN", None),
        ("Infinity", None), ("1e400", None), ([], None), ("9" * 50, None), (0.5, None),
    ],
)  # fmt: skip
def test_numbers(value: Any, expected: Decimal | None) -> None:
    assert values.decimal(value) == expected


def test_absurd_prices_and_times_are_none() -> None:
    assert values.price("0.31") == 310_000_000
    assert [values.price(v) for v in (0, -1, "x", 10**9, "0.0000000001")] == [None] * 5
    assert values.moment(Decimal("1795212345.5")) == 1_795_212_345_500_000
    assert [values.moment(v) for v in (0, -5, 10**15, "soon")] == [None] * 4
    assert values.natural("12.7", 100) == 12
    assert [values.natural(v, 100) for v in (-1, 101, "x", True)] == [None] * 4
    assert values.text(" 203.0.113.45\n") == "203.0.113.45"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "12"}, 12.0), ({"retry-after": "-3"}, None), ({"retry-after": "soon"}, None), ({}, None),
        ({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT"}, 60.0), ({"retry-after": "9999999"}, 86_400.0),
        ({"x-ratelimit-reset": str(START // 1_000_000 + 90)}, 90.0), ({"x-ratelimit-reset": "30"}, 30.0),
    ],
)  # fmt: skip
def test_how_long_an_answer_asks_to_wait(headers: dict[str, str], expected: float | None) -> None:
    assert classify.retry_after_s(headers, b"", START) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"success": False, "error": "x", "msg": "why"}, {"status": 400, "error": "why"},
        [{"code": 1, "message": "why"}],
        {"errors": [{"detail": "why"}]}, {"detail": [{"loc": ["a"], "msg": "why"}]}, {"error": {"message": "why"}},
    ],
)  # fmt: skip
def test_what_an_error_says(value: Any) -> None:
    assert classify.reason_of(value) == "why"


def test_lines_are_fit_for_logs() -> None:
    line = Redactor(["topsecret"]).line
    assert line("a\x00b topsecret\nc <script>x</script> https://u/?api_token=abcd1234&x=1") == (
        "a b *** c x https://u/?api_token=***&x=1"
    )
    assert len(line("x" * 5000)) == 240


@pytest.mark.parametrize(
    ("country", "region"),
    [("NO", "eu"), ("us", "na"), ("JP", "apac"), ("BR", ""), ("United States", "na"), ("Czechia", "eu"), ("", "")],
)
def test_regions(country: str, region: str) -> None:
    assert region_of(country) == region


def test_lookups_share_calls_and_failures() -> None:
    asked: list[list[str]] = []

    async def body(clock: VirtualClock) -> None:
        async def turn() -> None:
            await clock.sleep(1)

        async def fetch(keys: Any) -> dict[str, str]:
            asked.append(list(keys))
            await clock.sleep(5)
            if "bad" in keys:
                raise ProviderError("no")
            return {key: key.upper() for key in keys if key != "absent"}

        batcher = Batcher(turn, fetch, 3)
        found = await asyncio.gather(*(batcher.get(key) for key in ("a", "b", "a", "absent", "c")))
        assert found == ["A", "B", "A", None, "C"]
        assert clock.monotonic() == pytest.approx(7)  # the second call did not wait for the first one's answer
        impatient = asyncio.create_task(batcher.get("d"))
        await asyncio.sleep(0)
        impatient.cancel()
        outcomes = await asyncio.gather(batcher.get("bad"), batcher.get("e"), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ProviderError, ProviderError]
        waiting = asyncio.create_task(batcher.get("late"))
        await asyncio.sleep(0)
        batcher.close()
        with pytest.raises(ProviderError):
            await waiting

    in_virtual_time(body)
    assert asked == [["a", "b", "absent"], ["c"], ["bad", "e"]]


def test_a_recent_answer_is_never_older_than_the_question_unless_it_may_be() -> None:
    async def body(clock: VirtualClock) -> None:
        fetched = 0

        async def fetch() -> int:
            nonlocal fetched
            fetched += 1
            await clock.sleep(10)
            return fetched

        exact, lasting = Recent(fetch, 0.0, clock), Recent(fetch, 60.0, clock)
        first = asyncio.create_task(exact.get())
        await clock.sleep(1)
        assert await asyncio.gather(exact.get(), exact.get()) == [2, 2]  # the first had begun before they asked
        assert await first == 1
        assert [await lasting.get(), await lasting.get()] == [3, 3]
        await clock.sleep(61)
        assert await lasting.get() == 4
        fresher = asyncio.create_task(lasting.get(1.0))
        await clock.sleep(1)
        asked_at = clock.monotonic()
        assert await lasting.get() == 4, "who does not want it so fresh does not wait for those who do"
        assert clock.monotonic() == asked_at
        assert await fresher == 5

    in_virtual_time(body)
