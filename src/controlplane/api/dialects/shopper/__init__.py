"""cloud-gpu-shopper's API (seed 001): the seed is the law, docs/dialects/shopper.md what it leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controlplane.api.dialects.shopper.costs import Costs
from controlplane.api.dialects.shopper.errors import CONTENT_TYPE, LOCAL_REPLIES, render_error
from controlplane.api.dialects.shopper.inventory import Inventory
from controlplane.api.dialects.shopper.sessions import Sessions
from controlplane.api.dialects.shopper.system import System
from controlplane.api.dialects.shopper.templates import Templates
from controlplane.api.dialects.shopper.translate import DIALECT, STATES
from controlplane.api.plane import Plane
from controlplane.api.scopes import OPERATOR, PUBLIC
from controlplane.dialect import Claim, Dialect
from controlplane.domain.key_format import KeyFormat
from controlplane.usecases.idempotency import FirstAnswers

_OFFERS, _READ, _WRITE, _COSTS = "offers:read", "instances:read", "instances:write", "usage:read"

_SCOPES = {
    Inventory.service: {
        "ListOffers": _OFFERS,
        "GetOffer": _OFFERS,
        "ListCompatibleTemplates": _OFFERS,
        "ListOfferHealth": _OFFERS,
    },
    Templates.service: {"ListTemplates": _OFFERS, "GetTemplate": _OFFERS},
    Sessions.service: {
        "CreateSession": _WRITE,
        "ListSessions": _READ,
        "GetSession": _READ,
        "FinishSession": _WRITE,
        "ExtendSession": _WRITE,
        "DestroySession": _WRITE,
        "DiagnoseSession": _READ,
        "RekeySession": _WRITE,
    },
    Costs.service: {"GetCosts": _COSTS, "GetCostSummary": _COSTS},
    System.service: {"GetHealth": PUBLIC, "GetReadiness": PUBLIC, "GetMetrics": OPERATOR},
}

_RESOURCES = tuple(f"/api/v1/{name}" for name in ("inventory", "templates", "sessions", "costs"))


def servicers(plane: Plane) -> Sequence[Any]:
    """One servicer per service."""
    answers = FirstAnswers(plane.core)
    return [Inventory(plane), Templates(plane), Sessions(plane, answers), Costs(plane), System(plane)]


SHOPPER = Dialect(
    name=DIALECT,
    services=tuple(_SCOPES),
    port_offset=2,
    claims=(
        Claim("/api/v1/offer-health"),
        *map(Claim, _RESOURCES),
        *(Claim(f"{path}/") for path in _RESOURCES),
    ),
    local_replies=LOCAL_REPLIES,
    hosts=("shopper.*", "shopper.localhost"),
    render_error=render_error,
    servicers=servicers,
    scopes={f"/{service}/{method}": scope for service, methods in _SCOPES.items() for method, scope in methods.items()},
    states=STATES,
    key_formats=(KeyFormat("shopper_live_", dialect=DIALECT, scopes=(_OFFERS, _READ, _WRITE, _COSTS)),),
    keyless=True,
    json_type=CONTENT_TYPE,
)
