"""docs/performance.png, drawn from docs/performance.json; runs in .bench/venv, which has matplotlib."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

DOCS = Path(__file__).resolve().parent.parent / "docs"
OURS = "#3b6ea5"


def _bars(axes: Any, names: list[str], values: list[float], title: str, colours: list[str] | None = None) -> None:
    axes.barh(names, values, color=colours or OURS)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    for index, value in enumerate(values):
        axes.text(value, index, f" {value:g}", va="center", fontsize=8)


def main() -> None:
    """Draw what was measured."""
    figures = json.loads((DOCS / "performance.json").read_text())
    panels = [name for name in ("calls", "watches", "operations", "peers") if name in figures]
    figure, grid = plt.subplots(1, len(panels), figsize=(6 * len(panels), 5), squeeze=False, layout="constrained")
    for axes, panel in zip(grid[0], panels, strict=True):
        rows = figures[panel]["rows"]
        if panel == "calls":
            _bars(axes, [r["case"] for r in rows], [r["cpu"] for r in rows], "CPU per call over a bare grpc.aio echo")
        elif panel == "watches":
            some = [r for r in rows if r["case"] == "targeted"]
            names = [f"{r['streams']} streams, {r['server']}" for r in some]
            colours = ["#999999" if r["server"] == "etcd" else OURS for r in some]
            _bars(axes, names, [r["p50"] for r in some], "Write to client, p50 ms, 100 writes/s", colours)
        elif panel == "operations":
            _bars(
                axes, [r["store"] for r in rows], [r["ops_per_s"] for r in rows], "Durable operations/s, 128 in flight"
            )
        else:
            _bars(axes, [r["call"] for r in rows], [r["ratio"] for r in rows], "CPU per call over dstack's")
    figure.savefig(DOCS / "performance.png", dpi=110)


if __name__ == "__main__":
    main()
