"""Results as text tables, JSON, a chart and docs/performance.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bench.processes import ROOT


def calls_table(rows: list[dict[str, Any]]) -> str:
    """The unary calls."""
    lines = ["| call | rate over echo | CPU over echo | CPU us | calls/s |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['case']} | {r['rate']:.2f} [{r['rate_least']:.2f}-{r['rate_most']:.2f}] | {r['cpu']:.2f} "
        f"| {r['cpu_us']} | {r['per_second']} |"
        for r in rows
    ]
    return "\n".join(lines)


def operations_table(rows: list[dict[str, Any]]) -> str:
    """The durable operations."""
    lines = [
        "| store | operations/s, 128 in flight | CPU ms/operation | accept p50 ms | overhead p50 / p99 ms, 10/s |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['store']} | {r['ops_per_s']:.0f} | {r['cpu_ms']:.2f} | {r['accept_p50']:.1f} "
        f"| {r['overhead_p50']:.1f} / {r['overhead_p99']:.1f} |"
        for r in rows
    ]
    return "\n".join(lines)


def watches_table(rows: list[dict[str, Any]]) -> str:
    """The watch streams."""
    lines = [
        "| streams | server | p50 / p99 ms | over etcd p50 / p99 | the write alone p50 ms | server CPU s | missed |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        over = f"{r['p50_over_etcd']:.2f} / {r['p99_over_etcd']:.2f}" if r["p50_over_etcd"] else "-"
        lines.append(
            f"| {r['case']} {r['streams']} | {r['server']} | {r['p50']:.1f} / {r['p99']:.1f} | {over} "
            f"| {r['write_p50']:.1f} | {r['cpu_s']:.1f} | {r['missed']:.0f} |"
        )
    return "\n".join(lines)


def profiles_table(rows: list[dict[str, Any]]) -> str:
    """Where the time goes."""
    names = list(dict.fromkeys(name for row in rows for name in row["layers"]))
    lines = [f"| us of CPU | {' | '.join(r['case'] for r in rows)} |", "|---" * (len(rows) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(_us(r, name) for r in rows)} |" for name in names]
    return "\n".join([*lines, f"| **all** | {' | '.join(_all(r) for r in rows)} |"])


def _us(row: dict[str, Any], name: str) -> str:
    return f"{row['layers'].get(name, 0):.0f}"


def _all(row: dict[str, Any]) -> str:
    return f"**{row['cpu_us']}**"


def peers_table(rows: list[dict[str, Any]]) -> str:
    """dstack beside ours."""
    lines = ["| call | ours, with Envoy: CPU ms | dstack: CPU ms | ours over dstack |", "|---|---|---|---|"]
    lines += [f"| {r['call']} | {r['ours_ms']:.2f} | {r['dstack_ms']:.1f} | {r['ratio']:.3f} |" for r in rows]
    return "\n".join(lines)


def inventory_table(rows: list[dict[str, Any]]) -> str:
    """The offer book."""
    lines = ["| call, 100,000 offers in the book | CPU us | CPU over Get | calls/s |", "|---|---|---|---|"]
    lines += [f"| {r['case']} | {r['cpu_us']} | {r['cpu']:.2f} | {r['per_second']} |" for r in rows]
    return "\n".join(lines)


def shopper_table(rows: list[dict[str, Any]]) -> str:
    """The shopper's inventory."""
    lines = ["| call, 10,000 offers in the book | CPU us | CPU over ListOffers | calls/s |", "|---|---|---|---|"]
    lines += [
        f"| {r['case']} | {r['cpu_us']} | {r['cpu']:.2f} [{r['cpu_least']:.2f}-{r['cpu_most']:.2f}] "
        f"| {r['per_second']} |"
        for r in rows
    ]
    return "\n".join(lines)


TABLES: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "calls": calls_table,
    "replicas": calls_table,
    "operations": operations_table,
    "watches": watches_table,
    "profiles": profiles_table,
    "inventory": inventory_table,
    "shopper": shopper_table,
    "peers": peers_table,
}


def write_page(figures: dict[str, Any]) -> None:
    """Put the tables into docs/performance.md, between its marks; the words around them stay."""
    page = (ROOT / "docs/performance.md").read_text()
    for part, measured in figures.items():
        table = TABLES[part](measured["rows"])
        block = f"<!-- {part} -->\n{table}\n\n{measured['date']}, {measured['rounds']} rounds, {measured['machine']}.\n"
        page = re.sub(rf"<!-- {part} -->\n.*?(?=<!-- end -->)", lambda _: block, page, flags=re.DOTALL)  # noqa: B023
    (ROOT / "docs/performance.md").write_text(page)
