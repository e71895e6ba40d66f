"""The path says which resource is meant; a query or body that says another is refused, in the dialect's shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controlplane.dialect import Dialect
from tests.dialects.conftest import SPOKEN, key_of, ways
from tests.dialects.runner import Reply, Way
from tests.support.plane import Plane

BY_NAME = {dialect.name: dialect for dialect in SPOKEN}
A, B = "inst_" + "0" * 26, "inst_" + "1" * 26
STATUS = {"gpuai": 422, "hoonify": 400, "shopper": 400}
RENTALS = {"gpuai": "/v1/instances", "hoonify": "/v1/instances", "shopper": "/api/v1/sessions"}


def _called(plane: Plane, dialect: Dialect, method: str, path: str, body: object = None) -> Reply:
    headers = {"Authorization": f"Bearer {key_of(plane, dialect)}", "Content-Type": "application/json"}
    way: Way = ways(plane, dialect)[0]
    return way.call(method, path, headers, None if body is None else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("dialect", "method", "path", "body"),
    [
        ("gpuai", "DELETE", f"/v1/instances/{A}?id={B}", None),
        ("gpuai", "DELETE", f"/v1/instances/{A}", {"id": B}),
        ("gpuai", "GET", f"/v1/instances/{A}?id={B}", None),
        ("gpuai", "PATCH", f"/v1/instances/{A}?id={B}", {"name": "n"}),
        ("gpuai", "GET", f"/v1/ssh-keys/a?id={B}", None),
        ("gpuai", "DELETE", f"/v1/webhook-endpoints/a/?id={B}", None),
        ("hoonify", "POST", f"/v1/instances/{A}/terminate", {"id": B}),
        ("hoonify", "POST", f"/v1/instances/{A}/terminate?id={B}", None),
        ("hoonify", "POST", f"/v1/instances/{A}/extend", {"id": B, "duration_hours": 1}),
        ("shopper", "GET", "/api/v1/inventory/a?id=b", None),
        ("shopper", "GET", "/api/v1/templates/a?hash_id=b", None),
        ("shopper", "DELETE", f"/api/v1/sessions/{A}?id={B}", None),
        ("hoonify", "POST", "/v1/admin/keys/a/revoke", {"key_id": "b"}),
        ("hoonify", "POST", "/v1/admin/keys/a/rotate?key_id=b", {}),
    ],
)
def test_what_contradicts_the_path_is_refused(plane: Plane, dialect: str, method: str, path: str, body: Any) -> None:
    reply = _called(plane, BY_NAME[dialect], method, path, body)
    assert reply.status == STATUS[dialect]
    assert "is named by the path" in reply.text


def test_members_of_a_body_are_no_parameters(plane: Plane) -> None:
    reply = _called(plane, BY_NAME["gpuai"], "PATCH", f"/v1/instances/{A}?changes.name=zz", {})
    assert (reply.status, "changes.name" in reply.text) == (422, True)


@pytest.mark.parametrize("path", [f"/gpuplane/v1/instances/{A}?id={B}", f"/gpuplane/v1/operations/{A}?id={B}"])
def test_in_the_canonical_api_too(plane: Plane, path: str) -> None:
    answer = plane.rest("GET", path)
    assert answer.status == 400
    assert plane.rest("POST", f"/gpuplane/v1/instances/{A}/terminate", {"id": B}).status == 400


def test_an_object_that_is_posted_back_names_the_same(plane: Plane) -> None:
    assert _called(plane, BY_NAME["hoonify"], "POST", f"/v1/instances/{A}/terminate", {"id": A}).status == 404
    assert _called(plane, BY_NAME["gpuai"], "GET", "/v1/instances/a%20b%2Fc", None).status == 404


@pytest.mark.parametrize("dialect", SPOKEN, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("query", ["foo=1", "limit=x"])
def test_no_message_tells_of_our_types(plane: Plane, dialect: Dialect, query: str) -> None:
    path = RENTALS[dialect.name]
    reply = _called(plane, dialect, "GET", f"{path}?{query}")
    assert reply.status == STATUS[dialect.name]
    assert not any(word in reply.text for word in ("gpuplane.", "TYPE_", ": : "))
    bad = _called(plane, dialect, "POST", path, [])
    assert bad.status == STATUS[dialect.name]
    assert ": : " not in bad.text


@pytest.mark.parametrize("dialect", SPOKEN, ids=lambda dialect: dialect.name)
def test_an_upgrade_is_refused_in_the_dialects_shape(plane: Plane, dialect: Dialect) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Authorization": f"Bearer {key_of(plane, dialect)}"}
    reply = ways(plane, dialect)[0].call("GET", RENTALS[dialect.name], headers, None)
    assert reply.status == 403
    member = "detail" if dialect.name == "gpuai" else "error"
    assert reply.body[member]
