"""A dialect that does nothing, to see what adding one takes. test_sixth.py copies it into a source tree."""

from __future__ import annotations

from typing import Any

from gpuplane.dialects.sixth.v1 import greetings_pb2 as pb

from controlplane.api.call import Call
from controlplane.dialect import REFUSALS, Claim, Dialect, LocalReply, RenderedError
from controlplane.domain.errors import PlaneError, invalid
from controlplane.domain.key_format import KeyFormat


class Greetings:
    """Greets."""

    service = "gpuplane.dialects.sixth.v1.Greetings"

    async def greet(self, request: pb.GreetRequest, call: Call) -> Any:
        if request.name == "nobody":
            raise invalid("name", "must be somebody", request.name)
        call.set_http_status(201)
        return pb.GreetResponse(text=f"hello {request.name} of {call.principal.account_id}")


def render_error(error: PlaneError, request_id: str) -> RenderedError:
    """Errors are one word."""
    return RenderedError(418, "application/json", {"sixth": error.reason})


SIXTH = Dialect(
    name="sixth",
    services=(Greetings.service,),
    port_offset=6,
    claims=(Claim("/sixth/"),),
    local_replies=tuple(LocalReply(r.status, {"sixth": r.reason}, shown_status=418) for r in REFUSALS),
    hosts=("sixth.example",),
    render_error=render_error,
    servicers=lambda plane: [Greetings()],
    scopes={f"/{Greetings.service}/Greet": "offers:read"},
    key_formats=(KeyFormat("sixth_", dialect="sixth"),),
)
