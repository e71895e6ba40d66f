"""A channel that the generated stubs take for an ordinary one: it adds key, deadline, request id, retries
and typed errors to every call, so that no stub needs a wrapper of its own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from tenacity import AsyncRetrying, Retrying

from gpuplane_client.config import is_loopback, split_endpoint
from gpuplane_client.errors import ApiError
from gpuplane_client.retry import call_policy

DEADLINE_S = 30.0
M = TypeVar("M", bound=Message)


def open_channel(endpoint: str, module: Any) -> Any:
    """A channel of `grpc` or `grpc.aio`."""
    target, tls = split_endpoint(endpoint)
    options: list[tuple[str, int]] = [
        # The default grows to two minutes, in which a restarted server stays "unavailable".
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
        # A machine that slept or a NAT that forgot us must not leave a stream waiting for ever.
        ("grpc.keepalive_time_ms", 45_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Retries are ours (tenacity): two layers would multiply.
        ("grpc.enable_retries", 0),
    ]
    if is_loopback(endpoint):
        options.append(("grpc.enable_http_proxy", 0))
    if tls:
        return module.secure_channel(target, grpc.ssl_channel_credentials(), options=options)
    return module.insecure_channel(target, options=options)


class _Wrapped:
    def __init__(self, channel: Any, key: str, retry_for: float) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._retry_for = retry_for


class SyncChannel(_Wrapped):
    """Over `grpc.Channel`."""

    def unary_unary(self, path: str, **kwargs: Any) -> Callable[..., Any]:
        inner = self._channel.unary_unary(path, **kwargs)
        policy = call_policy(_method(path), self._retry_for)

        def call(request: Message, timeout: float | None = DEADLINE_S) -> Any:
            request = with_request_id(request)
            return Retrying(**policy)(_unary, inner, request, timeout, self._metadata)

        return call

    def unary_stream(self, path: str, **kwargs: Any) -> Callable[..., Any]:
        inner = self._channel.unary_stream(path, **kwargs)

        def call(request: Message, timeout: float | None = None) -> Iterator[Any]:
            stream = inner(request, timeout=timeout, metadata=self._metadata)
            try:
                yield from stream
            except grpc.RpcError as error:
                raise ApiError.from_rpc(error) from None
            finally:
                stream.cancel()

        return call


class AsyncChannel(_Wrapped):
    """Over `grpc.aio.Channel`."""

    def unary_unary(self, path: str, **kwargs: Any) -> Callable[..., Any]:
        inner = self._channel.unary_unary(path, **kwargs)
        policy = call_policy(_method(path), self._retry_for)

        async def call(request: Message, timeout: float | None = DEADLINE_S) -> Any:
            request = with_request_id(request)
            return await AsyncRetrying(**policy)(_unary_async, inner, request, timeout, self._metadata)

        return call

    def unary_stream(self, path: str, **kwargs: Any) -> Callable[..., Any]:
        inner = self._channel.unary_stream(path, **kwargs)

        async def call(request: Message, timeout: float | None = None) -> AsyncIterator[Any]:
            stream = inner(request, timeout=timeout, metadata=self._metadata)
            try:
                async for message in stream:
                    yield message
            except grpc.RpcError as error:
                raise ApiError.from_rpc(error) from None
            finally:
                stream.cancel()

        return call


def with_request_id(request: M) -> M:
    """The request with a fresh request id where it has room for one and the caller set none."""
    if "request_id" not in request.DESCRIPTOR.fields_by_name or getattr(request, "request_id"):  # noqa: B009
        return request
    copy = type(request)()
    copy.CopyFrom(request)
    setattr(copy, "request_id", str(uuid.uuid4()))  # noqa: B010 (Message declares no such attribute)
    return copy


def _method(path: str) -> str:
    return path.rpartition("/")[2]


def _unary(inner: Any, request: Message, timeout: float | None, metadata: Any) -> Any:
    try:
        return inner(request, timeout=timeout, metadata=metadata)
    except grpc.RpcError as error:
        raise ApiError.from_rpc(error) from None


async def _unary_async(inner: Any, request: Message, timeout: float | None, metadata: Any) -> Any:
    try:
        return await inner(request, timeout=timeout, metadata=metadata)
    except grpc.RpcError as error:
        raise ApiError.from_rpc(error) from None
