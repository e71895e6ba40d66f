"""Pages joined from serialized messages."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from controlplane.wire.event import nesting


def joined(field_number: int, bodies: Iterable[bytes], rest: Message) -> bytes:
    """A page: serialized messages in a repeated field, and the other fields from `rest`."""
    return b"".join((*(nested(field_number, body) for body in bodies), rest.SerializeToString()))


def nested(field_number: int, body: bytes) -> bytes:
    """One serialized message as it stands in a page."""
    return nesting(field_number, len(body)) + body
