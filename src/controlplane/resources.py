"""Files that are read, not imported: inside the package in a wheel, at the repository's root in a clone."""

from __future__ import annotations

from pathlib import Path

_PACKAGED = Path(__file__).parent / "_data"
_CLONE = Path(__file__).parents[2]


def _find(name: str, folder: str) -> Path:
    packaged = _PACKAGED / name
    return packaged if packaged.exists() else _CLONE / folder / name


ENVOY_TEMPLATE = _find("envoy.yaml.j2", "envoy")
ENVOY_SHIM = _find("shim.lua", "envoy")
DESCRIPTORS = _find("gpuplane.binpb", "gen")
