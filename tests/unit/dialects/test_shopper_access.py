"""Who may use the shopper's API without a key, and where it is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.api.dialects.shopper import SHOPPER
from controlplane.api.interceptors.keyless import KeylessCallers
from controlplane.bootstrap.dialects import DIALECTS, keyless_callers, own_binds, served
from controlplane.bootstrap.plane import edge_config
from controlplane.domain.errors import InvalidArgument, Unauthenticated
from controlplane.domain.principal import Principal
from controlplane.edge.render import render
from controlplane.edge.supervisor import Addresses
from controlplane.settings import Settings, SettingsError

ME = Principal("acct_a", "keyless/shopper", frozenset())
GOOD = {
    "x-dialect": "shopper", "x-envoy-external-address": "127.0.0.1", "x-forwarded-for": "192.0.2.2",
    "x-keyless-host": "127.0.0.1", "x-keyless-type": "",
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"x-envoy-external-address": "127.9.9.9"},
        {"x-envoy-external-address": "::1"},
        {"x-keyless-host": "localhost"},
        {"x-keyless-host": "LOCALHOST:8082"},
        {"x-keyless-host": "localhost."},
        {"x-keyless-host": "shopper.localhost"},
        {"x-keyless-host": "[::1]"},
        {"x-keyless-host": "[::1]:8082"},
        {"x-keyless-host": "127.0.0.1:8082"},
        {"x-keyless-type": "application/json"},
        {"x-keyless-type": "Application/JSON; charset=utf-8"},
        {"sec-fetch-site": "none"},
    ],
)
def test_whoever_calls_from_this_host_is_the_account(changes: dict[str, str]) -> None:
    assert KeylessCallers(ME).admit(GOOD | changes) is ME


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"x-dialect": None}, "over gRPC"),
        ({"x-envoy-external-address": "10.0.0.7"}, "from another host"),
        ({"x-envoy-external-address": None}, "from another host"),
        ({"x-forwarded-for": "127.0.0.1,192.0.2.2"}, "through a proxy"),
        ({"forwarded": "for=192.0.2.2"}, "through a proxy"),
        ({"via": "1.1 nginx"}, "through a proxy"),
        ({"x-real-ip": "192.0.2.2"}, "through a proxy"),
        ({"origin": "https://evil.example"}, "browser"),
        ({"origin": "null"}, "browser"),
        ({"sec-fetch-site": "cross-site"}, "browser"),
        ({"x-keyless-host": "evil.example"}, "evil.example"),
        ({"x-keyless-host": "127.0.0.1.evil.example"}, "host name"),
        ({"x-keyless-host": "127.evil.example:80"}, "host name"),
        ({"x-keyless-host": "notlocalhost"}, "host name"),
        ({"x-keyless-host": "10.0.0.7"}, "host name"),
        ({"x-keyless-host": ""}, "host name"),
        ({"x-keyless-host": None}, "host name"),
    ],
)
def test_everybody_else_needs_a_key(changes: dict[str, Any], why: str) -> None:
    metadata = {name: value for name, value in (GOOD | changes).items() if value is not None}
    with pytest.raises(Unauthenticated, match=why) as refused:
        KeylessCallers(ME).admit(metadata)
    assert refused.value.reason == "KEY_MISSING"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "none", "multipart/form-data; b=x"]
)
def test_a_body_must_be_declared_as_json(kind: str) -> None:
    with pytest.raises(InvalidArgument, match="Content-Type must be application/json"):
        KeylessCallers(ME).admit(GOOD | {"x-keyless-type": kind})


def test_the_account_may_do_what_the_dialect_knows() -> None:
    (callers,) = keyless_callers(DIALECTS, "acct_a").values()
    assert callers.principal.account_id == "acct_a"
    assert callers.principal.dialect == "shopper"
    assert set(SHOPPER.scopes.values()) == callers.principal.scopes
    assert not callers.principal.operator


def settings(**given: Any) -> Settings:
    return Settings.load(None, **given)


@pytest.mark.parametrize(
    ("given", "on_main", "keyless", "bind"),
    [
        ({}, True, True, "127.0.0.1"),
        ({"bind": "127.0.0.9"}, True, True, "127.0.0.9"),
        ({"bind": "::1"}, True, True, "::1"),
        ({"bind": "0.0.0.0"}, False, True, "127.0.0.1"),
        ({"bind": "::"}, False, True, "::1"),
        ({"bind": "10.0.0.7", "shopper_bind": "127.0.0.5"}, False, True, "127.0.0.5"),
        ({"bind": "0.0.0.0", "shopper_require_key": True}, True, False, "0.0.0.0"),
        ({"shopper_bind": "10.0.0.7", "shopper_require_key": True}, True, False, "10.0.0.7"),
    ],
)
def test_without_a_key_it_is_served_on_loopback_only(
    tmp_path: Path, given: dict[str, Any], on_main: bool, keyless: bool, bind: str
) -> None:
    wanted = settings(state=tmp_path, **given)
    dialects = served(wanted)
    shopper = next(dialect for dialect in dialects if dialect.name == "shopper")
    assert (bool(shopper.claims), bool(shopper.hosts), shopper.keyless) == (on_main, on_main, keyless)
    assert bool(keyless_callers(dialects, "acct_a")) is keyless
    rendered = yaml.safe_load(render(edge_config(wanted, tmp_path), dialects))
    binds = {
        listener["name"]: listener["address"]["socket_address"]["address"]
        for listener in rendered["static_resources"]["listeners"]
    }
    assert binds == dict.fromkeys(binds, wanted.bind) | {"shopper": bind}
    main = next(each for each in rendered["static_resources"]["listeners"] if each["name"] == "gpuplane")
    assert ("/api/v1/inventory" in str(main)) is on_main
    assert Addresses("http", wanted.bind, {"shopper": 1}, own_binds(wanted)).target("shopper").endswith(":1")


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "10.0.0.7", "somewhere"])
def test_asking_for_it_elsewhere_without_a_key_refuses_to_start(bind: str) -> None:
    with pytest.raises(SettingsError, match="shopper_require_key") as refused:
        settings(shopper_bind=bind)
    assert "\n" not in str(refused.value)


def test_other_dialects_are_served_as_they_are() -> None:
    others = [dialect for dialect in served(settings(bind="0.0.0.0")) if dialect.name != "shopper"]
    assert others == [dialect for dialect in DIALECTS if dialect.name != "shopper"]
    assert not any(dialect.keyless for dialect in others)
