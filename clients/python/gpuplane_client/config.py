"""Where the server is and which key to send: the environment first, then `gpuplane up`'s state folder."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DEFAULT_STATE = ".gpuplane"
DEFAULT_ENDPOINT = "127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Config:
    """One server and the key for it. An empty key sends none."""

    endpoint: str
    key: str = ""


def discover(
    state: str | Path | None = None,
    *,
    endpoint: str = "",
    operator: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """Find endpoint and key. With `operator`, the state folder's operator key takes the account key's place.

    The folder's keys are sent only to the folder's own server or to this host: an endpoint from elsewhere
    needs its own GPUPLANE_KEY, or else a typing mistake would hand a key to a stranger.
    """
    folder = Path(state or environ.get("GPUPLANE_STATE") or DEFAULT_STATE)
    here = str(_read_json(folder / "endpoints.json").get("grpc", ""))
    chosen = endpoint or environ.get("GPUPLANE_ENDPOINT") or here or DEFAULT_ENDPOINT
    key = environ.get("GPUPLANE_KEY", "")
    if not key and (chosen == here or is_loopback(chosen)):
        key = _folder_key(folder, operator)
    return Config(chosen, key)


def split_endpoint(endpoint: str) -> tuple[str, bool]:
    """The `host:port` of an endpoint and whether it wants TLS, as only `https://` and `grpcs://` do."""
    if "://" not in endpoint:
        return endpoint, False
    parts = urlsplit(endpoint)
    tls = parts.scheme in ("https", "grpcs")
    return (parts.netloc if parts.port else f"{parts.netloc}:{443 if tls else 80}"), tls


def is_loopback(endpoint: str) -> bool:
    """The endpoint is on this host."""
    host = urlsplit(f"//{split_endpoint(endpoint)[0]}").hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _folder_key(folder: Path, operator: bool) -> str:
    if operator:
        try:
            return (folder / "operator.key").read_text().strip()
        except OSError:
            return ""
    keys = _read_json(folder / "credentials.json").get("keys")
    return str(keys.get("gpuplane", "")) if isinstance(keys, dict) else ""


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):  # absent, or being written this instant
        return {}
    return value if isinstance(value, dict) else {}
