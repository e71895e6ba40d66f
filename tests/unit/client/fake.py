"""A real gRPC server with scripted answers: every method of `gpuplane.v1`, nothing behind it.

`plane.on("GetInstance", a, b)` answers the first call with `a` and all later ones with `b`. An answer is a
message, a `Refusal`, a function of the request, or for streams a list of messages that may end in a
`Refusal`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

FILES = (
    "account", "budget", "instance", "key", "offer", "operation", "provider_credential", "stray", "system", "usage",
    "webhook",
)  # fmt: skip


@dataclass
class Refusal:
    """An error answer, with rich details as the real server sends them unless `reason` is empty."""

    code: grpc.StatusCode
    reason: str = ""
    message: str = "refused"
    metadata: dict[str, str] = field(default_factory=dict)

    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        if not self.reason:
            return ()
        info = ErrorInfo(reason=self.reason, domain="gpuplane", metadata=self.metadata)
        status = Status(code=self.code.value[0], message=self.message)
        any_info = any_pb2.Any()
        any_info.Pack(info)
        status.details.append(any_info)
        return (("grpc-status-details-bin", status.SerializeToString()),)


@dataclass
class Call:
    """One call that arrived."""

    method: str
    request: Any
    metadata: dict[str, str]


class Hang:
    """In a stream: stay silent, as a stream does on which nothing happens."""


class FakePlane:
    """The server. Use it as a context manager."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._script: dict[str, list[Any]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: Any = None
        self.endpoint = ""

    def on(self, method: str, *answers: Any) -> None:
        self._script[method] = list(answers)

    def requests(self, method: str) -> list[Any]:
        return [call.request for call in self.calls if call.method == method]

    def __enter__(self) -> FakePlane:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._server.stop(0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self) -> None:
        self._server = grpc.aio.server()
        for file in FILES:
            descriptor = import_module(f"gpuplane.v1.{file}_service_pb2").DESCRIPTOR
            for service in descriptor.services_by_name.values():
                handlers = {method.name: self._handler(method) for method in service.methods}
                self._server.add_generic_rpc_handlers(
                    (grpc.method_handlers_generic_handler(service.full_name, handlers),)
                )
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        self.endpoint = f"127.0.0.1:{port}"

    def _handler(self, method: Any) -> Any:
        kind = (
            (grpc.unary_stream_rpc_method_handler, self._stream(method.name))
            if method.server_streaming
            else (grpc.unary_unary_rpc_method_handler, self._unary(method.name))
        )
        return kind[0](
            kind[1],
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )

    def _answer(self, name: str, request: Message, context: Any) -> Any:
        self.calls.append(Call(name, request, dict(context.invocation_metadata())))
        script = self._script.get(name)
        if not script:
            return Refusal(grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN", f"no script for {name}")
        answer = script.pop(0) if len(script) > 1 else script[0]
        return answer(request) if callable(answer) and not isinstance(answer, type) else answer

    def _unary(self, name: str) -> Callable[[Message, Any], Any]:
        async def handle(request: Message, context: Any) -> Any:
            answer = self._answer(name, request, context)
            if isinstance(answer, Refusal):
                await context.abort(answer.code, answer.message, answer.trailers())
            return answer

        return handle

    def _stream(self, name: str) -> Callable[[Message, Any], Any]:
        async def handle(request: Message, context: Any) -> AsyncIterator[Any]:
            answers = self._answer(name, request, context)
            for answer in answers if isinstance(answers, list) else [answers]:
                if isinstance(answer, Refusal):
                    await context.abort(answer.code, answer.message, answer.trailers())
                elif isinstance(answer, Hang):
                    await asyncio.sleep(60)
                else:
                    yield answer

        return handle
