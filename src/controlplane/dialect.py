"""What makes one REST dialect differ from another, as one record that api and edge both read.

The edge renders routes and Envoy's own replies from it, the API renders errors with it; neither knows a
dialect by name. Adding a dialect is a record and one line in `bootstrap`'s list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controlplane.domain.errors import PlaneError
from controlplane.domain.key_format import CANONICAL_KEYS, KeyFormat
from controlplane.domain.principal import CANONICAL_DIALECT
from controlplane.domain.ratelimit import RateState
from controlplane.domain.state import State

# Envoy fills these in when it answers by itself (a value that is one of them alone keeps its JSON type).
ENVOY_TEXT = "%LOCAL_REPLY_BODY%"
STATUS = "%RESPONSE_CODE%"
# A new id where Envoy refuses a request before it gave it one: headers that are too large or malformed.
REQUEST_ID = '%COALESCE({"operators": [{"command": "REQ", "param": "X-REQUEST-ID"}, "UNIQUE_ID"]})%'
METHOD = "%REQ(X-ENVOY-ORIGINAL-METHOD?:METHOD)%"
PATH = "%PATH(NQ:ORIG_OR_PATH)%"  # without the query, which may hold a token


@dataclass(frozen=True)
class LocalReply:
    """The body Envoy sends when it answers a status by itself. Its strings may hold the operators above.

    `shown_status` is what callers get instead of `status`, where the dialect documents another one.
    """

    status: int
    body: Mapping[str, object]
    content_type: str = "application/json"
    shown_status: int | None = None


@dataclass(frozen=True)
class RenderedError:
    """A refusal as the dialect documents it."""

    status: int
    content_type: str
    body: Mapping[str, object]


# From a refusal and the request id.
ErrorRenderer = Callable[[PlaneError, str], RenderedError]

# From what a key may still do to the headers that every answer of the dialect carries.
RateHeaders = Callable[[RateState], Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class Claim:
    """A path that a dialect owns on the main port: everything below it if it ends in `/`, else exactly it. `{name}`
    stands for one segment.

    `bearer` narrows the claim to calls whose bearer token begins so. Of two claims to a path the narrower
    wins.
    """

    path: str
    bearer: str = ""


@dataclass(frozen=True)
class WebhookDelivery:
    """One attempt to tell one event to one endpoint: what a dialect's headers are made of."""

    event_id: str  # the same in every attempt: receivers tell repeats by it
    event_type: str
    delivery_id: str  # another one in every attempt
    timestamp: int  # Unix seconds of the attempt
    signature: str  # hex HMAC-SHA256 over `<timestamp>.<body>` under the endpoint's secret


@dataclass(frozen=True)
class WebhookFormat:
    """How a dialect tells the events of instances to webhook endpoints.

    `render` makes the JSON body (and its type) from the event's id, its time in microseconds and the serialized
    gpuplane.v1.InstanceEvent; None where the dialect has no such event. Attempts follow each other after `retry_s`;
    after the last one the delivery has failed.
    """

    event_types: tuple[str, ...]
    render: Callable[[str, int, bytes], tuple[str, Mapping[str, object]] | None]
    headers: Callable[[WebhookDelivery], Sequence[tuple[str, str]]]
    retry_s: tuple[float, ...]


@dataclass(frozen=True)
class Dialect:
    """One REST API spoken at the edge. On its own port (main port + `port_offset`) and hosts it owns every path.

    `name` is what the server sees as request metadata `x-dialect`; `services` are full protobuf names, `servicers`
    makes them from the composed plane, and `scopes` says what a key needs for each of their methods (by path).
    `states` shows every state of an instance in the dialect's own word. The first of `key_formats` is the one that
    credentials.json has a key of. `keyless`: it documents no authentication, so that callers of this host who send no
    key act for one account of the deployment (api/interceptors/keyless.py), unless the deployment asks for keys.
    """

    name: str
    services: tuple[str, ...]
    port_offset: int  # 0: answers on the main port only
    claims: tuple[Claim, ...]
    local_replies: tuple[LocalReply, ...]
    hosts: tuple[str, ...] = ()  # as Envoy's virtual host domains: `gpuai.*`, `api.gpu.ai`
    sse_paths: tuple[str, ...] = ()  # full-match regexes (RE2) of streams sent as server-sent events
    wait_paths: tuple[str, ...] = ()  # full-match regexes of calls that answer late on purpose
    render_error: ErrorRenderer | None = None  # None: google.rpc.Status as JSON, rendered by Envoy's transcoder
    servicers: Callable[[Any], Sequence[Any]] | None = None  # None: they are the canonical API's own
    scopes: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[State, str] = field(default_factory=dict)
    key_formats: tuple[KeyFormat, ...] = ()
    keyless: bool = False
    json_type: str = "application/json"  # the content type of its answers
    rate_headers: RateHeaders | None = None
    webhooks: WebhookFormat | None = None
    cors_request_headers: tuple[str, ...] = ()  # that browsers may send, beside those that all dialects know
    cors_response_headers: tuple[str, ...] = ()  # that scripts may read


@dataclass(frozen=True)
class Refusal:
    """A status with which Envoy answers by itself, in the canonical vocabulary of codes and reasons."""

    status: int
    code: int  # google.rpc.Code
    reason: str  # gpuplane.v1.ErrorReason without its prefix
    message: str


# Envoy's words are kept where they help the caller (the JSON parser's sentence names the field) and replaced
# where they tell about our insides. An unknown path is UNIMPLEMENTED (12), not NOT_FOUND (5): gRPC says so to
# the same mistake, and it tells a wrong URL from a missing resource. A timeout is a fault of ours.
REFUSALS = (
    Refusal(400, 3, "INVALID_FIELD", ENVOY_TEXT),
    Refusal(403, 3, "INVALID_FIELD", "the protocol that the request asks to change to is not spoken here"),
    Refusal(404, 12, "METHOD_UNKNOWN", f"there is no method {METHOD} {PATH}"),
    Refusal(408, 4, "INVALID_FIELD", "the request was not sent in time"),
    Refusal(413, 8, "MESSAGE_TOO_LARGE", "the request body is larger than 4 MiB"),
    Refusal(426, 3, "INVALID_FIELD", "this protocol version is not spoken here"),
    Refusal(429, 8, "RATE_LIMITED", "too many calls; try again later"),
    Refusal(431, 3, "INVALID_FIELD", "the request headers are larger than 60 KiB or more than 100"),
    Refusal(500, 13, "INTERNAL", "the answer could not be made: it is larger than 32 MiB, or a fault of ours"),
    Refusal(502, 14, "SERVER_STOPPING", "the server broke off; try again"),
    Refusal(503, 14, "SERVER_STOPPING", "the server is starting, stopping or overloaded; try again"),
    Refusal(504, 4, "INTERNAL", "the server did not answer in time; the call may still take effect"),
)


def _canonical_reply(refusal: Refusal) -> LocalReply:
    """google.rpc.Status with ErrorInfo, as the transcoder prints the server's own errors."""
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": refusal.reason,
        "domain": "gpuplane",
        "metadata": {"request_id": REQUEST_ID},
    }
    return LocalReply(refusal.status, {"code": refusal.code, "message": refusal.message, "details": [info]})


def _ownerless_reply(refusal: Refusal) -> LocalReply:
    """The shape of the main port where no dialect owns the path: readable by clients of several dialects."""
    body = {"error": refusal.message, "code": refusal.reason, "details": {}, "request_id": REQUEST_ID}
    return LocalReply(refusal.status, body)


OWNERLESS_REPLIES = tuple(map(_ownerless_reply, REFUSALS))

CANONICAL = Dialect(
    name=CANONICAL_DIALECT,
    services=tuple(
        f"gpuplane.v1.{service}"
        for service in (
            "Accounts",
            "Budgets",
            "Instances",
            "Keys",
            "Offers",
            "Operations",
            "ProviderCredentials",
            "Strays",
            "System",
            "Usage",
            "Webhooks",
        )
    ),
    port_offset=0,
    claims=(Claim("/gpuplane/"), Claim("/health"), Claim("/ready"), Claim("/metrics")),
    local_replies=tuple(map(_canonical_reply, REFUSALS)),
    sse_paths=(
        "/gpuplane/v1/watch/instances",
        "/gpuplane/v1/instances/[^/]+/watch",
        "/gpuplane/v1/operations/[^/]+/watch",
    ),
    wait_paths=("/gpuplane/v1/operations/[^/]+/wait",),
    key_formats=(CANONICAL_KEYS,),
)
