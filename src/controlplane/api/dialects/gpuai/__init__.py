"""GPU.ai's public developer API (seed 003): its OpenAPI document is the law, docs/dialects/gpuai.md what it leaves
open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controlplane.api.dialects.gpuai.catalogue import Catalogue
from controlplane.api.dialects.gpuai.errors import LOCAL_REPLIES, render_error
from controlplane.api.dialects.gpuai.instances import Instances
from controlplane.api.dialects.gpuai.ssh_keys import SshKeys
from controlplane.api.dialects.gpuai.translate import STATES
from controlplane.api.dialects.gpuai.usage import Usage
from controlplane.api.dialects.gpuai.webhook_endpoints import WebhookEndpoints
from controlplane.api.dialects.gpuai.webhooks import WEBHOOKS
from controlplane.api.plane import Plane
from controlplane.api.scopes import PUBLIC
from controlplane.dialect import Claim, Dialect
from controlplane.domain.key_format import KeyFormat
from controlplane.usecases.idempotency import FirstAnswers

# The vendor's scopes are instances, ssh_keys, billing and webhooks, each read or write; ours in their stead.
_INSTANCES_READ, _INSTANCES_WRITE = "instances:read", "instances:write"
_SSH_KEYS_READ, _SSH_KEYS_WRITE = "keys:read", "keys:write"
_BILLING_READ = "usage:read"
_WEBHOOKS_READ, _WEBHOOKS_WRITE = "webhooks:read", "webhooks:write"

_SCOPES = {
    Catalogue.service: {
        "ListGpuTypes": PUBLIC,
        "ListPricing": PUBLIC,
        "GetHealth": PUBLIC,
        "GetOpenApi": PUBLIC,
    },
    Instances.service: {
        "CreateInstance": _INSTANCES_WRITE,
        "ListInstances": _INSTANCES_READ,
        "GetInstance": _INSTANCES_READ,
        "UpdateInstance": _INSTANCES_WRITE,
        "DeleteInstance": _INSTANCES_WRITE,
        "GetOperation": _INSTANCES_READ,
    },
    SshKeys.service: {
        "CreateSshKey": _SSH_KEYS_WRITE,
        "ListSshKeys": _SSH_KEYS_READ,
        "GetSshKey": _SSH_KEYS_READ,
        "DeleteSshKey": _SSH_KEYS_WRITE,
    },
    Usage.service: {"ListUsage": _BILLING_READ},
    WebhookEndpoints.service: {
        "CreateWebhookEndpoint": _WEBHOOKS_WRITE,
        "ListWebhookEndpoints": _WEBHOOKS_READ,
        "GetWebhookEndpoint": _WEBHOOKS_READ,
        "DeleteWebhookEndpoint": _WEBHOOKS_WRITE,
    },
}


def servicers(plane: Plane) -> Sequence[Any]:
    """One servicer per service."""
    answers = FirstAnswers(plane.core)
    return [
        Catalogue(plane),
        Instances(plane, answers),
        SshKeys(plane, answers),
        Usage(plane),
        WebhookEndpoints(plane, answers),
    ]


GPUAI = Dialect(
    name="gpuai",
    services=tuple(_SCOPES),
    port_offset=3,
    claims=(Claim("/v1/"),),
    local_replies=LOCAL_REPLIES,
    hosts=("gpuai.*", "api.gpu.ai"),
    render_error=render_error,
    servicers=servicers,
    scopes={f"/{service}/{method}": scope for service, methods in _SCOPES.items() for method, scope in methods.items()},
    states=STATES,
    key_formats=(
        KeyFormat(
            "gpuai_live_",
            dialect="gpuai",
            length=24,
            scopes=(
                _INSTANCES_READ,
                _INSTANCES_WRITE,
                _SSH_KEYS_READ,
                _SSH_KEYS_WRITE,
                _BILLING_READ,
                _WEBHOOKS_READ,
                _WEBHOOKS_WRITE,
            ),
        ),
    ),
    webhooks=WEBHOOKS,
)
