"""Every rpc of gpuplane.v1, read from gen/gpuplane.binpb: its messages and its REST form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import Message

import tests.support.plane  # noqa: F401  # registers the messages

IMAGE = Path(__file__).parents[2] / "gen" / "gpuplane.binpb"
PACKAGE = "gpuplane.v1"


@dataclass(frozen=True)
class Rpc:
    """One method."""

    service: str  # "Instances"
    name: str  # "GetInstance"
    verb: str
    template: str
    has_body: bool
    request: type[Message]
    response: type[Message]
    streams: bool

    @property
    def path(self) -> str:
        """Its name on the wire."""
        return f"/{PACKAGE}.{self.service}/{self.name}"

    def grpc(self, caller: Any) -> Any:
        """Its stub."""
        return getattr(getattr(caller, re.sub("(?<!^)(?=[A-Z])", "_", self.service).lower()), self.name)

    def rest(self, request: Message) -> tuple[str, str, Any]:
        """Verb, path with query, and JSON body of a call."""
        fields = json_format.MessageToDict(request, preserving_proto_field_name=True)
        path = re.sub(r"\{(\w+)\}", lambda match: quote(str(fields.pop(match[1], "")), safe=""), self.template)
        if self.has_body:
            return self.verb, path, fields
        query = urlencode(list(_flat(fields)))
        return self.verb, f"{path}?{query}" if query else path, None


def _flat(fields: dict[str, Any], prefix: str = "") -> Any:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            for item in value if isinstance(value, list) else [value]:
                yield prefix + name, str(item).lower() if isinstance(item, bool) else item


def _read() -> dict[str, Rpc]:
    files = descriptor_pb2.FileDescriptorSet.FromString(IMAGE.read_bytes())
    found = {}
    for file in files.file:
        for service in file.service if file.package == PACKAGE else ():
            for method in service.method:
                rule = method.options.Extensions[annotations_pb2.http]
                verb = rule.WhichOneof("pattern")
                rpc = Rpc(
                    service.name, method.name, verb.upper(), getattr(rule, verb), bool(rule.body),
                    _message(method.input_type), _message(method.output_type), method.server_streaming,
                )  # fmt: skip
                found[method.name] = rpc
    return found


def _message(name: str) -> type[Message]:
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name.lstrip(".")))


RPCS = _read()
"""By method name, which is unique."""
