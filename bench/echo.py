"""What our pipeline costs a call beside bare grpc.aio: server CPU per unary call, in microseconds.

    python -m bench.echo            # both servers, five rounds each, in turn
    python -m bench.echo --calls 20000 --rounds 7

Server and client are two processes; only the server's CPU time is counted. Every figure is a median of the
rounds; look at the difference, the absolute times follow the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import statistics
from multiprocessing.connection import Connection
from typing import Any

import grpc
from gpuplane.v1 import operation_pb2 as pb
from gpuplane.v1 import operation_service_pb2

from controlplane import logs
from controlplane.api.call import Call
from controlplane.api.interceptors.limits import Limits
from controlplane.api.scopes import canonical_scopes
from controlplane.api.server import build_server
from controlplane.domain.principal import SCOPES, Principal

PATH = "/gpuplane.v1.Operations/GetOperation"
METADATA = (("authorization", "Bearer gp_0123456789abcdefghijklmnopqrstuvwxyz"), ("x-request-id", "bench-1"))
ANSWER = pb.Operation(id="op-1").SerializeToString() + b"\x12\x80\x02" + b"x" * 256
IN_FLIGHT = 64


class _Keys:
    principal = Principal("acct_1", "key_1", frozenset(SCOPES))

    def cached(self, token: str, dialect: str) -> Principal:
        return self.principal

    async def authenticate(self, token: str, dialect: str) -> Principal:
        return self.principal


class _Operations:
    service = "gpuplane.v1.Operations"

    async def get_operation(self, request: Any, call: Call) -> bytes:
        return ANSWER

    list_operations = wait_operation = cancel_operation = get_operation

    async def watch_operation(self, request: Any, call: Call) -> Any:
        yield ANSWER


async def _start(kind: str) -> tuple[Any, int]:
    if kind == "ours":
        ours = build_server([_Operations()], _Keys(), scopes=canonical_scopes(), limits=Limits(1e9, 1_000_000_000))
        port = int(ours.listen("127.0.0.1:0").rpartition(":")[2])
        await ours.start()
        return ours, port

    async def echo(request: Any, context: Any) -> bytes:
        return ANSWER

    parse = operation_service_pb2.GetOperationRequest.FromString if kind == "bare, parsing" else None
    handlers = {"GetOperation": grpc.unary_unary_rpc_method_handler(echo, parse, None)}
    bare = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    bare.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("gpuplane.v1.Operations", handlers),))
    port = bare.add_insecure_port("127.0.0.1:0")
    await bare.start()
    return bare, port


def _serve(kind: str, pipe: Connection) -> None:
    async def main() -> None:
        server, port = await _start(kind)
        pipe.send(port)
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, pipe.recv):
            usage = resource.getrusage(resource.RUSAGE_SELF)
            pipe.send(usage.ru_utime + usage.ru_stime)
        await server.stop(0)

    logs.setup("info")
    asyncio.run(main())


async def _load(port: int, calls: int) -> None:
    request = operation_service_pb2.GetOperationRequest(id="op-1").SerializeToString()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        get = channel.unary_unary(PATH)

        async def worker() -> None:
            for _ in range(calls // IN_FLIGHT):
                await get(request, metadata=METADATA)

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))


def _round(kind: str, calls: int) -> float:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(kind, there))
    process.start()
    port = here.recv()
    asyncio.run(_load(port, 2000))
    here.send(True)
    before = here.recv()
    asyncio.run(_load(port, calls))
    here.send(True)
    spent = here.recv() - before
    here.send(False)
    process.join()
    return float(spent / (calls // IN_FLIGHT * IN_FLIGHT) * 1e6)


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    kinds = ("bare", "bare, parsing", "ours")
    spent: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(options.rounds):
        for kind in kinds:
            spent[kind].append(_round(kind, options.calls))
    base = statistics.median(spent["bare"])
    for kind, values in spent.items():
        middle = statistics.median(values)
        spread = f"{min(values):.0f} to {max(values):.0f}"
        print(f"{kind:<15}{middle:7.1f} us/call  ({spread})  {middle - base:+6.1f}")


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
