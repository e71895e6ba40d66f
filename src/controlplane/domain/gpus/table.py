"""The GPUs we know, as data.

One row per thing that is rented under its own price: a form factor or a memory size makes another row.
Two rules hold the table together:

* A model sold in several memory sizes says the size in the name of every one ("A100 PCIe 40GB").
* Of rows that share a spelling ("A100", "RTX 3060"), the first is the one rented most, and so the default.

Memory is the marketing size of one GPU: a board of several (K80, M60, A16) counts once per GPU, since that
is how marketplaces rent it. Tier is our own judgement of what a renter gets today, not of what the card
once was.
"""

from __future__ import annotations

from controlplane.domain.gpus.amd_intel import AMD_INTEL
from controlplane.domain.gpus.model import Gpu, gpus_of
from controlplane.domain.gpus.nvidia import NVIDIA

GPUS: tuple[Gpu, ...] = tuple(gpu for series in (*NVIDIA, *AMD_INTEL) for gpu in gpus_of(series))

_PRO_6000 = ("RTX PRO 6000 Server", "RTX PRO 6000 Workstation", "RTX PRO 6000 Max-Q")

# Spellings in use for more than one card: (spelling, what it may mean, may the first be assumed?).
# Editions of one card have a default; different cards have none, so that only their memory can tell.
# fmt: off
SHARED: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("RTX PRO 6000",           _PRO_6000, True),
    ("PRO 6000",               _PRO_6000, True),
    ("RTX 6000 PRO",           _PRO_6000, True),
    ("RTX PRO 6000 Blackwell", _PRO_6000, True),
    ("RTX 6000",               ("Quadro RTX 6000", "RTX 6000 Ada", "RTX PRO 6000 Server"), False),
    ("RTX 5000",               ("Quadro RTX 5000", "RTX 5000 Ada"), False),
    ("RTX 4000",               ("Quadro RTX 4000", "RTX 4000 Ada"), False),
    ("Titan X",                ("GTX Titan X", "Titan X Pascal"), False),
)
# fmt: on
