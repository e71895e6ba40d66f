"""Canonical facts in Hoonify's words, and its bills."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from gpuplane.v1 import watch_pb2

from controlplane.api.dialects.hoonify import HOONIFY, rate_headers, webhooks
from controlplane.api.dialects.hoonify.keys import KEY_FORMATS
from controlplane.api.dialects.hoonify.translate import (
    DEFAULT_IMAGE,
    HOUR_S,
    STATES,
    billing_of,
    check_after,
    free_for,
    image_asked,
    instance_shown,
    limit_of,
    seconds_of,
    states_of,
)
from controlplane.dialect import WebhookDelivery
from controlplane.domain.billing import BillingKind, BillingPolicy, charge, first_hold, reservation
from controlplane.domain.errors import InvalidArgument
from controlplane.domain.instance import Wish
from controlplane.domain.ratelimit import RateState
from controlplane.domain.state import State
from controlplane.wire.event import instance_event
from controlplane.wire.instance import instance_message
from tests.support.fakes import SECOND, START, instance

HOUR = HOUR_S * SECOND
WORDS = ["provisioning", "starting", "ready", "draining", "terminated", "failed"]


def shown(**changes: Any) -> Any:
    fields: dict[str, Any] = {"gpu_type": "H200 SXM", "gpu_count": 8, "vram_gb": 141, "region": "na"} | changes
    return instance_shown(instance_message(instance(**fields)))


# --- states


def test_every_state_has_one_documented_word() -> None:
    assert set(STATES) == set(State)
    assert list(dict.fromkeys(STATES.values())) == WORDS
    assert HOONIFY.states is STATES


@pytest.mark.parametrize("state", State)
def test_a_filter_by_the_word_shown_finds_the_state(state: State) -> None:
    assert state in states_of(shown(state=state).status)


def test_filters() -> None:
    assert states_of("") == frozenset()
    assert states_of("ready, starting") == {State.RUNNING, State.STARTING}
    assert states_of("provisioning,provisioning") == {State.ACCEPTED, State.ALLOCATING}
    for wrong in ("running", "READY", "ready,", ",", "ready;starting"):
        with pytest.raises(InvalidArgument, match="status must be among provisioning, starting"):
            states_of(wrong)


# --- the instance


def test_what_is_always_there_and_nothing_else() -> None:
    fresh = shown(region="")
    assert {field.name for field, _ in fresh.ListFields()} == {
        "id", "object", "status", "sku", "gpus", "image", "created_at",
    }  # fmt: skip
    assert (fresh.object, fresh.status, fresh.sku, fresh.gpus) == ("instance", "provisioning", "h200-141", 8)
    assert fresh.created_at == "2026-01-01T00:00:00Z"


def test_a_cpu_machine_has_one_gpu_and_no_pool() -> None:
    cpu = shown(gpu_type="cpu", gpu_count=0, vram_gb=0, region="")
    assert (cpu.sku, cpu.gpus, cpu.HasField("operator_pool")) == ("cpu", 1, False)


@pytest.mark.parametrize("state", State)
def test_endpoints_are_there_exactly_while_it_is_ready(state: State) -> None:
    seen = shown(state=state, ssh_host="10.0.0.1", ssh_port=2222, ssh_user="root", ssh_host_key="ssh-ed25519 AAAA")
    assert seen.HasField("endpoints") == (seen.status == "ready")
    if seen.HasField("endpoints"):
        assert (seen.endpoints.ssh.host, seen.endpoints.ssh.port, seen.endpoints.ssh.user) == ("10.0.0.1", 2222, "root")
        assert seen.endpoints.ssh.command == "ssh -p 2222 root@10.0.0.1"


def test_a_machine_without_ssh_has_no_endpoint_of_this_api() -> None:
    seen = shown(state=State.RUNNING, model_url="http://h:1/v1", wish=Wish(offer_id="o", mode="model", model="m"))
    assert (seen.status, seen.HasField("endpoints")) == ("ready", False)


def test_jupyter_is_there_where_the_machine_has_it() -> None:
    running = {"state": State.RUNNING, "ssh_host": "h", "ssh_port": 22, "model_url": "http://h:1"}
    seen = shown(**running, wish=Wish(offer_id="o", mode="jupyter"))
    assert seen.endpoints.jupyter.url == "http://h:1"
    assert not seen.endpoints.jupyter.HasField("token"), "it is derived for those who may have it"
    for wish in (Wish(offer_id="o", mode="model", model="m"), Wish(offer_id="o")):
        assert not shown(**{**running, "model_url": wish.model}, wish=wish).endpoints.HasField("jupyter")


@pytest.mark.parametrize("state", State)
def test_a_reason_is_there_exactly_when_it_failed(state: State) -> None:
    seen = shown(state=state, state_reason="START_TIMEOUT", state_message="not usable in time")
    assert seen.HasField("failure_reason") == seen.HasField("failure_message") == (state is State.FAILED)
    if state is State.FAILED:
        assert (seen.failure_reason, seen.failure_message) == ("start_timeout", "not usable in time")


def test_the_default_image_means_the_provider_s() -> None:
    assert image_asked("") == image_asked(DEFAULT_IMAGE) == ""
    assert image_asked("ghcr.io/your-org/training:cu128") == "ghcr.io/your-org/training:cu128"
    assert shown().image == DEFAULT_IMAGE
    assert shown(wish=Wish(offer_id="o", image="x:1")).image == "x:1"


def test_a_reservation_is_shown_whole_before_and_after_it_began() -> None:
    billing = billing_of(4 * HOUR_S, 0)
    waiting = instance(billing=billing, expire_at=START + 4 * HOUR, hard_expire_at=START + 168 * HOUR)
    assert instance_shown(instance_message(waiting)).duration_hours == 4
    moved = {"state": State.STARTING, "machine_at": START}
    began = instance(**{**vars(waiting), **moved}).to(State.RUNNING, START + 90 * SECOND).reservation_begun()
    assert began.expire_at == START + 90 * SECOND + 4 * HOUR, "an hour that is paid can be used"
    assert began.hard_expire_at == START + 90 * SECOND + 168 * HOUR
    seen = instance_shown(instance_message(began))
    assert (seen.duration_hours, seen.expires_at) == (4, "2026-01-01T04:01:30Z")


def test_one_of_another_api_keeps_its_end() -> None:
    plain = instance(state=State.STARTING, expire_at=START + 4 * HOUR)
    began = plain.to(State.RUNNING, START + 90 * SECOND).reservation_begun()
    assert began.expire_at == START + 4 * HOUR
    assert instance_shown(instance_message(began)).duration_hours == 4


# --- durations, pages


@pytest.mark.parametrize(
    ("hours", "seconds"), [(4, 14_400), (1 / 3, 1200), (0.5, 1800), (168, 604_800), (1 / 60, 60), (1.00001, 3601)]
)
def test_durations(hours: float, seconds: int) -> None:
    assert seconds_of(hours) == seconds


@pytest.mark.parametrize("hours", [0, -1, 168.0001, 0.016, math.nan, math.inf, -math.inf, 1e300])
def test_durations_that_are_none(hours: float) -> None:
    with pytest.raises(InvalidArgument, match="duration_hours must be"):
        seconds_of(hours)


def test_pages() -> None:
    assert (limit_of(None), limit_of(1), limit_of(1000)) == (1000, 1, 1000)
    for wrong in (0, -1, 1001):
        with pytest.raises(InvalidArgument, match="limit must be from 1 to 1000"):
            limit_of(wrong)
    assert check_after("") == ""
    with pytest.raises(InvalidArgument, match="after must be the id of an instance"):
        check_after("inst_2tFG9L")


# --- bills

LIST_PRICE = 10 * 10**9  # an hour


@pytest.mark.parametrize(
    ("hours", "percent"),
    [(1, 100), (23.99, 100), (24, 70), (48, 70), (167.99, 70), (168, 59.5)],
)
def test_a_reservation_is_prepaid_with_its_tier(hours: float, percent: float) -> None:
    seconds = seconds_of(hours)
    policy = billing_of(seconds, 60)
    assert (policy.kind, policy.prepaid_s, policy.prepaid_percent) == (BillingKind.PREPAID, seconds, percent)
    up_front = reservation(policy, LIST_PRICE)
    assert up_front == pytest.approx(LIST_PRICE * seconds / HOUR_S * percent / 100, abs=1)
    assert charge(policy, LIST_PRICE, START, START) == up_front, "all of it, at once"
    assert charge(policy, LIST_PRICE, START, START + seconds * SECOND) == up_front
    assert charge(policy, LIST_PRICE, None, START + HOUR) == 0, "a failed start is free"


def test_an_extension_is_charged_as_it_is_used() -> None:
    policy = billing_of(24 * HOUR_S, 0)
    assert charge(policy, LIST_PRICE, START, START + 25 * HOUR) == 24 * LIST_PRICE * 70 // 100 + LIST_PRICE


def test_on_demand_is_per_second_with_a_minimum_if_the_operator_wants_one() -> None:
    assert billing_of(None, 0) == BillingPolicy()
    assert charge(billing_of(None, 0), LIST_PRICE, START, START + 9 * SECOND) == 25_000_000
    assert charge(billing_of(None, 60), LIST_PRICE, START, START + 9 * SECOND) == 166_666_667


def test_the_sandbox_is_free_for_a_whole_life() -> None:
    policy = free_for(168 * HOUR_S)
    assert charge(policy, LIST_PRICE, START, START + 168 * HOUR) == 0
    assert first_hold(policy, LIST_PRICE, 120) > 0, "budgets hold a first window all the same"


# --- keys, rates


def test_keys() -> None:
    live, test, browser = KEY_FORMATS
    assert [form.name for form in KEY_FORMATS] == ["hoon_sk_live", "hoon_sk_test", "hoon_pk_live"]
    assert {form.default_scopes for form in KEY_FORMATS} == {("inference:write", "inference:read")}
    assert set(live.scopes) - set(test.scopes) == {"keys:write"}, "a sandbox key cannot make itself a live one"
    assert not [scope for scope in browser.scopes if scope.startswith("instances:")]
    assert all(form.dialect == "hoonify" and form.well_formed(form.mint(bytes(24))) for form in KEY_FORMATS)


def test_rates_are_per_minute() -> None:
    assert dict(rate_headers(RateState(5, 12, 1.2))) == {
        "x-ratelimit-limit-requests": "300",
        "x-ratelimit-remaining-requests": "12",
        "x-ratelimit-reset-requests": "2",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "150000",
        "x-ratelimit-reset-tokens": "0",
    }
    assert dict(rate_headers(RateState(1, 200, 0)))["x-ratelimit-remaining-requests"] == "60", "never above the limit"


# --- webhooks


def told(state: State, previous: State | None, **changes: Any) -> Any:
    row = instance(state=state, gpu_type="H200 SXM", gpu_count=8, vram_gb=141, region="na", **changes)
    message: bytes = instance_message(row).SerializeToString()
    return webhooks.render("evt_1", START + 1, instance_event(message, "evt_1", START + 1, previous))


def test_the_event_has_the_whole_instance() -> None:
    event_type, body = told(State.RUNNING, State.STARTING, ssh_host="h", ssh_port=22, ssh_user="root", run_at=START)
    assert event_type == "instance.lifecycle"
    data = body.pop("data")
    assert body == {"id": "evt_1", "object": "event", "type": "instance.lifecycle", "created": 1_767_225_600}
    assert data == {
        "instance": {
            "id": "inst_1", "object": "instance", "status": "ready", "previous_status": "starting",
            "sku": "h200-141", "gpus": 8, "operator_pool": "na", "image": DEFAULT_IMAGE, "labels": {},
            "created_at": "2026-01-01T00:00:00Z", "ready_at": "2026-01-01T00:00:00Z",
            "endpoints": {
                "ssh": {"host": "h", "port": 22, "user": "root", "host_key": "", "command": "ssh -p 22 root@h"}
            },
        }
    }  # fmt: skip


def test_numbers_are_told_as_rest_shows_them() -> None:
    for hours, shown_as in ((4, "4"), (1.5, "1.5")):
        _, body = told(State.ACCEPTED, None, expire_at=START + int(hours * HOUR))
        assert f'"duration_hours": {shown_as},' in json.dumps(body)


def test_every_change_of_the_word_is_told_and_nothing_else() -> None:
    for state in State:
        for previous in State:
            event = told(state, previous)
            assert (event is None) == (STATES[state] == STATES[previous]), f"{previous} -> {state}"
    first = told(State.ACCEPTED, None)
    assert first[1]["data"]["instance"]["previous_status"] is None


def test_other_events_are_not_told() -> None:
    alert = watch_pb2.InstanceEvent(type=watch_pb2.INSTANCE_EVENT_TYPE_BUDGET_ALERT)
    assert webhooks.render("evt_1", START, alert.SerializeToString()) is None


def test_headers_and_schedule() -> None:
    delivery = WebhookDelivery("evt_1", "instance.lifecycle", "dlv_1", 1_767_225_600, "ab" * 32)
    assert dict(webhooks.headers(delivery)) == {
        "Hoonify-Event": "instance.lifecycle",
        "Hoonify-Event-Id": "evt_1",
        "Hoonify-Signature": f"t=1767225600,v1={'ab' * 32}",
        "Hoonify-Delivery": "dlv_1",
    }
    assert webhooks.WEBHOOKS.retry_s == (30, 120, 600, 3600, 10_800, 21_600, 43_200, 86_400)
