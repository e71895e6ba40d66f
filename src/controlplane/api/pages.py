"""Pages joined from serialized messages."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from controlplane.wire.event import nesting


def joined(field_number: int, bodies: Iterable[bytes], rest: Message) -> bytes:
    """A page: serialized messages in a repeated field, and the other fields from `rest`."""
    parts: list[bytes] = []
    for body in bodies:
        parts += (nesting(field_number, len(body)), body)
    parts.append(rest.SerializeToString())
    return b"".join(parts)
