"""What docs/providers.md and docs/simulators.md repeat from the code is compared with it here.

After a wanted change: `python -m tests.architecture.test_provider_docs --write` puts the table between its markers;
read the diff, and see whether the prose around it still holds.
"""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from pathlib import Path

from controlplane.adapters.providers.ionet import IonetProvider
from controlplane.adapters.providers.local import LocalProvider
from controlplane.adapters.providers.tensordock import TensordockProvider
from controlplane.adapters.providers.vastai import VastaiProvider
from controlplane.bootstrap.providers import MARKETPLACES
from controlplane.ports.provider import Capabilities
from controlplane.settings import Settings
from controlplane.simulators import catalogue
from controlplane.simulators.faults import Faults

ROOT = Path(__file__).parents[2]
PROVIDERS = ROOT / "docs" / "providers.md"
SIMULATORS = ROOT / "docs" / "simulators.md"
MARKERS = re.compile(r"(<!-- capabilities: begin[^\n]*-->\n)(.*?)(<!-- capabilities: end -->)", re.DOTALL)

SHOWN = {
    "spot": "machines that it may take back",
    "templates": "templates",
    "logs": "machines' logs",
    "utilisation": "tells how busy a machine is (`idle_timeout`)",
    "stop": "stops machines and keeps their disks (`preserve_disk`)",
    "add_keys": "lets further keys into a running machine",
    "extend": "paid in advance, and extended",
    "destroy_is_end": "a destroy that arrives ends the bill",
    "start_deadline_s": "time for a machine to become usable, s",
    "key_install_s": "for how long keys may be refused after SSH answers, s",
    "launch_timeout_s": "longest create, s",
    "call_timeout_s": "longest other call, s",
    "listing_delay_s": "how late a machine may appear in the list, s",
    "late_create_s": "how late a cut create may take effect, s",
    "transition_poll_s": "looks while it comes up or goes, every s",
    "steady_poll_s": "looks while it runs, every s",
    "offers_pause_s": "least time between two looks at its offers, s",
    "rest_s": "rest of an offer that could not be had, s",
    "concurrency": "creates and destroys at once",
}
UNSHOWN = {
    "jupyter",  # found out by the local provider when it starts
}


def capabilities() -> str:
    """One column for each provider."""
    providers = (VastaiProvider, TensordockProvider, IonetProvider, LocalProvider)
    lines = [("", *(f"`{provider.name}`" for provider in providers)), ("---",) * (len(providers) + 1)]
    for name, meaning in SHOWN.items():
        lines.append((meaning, *(_cell(getattr(provider.capabilities, name)) for provider in providers)))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: float | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "-"
    return f"{value:g}"


def test_table_is_that_of_the_adapters() -> None:
    found = MARKERS.search(PROVIDERS.read_text())
    assert found is not None, "the markers are gone"
    assert found[2] == capabilities(), "python -m tests.architecture.test_provider_docs --write"


def test_every_capability_is_shown_or_left_out_on_purpose() -> None:
    assert {field.name for field in fields(Capabilities)} == SHOWN.keys() | UNSHOWN


def test_every_marketplace_has_its_settings_and_a_simulator() -> None:
    text = PROVIDERS.read_text()
    wanted = {name for name in Settings.model_fields if name.split("_")[0] in MARKETPLACES}
    assert {name for name in wanted if f"`{name}`" not in text} == set()
    assert set(MARKETPLACES) == set(catalogue.NAMES)


def test_every_switch_of_the_simulators_is_explained() -> None:
    text = SIMULATORS.read_text()
    assert [field.name for field in fields(Faults) if f"`{field.name}`" not in text] == []


def _write() -> None:
    PROVIDERS.write_text(MARKERS.sub(lambda found: found[1] + capabilities() + found[3], PROVIDERS.read_text()))


if __name__ == "__main__":
    if "--write" not in sys.argv:
        sys.exit(__doc__)
    _write()
