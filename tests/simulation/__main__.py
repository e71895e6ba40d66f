"""`python -m tests.simulation --seeds N --from S`: play histories; a broken one prints itself and how to repeat it."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from os import cpu_count

from tests.simulation.run import History, Simulation


def play(seed: int, sqlite: bool = False) -> History:
    """One history; only a broken one keeps its lines."""
    history = Simulation(seed, sqlite=sqlite).run()
    if not history.broken:
        history.lines = []
    return history


def main() -> int:
    """Play and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many histories (default 500)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed (default 0)")
    parser.add_argument("--sqlite", action="store_true", help="on a real SQLite file instead of memory (slower)")
    parser.add_argument("--verbose", action="store_true", help="print the history even if nothing is broken")
    args = parser.parse_args()
    began = time.monotonic()
    if args.seeds == 1:
        histories = [Simulation(args.first, sqlite=args.sqlite).run()]
    else:
        with ProcessPoolExecutor(cpu_count()) as pool:
            histories = list(
                pool.map(partial(play, sqlite=args.sqlite), range(args.first, args.first + args.seeds), chunksize=5)
            )
    broken = [history for history in histories if history.broken]
    for history in broken[:3] or (histories if args.verbose else []):
        print("\n".join(history.lines[-400:]))
        print(f"seed {history.seed}:", *history.broken[:20], sep="\n  ")
        print(
            f"repeat: python -m tests.simulation --seeds 1 --from {history.seed}{' --sqlite' if args.sqlite else ''}\n"
        )
    points = set().union(*(history.crash_points for history in histories))
    print(
        f"{len(histories)} histories, {len(broken)} broken, {sum(h.operations for h in histories)} operations, "
        f"{sum(h.machines for h in histories)} machines, {sum(h.kills for h in histories)} kills at "
        f"{len(points)} distinct crash points, {sum(h.frozen for h in histories)} freezes, "
        f"{time.monotonic() - began:.1f} s"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
