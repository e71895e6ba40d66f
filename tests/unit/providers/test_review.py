"""What a sceptic found in the adapters: hostile or odd answers that once led to a crash or to a wrong conclusion."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from controlplane.adapters.providers.http import MarketplaceClient, Rate, values
from controlplane.adapters.providers.http.decode import decode
from controlplane.adapters.providers.http.limiter import Limiter
from controlplane.adapters.providers.http.redact import Redactor
from controlplane.adapters.providers.ionet import IonetProvider, IonetSettings
from controlplane.adapters.providers.ionet.machines import endpoint
from controlplane.adapters.providers.tensordock import TensordockProvider, TensordockSettings
from controlplane.adapters.providers.vastai import VastaiProvider
from controlplane.adapters.providers.vastai.templates import template_of
from controlplane.adapters.system import SystemClock
from controlplane.ports.meter import NoMeter
from controlplane.ports.provider import (
    Ambiguous,
    AuthFailed,
    Created,
    LaunchSpec,
    Listing,
    ProviderError,
    RateLimited,
    Stockout,
)
from tests.simulation.world import VirtualClock
from tests.support.fakes import FakeClock
from tests.support.scripted import Scripted, reply
from tests.unit.providers import test_tensordock as tensordock
from tests.unit.providers.support import Handler, Marketplace, answer, in_turn, in_virtual_time
from tests.unit.providers.vastai_market import (
    BUNDLES,
    CREATE,
    LIST,
    instance,
    market,
    offer,
    page,
    row,
    spec,
    with_provider,
)

IONET = "/enterprise/v1/io-cloud/vmaas"
ABSURD = "1e99999999999999999999"  # an exponent that no Decimal holds


def _ask(handler: Handler, rates: dict[str, Rate] | None = None) -> tuple[Any, Marketplace]:
    """The outcome of one safe call, and the market."""
    asked = Marketplace(other=handler, latency_s=0.0)

    async def body(clock: VirtualClock) -> Any:
        client = MarketplaceClient(
            "market", "http://market.test", headers={}, rates=rates or {}, secrets=(), clock=clock, meter=NoMeter(),
            transport=asked,
        )  # fmt: skip
        try:
            return await client.request("call", "GET", "/x")
        except ProviderError as error:
            return error

    return in_virtual_time(body), asked


# Numbers


@pytest.mark.parametrize("text", [ABSURD, f"-{ABSURD}", "1e-99999999999999999999", "1e99999999999"])
def test_an_absurd_number_spoils_its_field_and_not_the_answer(text: str) -> None:
    got, _ = _ask(lambda _: answer(text=f'{{"price": {text}, "id": 7}}'))
    assert got.object()["id"] == 7
    assert values.price(got.object()["price"]) is None


@pytest.mark.parametrize("number", [Decimal("1e99999999999"), "1e99999999999", "-1e99999999999"])
def test_a_number_beyond_the_context_is_none(number: Any) -> None:
    assert values.decimal(number) is None


def test_a_purchase_whose_answer_holds_an_absurd_number_is_still_known() -> None:
    async def body(provider: VastaiProvider, _: VirtualClock) -> Any:
        return await provider.launch(spec())

    made = answer(text=f'{{"success": true, "new_contract": 5, "hint": {ABSURD}}}')
    got = with_provider(market(**{CREATE: lambda _: made}), body)
    assert isinstance(got, Created)
    assert got.machine_id == "5"


@pytest.mark.parametrize("number", [ABSURD, "9" * 400, "1e400", "1e99999999999"])
def test_a_template_with_an_absurd_condition_fits_nothing(number: str) -> None:
    assert template_of({"hash_id": "h", "image": "i", "extra_filters": f'{{"num_gpus":{{"gte":{number}}}}}'}) is None


@pytest.mark.parametrize("odd", [{"env": "-e A=\ud800"}, {"onstart": "echo \0"}, {"extra_filters": {"\ud800": 1}}])
def test_a_template_of_characters_that_no_store_takes_is_left_out(odd: dict[str, Any]) -> None:
    assert template_of({"hash_id": "h", "image": "i", **odd}) is None


def test_what_was_paid_stays_a_sum_that_a_ledger_can_hold() -> None:
    details = {"id": "d1", "status": "running", "created_at": "2026-01-01T00:00:00Z", "amount_paid": 1e17}
    script = Scripted({
        f"GET {IONET}/deployments": reply({"data": {"deployments": [], "total": 0}}),
        f"GET {IONET}/deployment/d1": reply({"data": details}), f"GET {IONET}/deployment/d1/vms": reply({}, 404),
    })  # fmt: skip
    provider = IonetProvider(IonetSettings("key", "http://ionet.test"), FakeClock(), NoMeter(), script)
    assert asyncio.run(provider.describe("d1")).billed_nano is None


# Limits


@pytest.mark.parametrize(
    "told",
    ["Mon, 01 Jan 2024 00:00:00 +99999999999999", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "1e9999999999"],
)
def test_an_absurd_retry_after_says_nothing(told: str) -> None:
    got, _ = _ask(in_turn(answer({}, 503, retry_after=told), answer({"a": 1})))
    assert got.value == {"a": 1}


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_of_nothing_is_no_leave_to_hammer(status: int) -> None:
    _, asked = _ask(lambda _: answer({}, status, retry_after="0"), {"call": Rate(per_minute=1000)})
    assert len(asked.journal) < 10


def test_a_day_of_refusals_does_not_break_the_limiter() -> None:
    async def body(clock: VirtualClock) -> list[float]:
        limiter = Limiter({"call": Rate(interval_s=1.0)}, clock)
        return [limiter.refused("call", None) for _ in range(2000)]

    assert max(in_virtual_time(body)) == 60.0


def test_no_marketplace_silences_destroys_for_long() -> None:
    async def body(provider: VastaiProvider, clock: VirtualClock) -> float:
        with pytest.raises(ProviderError):
            await provider.destroy("7", grace_s=0)
        began = clock.monotonic()
        await provider.admit("destroy")
        return clock.monotonic() - began

    refused = answer(text="too many", status=429, retry_after="86400")
    assert with_provider(Marketplace({"DELETE /api/v0/instances/7/": lambda _: refused}), body) <= 61.0


# Words


@pytest.mark.parametrize("said", ["Authorization: Bearer abcdefgh", 'authorization: "Bearer abcdefgh"'])
def test_a_bearer_of_somebody_else_is_redacted(said: str) -> None:
    assert "abcdefgh" not in Redactor(()).line(said)


@pytest.mark.parametrize("odd", ["\ud800", "\u202e", "\u200b"])
def test_a_reason_holds_only_what_can_be_stored_and_shown(odd: str) -> None:
    assert Redactor(()).line(f"no{odd}way") == "no way"


@pytest.mark.parametrize("command", ["ssh -p 22 -F@203.0.113.7", "ssh -p 22 root@-oX", "ssh -l -F 203.0.113.7"])
def test_no_address_or_user_reads_as_an_option(command: str) -> None:
    assert endpoint(command) is None


# Conclusions


def test_a_refused_key_is_one_also_in_a_good_status() -> None:
    async def body(provider: VastaiProvider, _: VirtualClock) -> Any:
        return await provider.launch(spec())

    refusal = answer({"success": False, "error": "auth_error", "msg": "Invalid user key"})
    assert isinstance(with_provider(market(**{CREATE: lambda _: refusal}), body), AuthFailed)
    assert isinstance(with_provider(market(**{BUNDLES: lambda _: refusal}), body), AuthFailed)


def test_a_refused_credential_is_no_stock_out_whatever_it_says() -> None:
    async def body() -> Any:
        refusal = reply({"status": "failed", "error": "VMs are not available to this key"}, 403)
        script = Scripted({
            f"GET {IONET}/price": reply({"data": {"total_cost_usdc": 1}}), f"POST {IONET}/deploy": refusal,
        })  # fmt: skip
        provider = IonetProvider(IonetSettings("key", "http://ionet.test"), FakeClock(), NoMeter(), script)
        # Of the offer, only the id is looked at.
        return await provider.launch(LaunchSpec("l", replace(offer(), id="ionet-583-2x-7"), (), "ssh-ed25519 AAAA", 0))

    assert isinstance(asyncio.run(body()), AuthFailed)


def test_a_list_with_fewer_machines_than_the_account_has_is_not_complete() -> None:
    async def body(provider: VastaiProvider, _: VirtualClock) -> Listing:
        return await provider.list("")

    short = page(instance(), instances_found=1, total_instances=2)
    assert not with_provider(Marketplace({LIST: lambda _: answer(short)}), body).complete
    whole = page(instance(), instances_found=1, total_instances=1)
    assert with_provider(Marketplace({LIST: lambda _: answer(whole)}), body).complete


def test_a_location_that_shrank_does_not_sell_a_smaller_machine() -> None:
    listed: dict[str, Any] = json.loads(json.dumps(tensordock.LOCATIONS))
    shrunk: dict[str, Any] = json.loads(json.dumps(tensordock.LOCATIONS))
    shrunk["data"]["locations"][0]["gpus"][0]["resources"]["max_vcpus"] = 4

    async def body() -> Any:
        clock = FakeClock()
        script = Scripted({"GET /api/v2/locations": [reply(listed), reply(shrunk)]})
        settings = TensordockSettings("token", url="http://tensordock.test/api/v2")
        provider = TensordockProvider(settings, clock, NoMeter(), script)
        shown = next(shown for shown in await provider.offers() if shown.id == tensordock.OFFER)
        clock.advance(60)
        return await provider.launch(LaunchSpec("l", shown, (), "ssh-ed25519 AAAA", 0))

    assert isinstance(asyncio.run(body()), Stockout)


@pytest.mark.parametrize(
    "url",
    ["https://169.254.169.254/latest/meta-data", "https://[::1]/log", "https://localhost/log", "https://2130706433/"],
)
def test_a_log_is_not_fetched_from_inside_our_network(url: str) -> None:
    asked = Marketplace(
        {"PUT /api/v0/instances/request_logs/7/": lambda _: answer({"success": True, "result_url": url})}
    )

    async def body(provider: VastaiProvider, _: VirtualClock) -> None:
        with pytest.raises(ProviderError):
            await provider.logs("7", tail=5)

    with_provider(asked, body)
    assert len(asked.journal) == 1


# The loop


def test_a_large_list_inside_envelopes_does_not_hold_up_the_loop() -> None:
    text = json.dumps({"data": {"attributes": {"instances": [row() for _ in range(2000)]}}})

    async def body() -> int:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        await decode(text.encode())
        task.cancel()
        return turns

    assert asyncio.run(body()) >= 20


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_a_refused_search_says_of_no_offer_that_it_is_sold_out(status: int) -> None:
    async def body(provider: VastaiProvider, _: VirtualClock) -> Any:
        return await provider.launch(spec())

    refusal = answer({"success": False, "error": "deprecated_endpoint", "msg": "use another"}, status)
    assert isinstance(with_provider(market(**{BUNDLES: lambda _: refusal}), body), RateLimited)


def test_a_purchase_that_a_gateway_forbids_is_not_sent_again_with_the_other_credential() -> None:
    async def body() -> tuple[Any, int]:
        question = "POST /api/v2/instances"
        script = Scripted({
            "GET /api/v2/locations": reply(tensordock.LOCATIONS), question: reply("<html>blocked</html>", 403),
        })  # fmt: skip
        settings = TensordockSettings("token", "authorization-id", "http://tensordock.test/api/v2")
        provider = TensordockProvider(settings, FakeClock(), NoMeter(), script)
        shown = next(shown for shown in await provider.offers() if shown.id == tensordock.OFFER)
        got = await provider.launch(LaunchSpec("l", shown, (), "ssh-ed25519 AAAA", 0))
        return got, len(script.asked(question))

    got, sent = asyncio.run(body())
    assert isinstance(got, Ambiguous)
    assert sent == 1


def test_flags_without_end_are_not_split() -> None:
    template = template_of({"hash_id": "h", "image": "i", "env": "-e A=1 " * 10_000})
    assert template is not None
    assert template.env == {}


# What is sent once


def test_what_is_sent_once_has_its_own_connection_and_follows_nobody() -> None:
    connections, lines = 0, []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines.append(head.split(b"\r\n")[0])
                status = b"307 Moved" if b"/moved" in lines[-1] else b"200 OK"
                writer.write(b"HTTP/1.1 " + status + b"\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def body() -> list[int]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = MarketplaceClient(
            "market", url, headers={"x-api-key": "key-from-a-file\n"}, rates={}, secrets=(), clock=SystemClock(),
            meter=NoMeter(),
        )  # fmt: skip
        found = [(await client.request("call", "PUT", path)).status for path in ("/a", "/moved", "/b")]
        await client.close()
        server.close()
        await server.wait_closed()
        return found

    assert asyncio.run(body()) == [200, 307, 200]
    assert connections == 3
    assert lines == [b"PUT /a HTTP/1.1", b"PUT /moved HTTP/1.1", b"PUT /b HTTP/1.1"]


def test_a_key_with_a_line_break_is_redacted() -> None:
    assert "key-from-a-file" not in Redactor(("key-from-a-file\n",)).line("bad key key-from-a-file given")
