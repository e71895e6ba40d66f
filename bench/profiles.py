"""Where the microseconds of a call go: py-spy's samples of a loaded server, by layer, scaled to its CPU per request.

python -m bench.profiles       # needs bench/requirements.txt in .bench/venv: `make bench` sees to it
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import re
import shutil
import subprocess
import threading
import time
from typing import Any

from bench import calls, planes, report
from bench.processes import SERVER_CORE, WORK, pin

SECONDS = 6
CASES = ("Get", "List", "Create")

# The innermost frame that one of these knows names the layer; what no frame names is gRPC and the event loop.
LAYERS = (
    (re.compile(r"controlplane/adapters/store/(codec|statements)"), "rows to records and back"),
    (re.compile(r"controlplane/adapters/store/batch"), "deciding the batch, events"),
    (re.compile(r"controlplane/adapters/store/|sqlite3"), "SQL: statements, commit, driver"),
    (re.compile(r"asyncpg/"), "SQL: statements, commit, driver"),
    (re.compile(r"controlplane/wire/"), "messages"),
    (re.compile(r"controlplane/(usecases|domain|ports)/"), "use-cases and domain"),
    (re.compile(r"controlplane/api/canonical/"), "servicer"),
    (re.compile(r"controlplane/(api|metrics|logs)|prometheus_client"), "pipeline: auth, limits, metrics"),
    (re.compile(r"^DESCRIPTOR|dataclasses\.py|json/"), ""),  # helpers: their caller's layer
)
REST = "gRPC core and event loop"


def layer(stack: list[str]) -> str:
    """The layer a sample belongs to."""
    for frame in reversed(stack):
        for known, name in LAYERS:
            if known.search(frame):
                if name:
                    return name
                break
    return REST


def profile(case: calls.Case) -> dict[str, Any]:
    """One loaded case: microseconds by layer."""
    case.measure()
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            case.load(case.calls // 4)

    loading = threading.Thread(target=load)
    loading.start()
    time.sleep(0.5)
    file = WORK / "profile.raw"
    spy = [str(WORK / "venv/bin/py-spy"), "record", "-r", "500", "-d", str(SECONDS), "-f", "raw"]
    subprocess.run([*spy, "-o", str(file), "-p", str(case.pids[0])], check=True, capture_output=True)
    stop.set()
    loading.join()
    counts: collections.Counter[str] = collections.Counter()
    for line in file.read_text().splitlines():
        stack, _, samples = line.rpartition(" ")
        counts[layer(stack.split(";"))] += int(samples)
    total, cpu = sum(counts.values()), case.cpus[-1]
    layers = {name: round(n / total * cpu, 1) for name, n in counts.most_common()}
    return {"case": case.name, "cpu_us": round(cpu), "layers": layers}


def measure() -> list[dict[str, Any]]:
    """The direct cases on both stores."""
    for old in WORK.glob("plane-profile-*"):
        shutil.rmtree(old, ignore_errors=True)
    rows = []
    with planes.postgres() as server:
        urls = {
            "SQLite": f"sqlite:///{WORK / 'plane-profile-SQLite' / 'gpuplane.db'}",
            "PostgreSQL": asyncio.run(planes.new_database(server, "bench_profiles")),
        }
        for name, url in urls.items():
            with contextlib.ExitStack() as stack:
                plane = stack.enter_context(planes.plane(f"profile-{name}", url, calls.INSTANCES))
                plane.name = name
                pin(plane.servers, [SERVER_CORE])
                rows += [profile(case) for case in calls.cases_of(plane, 6000) if case.name.startswith(CASES)]
    return rows


if __name__ == "__main__":
    print(report.profiles_table(measure()))
