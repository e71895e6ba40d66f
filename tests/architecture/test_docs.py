"""What the documentation repeats from the code is compared with it here.

After a wanted change: `python -m tests.architecture.test_docs --write` puts the tables between their markers; read
the diff, and see whether the prose around them still holds.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from gpuplane.v1.error_reason_pb2 import ErrorReason

from controlplane.cli.server import up
from controlplane.domain.state import BILLABLE, LIVE, TRANSITIONS, State
from controlplane.settings import Settings

ROOT = Path(__file__).parents[2]
LIFE = ROOT / "docs" / "life-of-an-instance.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def transitions() -> str:
    """The table of domain/state.py, with what a state means for bills and quotas."""
    rows = [
        (
            f"`{state}`",
            ", ".join(f"`{to}`" for to in State if to in TRANSITIONS[state]) or "none: it is final",
            "yes" if state in BILLABLE else "no",
            "yes" if state in LIVE else "no",
        )
        for state in State
    ]
    return _table(("from", "to", "charged once it has run", "counts as active"), rows)


def settings() -> str:
    """Every field of Settings."""
    flags = {param.name: param.opts[0] for param in up.params}
    rows = [
        (
            f"`{name}`",
            f"`{flags[name]}`" if name in flags else "",
            f"`GPUPLANE_{name.upper()}`",
            _default(field.default),
            str(field.description),
        )
        for name, field in Settings.model_fields.items()
    ]
    return _table(("TOML key", "flag", "variable", "default", "meaning"), rows)


def _default(value: Any) -> str:
    if value is None or value == "" or value == ():
        return "none"
    if isinstance(value, bool):
        return f"`{value}`".lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{value}`"


GENERATED = {"transitions": (LIFE, transitions), "settings": (CONFIGURATION, settings)}


def _split(name: str, text: str) -> tuple[str, str, str]:
    """The page before, between and after the markers of a generated table."""
    found = re.fullmatch(rf"(.*<!-- {name}: begin[^\n]*-->\n)(.*?)(<!-- {name}: end -->.*)", text, re.DOTALL)
    assert found, f"the markers of {name!r} are gone"
    return found[1], found[2], found[3]


@pytest.mark.parametrize("name", GENERATED)
def test_table_is_that_of_the_code(name: str) -> None:
    page, render = GENERATED[name]
    _, shown, _ = _split(name, page.read_text())
    assert shown == render(), f"{page.name}: python -m tests.architecture.test_docs --write"


def test_every_error_reason_is_explained() -> None:
    """Somebody who meets a reason finds it in the page on errors."""
    text = LIFE.read_text()
    reasons = [name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()]  # noqa: SIM118
    assert [reason for reason in reasons if reason != "UNSPECIFIED" and f"`{reason}`" not in text] == []


def _prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get where it is shown."""
    headings = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" not in link and (not target.exists() or (anchor and anchor not in _anchors(target))):
            dead.append(link)
    assert dead == []


def _write() -> None:
    for name, (page, render) in GENERATED.items():
        before, _, after = _split(name, page.read_text())
        page.write_text(before + render() + after)


if __name__ == "__main__":
    if "--write" not in sys.argv:
        sys.exit(__doc__)
    _write()
