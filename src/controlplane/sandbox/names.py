"""Names and numbers that are computed from a machine's label, so that they can be found again without any
record.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?")
# Between the ranges that systemd-nspawn and the like hand out, and within 31 bits.
_FIRST_UID, _UID_COUNT = 0x70000000, 0x0FFFFFFF


def is_label(text: str) -> bool:
    """Whether a text may name a machine: it becomes a folder, a host name and an argument."""
    return _LABEL.fullmatch(text) is not None


def plane_tag(root: Path) -> str:
    """Short stand-in for a state folder: tells the machines of two planes on one host apart."""
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]


def machine_uid(tag: str, label: str) -> int:
    """The unprivileged user a machine runs as when we are root; otherwise it runs as ourselves."""
    if os.geteuid() != 0:
        return os.geteuid()
    digest = hashlib.sha256(f"{tag}/{label}".encode()).digest()
    return _FIRST_UID + int.from_bytes(digest[:4], "big") % _UID_COUNT


def group_name(tag: str, label: str) -> str:
    """The machine's control group."""
    return f"{tag}.{label}"
