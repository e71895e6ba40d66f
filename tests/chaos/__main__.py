"""`python -m tests.chaos --kills 50 --database postgresql --processes 2`: one line; 0 when all promises held."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.chaos.campaign import Order, run


def main() -> int:
    """Read the order, run it, say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Kill and freeze a plane under load.")
    parser.add_argument("--kills", type=int, default=0, help="kill -9 of a random process, that many times")
    parser.add_argument("--stops", type=int, default=0, help="SIGSTOP past the lease, that many times")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--processes", type=int, help="server processes; default: 1 on SQLite, 2 on PostgreSQL")
    parser.add_argument("--rate", type=float, default=15.0, help="operations per second")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--log", type=Path, help="where the plane's log is to be kept")
    args = parser.parse_args()
    processes = args.processes or (1 if args.database == "sqlite" else 2)
    print(f"seed {args.seed}", flush=True)
    verdict = run(Order(args.database, processes, args.kills, args.stops, args.seed, args.rate), args.log)
    print(verdict, flush=True)
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())
