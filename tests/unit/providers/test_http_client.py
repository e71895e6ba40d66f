"""The shared client: deadlines, repeats of safe calls, what is sent once, breaker, redaction."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from controlplane.adapters.providers.http import (
    Held,
    MarketplaceClient,
    NotSent,
    NotUnderstood,
    Rate,
    Refused,
    Unclear,
)
from controlplane.adapters.providers.http.breaker import FAILURES, OPEN_S
from controlplane.ports.meter import NoMeter
from tests.simulation.world import VirtualClock
from tests.unit.providers.support import Handler, Marketplace, answer, hang, in_turn, in_virtual_time

KEY = "sk-verysecret"


def client(market: Marketplace, clock: VirtualClock, rates: dict[str, Rate] | None = None) -> MarketplaceClient:
    return MarketplaceClient(
        "market", "http://market.test", headers={"Authorization": f"Bearer {KEY}"}, rates=rates or {}, secrets=(KEY,),
        clock=clock, meter=NoMeter(), transport=market,
    )  # fmt: skip


def ask(handler: Handler, method: str = "GET", **how: Any) -> tuple[Any, Marketplace, float]:
    """The outcome of one call, the market, and when it ended."""
    market = Marketplace(other=handler)

    async def body(clock: VirtualClock) -> tuple[Any, Marketplace, float]:
        try:
            outcome: Any = await client(market, clock).request("call", method, "/x", **how)
        except Exception as error:
            outcome = error
        return outcome, market, clock.monotonic()

    return in_virtual_time(body)


def test_json_numbers_are_exact_and_the_credential_is_sent() -> None:
    got, market, _ = ask(lambda _: answer(text='{"price": 0.1234567891}'))
    assert got.value == {"price": Decimal("0.1234567891")}
    assert market.journal[0][1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("lost", [httpx2.ReadError("cut"), httpx2.ConnectError("no"), answer({}, 502), answer({}, 429)])
def test_a_safe_call_is_repeated_after_a_lost_answer(lost: Any) -> None:
    got, market, _ = ask(in_turn(lost, answer({"a": 1})))
    assert got.value == {"a": 1}
    assert len(market.journal) == 2


def test_a_stalled_safe_call_is_cut_and_tried_again_within_its_deadline() -> None:
    got, market, ended = ask(hang)
    assert isinstance(got, Unclear)
    assert len(market.journal) == 3  # 12 + 12 s, and what is left
    assert ended <= 28.5


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        (httpx2.ReadError("cut"), Unclear),
        (httpx2.RemoteProtocolError("Server disconnected"), Unclear),
        (httpx2.ConnectError("refused"), NotSent),
        (httpx2.ConnectTimeout("late"), NotSent),
    ],
)
def test_what_is_not_safe_is_sent_once(lost: Exception, expected: type) -> None:
    got, market, _ = ask(in_turn(lost), "PUT")
    assert isinstance(got, expected)
    assert len(market.journal) == 1


def test_an_unsafe_call_gets_its_answer_whatever_the_status() -> None:
    got, market, _ = ask(in_turn(answer({"msg": "boom"}, 500)), "PUT")
    assert (got.status, got.reason, len(market.journal)) == (500, "boom", 1)


@pytest.mark.parametrize(
    "body", ["", "<html>gateway</html>", '{"offers": [{"id": 1}, {"i', "[1, 2]", "NaN", "[" * 9999]
)
def test_a_misshapen_success_is_not_understood(body: str) -> None:
    got, _, _ = ask(in_turn(answer(text=body)))
    with pytest.raises(NotUnderstood):
        got.object()


def test_an_error_names_its_status_and_reason_but_no_secret() -> None:
    got, _, _ = ask(in_turn(answer({"detail": f"bad key {KEY} in ?api_key=abcdef <b>now</b>"}, 403)))
    with pytest.raises(Refused) as caught:
        got.object()
    assert str(caught.value) == "status 403: bad key *** in ?api_key=*** now"
    assert KEY not in repr(got)


def test_an_endless_answer_is_not_read() -> None:
    got, _, _ = ask(in_turn(answer(text="x" * (33 << 20))))
    assert isinstance(got, NotUnderstood)


def test_retry_after_is_waited_for() -> None:
    got, market, _ = ask(in_turn(answer({}, 503, retry_after="7"), answer({"a": 1})))
    assert got.ok
    assert market.times("GET")[1] - market.times("GET")[0] >= 7


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    got, market, ended = ask(in_turn(answer({}, 503, retry_after="3600")))
    assert (got.status, got.retry_after_s, len(market.journal)) == (503, 3600.0, 1)
    assert ended < 1


def test_a_daily_quota_is_not_asked_again_before_midnight() -> None:
    market = Marketplace(other=in_turn(answer({"error": "search_quota_exceeded", "msg": "come back"}, 429)))

    async def body(clock: VirtualClock) -> Held:
        asker = client(market, clock, {"call": Rate(per_minute=10)})
        for _ in range(2):
            with pytest.raises(Held) as caught:
                await asker.request("call", "GET", "/x")
        return caught.value

    held = in_virtual_time(body)
    assert len(market.journal) == 1
    assert held.retry_after_s == pytest.approx(86_400, abs=60)  # the world begins at midnight


def test_a_provider_that_hangs_fails_at_once_after_a_while_and_is_found_again() -> None:
    market = Marketplace(other=hang)

    async def body(clock: VirtualClock) -> None:
        asker = client(market, clock)
        for _ in range(FAILURES):
            with pytest.raises(Unclear):
                await asker.request("call", "PUT", "/x", deadline_s=5)
        assert asker.breaker.open
        began = clock.monotonic()
        with pytest.raises(Held):
            await asker.request("call", "GET", "/x")
        assert clock.monotonic() == began  # at once
        with pytest.raises(Unclear):  # what always may try still does
            await asker.request("call", "DELETE", "/x", probing=True, deadline_s=5)
        market.other = in_turn(answer({}))
        await clock.sleep(OPEN_S + 1)
        assert (await asker.request("call", "GET", "/x")).ok
        assert not asker.breaker.open

    with capture_logs() as logs:
        in_virtual_time(body)
    assert [line["event"] for line in logs if line["event"] != "provider.no_answer"] == [
        "provider.out",
        "provider.back",
    ]
    assert KEY not in str(logs)


def test_one_probe_at_a_time_finds_out_whether_it_is_back() -> None:
    market = Marketplace(other=in_turn(answer({}, 500)))

    async def body(clock: VirtualClock) -> int:
        asker = client(market, clock)
        for _ in range(FAILURES):
            await asker.request("call", "PUT", "/x")
        await clock.sleep(OPEN_S + 1)
        before = len(market.journal)
        await asker.request("call", "PUT", "/x")
        for _ in range(3):
            with pytest.raises(Held):
                await asker.request("call", "PUT", "/x")
        return len(market.journal) - before

    assert in_virtual_time(body) == 1


def test_an_admission_asks_nothing_of_a_provider_that_is_out() -> None:
    market = Marketplace(other=in_turn(answer({}, 500)))

    async def body(clock: VirtualClock) -> None:
        asker = client(market, clock)
        for _ in range(FAILURES):
            await asker.request("call", "PUT", "/x")
        with pytest.raises(Held):
            await asker.admit("call")
        await asker.admit("call", probing=True)
        await clock.sleep(OPEN_S)
        await asker.admit("call")  # somebody has to try

    in_virtual_time(body)
    assert len(market.journal) == FAILURES


def test_odd_credentials_are_the_provider_s_to_refuse() -> None:
    market = Marketplace(other=in_turn(answer({}, 401)))

    async def body(clock: VirtualClock) -> int:
        odd = MarketplaceClient(
            "market", "http://market.test", headers={"X-Key": "schlüssel ☃"}, rates={}, secrets=(), clock=clock,
            meter=NoMeter(), transport=market,
        )  # fmt: skip
        return (await odd.request("call", "GET", "/x")).status

    assert in_virtual_time(body) == 401


def test_a_prompt_call_is_sent_at_once_or_not_at_all() -> None:
    market = Marketplace(other=in_turn(answer({}, 429), answer({})))

    async def body(clock: VirtualClock) -> None:
        asker = client(market, clock, {"destroy": Rate(penalty_s=16.0)})
        await asker.admit("destroy")
        await asker.request("destroy", "DELETE", "/another")  # and nobody may call for a while
        recorded = clock.monotonic()
        with pytest.raises(Held) as refused:
            await asker.request("destroy", "DELETE", "/x", admitted=True, prompt=True)
        assert refused.value.undone
        assert clock.monotonic() - recorded <= 0.3
        assert len(market.journal) == 1
        await asker.request("destroy", "DELETE", "/x", admitted=True)

    in_virtual_time(body)
    assert len(market.journal) == 2


def test_an_admitted_call_waits_for_its_turn_before_and_not_again() -> None:
    market = Marketplace(other=in_turn(answer({})))

    async def body(clock: VirtualClock) -> None:
        asker = client(market, clock, {"launch": Rate(interval_s=4.5)})
        for _ in range(3):
            await asker.admit("launch", within_s=60)
            admitted = clock.monotonic()
            await asker.request("launch", "PUT", "/x", admitted=True)
            assert clock.monotonic() - admitted == pytest.approx(market.latency_s)

    in_virtual_time(body)
    times = market.times("PUT")
    assert min(b - a for a, b in itertools.pairwise(times)) >= 4.5
