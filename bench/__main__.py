"""`make bench`: everything in one run, printed, and written to docs/performance.{md,json,png}.

python -m bench                     # calls, replicas, operations, watches, inventory, shopper, profiles; then the page
python -m bench calls operations    # some of them; the others keep their last figures
python -m bench peers               # dstack beside ours
python -m bench page                # the page again, from the figures
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
from collections.abc import Callable
from typing import Any

from bench import calls, inventory, operations, peers, processes, profiles, report, shopper, watches

PARTS: dict[str, Callable[[int], list[dict[str, Any]]]] = {
    "calls": lambda rounds: calls.measure(rounds, 6000),
    "replicas": lambda rounds: calls.measure_processes(rounds, 6000),
    "operations": operations.measure,
    "watches": watches.measure,
    "inventory": inventory.measure,
    "shopper": shopper.measure,
    "profiles": lambda rounds: profiles.measure(),
    "peers": peers.measure,
}
FIGURES = processes.ROOT / "docs/performance.json"


def machine() -> str:
    """What it ran on, in a line."""
    model = subprocess.check_output("grep -m1 'model name' /proc/cpuinfo | cut -d: -f2", shell=True, text=True)
    cores = subprocess.check_output(["nproc"], text=True).strip()
    return f"{cores} shared cores ({model.strip()}), Python {platform.python_version()}, {platform.platform()}"


def main() -> None:
    """Run parts and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"among {', '.join(PARTS)}, page")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if unknown := set(options.parts) - {*PARTS, "page"}:
        parser.error(f"there is no part {min(unknown)!r}")
    figures: dict[str, Any] = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    for part in options.parts or [name for name in PARTS if name != "peers"]:
        if part == "page":
            continue
        rows = PARTS[part](options.rounds)
        date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        figures[part] = {"date": date, "machine": machine(), "rounds": options.rounds, "rows": rows}
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
        print(f"\n{report.TABLES[part](rows)}\n", flush=True)
    report.write_page(figures)
    processes.chart()


if __name__ == "__main__":
    main()
