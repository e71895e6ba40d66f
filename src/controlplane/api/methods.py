"""The methods of our services, read from the descriptors that the generated code registered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Method:
    """One rpc: its path on the wire, the name of its handler, its messages and its shape."""

    path: str  # "/gpuplane.v1.Instances/GetInstance"
    label: str  # the path without its first slash: for logs and metrics
    service: str
    handler: str  # "get_instance"
    request: type[Message]
    response: type[Message]
    client_streaming: bool
    server_streaming: bool
    descriptor: MethodDescriptor | None = None  # None: a method that does not exist


def snake_case(name: str) -> str:
    """The handler's name of an rpc: GetInstance -> get_instance."""
    return _WORD.sub("_", name).lower()


def methods_of(service: str) -> tuple[Method, ...]:
    """All methods of a service by its full name, in the proto's order, once its module is imported."""
    descriptor = descriptor_pool.Default().FindServiceByName(service)
    return tuple(_method(service, method) for method in descriptor.methods)


def methods_of_all(services: Iterable[str]) -> tuple[Method, ...]:
    """The methods of several services."""
    return tuple(method for service in services for method in methods_of(service))


def _method(service: str, descriptor: MethodDescriptor) -> Method:
    path = f"/{service}/{descriptor.name}"
    streaming: Any = descriptor  # the stubs lack the two flags
    return Method(
        path=path,
        label=path[1:],
        service=service,
        handler=snake_case(descriptor.name),
        request=message_factory.GetMessageClass(descriptor.input_type),
        response=message_factory.GetMessageClass(descriptor.output_type),
        client_streaming=streaming.client_streaming,
        server_streaming=streaming.server_streaming,
        descriptor=descriptor,
    )
