"""What goes over the wire, read frame by frame: gRPC's own client hides what Envoy depends on."""

import asyncio
import struct

import pytest
from gpuplane.v1 import operation_service_pb2

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, GOAWAY = 0, 1, 4, 7
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """One header that no table keeps (HPACK, RFC 7541 section 6.2.2); short enough for one length byte."""
    return b"".join([b"\0", bytes([len(name)]), name.encode(), bytes([len(value)]), value.encode()])


async def frames(address, method, message):
    """Kinds and END_STREAM flags of the frames that answer a call."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/gpuplane.v1.Operations/{method}",
        ":authority": "test",
        "te": "trailers",
        "content-type": "application/grpc",
        "authorization": "Bearer reader",
    }
    block = b"".join(literal(*pair) for pair in headers.items())
    raw = message.SerializeToString()
    writer.write(PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, block))
    writer.write(frame(DATA, END_STREAM, 1, b"\0" + struct.pack(">I", len(raw)) + raw))
    seen = []
    try:
        async with asyncio.timeout(5):
            while True:
                head = await reader.readexactly(9)
                length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
                stream = int.from_bytes(head[5:], "big")
                await reader.readexactly(length)
                assert kind != GOAWAY
                if stream == 1 and kind in (DATA, HEADERS):
                    seen.append((kind, bool(flags & END_STREAM)))
                    if flags & END_STREAM:
                        return seen
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("method", "id"),
    [("WatchOperation", "missing"), ("GetOperation", "missing"), ("GetOperation", "boom"), ("Nothing", "x")],
)
async def test_an_early_refusal_is_trailers_only(farm, method, id):
    request = operation_service_pb2.WatchOperationRequest(id=id)
    assert await frames(farm.server.addresses[0], method, request) == [(HEADERS, True)]


async def test_a_stream_has_headers_messages_and_trailers(farm):
    request = operation_service_pb2.WatchOperationRequest(id="three")
    seen = await frames(farm.server.addresses[0], "WatchOperation", request)
    assert seen[0] == (HEADERS, False)
    assert DATA in [kind for kind, _ in seen]
    assert seen[-1] == (HEADERS, True)
