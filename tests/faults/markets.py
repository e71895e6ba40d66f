"""Three marketplaces with everything wrong that can be, at rates that real users met; and what really struck."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from controlplane.simulators.catalogue import model
from controlplane.simulators.faults import PROBABILITIES
from controlplane.simulators.marketplace import Marketplace
from controlplane.simulators.wire import Request

PROVIDERS = ("vastai", "tensordock", "ionet")
EPISODES = ("outage", "hang_all", "key_revoked")
"""Switches that are thrown for a while and then back."""

_KEYS_AFTER_S = {"vastai": 12.0, "tensordock": 70.0, "ionet": 5.0}
_OFFERS = {"vastai": 240, "tensordock": 120, "ionet": 120}
_AT_CREATE = (
    "stockout", "rival", "created_with_error", "late_create", "stuck", "direct_blocked", "preempt", "host_lost",
)  # fmt: skip
_AT_SEARCH = ("absurd_numbers", "price_rise")
_ANYWHERE = ("numbers_as_strings", "unknown_status")
_AT_LIST = ("missing_row", "repeated_row")
_OUTCOMES: Mapping[str, tuple[int | str, ...]] = {
    "lost_response": ("cut before",), "cut_body": ("cut mid_body",), "gateway_error": (502, 504),
    "server_error": (500,), "too_many_requests": (429,),
}  # fmt: skip
_SHAPES = ("html_200", "empty_200", "truncated_json")
_GOOD = (200, 201)
_SEARCHES = ("search", "locations", "hardware")
_ONLY_VAST = frozenset({"direct_blocked", "preempt"})
_WORLDLY = ("rate_limits", "search_quota", *EPISODES)


class SimulatorClock:
    """The plane's clock, as the simulators want it."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def now(self) -> float:
        """See `simulators.clock.Clock`."""
        return float(self._clock.now() / 1_000_000)

    async def sleep(self, seconds: float) -> None:
        """See `simulators.clock.Clock`."""
        await self._clock.sleep(seconds)


def markets(clock: Any, seed: int) -> dict[str, Marketplace[Any]]:
    """All three, with every fault on."""
    made = {name: model(name)(SimulatorClock(clock), seed=seed, offers=_OFFERS[name]) for name in PROVIDERS}
    for name, market in made.items():
        market.configure(faults(name, random.Random(f"{seed}/{name}")))
    return made


def faults(provider: str, rng: random.Random) -> dict[str, Any]:
    """Every switch of the simulator that a control plane can meet, at rates of this seed's."""

    def share(most: float) -> float:
        return round(rng.uniform(0.3, 1.0) * most, 4)

    wrong = {
        "lost_response": share(0.03), "cut_body": share(0.02), "gateway_error": share(0.03), "hang": share(0.01),
        "hang_s": 30.0, "server_error": share(0.02), "too_many_requests": share(0.02), "html_200": share(0.01),
        "empty_200": share(0.01), "truncated_json": share(0.01), "numbers_as_strings": share(0.1),
        "unknown_status": share(0.05), "absurd_numbers": share(0.2), "extra_fields": rng.random() < 0.5,
        "clock_skew_s": round(rng.uniform(-3.0, 3.0), 2), "rate_limits": True, "rate_limit_form": "any",
        "retry_after": rng.random() < 0.5,
    }  # fmt: skip
    buying = {
        "stockout": share(0.2), "rival": share(0.1), "rival_s": 300.0, "stale_inventory_s": 45.0,
        "price_rise": share(0.1), "created_with_error": share(0.1), "late_create": share(0.05), "late_create_s": 20.0,
    }  # fmt: skip
    keeping = {
        "boot_s": [5, 40], "ports_after_s": 3.0, "ssh_after_s": 5.0, "keys_after_s": _KEYS_AFTER_S[provider],
        "latency_s": {"*": [0.05, 0.6], "create": [0.2, 4.0]}, "listing_delay_s": 4.0,
        "get_delay_s": 3.0 if provider == "ionet" else 0.0,
        "ended_listed_s": 8.0, "missing_row": share(0.03), "repeated_row": share(0.05), "stuck": share(0.08),
        "direct_blocked": share(0.2), "preempt": share(0.4), "host_lost": share(0.08), "stop_s": 2.0,
        "host_lost_for_s": rng.choice(([0, 0], [10, 200])), "address_changes": True,
    }  # fmt: skip
    if provider == "ionet":
        keeping["stuck_form"] = "null"
    if provider == "tensordock":
        buying["late_create"] = 0.0  # it tells nobody when a machine was made, and makes it when it is asked
    if provider == "vastai" and rng.random() < 0.3:
        wrong["search_quota"] = 100
    return wrong | buying | keeping


def quiet(switches: Mapping[str, Any]) -> dict[str, Any]:
    """What turns faults off; what was drawn for a machine stays with it, as the marketplace's delays and limits do."""
    off: dict[str, Any] = {name: 0.0 for name in switches if name in PROBABILITIES}
    return off | dict.fromkeys(EPISODES, False) | {"search_quota": 0}


def expected(counted: Iterable[str]) -> set[str]:
    """Faults that never struck."""
    return {*_AT_CREATE, *_AT_SEARCH, *_ANYWHERE, *_AT_LIST, *_OUTCOMES, *_SHAPES, "hang", *_WORLDLY} - set(counted)


def strikes(provider: str, calls: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """How often each fault really hit a call, by the marketplace's journal."""
    struck: Counter[str] = Counter()
    for call in calls:
        struck.update(_struck(provider, call))
    return struck


def _struck(provider: str, call: Mapping[str, Any]) -> Iterable[str]:
    drawn, outcome, endpoint = set(call["faults"]), call["outcome"], call["endpoint"]
    served = outcome in _GOOD or isinstance(outcome, str)
    yield from (fault for fault, outcomes in _OUTCOMES.items() if fault in drawn and outcome in outcomes)
    yield from (fault for fault in (*_SHAPES, *_ANYWHERE) if fault in drawn and outcome in _GOOD)
    if "hang" in drawn:
        yield "hang"
    if endpoint in ("create", "vm_create") and served:
        yield from (f for f in _AT_CREATE if f in drawn and (provider == "vastai" or f not in _ONLY_VAST))
    if endpoint in _SEARCHES and served:
        yield from (fault for fault in _AT_SEARCH if fault in drawn)
    if "list" in endpoint and served:
        yield from (fault for fault in _AT_LIST if fault in drawn)
    if outcome == 429 and "too_many_requests" not in drawn:
        yield "rate_limits"


def label_of(call: Mapping[str, Any]) -> str:
    """The label that a create of any marketplace asked for; empty when it has none."""
    body = call["body"] if isinstance(call["body"], dict) else {}
    dock = body.get("data", {}).get("attributes", {}) if isinstance(body.get("data"), dict) else {}
    return str(body.get("label") or body.get("resource_private_name") or dock.get("name") or "")


async def bounce(market: Marketplace[Any], machine_id: str, clock: Any) -> None:
    """Somebody stops and starts a machine at Vast.ai's own console: its SSH port is another one afterwards."""
    for state in ("stopped", "running"):
        body = json.dumps({"state": state}).encode()
        headers = {"authorization": "Bearer vast-key", "content-type": "application/json"}
        await market.handle(Request("PUT", f"/api/v0/instances/{machine_id}/", {}, headers, body), "198.51.100.1")
        await clock.sleep(15.0)
