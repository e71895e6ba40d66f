"""NVIDIA's rows of the table; its rules are in `table.py`."""

from __future__ import annotations

from controlplane.domain.gpus.model import HIGH, LOW, MID, Series

_NV = ("NVIDIA",)
_TESLA = ("Tesla", "NVIDIA Tesla", "NVIDIA")
_GEFORCE = ("GeForce", "NVIDIA GeForce")

# fmt: off
NVIDIA: tuple[Series, ...] = (
    # ---- NVIDIA, data centre ------------------------------------------------------------------------------
    Series("NVIDIA", "Blackwell", (10, 3), "data-center", "sxm", _NV, (
        ("B300",            288, HIGH, "NVIDIA B300 SXM6 AC, B300_SXM6"),
    )),
    Series("NVIDIA", "Blackwell", (10, 3), "data-center", "", _NV, (
        ("GB300",           288, HIGH, "GB300 NVL72"),
    )),
    Series("NVIDIA", "Blackwell", (10, 0), "data-center", "sxm", _NV, (
        ("B200",            180, HIGH, "B200_SXM6, b200-180, b200-192, NVIDIA B200 192GB"),
    )),
    Series("NVIDIA", "Blackwell", (10, 0), "data-center", "", _NV, (
        ("GB200",           186, HIGH, "GB200 NVL72, GB200 NVL4, GB200 192GB"),
    )),
    Series("NVIDIA", "Hopper", (9, 0), "data-center", "sxm", _NV, (
        ("H200 SXM",        141, HIGH, "H200, NVIDIA H200, H200_SXM5, h200-141, nvidia-h200-141gb"),
        ("H100 SXM",         80, HIGH, "H100, NVIDIA H100 80GB HBM3, H100_sxm5, h100-sxm5-80gb, h100-80, "
                                       "H100 SXM 80GB, nvidia-h100-80gb, nvidia-h100-mega-80gb"),
        ("H800 SXM",         80, HIGH, "H800, H800_sxm5, NVIDIA H800"),
        ("H20 96GB",         96, HIGH, "H20, NVIDIA H20, h20-96"),
        ("H20 141GB",       141, HIGH, "NVIDIA H20-3e, h20-141"),
        ("H100 PCIe",        80, HIGH, "NVIDIA H100 80GB HBM2e"),
        ("H800 PCIe",        80, HIGH, ""),
        ("H100 NVL",         94, HIGH, "H100NVL, h100-94"),
        ("H200 NVL",        141, HIGH, "H200NVL"),
    )),
    Series("NVIDIA", "Hopper", (9, 0), "data-center", "", _NV, (
        # The driver's 480GB is the memory of the Grace CPU beside it.
        ("GH200 96GB",       96, HIGH, "GH200, NVIDIA GH200 480GB, GH200 SXM, GH200_PCIE"),
        ("GH200 144GB",     144, HIGH, "NVIDIA GH200 144G HBM3e"),
    )),
    Series("NVIDIA", "Ada Lovelace", (8, 9), "data-center", "pcie", _NV, (
        ("L40S",             48, HIGH, "l40s-48"),
        ("L40",              48, HIGH, "l40-48"),
        ("L20",              48, HIGH, ""),
        ("L4",               24, MID,  "l4-24"),
        ("L2",               24, MID,  ""),
    )),
    Series("NVIDIA", "Ampere", (8, 0), "data-center", "pcie", _NV, (
        ("A100 SXM4 80GB",   80, HIGH, "A100, A100 SXM4, A100 SXM, A100_80G, a100_80gb, a100-80, "
                                       "NVIDIA A100-SXM4-80GB, nvidia-a100-80gb"),
        ("A100 PCIe 80GB",   80, HIGH, "A100 PCIE, NVIDIA A100 80GB PCIe, A100_80G_pcie"),
        ("A100X",            80, HIGH, ""),
        ("A800 PCIe 80GB",   80, HIGH, "A800, A800 PCIE, A800PCIE, NVIDIA A800 80GB PCIe"),
        ("A100 SXM4 40GB",   40, HIGH, "A100-40GB, A100_40G, a100-40, NVIDIA A100-SXM4-40GB, A100 SXM 40GB"),
        ("A800 SXM4 80GB",   80, HIGH, "A800 SXM4, NVIDIA A800-SXM4-80GB"),
        ("A100 PCIe 40GB",   40, HIGH, "NVIDIA A100-PCIE-40GB, A100_40G_pcie"),
        ("A30",              24, MID,  ""),
    )),
    Series("NVIDIA", "Ampere", (8, 6), "data-center", "pcie", _NV, (
        ("A40",              48, HIGH, ""),
        ("A10",              24, MID,  ""),
        ("A10G",             24, MID,  ""),
        ("A16",              16, LOW,  ""),
        ("A2",               16, LOW,  ""),
    )),
    Series("NVIDIA", "Turing", (7, 5), "data-center", "pcie", _TESLA, (
        ("T4",               16, LOW,  "nvidia-tesla-t4"),
    )),
    Series("NVIDIA", "Volta", (7, 0), "data-center", "sxm", _TESLA, (
        ("V100 SXM2 16GB",   16, MID,  "V100, Tesla V100, V100 SXM2, Tesla V100-SXM2-16GB, V100_16G_SXM2"),
        ("V100 SXM2 32GB",   32, MID,  "Tesla V100-SXM2-32GB, Tesla V100-SXM3-32GB, V100_32G_SXM2"),
        ("V100 PCIe 16GB",   16, MID,  "V100 PCIe, Tesla V100-PCIE-16GB, Tesla V100-FHHL-16GB, V100 FHHL"),
        ("V100 PCIe 32GB",   32, MID,  "Tesla V100-PCIE-32GB"),
        ("V100S PCIe 32GB",  32, MID,  "V100S, Tesla V100S-PCIE-32GB"),
    )),
    Series("NVIDIA", "Pascal", (6, 0), "data-center", "pcie", _TESLA, (
        ("P100 PCIe 16GB",   16, LOW,  "P100, Tesla P100, P100 PCIe, Tesla P100-PCIE-16GB"),
        ("P100 PCIe 12GB",   12, LOW,  "Tesla P100-PCIE-12GB"),
        ("P100 SXM2 16GB",   16, LOW,  "P100 SXM2, Tesla P100-SXM2-16GB"),
    )),
    Series("NVIDIA", "Pascal", (6, 1), "data-center", "pcie", _TESLA, (
        ("P40",              24, LOW,  ""),
        ("P4",                8, LOW,  ""),
    )),
    Series("NVIDIA", "Maxwell", (5, 2), "data-center", "pcie", _TESLA, (
        ("M40 12GB",         12, LOW,  "M40, Tesla M40"),
        ("M40 24GB",         24, LOW,  ""),
        ("M60",               8, LOW,  ""),
    )),
    Series("NVIDIA", "Kepler", (3, 7), "data-center", "pcie", _TESLA, (
        ("K80",              12, LOW,  ""),
    )),

    # ---- NVIDIA, workstation ------------------------------------------------------------------------------
    Series("NVIDIA", "Blackwell", (12, 0), "workstation", "pcie", _NV, (
        ("RTX PRO 6000 Server",      96, HIGH, "RTX PRO 6000 S, RTX PRO 6000 SE, RTX PRO 6000, RTXPRO6000, "
                                               "NVIDIA RTX PRO 6000 Blackwell Server Edition"),
        ("RTX PRO 6000 Workstation", 96, HIGH, "RTX PRO 6000 WS, RTX PRO 6000 WK, "
                                               "NVIDIA RTX PRO 6000 Blackwell Workstation Edition"),
        ("RTX PRO 6000 Max-Q",       96, HIGH, "NVIDIA RTX PRO 6000 Blackwell Max-Q, "
                                               "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition"),
        ("RTX PRO 5000 48GB",        48, HIGH, "RTX PRO 5000, NVIDIA RTX PRO 5000 Blackwell"),
        ("RTX PRO 5000 72GB",        72, HIGH, "NVIDIA RTX PRO 5000 72GB Blackwell"),
        ("RTX PRO 4500",             32, HIGH, "NVIDIA RTX PRO 4500 Blackwell"),
        ("RTX PRO 4000",             24, MID,  "NVIDIA RTX PRO 4000 Blackwell"),
        ("RTX PRO 4000 SFF",         24, MID,  "NVIDIA RTX PRO 4000 Blackwell SFF Edition"),
        ("RTX PRO 2000",             16, MID,  "NVIDIA RTX PRO 2000 Blackwell"),
    ), short=True),
    Series("NVIDIA", "Blackwell", (12, 1), "workstation", "", _NV, (
        ("GB10",                    128, MID,  "DGX Spark, NVIDIA DGX Spark"),
    )),
    Series("NVIDIA", "Ada Lovelace", (8, 9), "workstation", "pcie", _NV, (
        ("RTX 6000 Ada",     48, HIGH, "NVIDIA RTX 6000 Ada Generation, RTX6000Ada"),
        ("RTX 5880 Ada",     48, HIGH, "NVIDIA RTX 5880 Ada Generation"),
        ("RTX 5000 Ada",     32, HIGH, "NVIDIA RTX 5000 Ada Generation"),
        ("RTX 4500 Ada",     24, MID,  "NVIDIA RTX 4500 Ada Generation"),
        ("RTX 4000 Ada",     20, MID,  "NVIDIA RTX 4000 Ada Generation"),
        ("RTX 4000 SFF Ada", 20, MID,  "NVIDIA RTX 4000 SFF Ada Generation, RTX 4000 Ada SFF"),
        ("RTX 2000 Ada",     16, LOW,  "NVIDIA RTX 2000 Ada Generation"),
    ), short=True),
    Series("NVIDIA", "Ampere", (8, 6), "workstation", "pcie", _NV, (
        ("RTX A6000",        48, HIGH, "gpu_1x_a6000"),
        ("RTX A5500",        24, MID,  ""),
        ("RTX A5000",        24, MID,  ""),
        ("RTX A4500",        20, MID,  ""),
        ("RTX A4000",        16, MID,  ""),
        ("RTX A2000 6GB",     6, LOW,  "RTX A2000, A2000, NVIDIA RTX A2000"),
        ("RTX A2000 12GB",   12, LOW,  "NVIDIA RTX A2000 12GB"),
    ), short=True),
    Series("NVIDIA", "Turing", (7, 5), "workstation", "pcie", _NV, (
        ("Quadro RTX 8000",  48, MID,  "Q RTX 8000, RTX 8000"),
        ("Quadro RTX 6000",  24, MID,  "Q RTX 6000"),
        ("Quadro RTX 5000",  16, LOW,  "Q RTX 5000"),
        ("Quadro RTX 4000",   8, LOW,  "Q RTX 4000"),
    )),
    Series("NVIDIA", "Volta", (7, 0), "workstation", "pcie", _NV, (
        ("Quadro GV100",     32, MID,  ""),
    ), short=True),
    Series("NVIDIA", "Pascal", (6, 1), "workstation", "pcie", _NV, (
        ("Quadro P6000",     24, LOW,  ""),
        ("Quadro P5000",     16, LOW,  ""),
        ("Quadro P4000",      8, LOW,  ""),
    ), short=True),

    # ---- NVIDIA, consumer ---------------------------------------------------------------------------------
    Series("NVIDIA", "Blackwell", (12, 0), "consumer", "pcie", _GEFORCE, (
        ("RTX 5090",          32, HIGH, ""),
        ("RTX 5090 D",        32, HIGH, ""),
        ("RTX 5080",          16, HIGH, ""),
        ("RTX 5070 Ti",       16, MID,  ""),
        ("RTX 5070",          12, MID,  ""),
        ("RTX 5060 Ti 16GB",  16, MID,  "RTX 5060 Ti, GeForce RTX 5060 Ti, 5060 Ti"),
        ("RTX 5060 Ti 8GB",    8, LOW,  ""),
        ("RTX 5060",           8, LOW,  ""),
        ("RTX 5050",           8, LOW,  ""),
    ), short=True),
    Series("NVIDIA", "Ada Lovelace", (8, 9), "consumer", "pcie", _GEFORCE, (
        ("RTX 4090",          24, HIGH, "rtx4090-24"),
        ("RTX 4090 D",        24, HIGH, ""),
        ("RTX 4080 Super",    16, HIGH, ""),
        ("RTX 4080",          16, HIGH, ""),
        ("RTX 4070 Ti Super", 16, MID,  ""),
        ("RTX 4070 Ti",       12, MID,  ""),
        ("RTX 4070 Super",    12, MID,  ""),
        ("RTX 4070",          12, MID,  ""),
        ("RTX 4060 Ti 16GB",  16, MID,  "RTX 4060 Ti, GeForce RTX 4060 Ti, 4060 Ti"),
        ("RTX 4060 Ti 8GB",    8, LOW,  ""),
        ("RTX 4060",           8, LOW,  ""),
    ), short=True),
    Series("NVIDIA", "Ampere", (8, 6), "consumer", "pcie", _GEFORCE, (
        ("RTX 3090 Ti",       24, MID,  ""),
        ("RTX 3090",          24, MID,  ""),
        ("RTX 3080 Ti",       12, MID,  ""),
        ("RTX 3080 10GB",     10, MID,  "RTX 3080, GeForce RTX 3080, 3080"),
        ("RTX 3080 12GB",     12, MID,  ""),
        ("RTX 3070 Ti",        8, LOW,  ""),
        ("RTX 3070",           8, LOW,  ""),
        ("RTX 3060 Ti",        8, LOW,  ""),
        ("RTX 3060 12GB",     12, LOW,  "RTX 3060, GeForce RTX 3060, 3060"),
        ("RTX 3060 8GB",       8, LOW,  ""),
        ("RTX 3050 8GB",       8, LOW,  "RTX 3050, GeForce RTX 3050, 3050"),
        ("RTX 3050 6GB",       6, LOW,  ""),
    ), short=True),
    Series("NVIDIA", "Turing", (7, 5), "consumer", "pcie", _GEFORCE, (
        ("RTX 2080 Ti",       11, LOW,  ""),
        ("RTX 2080 Super",     8, LOW,  ""),
        ("RTX 2080",           8, LOW,  ""),
        ("RTX 2070 Super",     8, LOW,  ""),
        ("RTX 2070",           8, LOW,  ""),
        ("RTX 2060 Super",     8, LOW,  ""),
        ("RTX 2060 6GB",       6, LOW,  "RTX 2060, GeForce RTX 2060, 2060"),
        ("RTX 2060 12GB",     12, LOW,  ""),
        ("GTX 1660 Ti",        6, LOW,  ""),
        ("GTX 1660 Super",     6, LOW,  ""),
        ("GTX 1660",           6, LOW,  ""),
        ("GTX 1650 Super",     4, LOW,  ""),
        ("GTX 1650",           4, LOW,  ""),
    ), short=True),
    Series("NVIDIA", "Pascal", (6, 1), "consumer", "pcie", _GEFORCE, (
        ("GTX 1080 Ti",       11, LOW,  ""),
        ("GTX 1080",           8, LOW,  ""),
        ("GTX 1070 Ti",        8, LOW,  ""),
        ("GTX 1070",           8, LOW,  ""),
        ("GTX 1060 6GB",       6, LOW,  "GTX 1060, GeForce GTX 1060, 1060"),
        ("GTX 1060 3GB",       3, LOW,  ""),
        ("GTX 1050 Ti",        4, LOW,  ""),
        ("GTX 1050",           2, LOW,  ""),
    ), short=True),
    Series("NVIDIA", "Maxwell", (5, 2), "consumer", "pcie", _GEFORCE, (
        ("GTX 980 Ti",         6, LOW,  ""),
        ("GTX 980",            4, LOW,  ""),
        ("GTX Titan X",       12, LOW,  ""),
    )),
    Series("NVIDIA", "Turing", (7, 5), "consumer", "pcie", _NV, (
        ("Titan RTX",         24, MID,  ""),
    )),
    Series("NVIDIA", "Volta", (7, 0), "consumer", "pcie", _NV, (
        ("Titan V",           12, MID,  ""),
    )),
    Series("NVIDIA", "Pascal", (6, 1), "consumer", "pcie", _NV, (
        ("Titan Xp",          12, LOW,  ""),
        ("Titan X Pascal",    12, LOW,  "NVIDIA TITAN X (Pascal)"),
    )),
)
# fmt: on
