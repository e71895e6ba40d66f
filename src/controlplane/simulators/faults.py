"""Every switch of a simulated marketplace: how long things take, and what goes wrong.

A probability is drawn once per call; what it means for a machine (stuck, preempted, host lost) is drawn by the call
that creates the machine. The same names can be aimed at single calls by the queue (`Aimed`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from random import Random
from typing import Any

ANY_ENDPOINT = "*"


class Misuse(ValueError):
    """A switch or a control call that makes no sense; names field, rule and value."""

    def __init__(self, name: str, rule: str, value: object) -> None:
        super().__init__(f"{name}: {rule}, not {json.dumps(value, default=str)[:200]}")
        self.field, self.rule, self.value = name, rule, value


class UnknownWord(Misuse):
    """A switch or fault that does not exist; names the one that was probably meant."""

    def __init__(self, name: str, kind: str, word: object, known: Sequence[str]) -> None:
        super().__init__(name, f"must be a {kind}", word)
        near = get_close_matches(str(word), known, 1)
        hint = f"did you mean {near[0]}?" if near else "GET /_sim/config of a running simulator shows the switches"
        self._sentence = f"there is no {kind} {str(word)[:100]!r}; {hint}"

    def __str__(self) -> str:
        return self._sentence


class BadFile(ValueError):
    """A faults file that does not hold a JSON object; the text names the file."""


def _probability() -> Any:
    return field(default=0.0, metadata={"kind": "probability"})


def _seconds(default: float = 0.0) -> Any:
    return field(default=default, metadata={"kind": "seconds"})


def _span(low: float = 0.0, high: float = 0.0) -> Any:
    return field(default=(low, high), metadata={"kind": "span"})


def _spans() -> Any:
    return field(default_factory=dict, metadata={"kind": "spans"})


def _flag() -> Any:
    return field(default=False, metadata={"kind": "flag"})


def _choice(*words: str) -> Any:
    return field(default=words[0], metadata={"kind": "choice", "words": words})


def _whole(default: int = 0) -> Any:
    return field(default=default, metadata={"kind": "whole"})


@dataclass(frozen=True, slots=True)
class Faults:
    """The switches. Durations are seconds, a pair is (least, most), probabilities are 0 to 1; the defaults make a
    well-behaved market."""

    # How long things take.
    boot_s: tuple[float, float] = _span(2.0, 4.0)  # from create or start until running
    stop_s: float = _seconds()  # from stop until stopped
    latency_s: Mapping[str, tuple[float, float]] = field(
        default_factory=dict, metadata={"kind": "spans"}
    )  # by endpoint
    ports_after_s: float = _seconds()  # from running until the listing shows where SSH is
    ssh_after_s: float = _seconds()  # from then until its port accepts connections
    keys_after_s: float = _seconds()  # from then until its keys are accepted

    # Answers that do not arrive, or not as they should: the work is done, then the connection fails.
    lost_response: float = _probability()  # shut before a byte
    cut_body: float = _probability()  # shut in mid-body
    gateway_error: float = _probability()  # a gateway's 502 or 504 page in place of the answer
    hang: float = _probability()  # the answer comes after hang_s
    hang_s: float = _seconds(120.0)
    hang_all: bool = _flag()  # every call of the marketplace's API hangs for hang_s
    fault_endpoints: tuple[str, ...] = field(default=(), metadata={"kind": "words"})  # that these may hit; empty: any

    # Refused before any work.
    outage: bool = _flag()  # a gateway's 503 page for everything
    server_error: float = _probability()  # 500
    too_many_requests: float = _probability()  # 429 out of nowhere
    rate_limits: bool = _flag()  # the documented limits are kept, with a penalty for breaking them
    rate_limit_form: str = _choice("text", "json", "any")
    retry_after: bool = _flag()  # a 429 says when to come back
    search_quota: int = _whole()  # searches a day; 0: no quota
    auth_form: str = _choice("", "401", "403", "404")  # how a bad key is refused; empty: the marketplace's usual way
    key_revoked: bool = _flag()  # no key is good any more

    # Wrong shapes.
    html_200: float = _probability()
    empty_200: float = _probability()
    truncated_json: float = _probability()
    numbers_as_strings: float = _probability()
    unknown_status: float = _probability()  # a word for a machine's state that no document has
    absurd_numbers: float = _probability()  # negative, huge or zero, in some rows of a search
    extra_fields: bool = _flag()  # members that no document has, everywhere
    clock_skew_s: float = field(default=0.0, metadata={"kind": "number"})  # added to every time that is told

    # Buying.
    stockout: float = _probability()  # the offer is refused though it was listed
    stockout_form: str = _choice("any", "404", "410", "400")
    rival: float = _probability()  # somebody else rents the offer first; it stays away for rival_s
    rival_s: float = _seconds(600.0)
    stale_inventory_s: float = _seconds()  # for how long a rented offer is still listed
    price_rise: float = _probability()  # after a search: each listed offer's price is up by price_rise_percent
    price_rise_percent: float = field(default=50.0, metadata={"kind": "number"})
    created_with_error: float = _probability()  # refused in words, created in fact
    late_create: float = _probability()  # the create takes effect late_create_s after it arrived
    late_create_s: float = _seconds(20.0)

    # Keeping.
    listing_delay_s: float = _seconds()  # a new machine is in no list for so long
    get_delay_s: float = _seconds()  # nor found by its id
    ended_listed_s: float = _seconds()  # a destroyed machine is still listed for so long
    missing_row: float = _probability()  # a list leaves a machine out
    repeated_row: float = _probability()  # a list holds a machine twice
    stuck: float = _probability()  # the machine never comes up
    stuck_form: str = _choice("any", "null", "loading", "created")
    start_refused: float = _probability()  # after a stop, a start waits for ever: the GPU was rented away
    address_changes: bool = _flag()  # after a stop and a start, SSH is elsewhere
    direct_blocked: float = _probability()  # the direct SSH port is closed, only a proxy works
    preempt: float = _probability()  # a spot machine is taken back
    preempt_after_s: tuple[float, float] = _span(30.0, 600.0)  # after it came up
    host_lost: float = _probability()  # the machine's host stops answering
    host_lost_form: str = _choice("any", "unknown", "offline")
    host_lost_after_s: tuple[float, float] = _span(30.0, 600.0)  # after it came up
    host_lost_for_s: tuple[float, float] = _span()  # and comes back after; 0: never
    # Busy, so that an idle limit ends machines only where a rehearsal wants it. Negative: nobody measures it.
    utilisation_percent: float = field(default=90.0, metadata={"kind": "number"})

    # One marketplace's own.
    list_form: str = _choice("flat", "wrapped", "nested", "any")  # TensorDock: how its instance list is wrapped
    query_key_only: bool = _flag()  # TensorDock: searches refuse a Bearer token and want the key in the query
    early_refund: bool = _flag()  # io.net: a VM that is deleted early gets back what lies beyond its first hour

    def changed(self, values: Mapping[str, Any]) -> Faults:
        """A copy with some switches set from JSON values. Raises Misuse."""
        known = {item.name: item for item in fields(self)}
        checked = {}
        for name, value in values.items():
            if name not in known:
                raise UnknownWord(name, "switch", name, list(known))
            checked[name] = _checked(name, known[name].metadata, value)
        return replace(self, **checked)

    def as_json(self) -> dict[str, Any]:
        """All switches as JSON values."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    def hits(self, rng: Random, endpoint: str) -> frozenset[str]:
        """The names of the faults that befall one call. Every switch is drawn, so that setting one does not change
        what the others do under the same seed.
        """
        drawn = frozenset(name for name in PROBABILITIES if rng.random() < getattr(self, name))
        spared = self.fault_endpoints and endpoint not in self.fault_endpoints
        return drawn - TRANSPORT if spared else drawn

    def latency(self, rng: Random, endpoint: str) -> float:
        """Seconds that one call takes."""
        low, high = self.latency_s.get(endpoint) or self.latency_s.get(ANY_ENDPOINT) or (0.0, 0.0)
        return rng.uniform(low, high)


PROBABILITIES = tuple(item.name for item in fields(Faults) if item.metadata["kind"] == "probability")
TRANSPORT = frozenset({"lost_response", "cut_body", "gateway_error", "hang"})


@dataclass(frozen=True, slots=True)
class Aimed:
    """One fault for one call: the `nth` call of `endpoint` from now on (1 is the next)."""

    endpoint: str
    fault: str
    nth: int = 1


class FaultQueue:
    """Faults aimed at single calls; each strikes once."""

    def __init__(self) -> None:
        self._waiting: list[Aimed] = []

    def add(self, items: Sequence[Any]) -> None:
        """Queue what the control surface or a faults file gave. Raises Misuse and then queues nothing."""
        self._waiting += [_aimed(item) for item in items]

    def clear(self) -> None:
        """Forget what has not struck yet."""
        self._waiting.clear()

    def strike(self, endpoint: str) -> set[str]:
        """The faults whose call this is."""
        struck: set[str] = set()
        waiting = []
        for aimed in self._waiting:
            if aimed.endpoint not in (endpoint, ANY_ENDPOINT):
                waiting.append(aimed)
            elif aimed.nth > 1:
                waiting.append(replace(aimed, nth=aimed.nth - 1))
            else:
                struck.add(aimed.fault)
        self._waiting = waiting
        return struck

    def as_json(self) -> list[dict[str, Any]]:
        """What has not struck yet."""
        return [{"endpoint": one.endpoint, "nth": one.nth, "fault": one.fault} for one in self._waiting]


def read_file(path: Path) -> dict[str, Any]:
    """A faults file: one JSON object of switches, and `queue`. Raises BadFile; OSError when it cannot be read."""
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadFile(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadFile(f"{path} must hold one JSON object")
    return value


def _aimed(item: Any) -> Aimed:
    if not isinstance(item, dict) or not {"endpoint", "fault"} <= set(item) <= {"endpoint", "fault", "nth"}:
        raise Misuse("queue", 'each must be {"endpoint": ..., "fault": ..., "nth": ...}', item)
    nth = item.get("nth", 1)
    if not isinstance(item["endpoint"], str):
        raise Misuse("queue.endpoint", "must be text", item["endpoint"])
    if item["fault"] not in PROBABILITIES:
        raise UnknownWord("queue.fault", "fault", item["fault"], PROBABILITIES)
    if not isinstance(nth, int) or isinstance(nth, bool) or nth < 1:
        raise Misuse("queue.nth", "must be a whole number from 1", nth)
    return Aimed(item["endpoint"], item["fault"], nth)


def _checked(name: str, metadata: Mapping[str, Any], value: Any) -> Any:
    match metadata["kind"]:
        case "probability" if _is_number(value) and 0 <= value <= 1:
            return float(value)
        case "probability":
            raise Misuse(name, "must be a probability from 0 to 1", value)
        case "seconds" if _is_number(value) and value >= 0:
            return float(value)
        case "seconds":
            raise Misuse(name, "must be seconds, 0 or more", value)
        case "number" if _is_number(value):
            return float(value)
        case "whole" if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        case "number" | "whole" as kind:
            raise Misuse(name, "must be a number" if kind == "number" else "must be a whole number, 0 or more", value)
        case "flag" if isinstance(value, bool):
            return value
        case "flag":
            raise Misuse(name, "must be true or false", value)
        case "choice" if value in metadata["words"]:
            return value
        case "choice":
            raise Misuse(name, f"must be one of {', '.join(repr(word) for word in metadata['words'])}", value)
        case "words" if isinstance(value, list) and all(isinstance(word, str) for word in value):
            return tuple(value)
        case "words":
            raise Misuse(name, "must be a list of texts", value)
        case "spans" if isinstance(value, dict):
            return {key: _pair(f"{name}.{key}", span) for key, span in value.items()}
        case "spans":
            raise Misuse(name, "must be an object of [least, most] by endpoint", value)
    return _pair(name, value)


def _pair(name: str, value: Any) -> tuple[float, float]:
    pair = [value, value] if _is_number(value) else value
    if isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair)) and 0 <= pair[0] <= pair[1]:
        return float(pair[0]), float(pair[1])
    raise Misuse(name, "must be seconds, or [least, most] seconds", value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return {key: list(span) for key, span in value.items()} if isinstance(value, Mapping) else value
