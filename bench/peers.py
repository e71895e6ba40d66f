"""dstack's server beside ours on the same work: CPU per request of get, list(100) and a durable create.

python -m bench.peers --rounds 3       # installs dstack[server] into .bench/dstack at the first run

Both serve JSON over HTTP/1.1 on SQLite; ours with Envoy, whose CPU counts. dstack's twin of a get is a fleet's get,
of a create a fleet template's (reference/peers.md section 7).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

from bench import planes, report
from bench.processes import WORK, cpu_s, running, tree, until

TOKEN = "bench-admin-token"
PORT = 31007
CLIENTS = 4
Request = Callable[[int], tuple[str, str, Any]]  # number -> method, path, body
_numbers = itertools.count()


@contextlib.contextmanager
def dstack() -> Iterator[list[int]]:
    """dstack's server on an empty SQLite database; its pids."""
    venv, home = WORK / "dstack", WORK / "dstack-home"
    if not (venv / "bin/dstack").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin/pip"), "install", "-q", "dstack[server]"], check=True)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    argv = [str(venv / "bin/dstack"), "server", "--host", "127.0.0.1", "--port", str(PORT), "--token", TOKEN, "-y"]
    environment = {
        "HOME": str(home), "DSTACK_SERVER_DIR": str(home / "server"), "DSTACK_DEFAULT_CREDS_DISABLED": "1",
    }  # fmt: skip
    with running(argv, WORK / "dstack.log", **environment) as process:
        until(_healthy, 90, "dstack")
        yield tree(process.pid)


def _healthy() -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthcheck").status == 200
    except OSError:
        return False


def _send(address: str, key: str, request: Request, count: int) -> None:
    """One client: requests in turn on one connection; every answer must be a success."""
    connection = HTTPConnection(address, timeout=60)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    for _ in range(count):
        method, path, body = request(next(_numbers))
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {answer[:300]!r}")
    connection.close()


def _cpu_ms(address: str, key: str, pids: list[int], request: Request, count: int) -> float:
    """CPU per request, less what the server spends when nobody asks."""
    idle_from, idle_began = cpu_s(pids), time.monotonic()
    time.sleep(2)
    idle = (cpu_s(pids) - idle_from) / (time.monotonic() - idle_began)
    before, began = cpu_s(pids), time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(_send, address, key, request, count // CLIENTS) for _ in range(CLIENTS)]:
            done.result()
    spent = cpu_s(pids) - before - idle * (time.monotonic() - began)
    return spent / (count // CLIENTS * CLIENTS) * 1000


def _fleet(number: int) -> dict[str, Any]:
    configuration = {"type": "fleet", "name": f"f{number}", "nodes": "0..2"}
    spec = {"configuration": configuration, "profile": {"name": "d"}}
    return {"plan": {"spec": spec}, "force": False}


def measure(rounds: int) -> list[dict[str, Any]]:
    """Three calls on both servers in turn; medians."""
    shutil.rmtree(WORK / "plane-peers", ignore_errors=True)
    url = f"sqlite:///{WORK / 'plane-peers' / 'gpuplane.db'}"
    with dstack() as theirs, planes.plane("peers", url, 1000) as plane:
        maker, ours = plane.new_account(), plane.servers + plane.edge
        dstack_at, instances = f"127.0.0.1:{PORT}", "/gpuplane/v1/instances"
        one, wish = f"{instances}/{plane.ids[500]}", {"offerId": planes.OFFER.id, "name": "made"}
        fleets = "/api/project/main/fleets"
        # A hundred fleets, so that its list has as many entries as ours.
        _send(dstack_at, TOKEN, lambda n: ("POST", f"{fleets}/apply", _fleet(n)), 100)
        known = f"f{next(_numbers) - 1}"
        listed: Request = lambda n: ("POST", "/api/fleets/list", {"limit": 100})  # noqa: E731
        pairs: dict[str, tuple[tuple[Request, int], tuple[str, Request, int]]] = {
            "get": (
                (lambda n: ("POST", f"{fleets}/get", {"name": known}), 200),
                (plane.key, lambda n: ("GET", one, None), 4000),
            ),
            "list(100)": ((listed, 100), (plane.key, lambda n: ("GET", f"{instances}?pageSize=100", None), 800)),
            "create": (
                (lambda n: ("POST", f"{fleets}/apply", _fleet(n)), 100),
                (maker, lambda n: ("POST", instances, wish | {"requestId": f"r{n}-{os.getpid()}"}), 2000),
            ),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in pairs}
        for number in range(rounds):
            for name, ((their_request, their_count), (key, request, count)) in pairs.items():
                them = _cpu_ms(dstack_at, TOKEN, theirs, their_request, their_count)
                us = _cpu_ms(plane.rest, key, ours, request, count)
                taken[name].append((us, them))
            print(f"peers: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return [
        {
            "call": name,
            "ours_ms": round(statistics.median(us for us, _ in pairs_), 3),
            "dstack_ms": round(statistics.median(them for _, them in pairs_), 2),
            "ratio": round(statistics.median(us / them for us, them in pairs_), 3),
        }
        for name, pairs_ in taken.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    print(report.peers_table(measure(parser.parse_args().rounds)))


if __name__ == "__main__":
    main()
