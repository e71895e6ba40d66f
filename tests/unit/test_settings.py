"""What is refused before a plane starts."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.settings import Settings, SettingsError


@pytest.mark.parametrize("name", ["vastai_url", "tensordock_url", "ionet_url"])
@pytest.mark.parametrize(
    "value",
    ["", "nonsense", "ftp://host", "//host", "http://", "http://[", "http://host:port", "https://:443", "http://a b"],
)
def test_a_marketplace_is_at_a_url(name: str, value: str) -> None:
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(SettingsError) as refused:
        Settings.load(**wrong)
    assert str(refused.value) == (f"setting {name}: must begin with http:// or https:// and name a host; got {value!r}")


@pytest.mark.parametrize("value", ["http://127.0.0.1:9001", "http://[::1]:80/api/v2", "https://console.vast.ai/"])
def test_any_server_will_do(value: str) -> None:
    assert Settings.load(tensordock_url=value).tensordock_url == value
