"""The rows of AMD and Intel; the table's rules are in `table.py`."""

from __future__ import annotations

from controlplane.domain.gpus.model import HIGH, LOW, MID, Series

_RADEON = ("Radeon", "AMD Radeon", "AMD")
_INSTINCT = ("Instinct", "AMD Instinct", "AMD")
_INTEL = ("Intel",)

# fmt: off
AMD_INTEL: tuple[Series, ...] = (
    # ---- AMD ----------------------------------------------------------------------------------------------
    Series("AMD", "CDNA 4", None, "data-center", "oam", _INSTINCT, (
        ("MI355X",           288, HIGH, ""),
        ("MI350X",           288, HIGH, ""),
    )),
    Series("AMD", "CDNA 3", None, "data-center", "oam", _INSTINCT, (
        ("MI325X",           256, HIGH, ""),
        ("MI300X",           192, HIGH, "AMD Instinct MI300X OAM, AMD Instinct MI300X VF, mi300x-192"),
    )),
    Series("AMD", "CDNA 3", None, "data-center", "", _INSTINCT, (
        ("MI300A",           128, HIGH, ""),
    )),
    Series("AMD", "CDNA 2", None, "data-center", "oam", _INSTINCT, (
        ("MI250X",           128, HIGH, ""),
        ("MI250",            128, HIGH, ""),
    )),
    Series("AMD", "CDNA 2", None, "data-center", "pcie", _INSTINCT, (
        ("MI210",             64, HIGH, ""),
    )),
    Series("AMD", "CDNA 1", None, "data-center", "pcie", _INSTINCT, (
        ("MI100",             32, MID,  ""),
    )),
    Series("AMD", "GCN 5", None, "data-center", "pcie", (*_INSTINCT, "Radeon Instinct"), (
        ("MI60",              32, LOW,  ""),
        ("MI50 16GB",         16, LOW,  "MI50, AMD Instinct MI50"),
        ("MI50 32GB",         32, LOW,  ""),
        ("MI25",              16, LOW,  ""),
    )),
    Series("AMD", "RDNA 4", None, "workstation", "pcie", _RADEON, (
        ("Radeon AI PRO R9700", 32, HIGH, "R9700, AI PRO R9700, AMD Radeon AI PRO R9700"),
    )),
    Series("AMD", "RDNA 3", None, "workstation", "pcie", ("AMD",), (
        ("Radeon PRO W7900",      48, HIGH, "W7900"),
        ("Radeon PRO W7800 32GB", 32, MID,  "W7800, Radeon PRO W7800"),
        ("Radeon PRO W7800 48GB", 48, MID,  "W7800 48GB"),
        ("Radeon PRO W7700",      16, MID,  "W7700"),
    )),
    Series("AMD", "RDNA 2", None, "workstation", "pcie", ("AMD",), (
        ("Radeon PRO W6800",      32, MID,  "W6800"),
        ("Radeon PRO V620",       32, MID,  "V620"),
    )),
    Series("AMD", "RDNA 4", None, "consumer", "pcie", _RADEON, (
        ("RX 9070 XT",        16, MID,  ""),
        ("RX 9070",           16, MID,  ""),
        ("RX 9060 XT 16GB",   16, LOW,  "RX 9060 XT, Radeon RX 9060 XT"),
        ("RX 9060 XT 8GB",     8, LOW,  ""),
    ), short=True),
    Series("AMD", "RDNA 3", None, "consumer", "pcie", _RADEON, (
        ("RX 7900 XTX",       24, HIGH, ""),
        ("RX 7900 XT",        20, MID,  ""),
        ("RX 7900 GRE",       16, MID,  ""),
        ("RX 7800 XT",        16, MID,  ""),
        ("RX 7700 XT",        12, LOW,  ""),
        ("RX 7600 XT",        16, LOW,  ""),
        ("RX 7600",            8, LOW,  ""),
    ), short=True),
    Series("AMD", "RDNA 2", None, "consumer", "pcie", _RADEON, (
        ("RX 6950 XT",        16, MID,  ""),
        ("RX 6900 XT",        16, MID,  ""),
        ("RX 6800 XT",        16, LOW,  ""),
        ("RX 6800",           16, LOW,  ""),
        ("RX 6700 XT",        12, LOW,  ""),
        ("RX 6600 XT",         8, LOW,  ""),
        ("RX 6600",            8, LOW,  ""),
    ), short=True),
    Series("AMD", "GCN 5", None, "consumer", "pcie", ("AMD",), (
        ("Radeon VII",        16, LOW,  ""),
    )),

    # ---- Intel --------------------------------------------------------------------------------------------
    Series("Intel", "Gaudi", None, "data-center", "oam", ("Intel", "Habana"), (
        ("Gaudi 3",          128, HIGH, "HL-325L"),
        ("Gaudi 2",           96, HIGH, "HL-225H"),
    )),
    Series("Intel", "Xe-HPC", None, "data-center", "oam", _INTEL, (
        ("Max 1550",         128, HIGH, "Intel Data Center GPU Max 1550"),
    )),
    Series("Intel", "Xe-HPC", None, "data-center", "pcie", _INTEL, (
        ("Max 1100",          48, MID,  "Intel Data Center GPU Max 1100"),
    )),
    Series("Intel", "Xe-HPG", None, "data-center", "pcie", _INTEL, (
        ("Flex 170",          16, LOW,  "Intel Data Center GPU Flex 170"),
        ("Flex 140",          12, LOW,  "Intel Data Center GPU Flex 140"),
    )),
    Series("Intel", "Xe2", None, "workstation", "pcie", _INTEL, (
        ("Arc Pro B60",       24, MID,  ""),
        ("Arc Pro B50",       16, LOW,  ""),
    ), short=True),
    Series("Intel", "Xe2", None, "consumer", "pcie", _INTEL, (
        ("Arc B580",          12, LOW,  "Intel(R) Arc(TM) B580 Graphics"),
        ("Arc B570",          10, LOW,  ""),
    ), short=True),
    Series("Intel", "Xe-HPG", None, "consumer", "pcie", _INTEL, (
        ("Arc A770 16GB",     16, LOW,  "Arc A770, A770, Intel(R) Arc(TM) A770 Graphics"),
        ("Arc A770 8GB",       8, LOW,  ""),
        ("Arc A750",           8, LOW,  ""),
    ), short=True),
)
# fmt: on
