"""A real server on port 0 with a small servicer behind the real pipeline, and a client."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2, status_pb2
from gpuplane.v1 import operation_pb2, operation_service_pb2

from controlplane import logs
from controlplane.api.call import Call
from controlplane.api.interceptors.limits import KeyLimits
from controlplane.api.scopes import canonical_scopes
from controlplane.api.server import PlaneServer, build_server
from controlplane.domain.errors import Unauthenticated, invalid, not_found
from controlplane.domain.principal import Principal
from controlplane.metrics import Metrics

# A field that no version of our protos knows: only untouched bytes bring it to the client.
BLOB = operation_pb2.Operation(id="op-1").SerializeToString() + b"\xfa\x7f\x03abc"

PRINCIPALS = {
    "reader": Principal("acct_1", "key_reader", frozenset({"instances:read"})),
    "stranger": Principal("acct_2", "key_stranger", frozenset({"offers:read"})),
    "operator": Principal("operator", "key_op", frozenset(), operator=True),
}


class Authenticator:
    """Knows `reader` at once, the others after a look-up."""

    def __init__(self) -> None:
        self.lookups = 0

    def cached(self, token: str, dialect: str) -> Principal | None:
        return PRINCIPALS["reader"] if token == "reader" else None

    async def authenticate(self, token: str, dialect: str) -> Principal:
        self.lookups += 1
        await asyncio.sleep(0)
        if token == "broken":
            raise OSError("store down at /var/secret")
        if token not in PRINCIPALS:
            raise Unauthenticated("the key is unknown")
        return PRINCIPALS[token]


class Operations:
    """Behaves as the id in the request says."""

    service = "gpuplane.v1.Operations"

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.open = 0

    async def get_operation(self, request: Any, call: Call) -> Any:
        self.calls.append(call)
        match request.id:
            case "message":
                return operation_pb2.Operation(id="op-2")
            case "missing":
                raise not_found("operation", "op-9")
            case "field":
                raise invalid("id", "must be a UUID", "sécrète\n")
            case "boom":
                raise ValueError("boom secret sauce")
            case "accepted":
                call.set_http_status(202)
                call.set_http_header("operation-id", "op-1")
            case "slow":
                self.entered.set()
                try:
                    await asyncio.sleep(60)
                finally:
                    self.cancelled.set()
        return BLOB

    list_operations = wait_operation = cancel_operation = get_operation

    async def watch_operation(self, request: Any, call: Call) -> AsyncIterator[Any]:
        self.calls.append(call)
        self.open += 1
        try:
            match request.id:
                case "missing":
                    raise not_found("operation", "op-9")
                case "header":
                    call.set_http_status(202)
                case "three":
                    yield b""
                    yield operation_service_pb2.OperationEvent(coalesced=True)
                    yield operation_service_pb2.OperationEvent()
                case "late":
                    yield b""
                    raise ValueError("boom secret sauce")
                case "forever":
                    yield b""
                    await call.stopping.wait()
                    yield operation_service_pb2.OperationEvent(end={"reason": "STREAM_END_REASON_SERVER_STOPPING"})
        finally:
            self.open -= 1


@dataclass
class Farm:
    """A running server and all that a test wants to look at."""

    server: PlaneServer
    servicer: Operations
    authenticator: Authenticator
    metrics: Metrics
    channel: grpc.aio.Channel
    log: io.StringIO

    async def get(
        self, id: str | bytes, *, token: str | None = "reader", method: str = "GetOperation", **headers: str
    ) -> Any:
        """Make a unary call; bytes are sent as they are."""
        raw = id if isinstance(id, bytes) else operation_service_pb2.GetOperationRequest(id=id).SerializeToString()
        call = self.channel.unary_unary(f"/gpuplane.v1.Operations/{method}")
        return await call(raw, metadata=metadata(token, **headers))

    def watch(self, id: str, *, token: str | None = "reader", **headers: str) -> Any:
        """Open a stream."""
        raw = operation_service_pb2.WatchOperationRequest(id=id).SerializeToString()
        call = self.channel.unary_stream("/gpuplane.v1.Operations/WatchOperation")
        return call(raw, metadata=metadata(token, **headers))


def metadata(token: str | None, **headers: str) -> tuple[tuple[str, str], ...]:
    """Call metadata; underscores in names become hyphens."""
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return (*pairs, ("authorization", f"Bearer {token}")) if token else tuple(pairs)


Start = Callable[..., Awaitable[Farm]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a farm; keywords go to build_server."""
    async with AsyncExitStack() as stack:

        async def start_one(**settings: Any) -> Farm:
            log = io.StringIO()
            logs.setup("debug", stream=log, json=True)
            servicer, authenticator, metrics = Operations(), Authenticator(), Metrics()
            if "limits" in settings:
                settings["limits"] = KeyLimits(settings["limits"])
            server = build_server(
                [servicer],
                authenticator,
                scopes=canonical_scopes(),
                metrics=metrics,
                addresses=["127.0.0.1:0"],
                **settings,
            )
            await server.start()
            stack.push_async_callback(server.stop, 0)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.addresses[0]))
            return Farm(server, servicer, authenticator, metrics, channel, log)

        yield start_one


@pytest.fixture
async def farm(start: Start) -> Farm:
    """A farm with the default settings."""
    return await start()


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Awaitable[None]]:
    """Let the loop run until something holds."""

    async def run(holds: Callable[[], Any]) -> None:
        async with asyncio.timeout(60):
            while not holds():
                await asyncio.sleep(0.001)

    return run


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Give logging back as it was: pytest listens there too."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Ended:
    """A failed call, taken apart."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code = error.code()
        self.message = error.details()
        self.trailing = dict(error.trailing_metadata())
        raw = self.trailing.get("grpc-status-details-bin")
        self.status = status_pb2.Status.FromString(raw) if raw else None

    def detail(self, kind: type[Any]) -> Any:
        """The one detail of that type, or None."""
        for detail in self.status.details if self.status else ():
            if detail.Is(kind.DESCRIPTOR):
                found = kind()
                detail.Unpack(found)
                return found
        return None

    @property
    def info(self) -> Any:
        """The ErrorInfo that every error carries."""
        info = self.detail(error_details_pb2.ErrorInfo)
        assert info is not None
        assert info.domain == "gpuplane"
        return info


@pytest.fixture
def ended() -> Callable[[Awaitable[Any]], Awaitable[Ended]]:
    """Await a call that must fail."""

    async def run(call: Awaitable[Any]) -> Ended:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        return Ended(caught.value)

    return run
