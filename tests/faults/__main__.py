"""`python -m tests.faults virtual --rentals 5000` or `real --rentals 300`; 0 when all promises held."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.faults import real, virtual
from tests.faults.history import History


def main() -> int:
    """Read the order, run it, say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Rent on marketplaces that misbehave.")
    forms = parser.add_subparsers(dest="form", required=True)
    simulated = forms.add_parser("virtual", help="in virtual time, in this process")
    simulated.add_argument("--rentals", type=int, default=5000, help="machines to be rented (default 5000)")
    simulated.add_argument("--seed", type=int, default=0, help="the first seed (default 0)")
    simulated.add_argument("--one", action="store_true", help="play that one seed and print all that happens")
    processes = forms.add_parser("real", help="real processes, HTTP and SSH")
    processes.add_argument("--rentals", type=int, default=300, help="machines to be rented (default 300)")
    processes.add_argument("--over", type=float, default=500.0, help="seconds in which callers come (default 500)")
    processes.add_argument("--seed", type=int, default=0)
    processes.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    processes.add_argument("--processes", type=int, help="server processes; default: 1 on SQLite, 2 on PostgreSQL")
    processes.add_argument(
        "--log", type=Path, help="where the plane's log is to be kept, and beside it what was judged"
    )
    args = parser.parse_args()
    if args.form == "real":
        return _real(args)
    return _one(args.seed) if args.one else _virtual(args)


def _virtual(args: argparse.Namespace) -> int:
    verdict = virtual.run(args.rentals, args.seed)
    for story in verdict.broken[:5]:
        print(f"seed {story.seed}:", *story.broken[:20], sep="\n  ")
        print(f"repeat: python -m tests.faults virtual --one --seed {story.seed}\n")
    print(verdict)
    return 1 if verdict.broken or verdict.never_struck else 0


def _one(seed: int) -> int:
    story = History(seed, virtual.CALLERS).run()
    print(*story.lines, sep="\n")
    print(f"seed {seed}, trace {story.trace}:", *story.broken, sep="\n  ")
    return 1 if story.broken else 0


def _real(args: argparse.Namespace) -> int:
    count = args.processes or (1 if args.database == "sqlite" else 2)
    callers = args.rentals * 3 // 2  # some get no machine
    order = real.Order(callers, args.rentals, args.over, seed=args.seed, database=args.database, processes=count)
    verdict = real.run(order, args.log)
    print(verdict, flush=True)
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())
