"""The ruler: a bare grpc.aio server that takes a protobuf message and answers with it.

python -m bench.ruler SOCKET
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
from gpuplane.v1 import instance_service_pb2 as pb

PATH = "/bench.Ruler/Echo"


async def serve(socket: str) -> None:
    """Serve until killed."""

    async def echo(request: Any, context: Any) -> Any:
        return request

    message = pb.GetInstanceRequest
    handler = grpc.unary_unary_rpc_method_handler(echo, message.FromString, message.SerializeToString)
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Ruler", {"Echo": handler}),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    Path(sys.argv[1]).unlink(missing_ok=True)
    asyncio.run(serve(sys.argv[1]))
