"""Buying on Vast.ai: the request, and every outcome of its answer."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import shlex
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from controlplane.adapters.providers.vastai import VastaiProvider
from controlplane.domain.offer import Tier
from controlplane.ports.provider import (
    Ambiguous,
    AuthFailed,
    Created,
    CreatedButUnusable,
    LaunchMode,
    LaunchOutcome,
    LaunchSpec,
    NoFunds,
    RateLimited,
    Rejected,
    Stockout,
    TooDear,
)
from tests.simulation.world import VirtualClock
from tests.support.fakes import START
from tests.unit.providers.support import Marketplace, answer, hang, in_turn
from tests.unit.providers.vastai_market import (
    ASK,
    BUNDLES,
    CREATE,
    KEY,
    PROBE,
    TENANT,
    market,
    offer,
    row,
    spec,
    with_provider,
)

MADE = {"success": True, "new_contract": 31900417, "instance_api_key": "secret"}


def launch(marketplace: Marketplace, wanted: LaunchSpec | None = None) -> LaunchOutcome:
    async def body(provider: VastaiProvider, _: VirtualClock) -> LaunchOutcome:
        await provider.admit("launch")
        return await provider.launch(wanted or spec())

    return with_provider(marketplace, body)


def outcome(reply: Any) -> LaunchOutcome:
    """What that answer to the create means; the create was sent once."""
    marketplace = market(**{CREATE: in_turn(reply)})
    found = launch(marketplace)
    assert len(marketplace.sent("PUT")) == 1
    assert KEY not in str(found)
    assert "<" not in str(getattr(found, "reason", ""))
    return found


def sent_body(wanted: LaunchSpec, **rows: Any) -> dict[str, Any]:
    marketplace = market(**{CREATE: in_turn(answer(MADE)), BUNDLES: in_turn(answer({"offers": [row(**rows)]}))})
    assert isinstance(launch(marketplace, wanted), Created)
    body: dict[str, Any] = json.loads(marketplace.sent("PUT")[0].content)
    return body


def test_a_machine_is_made_and_dated_by_the_sending() -> None:
    sent_at = START + 100_000  # after the price check
    assert outcome(answer(MADE)) == Created("31900417", created_at=sent_at, price_nano_per_hour=314_000_000)


STOCKOUTS = [
    answer({"success": False, "error": "invalid_args", "msg": "no_such_ask 1 is not available", "ask_id": 1}, 404),
    answer({"success": False, "error": "no_such_ask", "msg": "gone"}, 410), answer({"msg": "no_such_ask"}, 400),
]  # fmt: skip


@pytest.mark.parametrize("reply", STOCKOUTS)
def test_stockouts(reply: Any) -> None:
    assert isinstance(outcome(reply), Stockout)


@pytest.mark.parametrize(
    "reply",
    [
        answer({"detail": "x"}, 401), answer({"error": "auth_error", "msg": "requires login"}, 403),
        answer({"success": False, "error": "auth_error", "msg": "Invalid user key"}, 404), answer(text="", status=401),
    ],
)  # fmt: skip
def test_refused_keys(reply: Any) -> None:
    assert isinstance(outcome(reply), AuthFailed)


@pytest.mark.parametrize(
    "reply",
    [
        answer({"success": False, "error": "insufficient_credit", "msg": "Your credit is too low"}, 400),
        answer({"success": False, "msg": "Please add a billing method"}, 403),
        answer({"error": "missing_billing"}, 400),
    ],
)  # fmt: skip
def test_empty_accounts(reply: Any) -> None:
    assert isinstance(outcome(reply), NoFunds)


@pytest.mark.parametrize(
    ("reply", "after_s"),
    [
        (answer(text="API requests too frequent endpoint threshold=4.5", status=429), 12.0),
        (answer({"detail": "slow down"}, 429), 12.0), (answer({"detail": "slow down"}, 429, retry_after="33"), 33.0),
    ],
)  # fmt: skip
def test_too_many_requests(reply: Any, after_s: float) -> None:
    assert outcome(reply) == RateLimited(after_s)


@pytest.mark.parametrize(
    "reply",
    [
        answer({"success": False, "msg": "boom"}, 500), answer(text="<html>502</html>", status=502), answer(text=""),
        answer(text="<html>ok</html>"), answer(text='{"success": tr'), answer({"success": True}), answer([1]),
        answer(text="<html>blocked</html>", status=404), httpx2.ReadError("cut"), httpx2.RemoteProtocolError("closed"),
        answer({"success": True, "new_contract": "none"}),
    ],
)  # fmt: skip
def test_unclear_answers(reply: Any) -> None:
    assert isinstance(outcome(reply), Ambiguous)


def test_a_hanging_create_ends_as_unclear_within_the_time_that_a_launch_has() -> None:
    marketplace = market(**{CREATE: hang})

    async def body(provider: VastaiProvider, clock: VirtualClock) -> tuple[LaunchOutcome, float]:
        return await provider.launch(spec()), clock.monotonic()

    found, took_s = with_provider(marketplace, body)
    assert isinstance(found, Ambiguous)
    assert took_s < VastaiProvider.capabilities.launch_timeout_s
    assert len(marketplace.sent("PUT")) == 1


@pytest.mark.parametrize("error", [httpx2.ConnectError("refused"), httpx2.ConnectTimeout("late")])
def test_what_never_left_is_no_ambiguity(error: Exception) -> None:
    assert isinstance(outcome(error), RateLimited)


def test_a_bid_too_low_leaves_a_machine_to_destroy() -> None:
    reply = answer({"success": False, "error": "bid_too_low", "msg": "outbid", "new_contract": 5})
    assert outcome(reply) == CreatedButUnusable("5", "outbid")


def test_a_refusal_is_told_in_the_vendor_s_words_without_markup_or_keys() -> None:
    reply = answer({"success": False, "error": "invalid_args", "msg": f"bad <b>image</b> for {KEY}"}, 400)
    assert outcome(reply) == Rejected("bad image for ***")


@pytest.mark.parametrize("rows", [[], [row(id=1, ask_contract_id=1)], [row(dph_base=None)]])
def test_an_offer_that_the_search_lacks_is_not_asked_for(rows: list[Any]) -> None:
    marketplace = market(**{BUNDLES: in_turn(answer({"offers": rows}))})
    assert isinstance(launch(marketplace), Stockout)
    assert not marketplace.sent("PUT")


def test_a_price_beyond_the_cap_is_not_paid() -> None:
    marketplace = market(**{BUNDLES: in_turn(answer({"offers": [row(dph_base=0.5)]}))})
    assert launch(marketplace, spec(max_price_nano_per_hour=400_000_000)) == TooDear(504_000_000)
    assert not marketplace.sent("PUT")


def test_the_price_is_that_of_the_disk_asked_for() -> None:
    wanted = spec(disk_gb=4000, max_price_nano_per_hour=1_000_000_000)
    assert launch(market(), wanted) == TooDear(310_000_000 + 1_000_000_000)


@pytest.mark.parametrize(
    "reply",
    [answer({}, 500), answer(text="<html>"), httpx2.ConnectError("no"), answer({"detail": "x"}, 429, retry_after="99")],
)
def test_without_a_price_nothing_is_bought(reply: Any) -> None:
    marketplace = market(**{BUNDLES: in_turn(reply)})
    assert isinstance(launch(marketplace), RateLimited)
    assert not marketplace.sent("PUT")


def test_a_refused_key_is_seen_at_the_price_check() -> None:
    marketplace = market(**{BUNDLES: in_turn(answer({"error": "auth_error"}, 404))})
    assert isinstance(launch(marketplace), AuthFailed)


def test_the_request_says_all_that_matters() -> None:
    body = sent_body(spec(disk_gb=4, env={"HF_TOKEN": "x"}, ports=(8080,), image="img:1"))
    assert (body["disk"], body["label"], body["image"]) == (8, "gp-dep-aaaa-1", "img:1")
    assert body["cancel_unavail"] is True
    assert body["env"] == {"HF_TOKEN": "x", "-p 8080:8080": "1"}
    assert "ssh_direc" in body["runtype"]
    assert "price" not in body
    assert "template_hash_id" not in body


def test_keys_are_installed_at_the_start_the_probe_s_restricted() -> None:
    script = sent_body(spec(on_start="echo 'hello'"))["onstart"]
    assert shlex.quote(f'command="true",restrict {PROBE}') in script
    assert shlex.quote(TENANT) in script
    assert script.endswith("echo 'hello'")


def test_a_long_start_is_compressed_and_a_longer_one_refused() -> None:
    script = sent_body(spec(on_start="echo hello; " * 1000))["onstart"]
    assert len(script) <= 4096
    packed = script.split("|")[0].removeprefix("echo ")
    assert gzip.decompress(base64.b64decode(packed)).decode().endswith("echo hello; " * 1000)
    noise = base64.b64encode(bytes(i * i * 31 % 251 ^ i >> 3 & 255 for i in range(9000))).decode()
    noise = "".join(chr(33 + (ord(c) * i * 7919) % 90) for i, c in enumerate(noise))
    refused = launch(market(), spec(on_start=noise))
    assert isinstance(refused, Rejected)
    assert "4096" in refused.reason


def test_a_template_keeps_its_own_start_beside_the_keys() -> None:
    template = {"hash_id": "abc", "name": "t", "image": "i", "onstart": "serve --all"}
    marketplace = market(
        **{
            CREATE: in_turn(answer(MADE)),
            "GET /api/v0/template/": in_turn(answer({"success": True, "templates": [template]})),
        }
    )
    launch(marketplace, spec(template="abc"))
    body = json.loads(marketplace.sent("PUT")[0].content)
    assert body["template_hash_id"] == "abc"
    assert "image" not in body
    assert TENANT in body["onstart"]
    assert body["onstart"].endswith("serve --all")


def test_a_spot_machine_is_bid_for_with_a_margin_that_yields_to_the_cap() -> None:
    spot = offer(Tier.SPOT)
    assert sent_body(spec(offer=spot))["price"] == 0.171
    assert sent_body(spec(offer=spot, max_price_nano_per_hour=160_000_000))["price"] == 0.156
    assert launch(market(), spec(offer=spot, max_price_nano_per_hour=140_000_000)) == TooDear(175_000_000)


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": LaunchMode.JUPYTER}, {"mode": LaunchMode.MODEL, "model": "m", "on_start": "x"},
        {"env": {"-p 1:1": "1"}}, {"env": {"--privileged": ""}}, {"env": {"A B": ""}},
        {"ports": tuple(range(1, 66))}, {"image": "x" * 1025}, {"authorized_keys": ("a\nb",)}, {"label": "x" * 257},
    ],
)  # fmt: skip
def test_mistakes_reach_no_provider(changes: dict[str, Any]) -> None:
    marketplace = market()
    assert isinstance(launch(marketplace, spec(**changes)), Rejected)
    assert not marketplace.journal


def test_launches_at_once_share_the_price_check_and_stay_apart() -> None:
    asks = range(1, 11)
    rows = [row(id=n, ask_contract_id=n) for n in asks]
    marketplace = Marketplace({BUNDLES: in_turn(answer({"offers": rows}))}, other=in_turn(answer(MADE)))

    async def body(provider: VastaiProvider, _: VirtualClock) -> list[LaunchOutcome]:
        async def one(number: int) -> LaunchOutcome:
            await provider.admit("launch")
            return await provider.launch(spec(offer=offer(id=number, ask_contract_id=number)))

        return await asyncio.gather(*(one(number) for number in asks))

    assert {type(found) for found in with_provider(marketplace, body)} == {Created}
    searches = marketplace.times("POST")
    assert all(sum(1 for t in searches if start <= t < start + 60) <= 10 for start in searches)
    assert all(b - a >= 4.5 for a, b in pairwise(marketplace.times("PUT")))
    assert {request.url.path for request in marketplace.sent("PUT")} == {f"/api/v0/asks/{n}/" for n in asks}


def test_the_offer_s_own_id_is_bought() -> None:
    marketplace = market(**{CREATE: in_turn(answer(MADE))})
    launch(marketplace)
    assert json.loads(marketplace.sent("POST")[0].content)["id"] == {"in": [ASK]}
