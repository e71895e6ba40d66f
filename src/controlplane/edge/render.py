"""Turns the edge's settings and the dialects into Envoy's configuration."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from controlplane import resources
from controlplane.dialect import REFUSALS, Dialect
from controlplane.edge.errors import EdgeError
from controlplane.edge.routes import Listener, listeners


@dataclass(frozen=True)
class Tls:
    """Certificate chain and key as PEM files; with `client_ca`, callers must show a certificate it signed."""

    cert: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True)
class EdgeConfig:
    """How the edge listens, and what it stands before."""

    upstreams: tuple[Path, ...]  # unix socket of every gRPC server process
    bind: str = "127.0.0.1"
    own_binds: Mapping[str, str] = field(default_factory=dict)  # of dialects whose port listens elsewhere, by name
    port: int = 8080  # 0: free ports, for this and for the dialects' own
    tls: Tls | None = None
    cors_origins: tuple[str, ...] = ()  # `https://app.example.com`, or `*`; none: no browser of another origin
    access_log: Path | None = None  # JSON lines; none: no access log
    trusted_proxies: int = 0  # proxies before Envoy whose X-Forwarded-For is believed
    concurrency: int = 1  # Envoy's worker threads
    max_connections: int = 10_000  # of clients; each is an open file and some 60 KB of Envoy's memory
    admin_socket: Path | None = None  # set by the supervisor
    descriptors: Path = resources.DESCRIPTORS
    shim: Path = resources.ENVOY_SHIM

    def bind_of(self, dialect: str) -> str:
        """The address on which a dialect's port listens."""
        return self.own_binds.get(dialect, self.bind)


def render(config: EdgeConfig, dialects: Sequence[Dialect], ports: Mapping[str, int] | None = None) -> str:
    """Envoy's configuration as YAML. `ports` fixes ports by dialect name, over what `config.port` says."""
    found = listeners(dialects)
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    template = environment.from_string(resources.ENVOY_TEMPLATE.read_text())
    return template.render(
        config=config,
        binds={listener.name: _ip(config.bind_of(listener.name)) for listener in found},
        dialects=dialects,
        listeners=found,
        ports={listener.name: _port(config, listener) for listener in found} | dict(ports or {}),
        unavailable=_native_status(503),
        cors={
            "request": [header for dialect in dialects for header in dialect.cors_request_headers],
            "response": [header for dialect in dialects for header in dialect.cors_response_headers],
        },
    )


def _ip(bind: str) -> str:
    try:
        return str(ipaddress.ip_address(bind))
    except ValueError:
        raise EdgeError(f"the bind address must be an IP address such as 127.0.0.1 or ::, not {bind!r}") from None


def _port(config: EdgeConfig, listener: Listener) -> int:
    port = config.port and config.port + listener.port_offset
    if port > 65535:
        raise EdgeError(f"port {config.port} leaves no room: {listener.name} would listen on {port}")
    return port


def _native_status(http_status: int) -> dict[str, str]:
    """A refusal for gRPC clients: its sentence and the rich status, which every error of ours carries."""
    refusal = next(r for r in REFUSALS if r.status == http_status)
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=refusal.reason, domain="gpuplane"))
    status = status_pb2.Status(code=refusal.code, message=refusal.message, details=[detail])
    # gRPC sends binary metadata as base64 without padding.
    encoded = base64.b64encode(status.SerializeToString()).decode().rstrip("=")
    return {"message": refusal.message, "details": encoded}
