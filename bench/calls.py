"""Unary calls: rate and CPU per request over a bare grpc.aio echo, every case in every round, the order shuffled.

python -m bench.calls --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
from gpuplane.v1 import instance_pb2, operation_pb2
from gpuplane.v1 import instance_service_pb2 as pb

from bench import planes, report, ruler
from bench.processes import LOAD_CORE, SERVER_CORE, WORK, cpu_s, loadgen, pin, python, running, until

INSTANCES = 10_000
CONNECTIONS, STREAMS = 8, 8
SERVICE = "/gpuplane.v1.Instances"


@dataclass(slots=True)
class Case:
    """One line of the table: a load, the processes whose CPU it costs, and what was measured."""

    name: str
    base: str  # the case it is held against
    load: Callable[[int], float]  # runs n requests, returns the seconds
    pids: list[int]
    calls: int
    rates: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """One round."""
        self.load(self.calls // 10)
        before = cpu_s(self.pids)
        seconds = self.load(self.calls)
        self.cpus.append((cpu_s(self.pids) - before) / self.calls * 1e6)
        self.rates.append(self.calls / seconds)


def h2load(
    target: str, path: str, key: str, request: bytes, cores: str = str(LOAD_CORE), connections: int = CONNECTIONS
) -> Callable[[int], float]:
    """gRPC by h2load on a unix socket. It knows no trailers: the size of the answers tells that all succeeded."""
    file = WORK / f"{abs(hash((target, path, request)))}.request"
    file.write_bytes(b"\0" + len(request).to_bytes(4, "big") + request)
    base = target if target.startswith("unix:") else f"http://{target}"
    argv = ["-d", str(file), "-B", base, "-H", "content-type: application/grpc", "-H", "te: trailers"]

    def run(n: int) -> float:
        wanted = 5 + len(ask(target, path, key, request))
        said = ["taskset", "-c", cores, "h2load", "-m", str(STREAMS), "-c", str(connections), "-n", str(n)]
        said += [*argv, *_bearer(key)]
        return _checked(subprocess.check_output([*said, f"http://localhost{path}"], text=True), n, wanted)

    return run


def rest(address: str, path: str, key: str) -> Callable[[int], float]:
    """REST by h2load through the edge: HTTP/1.1, as many connections as the others have streams."""
    url, connections = f"http://{address}{path}", str(CONNECTIONS * STREAMS)

    def run(n: int) -> float:
        wanted = len(subprocess.check_output(["curl", "-sf", *_bearer(key), url]))
        said = ["taskset", "-c", str(LOAD_CORE), "h2load", "--h1", "-c", connections, "-n", str(n), *_bearer(key), url]
        return _checked(subprocess.check_output(said, text=True), n, wanted)

    return run


def generator(target: str, path: str, key: str, request: bytes, id_field: int = 0) -> Callable[[int], float]:
    """gRPC by the Go program, with a request id of its own in every call where a field is given."""

    def run(n: int) -> float:
        said: Any = loadgen(
            "unary", "-target", target, "-path", path, "-key", key, "-body", request.hex(), "-n", str(n),
            "-conns", str(CONNECTIONS), "-streams", str(STREAMS), "-id", str(id_field),
        )  # fmt: skip
        return float(said["seconds"])

    return run


def _bearer(key: str) -> list[str]:
    return ["-H", f"authorization: Bearer {key}"] if key else []


def _checked(said: str, n: int, size: int) -> float:
    succeeded, data = re.search(r"(\d+) succeeded", said), re.search(r"\((\d+)\) data", said)
    took = re.search(r"finished in ([\d.]+)(us|ms|s),", said)
    if not (succeeded and data and took) or (int(succeeded[1]), int(data[1])) != (n, n * size):
        raise RuntimeError(f"{n} answers of {size} bytes were due:\n{said}")
    return float(took[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[took[2]]


def ask(target: str, path: str, key: str, request: bytes) -> bytes:
    """One call by a real client; raises what is wrong with it."""
    with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        answer: bytes = channel.unary_unary(path)(
            request, timeout=10, metadata=(("authorization", f"Bearer {key}"),) if key else ()
        )
        return answer


def cases_of(plane: planes.BenchPlane, calls: int) -> list[Case]:
    """Get, List and Create on a plane, direct and through its edge; each tried first by a real client."""
    name, key, maker = plane.name, plane.key, plane.new_account()
    socket, everything = f"unix:{plane.sockets[0]}", plane.servers + plane.edge
    id = plane.ids[len(plane.ids) // 2]
    get, page, create = f"{SERVICE}/GetInstance", f"{SERVICE}/ListInstances", f"{SERVICE}/CreateInstance"
    one = pb.GetInstanceRequest(id=id).SerializeToString()
    fifty = pb.ListInstancesRequest(page_size=50).SerializeToString()
    wish = pb.CreateInstanceRequest(offer_id=planes.OFFER.id, name="made", labels={"team": "bench"})
    assert instance_pb2.Instance.FromString(ask(socket, get, key, one)).id == id
    assert len(pb.ListInstancesResponse.FromString(ask(socket, page, key, fifty)).instances) == 50
    assert operation_pb2.Operation.FromString(ask(socket, create, maker, wish.SerializeToString())).instance_id
    url = f"/gpuplane/v1/instances/{id}"
    create_load = generator(socket, create, maker, wish.SerializeToString(), id_field=1)
    return [
        Case(f"Get, {name}", "echo", h2load(socket, get, key, one), plane.servers, calls),
        Case(f"List(50), {name}", "echo", h2load(socket, page, key, fifty), plane.servers, calls // 2),
        Case(f"Create, {name}", "echo, Go client", create_load, plane.servers, calls // 4),
        Case(f"REST Get through Envoy, {name}", "echo", rest(plane.rest, url, key), everything, calls // 2),
        Case(f"gRPC Get through Envoy, {name}", "echo", h2load(plane.rest, get, key, one), everything, calls // 2),
    ]


@contextlib.contextmanager
def echoes(calls: int) -> Iterator[list[Case]]:
    """The ruler under both load generators."""
    socket = WORK / "ruler.sock"
    with running(python("bench.ruler", str(socket)), WORK / "ruler.log") as process:
        until(socket.exists, 20, "the ruler")
        time.sleep(0.5)
        pin([process.pid], [SERVER_CORE])
        request = pb.GetInstanceRequest(id="inst_0197f0c2b5a07d3c8a5e3a1b2c3d4e5f").SerializeToString()
        target, pids = f"unix:{socket}", [process.pid]
        assert ask(target, ruler.PATH, "", request) == request
        yield [
            Case("echo", "echo", h2load(target, ruler.PATH, "", request), pids, calls),
            Case("echo, Go client", "echo, Go client", generator(target, ruler.PATH, "", request), pids, calls),
        ]


def table(cases: list[Case]) -> list[dict[str, Any]]:
    """Medians, and ratios over the same round's base."""
    by_name = {case.name: case for case in cases}
    rows = []
    for case in cases:
        base = by_name[case.base]
        rates = [mine / theirs for mine, theirs in zip(case.rates, base.rates, strict=True)]
        cpus = [mine / theirs for mine, theirs in zip(case.cpus, base.cpus, strict=True)]
        rows.append({
            "case": case.name, "per_second": round(statistics.median(case.rates)),
            "cpu_us": round(statistics.median(case.cpus)), "rate": round(statistics.median(rates), 2),
            "rate_least": round(min(rates), 2), "rate_most": round(max(rates), 2),
            "cpu": round(statistics.median(cpus), 2), "cpu_least": round(min(cpus), 2), "cpu_most": round(max(cpus), 2),
        })  # fmt: skip
    return rows


def measure(rounds: int, calls: int) -> list[dict[str, Any]]:
    """All cases, on both stores, in one run."""
    WORK.mkdir(exist_ok=True)
    for old in WORK.glob("plane-*"):
        shutil.rmtree(old, ignore_errors=True)
    with contextlib.ExitStack() as stack:
        cases = stack.enter_context(echoes(calls))
        server = stack.enter_context(planes.postgres())
        urls = {
            "SQLite": f"sqlite:///{WORK / 'plane-SQLite' / 'gpuplane.db'}",
            "PostgreSQL": asyncio.run(planes.new_database(server, "bench_calls")),
        }
        for name, url in urls.items():
            plane = stack.enter_context(planes.plane(name, url, INSTANCES))
            pin(plane.servers, [SERVER_CORE])
            pin(plane.edge, [SERVER_CORE])
            cases += cases_of(plane, calls)
        for number in range(rounds):
            for case in random.sample(cases, len(cases)):
                case.measure()
            print(f"calls: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return table(cases)


def measure_processes(rounds: int, calls: int) -> list[dict[str, Any]]:
    """Get on PostgreSQL by one and by two server processes, nothing bound to a core: the load generator and the
    database share the same two cores, so the second process gains less than it could."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(planes.postgres())
        cases = []
        for count in (1, 2):
            name = f"processes-{count}"
            shutil.rmtree(WORK / f"plane-{name}", ignore_errors=True)
            url = asyncio.run(planes.new_database(server, f"bench_processes_{count}"))
            plane = stack.enter_context(planes.plane(name, url, 1000, "--processes", str(count)))
            one = pb.GetInstanceRequest(id=plane.ids[500]).SerializeToString()
            loads = [
                h2load(f"unix:{socket}", f"{SERVICE}/GetInstance", plane.key, one, cores="0,1", connections=8 // count)
                for socket in plane.sockets
            ]
            cases.append(
                Case(f"Get, {count} process(es)", "Get, 1 process(es)", _together(loads), plane.servers, calls)
            )
        for number in range(rounds):
            for case in random.sample(cases, len(cases)):
                case.measure()
            print(f"replicas: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return table(cases)


def _together(loads: list[Callable[[int], float]]) -> Callable[[int], float]:
    def run(n: int) -> float:
        with ThreadPoolExecutor(len(loads)) as pool:
            return max(pool.map(lambda load: load(n // len(loads)), loads))

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=6000)
    options = parser.parse_args()
    print(report.calls_table(measure(options.rounds, options.calls)))


if __name__ == "__main__":
    main()
