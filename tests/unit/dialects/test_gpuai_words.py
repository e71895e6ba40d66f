"""GPU.ai: our states, hardware, times and amounts in the words of the seed's document."""

from __future__ import annotations

import re
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from gpuplane.v1 import instance_pb2, operation_pb2

from controlplane.api.dialects.gpuai import GPUAI
from controlplane.api.dialects.gpuai.hardware import gpu_types, gpu_word, place_of, region_word, tier_of
from controlplane.api.dialects.gpuai.instances import _price_cap
from controlplane.api.dialects.gpuai.translate import (
    KINDS,
    OPERATION_STATES,
    STATES,
    instance_shown,
    limit_of,
    next_cursor,
    operation_shown,
)
from controlplane.api.dialects.gpuai.usage import _nearest, time_of
from controlplane.api.scopes import PUBLIC
from controlplane.domain.errors import InvalidArgument
from controlplane.domain.gpus import GPUS
from controlplane.domain.operation import OperationKind, OperationState
from controlplane.domain.state import State
from controlplane.wire.instance import state_number
from tests.architecture.test_routes import bindings
from tests.unit.api.canonical.support import offer
from tests.unit.dialects.test_gpuai_errors import DOCUMENT

SCHEMAS = DOCUMENT["components"]["schemas"]
SECOND = 1_000_000


def words(schema: str, field: str) -> list[str]:
    found: list[str] = SCHEMAS[schema]["properties"][field]["enum"]
    return found


def test_every_state_has_a_word_of_the_document() -> None:
    assert STATES.keys() == set(State)
    assert set(STATES.values()) == set(words("Instance", "status"))
    assert OPERATION_STATES.keys() == set(OperationState)
    assert set(OPERATION_STATES.values()) == set(words("Operation", "state"))
    assert KINDS.keys() <= set(OperationKind)
    assert set(KINDS.values()) == set(words("Operation", "kind"))


def test_the_routes_are_those_of_the_document() -> None:
    documented = {
        (verb.upper(), f"/v1{path}")
        for path, operations in DOCUMENT["paths"].items()
        for verb in operations
        if verb != "parameters"
    }
    assert len(documented) == 19
    assert {(one.verb, one.path) for one in bindings(GPUAI)} == documented


def test_what_the_document_lets_anybody_call_needs_no_key() -> None:
    public = {f"/v1{path}" for path, verbs in DOCUMENT["paths"].items() if verbs.get("get", {}).get("security") == []}
    scopes = {one.path: GPUAI.scopes[f"/{one.service}/{one.rpc}"] for one in bindings(GPUAI)}
    assert {path for path, scope in scopes.items() if scope == PUBLIC} == public


def test_keys_look_as_documented() -> None:
    (form,) = GPUAI.key_formats
    secret = form.mint(bytes(range(24)))
    assert re.fullmatch(r"gpuai_live_[0-9A-Za-z]{24}", secret)
    assert form.well_formed(secret)
    assert set(GPUAI.scopes.values()) - {PUBLIC} == set(form.scopes)


def canonical(state: State = State.ACCEPTED, **fields: Any) -> instance_pb2.Instance:
    return instance_pb2.Instance(
        **{
            "id": "inst_1", "state": state_number(state), "gpu_type": "H100 SXM", "gpu_count": 2, "region": "eu",
            "tier": "TIER_SPOT", "price_per_hour": {"units": 2, "nanos": 490_000_000},
            "create_time": {"seconds": 1_700_000_000},
        } | fields
    )  # fmt: skip


def shown(message: Any) -> Any:
    return MessageToDict(message, preserving_proto_field_name=True)


def test_a_new_instance_has_what_the_document_requires_and_no_empty_strings() -> None:
    assert shown(instance_shown(canonical())) == {
        "id": "inst_1", "status": "creating", "gpu_type": "h100_sxm", "gpu_count": 2, "region": "eu", "tier": "spot",
        "price_per_hour": 2.49, "created_at": "2023-11-14T22:13:20Z",
    }  # fmt: skip


def test_a_running_cpu_instance_of_this_host() -> None:
    message = canonical(
        State.RUNNING, name="a", provider="local", gpu_type="cpu", gpu_count=0, region="",
        run_time={"seconds": 1, "nanos": 500_000_000},
        connection={"ssh_host": "127.0.0.1", "ssh_port": 2222, "ssh_command": "ssh -p 2222 root@127.0.0.1"},
    )  # fmt: skip
    found = shown(instance_shown(message))
    assert (found["gpu_type"], found["gpu_count"], found["region"], found["name"]) == ("cpu", 1, "local", "a")
    assert found["connection"] == {
        "hostname": "127.0.0.1", "port": 2222, "ssh_command": "ssh -p 2222 root@127.0.0.1",
    }  # fmt: skip
    assert found["ready_at"] == "1970-01-01T00:00:01.500000Z"
    assert "terminated_at" not in found


def test_a_machine_without_ssh_has_no_connection_of_this_api() -> None:
    found = shown(instance_shown(canonical(State.RUNNING, connection={"model_url": "http://h:1/v1"})))
    assert "connection" not in found


def test_a_failed_operation_says_why() -> None:
    message = operation_pb2.Operation(
        id="u", kind="OPERATION_KIND_CREATE_INSTANCE", state="OPERATION_STATE_FAILED", instance_id="inst_1",
        error={"code": 8, "reason": "NO_CAPACITY", "message": "every offer was tried"}, done_time={"seconds": 1},
    )  # fmt: skip
    found = shown(operation_shown(message))
    assert (found["kind"], found["state"], found["resource_id"]) == ("instance.create", "failed", "inst_1")
    assert found["error"] == {"code": "operation_failed", "detail": "every offer was tried"}
    assert found["completed_at"] == "1970-01-01T00:00:01Z"


def test_operations_of_other_kinds_do_not_exist_here() -> None:
    assert operation_shown(operation_pb2.Operation(state="OPERATION_STATE_PENDING")) is None


def test_every_gpu_has_a_word_that_means_it_alone() -> None:
    assert gpu_word("H100 SXM") == "h100_sxm"
    for known in GPUS:
        word = gpu_word(known.name)
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", word)
        assert gpu_types(word, ()) == (known.name,)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("cpu", {"cpu"}),
        ("CPU", {"cpu"}),
        ("H100 SXM", {"H100 SXM"}),
        ("a100_80gb", {"A100 SXM4 80GB", "A100 PCIe 80GB"}),  # the vendor's example
        ("weird_card_x", {"Weird Card X"}),
    ],
)
def test_other_spellings_are_understood(word: str, meant: set[str]) -> None:
    assert set(gpu_types(word, [offer("a", gpu_type="Weird Card X")])) == meant


def test_regions_and_tiers() -> None:
    providers = ("local", "vastai", "ionet")
    assert [place_of(word, providers) for word in ("na", "EU", "Local", "unknown")] == [
        ("na", ()), ("eu", ()), ("", ("local",)), ("", ("vastai", "ionet")),
    ]  # fmt: skip
    assert place_of("unknown", ("local",)) == ("", ("unknown",)), "which no provider is called"
    assert [region_word(*place) for place in (("apac", "vastai"), ("", "local"), ("", "vastai"))] == [
        "apac", "local", "unknown",
    ]  # fmt: skip
    assert tier_of("spot") == "spot"
    for wrong in (lambda: place_of("US", ()), lambda: place_of("", ()), lambda: tier_of("SPOT"), lambda: tier_of("")):
        with pytest.raises(InvalidArgument):
            wrong()


def test_limits_are_refused_not_clamped() -> None:
    assert [limit_of(given) for given in (None, 1, 200)] == [50, 1, 200]
    for given in (0, 201, -1):
        with pytest.raises(InvalidArgument):
            limit_of(given)


def test_the_last_page_says_null() -> None:
    assert shown(next_cursor("")) is None
    assert shown(next_cursor("x")) == "x"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-05-08T17:00:00Z", 1_778_259_600),
        ("2026-05-08T17:00:00.000000+0000", 1_778_259_600),
        ("2026-05-08T17:00:00.000000 0000", 1_778_259_600),  # a plus that was not escaped
        ("2026-05-08T17:00:00", 1_778_259_600),
        ("2026-05-08T19:00:00+02:00", 1_778_259_600),
        ("2026-05-08", 1_778_198_400),
        ("0001-01-01T00:00:00+14:00", 0),
    ],
)
def test_times_are_read_leniently(text: str, seconds: int) -> None:
    assert time_of(text, "start") == seconds * SECOND


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01T00:00:00Z", "1778259600", "2026-05-08T17:00:00+99:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="start must be a time"):
        time_of(text, "start")


def test_amounts_are_rounded_to_the_nearest() -> None:
    cent = 10_000_000
    assert [_nearest(amount, cent) for amount in (0, cent // 2 - 1, cent // 2, cent, cent * 3 // 2)] == [0, 0, 1, 1, 2]


def test_price_caps() -> None:
    assert [_price_cap(price) for price in (0.0, 2.49, 1e-7)] == [0, 2_490_000_000, 100]
    for price in (-0.01, float("nan"), float("inf"), 1e10):
        with pytest.raises(InvalidArgument):
            _price_cap(price)
