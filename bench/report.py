"""Results as text tables, JSON, a chart and docs/performance.md."""

from __future__ import annotations

from typing import Any


def calls_table(rows: list[dict[str, Any]]) -> str:
    """The unary calls."""
    lines = ["| call | rate over echo | CPU over echo | CPU us | calls/s |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['case']} | {r['rate']:.2f} [{r['rate_least']:.2f}-{r['rate_most']:.2f}] | {r['cpu']:.2f} "
        f"| {r['cpu_us']} | {r['per_second']} |"
        for r in rows
    ]
    return "\n".join(lines)
