"""All configuration: flags over GPUPLANE_* variables over a TOML file over defaults. Documented in
docs/configuration.md, which a test compares with this class."""

from __future__ import annotations

import ipaddress
import os
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, PlainSerializer, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

Secret = Annotated[
    SecretStr, PlainSerializer(lambda value: value.get_secret_value(), return_type=str, when_used="json")
]
"""Shown as asterisks; written out only where settings are handed to a worker process."""

CLIENT_VARIABLES = {"GPUPLANE_ENDPOINT", "GPUPLANE_KEY", "GPUPLANE_DEBUG", "GPUPLANE_OUTPUT"}


def is_loopback(bind: str) -> bool:
    """Whether an address to listen on is reached from this host only."""
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        return False


class SettingsError(Exception):
    """A setting is wrong; the text names it, the rule and the value."""


class Settings(BaseSettings):
    """One deployment's settings. Durations are seconds."""

    model_config = SettingsConfigDict(env_prefix="GPUPLANE_", extra="forbid")

    state: Path = Field(Path(".gpuplane"), description="State folder: database, keys, local machines.")
    bind: str = Field("127.0.0.1", description="IP address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Main port; 0 takes a free one.")
    database: str = Field("", description="Database URL; empty: SQLite in the state folder.")
    processes: int = Field(1, ge=1, le=64, description="Server processes; more than one needs PostgreSQL.")
    deployment_id: str = Field(
        "",
        pattern="^([a-z0-9]{1,12})?$",
        description="Whose machines this plane keeps; empty: as the state folder says.",
    )
    host_lost_after: float = Field(
        86400.0, ge=60, description="Silence after which a host's local machines end as HOST_LOST."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    tls_cert: Path | None = Field(None, description="PEM certificate chain; with tls_key the edge speaks TLS.")
    tls_key: Path | None = Field(None, description="PEM private key of tls_cert.")
    tls_client_ca: Path | None = Field(None, description="PEM CA whose certificates clients must show (mTLS).")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Browser origins that may call, comma-separated, or `*`."
    )
    access_log: Path | None = Field(None, description="File for Envoy's access log, as JSON lines.")
    trusted_proxies: int = Field(0, ge=0, le=10, description="Proxies before us whose X-Forwarded-For is believed.")
    envoy_concurrency: int = Field(1, ge=1, le=64, description="Envoy's worker threads.")
    rate_limit: float = Field(100.0, gt=0, description="Calls per second that one key may make.")
    rate_burst: int = Field(200, ge=1, description="Calls that one key may make at once.")
    streams_per_key: int = Field(10_000, ge=1, description="Watch streams that one key may hold open.")
    otel_endpoint: str = Field("", description="OTLP collector (host:port) for traces; needs the extra `otel`.")
    master_key_file: Path | None = Field(None, description="File of the master key; default: in the state folder.")
    plugins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Providers of your own, comma-separated `module:factory`; called with these settings."
    )
    vastai_api_key: Secret = Field(SecretStr(""), description="API key of Vast.ai; empty: it is not used.")
    vastai_url: str = Field("https://console.vast.ai", description="Where Vast.ai's API is.")
    vastai_spot: bool = Field(True, description="Also offer Vast.ai's interruptible machines.")
    vastai_model_image: str = Field(
        "vllm/vllm-openai:latest", min_length=1, max_length=1024, description="Image that serves models on Vast.ai."
    )
    tensordock_api_token: Secret = Field(SecretStr(""), description="API token of TensorDock; empty: it is not used.")
    tensordock_authorization_id: str = Field(
        "", description="Authorization id of that token, for accounts whose token alone is refused."
    )
    tensordock_url: str = Field("https://dashboard.tensordock.com/api/v2", description="Where TensorDock's API is.")
    ionet_api_key: Secret = Field(SecretStr(""), description="API key of io.net; empty: it is not used.")
    ionet_url: str = Field("https://api.io.solutions", description="Where io.net's API is.")
    local: bool = Field(True, description="Rent out this host through the local provider.")
    local_simulated: bool = Field(False, description="Also offer pretended GPUs, marked `simulated`.")
    local_unsandboxed: bool = Field(False, description="Run local machines unsandboxed where no sandbox can be built.")
    local_ssh_bind: str = Field("127.0.0.1", description="Address on which local machines' SSH servers listen.")
    local_ssh_host: str = Field("", description="Host name that clients are told to connect to.")
    local_max_machines: int = Field(0, ge=0, description="Local machines at once; 0: what fits this host.")
    local_cpu_count: int = Field(0, ge=0, description="CPUs of one local machine; 0: fitted to this host.")
    local_memory_mb: int = Field(0, ge=0, description="Memory of one local machine; 0: fitted to this host.")
    local_cpu_price: str = Field("0.01", description="Price per hour of a local CPU machine, USD.")
    hoonify_minimum: int = Field(
        0, ge=0, le=3600, description="Least time charged for an on-demand instance of the Hoonify API."
    )
    hoonify_nearest: Literal["na", "eu", "apac"] = Field(
        "na", description="Pool that the Hoonify API calls the nearest, where a request names none."
    )
    shopper_require_key: bool = Field(False, description="Ask for a key in the Shopper API, which documents none.")
    shopper_account: str = Field(
        "", description="Account for which the Shopper API acts without a key; empty: that of credentials.json."
    )
    shopper_bind: str = Field(
        "", description="IP address of the Shopper API's port; empty: `bind`, or loopback while no key is asked for."
    )
    shopper_key_stock: int = Field(
        2, ge=0, le=64, description="Key pairs kept ready for the Shopper API's sessions; 0: made when asked for."
    )
    webhook_allow_private: bool = Field(
        False,
        description="Let webhooks call loopback and private addresses, also by http: for tests and closed networks.",
    )
    max_duration: int = Field(30 * 86400, ge=60, description="Hard maximum of any instance's life.")
    stop_grace: float = Field(60.0, ge=0, le=3600, description="From SIGTERM to SIGKILL of an ending machine.")
    meter_interval: float = Field(60.0, ge=0.5, le=3600, description="How often running machines are charged.")
    hold_window: float = Field(120.0, ge=1, description="Cost that budgets hold ahead; at least two meter intervals.")
    sweep_interval: float = Field(30.0, ge=1, description="How often providers' listings are compared with our rows.")
    offers_interval: float = Field(10.0, ge=0.5, description="How often offers are fetched.")
    retention: float = Field(30 * 86400.0, ge=60, description="How long finished operations and events are kept.")
    retention_events: int = Field(100_000, ge=1000, description="Newest events that are kept whatever their age.")
    retention_deliveries: float = Field(
        7 * 86400.0, ge=60, description="How long delivered and failed webhooks are kept."
    )
    drain: float = Field(10.0, ge=0, description="How long running requests may finish when the server stops.")

    @field_validator("cors_origins", "plugins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("vastai_url", "tensordock_url", "ionet_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if not _names_a_host(value):
            raise PydanticCustomError("url", "must begin with http:// or https:// and name a host")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then the TOML file."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _toml_file()))

    @classmethod
    def load(cls, config: Path | None = None, **overrides: Any) -> Settings:
        """The settings from all sources. Raises SettingsError with one line per wrong setting."""
        global _config
        _config = config
        known = {f"GPUPLANE_{name.upper()}" for name in cls.model_fields} | CLIENT_VARIABLES
        for name in sorted(name for name in os.environ if name.startswith("GPUPLANE_") and name not in known):
            print(f"gpuplane: there is no setting {name}; it is ignored", file=sys.stderr)
        try:
            settings = cls(**overrides)
        except ValidationError as error:
            raise SettingsError("\n".join(_sentence(problem) for problem in error.errors())) from None
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{config} is not valid TOML: {error}") from None
        if (settings.tls_cert is None) != (settings.tls_key is None):
            raise SettingsError("tls_cert and tls_key must be set together")
        if settings.hold_window < 2 * settings.meter_interval:
            raise SettingsError(
                f"hold_window must be at least two meter intervals ({2 * settings.meter_interval:g} s); "
                f"got {settings.hold_window:g}"
            )
        bind = settings.shopper_bind
        if bind and not settings.shopper_require_key and not is_loopback(bind):
            raise SettingsError(
                f"shopper_bind must be a loopback address such as 127.0.0.1 unless shopper_require_key is set, because "
                f"the Shopper API asks for no key; got {bind!r}"
            )
        return settings

    @property
    def database_url(self) -> str:
        """The database in use."""
        return self.database or f"sqlite:///{self.state / 'gpuplane.db'}"


_config: Path | None = None


def _toml_file() -> Path | None:
    return _config


def _names_a_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a port that is none is told only when it is asked for
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and not any(map(str.isspace, url))


def _sentence(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"]) or "settings"
    got = "a secret" if name.endswith(("_key", "_token")) else repr(problem.get("input"))
    return f"setting {name}: {problem['msg']}; got {got}"
