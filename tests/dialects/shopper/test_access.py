"""The shopper's port through the real Envoy: who gets in without a key, and where the port is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
from gpuplane.dialects.shopper.v1 import inventory_pb2, inventory_pb2_grpc

from tests.dialects.runner import Reply, Way
from tests.support.plane import Plane, run_up, running_plane

OFFER = "/api/v1/inventory/local-cpu"


def netloc(plane: Plane, name: str) -> str:
    return urlsplit(json.loads((plane.state / "endpoints.json").read_text())[name]).netloc


def get(target: str, path: str = OFFER, **headers: str) -> Reply:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Way("", target).call("GET", path, sent, None)


def post(target: str, body: bytes | None, **headers: str) -> Reply:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Way("", target).call("POST", "/api/v1/sessions", sent, body)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8082"}, 200),
        ({"Host": "shopper.localhost"}, 200),
        ({"Host": "[::1]:8082"}, 200),
        ({"Host": "rebound.example:8082"}, 401),
        ({"Host": "rebound.example", "X_Keyless_Host": "localhost"}, 401),
        ({"Origin": "https://elsewhere.example"}, 401),
        ({"Sec_Fetch_Site": "cross-site"}, 401),
        ({"X_Forwarded_For": "127.0.0.1"}, 401),
        ({"X_Envoy_External_Address": "127.0.0.1", "X_Forwarded_For": "198.51.100.7"}, 401),
        ({"Authorization": "Bearer shopper_live_x"}, 401),
        ({"Via": "1.1 nginx"}, 401),
        ({"X_Large": "x" * 40_000}, 200),
    ],
)
@pytest.mark.parametrize("port", ["shopper", "rest"])
def test_only_programs_of_this_host_need_no_key(plane: Plane, port: str, headers: dict[str, str], status: int) -> None:
    reply = get(netloc(plane, port), **headers)
    assert reply.status == status
    if status == 401:
        assert set(reply.body) == {"error", "request_id"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{}", {"Content_Type": "text/plain"}),
        (b"{}", {"Content_Type": "application/x-www-form-urlencoded"}),
        (b"{}", {}),
    ],
)
def test_a_form_of_a_page_creates_nothing(plane: Plane, body: bytes, headers: dict[str, str]) -> None:
    reply = post(netloc(plane, "shopper"), body, **headers)
    assert (reply.status, "Content-Type must be application/json" in reply.body["error"]) == (400, True)
    declared = post(netloc(plane, "shopper"), body, Content_Type="application/json; charset=utf-8")
    assert "consumer_id is required" in declared.body["error"]


def test_over_grpc_a_key_is_needed(plane: Plane) -> None:
    key = json.loads((plane.state / "credentials.json").read_text())["keys"]["shopper"]
    with grpc.insecure_channel(netloc(plane, "shopper")) as channel:
        stub = inventory_pb2_grpc.InventoryStub(channel)
        request = inventory_pb2.GetOfferRequest(id="local-cpu")
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetOffer(request, timeout=10, metadata=[("x-dialect", "shopper"), ("x-keyless-host", "localhost")])
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert stub.GetOffer(request, timeout=10, metadata=[("authorization", f"Bearer {key}")]).id == "local-cpu"


@pytest.fixture(scope="module")
def public() -> Iterator[Plane]:
    """A plane whose main port everybody can reach."""
    with running_plane(bind="0.0.0.0") as running:
        yield running


def test_a_public_main_port_leaves_it_out_and_its_own_port_stays_on_loopback(public: Plane) -> None:
    main, own = netloc(public, "rest"), netloc(public, "shopper")
    assert own.startswith("127.0.0.1:")
    assert get(own).status == 200
    for headers in ({}, {"Host": "shopper.localhost"}):
        reply = get(main, **headers)
        assert (reply.status, reply.body["code"]) == (404, "METHOD_UNKNOWN")
    config = (public.state / "run" / "envoy.yaml").read_text()
    assert f'address: "127.0.0.1", port_value: {own.rpartition(":")[2]}' in config
    assert get(own, "/metrics").status == 200


def test_a_key_may_be_asked_for() -> None:
    with running_plane(shopper_require_key=True) as plane:
        key = json.loads((plane.state / "credentials.json").read_text())["keys"]["shopper"]
        for target in (netloc(plane, "shopper"), netloc(plane, "rest")):
            refused = get(target)
            assert (refused.status, set(refused.body)) == (401, {"error", "request_id"})
            assert get(target, Authorization=f"Bearer {key}", Host="anything.example").status == 200
        assert get(netloc(plane, "shopper"), "/health").status == 200
        assert get(netloc(plane, "shopper"), "/metrics", Authorization=f"Bearer {key}").status == 403


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shopper_bind": "0.0.0.0"}, "shopper_bind must be a loopback address"),
        ({"shopper_account": "acct_nobody"}, "shopper_account must be the id of an account"),
    ],
)
def test_what_cannot_be_refuses_to_start_in_one_line(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    ended = run_up(tmp_path, **settings)
    assert ended.returncode != 0
    assert said in ended.stderr.strip().splitlines()[-1]
