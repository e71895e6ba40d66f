"""Watch: from the start of a write to the client's hands, ours beside etcd, timed by the same Go program.

python -m bench.watches --rounds 3

Targeted: every stream watches an instance of its own; 100 writes a second hit instances at random. All: every stream
gets every event. Writes go through each server's own API (UpdateInstance, Put), so a durable commit is part of it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import statistics
import sys
from collections.abc import Iterator
from typing import Any

from bench import planes, report
from bench.processes import WORK, cpu_s, loadgen, running, until

STREAMS = (100, 1000, 5000)
TARGETED = {"rate": "100", "events": "600"}
ALL = {100: {"rate": "20", "events": "100"}, 1000: {"rate": "2", "events": "14"}, 5000: {"rate": "0.5", "events": "5"}}
ETCD = "127.0.0.1:23790"


@contextlib.contextmanager
def etcd() -> Iterator[int | None]:
    """A single etcd with its defaults (fsync on); its pid, or None where it is not installed."""
    program = shutil.which("etcd")
    if program is None:
        yield None
        return
    data, log = WORK / "etcd", WORK / "etcd.log"
    shutil.rmtree(data, ignore_errors=True)
    url = f"http://{ETCD}"
    argv = [program, "--data-dir", str(data), "--listen-client-urls", url, "--advertise-client-urls", url]
    with running([*argv, "--listen-peer-urls", "http://127.0.0.1:23800"], log) as process:
        until(lambda: b"ready to serve client requests" in log.read_bytes(), 20, "etcd")
        yield process.pid


def _round(kind: str, target: str, key: str, pids: list[int], streams: int, everything: bool) -> dict[str, Any]:
    before = cpu_s(pids)
    load = ALL[streams] if everything else TARGETED
    said: Any = loadgen(
        "watch", "-kind", kind, "-target", target, "-key", key, "-conns", "20", "-ids", str(WORK / "watch.ids"),
        "-streams", str(streams), "-rate", load["rate"], "-events", load["events"], f"-all={everything}",
        cores=(0, 1),
    )  # fmt: skip
    missed = said["expected"] - said["delivered"]["count"]
    if missed:
        print(f"watches: {kind}, {streams} streams: {missed} of {said['expected']} not delivered", file=sys.stderr)
    return {key: said["delivered"][key] for key in ("p50", "p99")} | {
        "write_p50": said["writes"]["p50"],
        "open_s": said["open_s"],
        "missed": missed,
        "cpu_s": round(cpu_s(pids) - before, 2),
    }


def measure(rounds: int) -> list[dict[str, Any]]:
    """All sizes, the servers in turn; medians."""
    for old in WORK.glob("plane-watch-*"):
        shutil.rmtree(old, ignore_errors=True)
    taken: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(planes.postgres())
        urls = {
            "SQLite": f"sqlite:///{WORK / 'plane-watch-SQLite' / 'gpuplane.db'}",
            "PostgreSQL": asyncio.run(planes.new_database(database, "bench_watches")),
        }
        servers: dict[str, tuple[str, str, str, list[int], list[str]]] = {}
        for name, url in urls.items():
            plane = stack.enter_context(planes.plane(f"watch-{name}", url, max(STREAMS)))
            servers[name] = ("ours", f"unix:{plane.sockets[0]}", plane.key, plane.servers, plane.ids)
        pid = stack.enter_context(etcd())
        if pid is not None:
            servers["etcd"] = ("etcd", ETCD, "", [pid], servers["SQLite"][4])
        for number in range(rounds):
            for streams in STREAMS:
                for everything in (False, True):
                    for name, (kind, target, key, pids, ids) in servers.items():
                        (WORK / "watch.ids").write_text("\n".join(ids))
                        measured = _round(kind, target, key, pids, streams, everything)
                        taken.setdefault(("all" if everything else "targeted", streams, name), []).append(measured)
            print(f"watches: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    rows = [
        {"case": case, "streams": streams, "server": name}
        | {key: round(statistics.median(one[key] for one in measured), 2) for key in measured[0]}
        for (case, streams, name), measured in taken.items()
    ]
    base = {(row["case"], row["streams"]): row for row in rows if row["server"] == "etcd"}
    for row in rows:
        etcds = base.get((row["case"], row["streams"]))
        row["p50_over_etcd"] = round(row["p50"] / etcds["p50"], 2) if etcds else None
        row["p99_over_etcd"] = round(row["p99"] / etcds["p99"], 2) if etcds else None
    return sorted(rows, key=lambda row: (row["case"] != "targeted", row["streams"], row["server"]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    print(report.watches_table(measure(parser.parse_args().rounds)))


if __name__ == "__main__":
    main()
