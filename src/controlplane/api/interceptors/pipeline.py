"""Everything that stands between gRPC and a handler, composed into one function per method.

gRPC's own interceptors would cost a coroutine and a continuation each, on every call. Requests arrive here as
bytes and are parsed only for a caller who may make the call; answers leave as bytes, so that stored bytes
pass untouched.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from logging import DEBUG
from time import perf_counter
from typing import Any, NoReturn

from google.protobuf.message import DecodeError, Message
from grpc.aio import BaseError

from controlplane.api.call import Call
from controlplane.api.errors import Failure, MethodUnknown, ascii_text, failure, internal
from controlplane.api.interceptors.auth import Authenticator, bearer, require
from controlplane.api.interceptors.keyless import KeylessCallers
from controlplane.api.interceptors.limits import KeyLimits
from controlplane.api.interceptors.rest_path import path_check
from controlplane.api.methods import Method
from controlplane.api.scopes import PUBLIC
from controlplane.dialect import CANONICAL, Dialect, ErrorRenderer
from controlplane.domain.errors import InvalidArgument, PermissionDenied, PlaneError, ResourceExhausted
from controlplane.domain.principal import Principal
from controlplane.logs import bind_call
from controlplane.metrics import Metrics, RpcMeter

MAX_MESSAGE_BYTES = 4 << 20

UnaryHandler = Callable[[Any, Call], Awaitable[Message | bytes]]
StreamHandler = Callable[[Any, Call], AsyncGenerator[Message | bytes, None]]
Behavior = Callable[[bytes, Any], Awaitable[Any]]  # what gRPC calls: (request bytes, its context)

# gRPC cancels the handler, or fails the write that found out first.
_CLIENT_GONE = (asyncio.CancelledError, BaseError)

_UNKNOWN = Method("", "unknown", "", "", Message, Message, client_streaming=True, server_streaming=True)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What every method shares."""

    authenticator: Authenticator
    scopes: Mapping[str, str]
    limits: KeyLimits
    metrics: Metrics
    renderers: Mapping[str, ErrorRenderer]  # by the value of x-dialect
    dialects: Mapping[str, Dialect]  # by service; those that are not listed are canonical
    keyless: Mapping[str, KeylessCallers]  # by dialect; in others every caller needs a key
    stopping: asyncio.Event
    log: Any  # structlog's logger, bound once: its proxy costs more than the line that debug level drops

    def unary(self, method: Method, handler: UnaryHandler) -> Behavior:
        """Wrap a handler that answers once."""
        scope = self.scopes[method.path]
        dialect = self._dialect(method)
        charge = self.limits.charge_call
        parse = _reader(method)
        meter = self.metrics.rpc(method.label)
        logged = self.log.is_enabled_for(DEBUG)

        async def serve(raw: bytes, context: Any) -> bytes:
            start = perf_counter()
            call = Call(context, dict(context.invocation_metadata()), method, self.stopping)
            try:
                if scope is not PUBLIC:
                    await self._admit(call, dialect, scope, charge)
                bind_call(call.request_id, call.principal.account_id)
                reply = await handler(parse(raw, call), call)
                answer = reply if type(reply) is bytes else reply.SerializeToString()  # type: ignore[union-attr]
                if call.headers is not None:
                    await context.send_initial_metadata(call.headers)
            except _CLIENT_GONE:
                meter.count("CANCELLED")
                raise
            except Exception as error:
                caught = error
            else:
                seconds = perf_counter() - start
                meter.done("OK", seconds)
                if logged:
                    self._log_done(call, seconds)
                return answer
            return await self._fail(call, context, caught, meter, start)

        return serve

    def stream(self, method: Method, handler: StreamHandler) -> Behavior:
        """Wrap a handler that answers with a stream.

        It never sends initial metadata of its own: once that is out, Envoy shows an error as 200.
        """
        scope = self.scopes[method.path]
        dialect = self._dialect(method)
        limits = self.limits
        parse = _reader(method)
        meter = self.metrics.rpc(method.label)

        async def serve(raw: bytes, context: Any) -> None:
            start = perf_counter()
            call = Call(context, dict(context.invocation_metadata()), method, self.stopping)
            counted = False
            try:
                if scope is not PUBLIC:
                    await self._admit(call, dialect, scope, limits.open_stream)
                    counted = True
                bind_call(call.request_id, call.principal.account_id)
                replies = handler(parse(raw, call), call)
                meter.opened()
                try:
                    async for reply in replies:
                        await context.write(
                            reply if type(reply) is bytes else reply.SerializeToString()  # type: ignore[union-attr]
                        )
                finally:
                    meter.closed()
                    await replies.aclose()  # now, not by the garbage collector: it ends a subscription
            except _CLIENT_GONE:
                meter.count("CANCELLED")
                raise
            except Exception as error:
                caught = error
            else:
                meter.count("OK")
                self._log_done(call, perf_counter() - start)
                return
            finally:
                if counted:
                    limits.close_stream(call.principal.key_id)
            await self._fail(call, context, caught, meter, None if counted else start)

        return serve

    def unknown(self, path: str) -> Behavior:
        """Answer a call of a method that does not exist, whatever its shape."""

        async def serve(_requests: Any, context: Any) -> None:
            call = Call(context, dict(context.invocation_metadata()), _UNKNOWN, self.stopping)
            error = MethodUnknown(f"there is no method {path[:200]}")
            await self._fail(call, context, error, self.metrics.rpc(_UNKNOWN.label), None)

        return serve

    def _dialect(self, method: Method) -> Dialect:
        return self.dialects.get(method.service, CANONICAL)

    async def _admit(self, call: Call, dialect: Dialect, scope: str, charge: Callable[[str], None]) -> None:
        if dialect.name in self.keyless and "authorization" not in call.metadata:
            principal = self.keyless[dialect.name].admit(call.metadata)
        else:
            token = bearer(call.metadata)
            known = self.authenticator.cached(token, dialect.name)
            principal = known or await self.authenticator.authenticate(token, dialect.name)
        call.principal = principal
        try:
            self._charge(principal, scope, charge)
        finally:
            if dialect.rate_headers is not None and not call.method.server_streaming:
                for name, value in dialect.rate_headers(self.limits.state(principal.key_id)):
                    call.set_http_header(name, value)

    def _charge(self, principal: Principal, scope: str, charge: Callable[[str], None]) -> None:
        try:
            require(principal, scope)
        except PermissionDenied:
            self.limits.charge_call(principal.key_id)  # refusals are calls too
            raise
        charge(principal.key_id)

    async def _fail(self, call: Call, context: Any, error: Exception, meter: RpcMeter, start: float | None) -> NoReturn:
        """End the call, once. `start` is None where the duration says nothing."""
        known = error if isinstance(error, PlaneError) else internal(call.request_id)
        end = failure(known, call.request_id, self.renderers.get(call.dialect) if call.dialect else None)
        seconds = perf_counter() - start if start is not None else 0.0
        if start is not None:
            meter.done(end.code.name, seconds)
        else:
            meter.count(end.code.name)
        self._log_failed(call, end, error, seconds)
        await context.abort(end.code, end.message, (*end.trailing, *call.plain_headers))
        raise AssertionError("abort returned")

    def _log_done(self, call: Call, seconds: float) -> None:
        self.log.debug(
            "call",
            method=call.method.label,
            code="OK",
            ms=round(seconds * 1000, 3),
            request_id=call.request_id,
            account=call.principal.account_id,
        )

    def _log_failed(self, call: Call, end: Failure, error: Exception, seconds: float) -> None:
        # A caller who ignores the limit would fill the disk at info level; the counter has them all.
        write = self.log.debug if end.reason == "RATE_LIMITED" else self.log.info
        fields: dict[str, Any] = {}
        if not isinstance(error, PlaneError) or end.code.name == "INTERNAL":
            write = self.log.error
            fields["exc_info"] = error
        write(
            "call failed",
            method=call.method.label,
            code=end.code.name,
            reason=end.reason,
            message=end.message,
            ms=round(seconds * 1000, 3),
            request_id=call.request_id,
            account=call.principal.account_id,
            **fields,
        )


def _reader(method: Method) -> Callable[[bytes, Call], Message]:
    parse = _parser(method)
    check = path_check(method.descriptor) if method.descriptor is not None else None
    if check is None:
        return lambda raw, call: parse(raw)

    def read(raw: bytes, call: Call) -> Message:
        request = parse(raw)
        if call.is_rest:
            check(request, call.metadata)
        return request

    return read


def _parser(method: Method) -> Callable[[bytes], Message]:
    parse = method.request.FromString
    name = method.request.DESCRIPTOR.full_name

    def parsed(raw: bytes) -> Message:
        if len(raw) > MAX_MESSAGE_BYTES:
            raise ResourceExhausted(
                f"the request has {len(raw)} bytes; at most {MAX_MESSAGE_BYTES} are taken",
                reason="MESSAGE_TOO_LARGE",
            )
        try:
            return parse(raw)
        except DecodeError as error:
            # The text ends in e.g. "String field had bad UTF-8"; it holds nothing of the content.
            rule = f"is not a well-formed {name}: {ascii_text(str(error).rpartition(': ')[2], 100)}"
            raise InvalidArgument(f"the request {rule}", field="", rule=rule, value="") from None

    return parsed
