"""Cases for the GPU table and for the one reader of GPU names."""

from __future__ import annotations

import random
import re
import time

import pytest

from controlplane.domain.gpus import GPUS, Gpu, gpu, matching, normalise

ALIASES = [(alias, g) for g in GPUS for alias in g.aliases]


def name_of(found: Gpu | None) -> str | None:
    return found.name if found else None


# ---- the table -------------------------------------------------------------------------------------------


def test_names_and_slugs_are_unique_and_find_their_row() -> None:
    assert len(GPUS) > 90
    assert len({g.name for g in GPUS}) == len({g.slug for g in GPUS}) == len(GPUS)
    for g in GPUS:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", g.slug)
        assert gpu(g.name) is gpu(g.slug) is normalise(g.name) is normalise(g.slug) is g


NAMES_OTHERS_RELY_ON = (
    "H100 SXM, H100 PCIe, H100 NVL, H200 SXM, A100 SXM4 80GB, A100 SXM4 40GB, A100 PCIe 80GB, "
    "A100 PCIe 40GB, RTX 4090, L40S"
)


@pytest.mark.parametrize("name", NAMES_OTHERS_RELY_ON.split(", "))
def test_names_others_rely_on(name: str) -> None:
    assert gpu(name) is not None


def test_every_alias_means_its_own_gpu_and_no_other() -> None:
    wrong = [(alias, name_of(normalise(alias)), g.name) for alias, g in ALIASES if normalise(alias) is not g]
    assert wrong == []
    owners: dict[str, set[str]] = {}
    for alias, g in ALIASES:
        owners.setdefault(re.sub(r"[\W_]+", " ", alias.lower()), set()).add(g.name)
    assert {alias: names for alias, names in owners.items() if len(names) > 1} == {}


def test_facts_are_within_reason() -> None:
    for g in GPUS:
        assert (g.compute_capability is not None) == (g.vendor == "NVIDIA"), g
        assert 2 <= g.vram_gb <= 288, g
        stated = re.search(r" (\d+)GB$", g.name)
        assert stated is None or int(stated[1]) == g.vram_gb, g
        assert g.tier in ("high-end", "mid-range", "entry")
    capabilities = {(g.architecture, g.compute_capability) for g in GPUS if g.vendor == "NVIDIA"}
    assert capabilities == {
        ("Blackwell", (10, 0)), ("Blackwell", (10, 3)), ("Blackwell", (12, 0)), ("Blackwell", (12, 1)),
        ("Hopper", (9, 0)), ("Ada Lovelace", (8, 9)), ("Ampere", (8, 0)), ("Ampere", (8, 6)),
        ("Turing", (7, 5)), ("Volta", (7, 0)), ("Pascal", (6, 0)), ("Pascal", (6, 1)), ("Maxwell", (5, 2)),
        ("Kepler", (3, 7)),
    }  # fmt: skip


def test_rtx_4090_as_documented_by_aiserve() -> None:
    g = gpu("RTX 4090")
    assert g
    assert (g.vendor, g.vram_gb, g.tier) == ("NVIDIA", 24, "high-end")


# ---- spellings -------------------------------------------------------------------------------------------

SPELLINGS = {
    # Vast, on the wire and on its command line
    "RTX 4090": "RTX 4090",
    "RTX_4090": "RTX 4090",
    "RTX+4090": "RTX 4090",
    "A100 SXM4": "A100 SXM4 80GB",
    "A100_SXM4": "A100 SXM4 80GB",
    "A100 PCIE": "A100 PCIe 80GB",
    "H100 SXM": "H100 SXM",
    "H100 PCIE": "H100 PCIe",
    "H200": "H200 SXM",
    "RTX A6000": "RTX A6000",
    "Q RTX 8000": "Quadro RTX 8000",
    "RTX 6000Ada": "RTX 6000 Ada",
    "RTX 4070S Ti": "RTX 4070 Ti Super",
    "RTX 4080S": "RTX 4080 Super",
    "RTX 4090D": "RTX 4090 D",
    "GTX 1660 S": "GTX 1660 Super",
    "RTX PRO 6000 WS": "RTX PRO 6000 Workstation",
    "RTX PRO 6000 S": "RTX PRO 6000 Server",
    "GH200 SXM": "GH200 96GB",
    "Tesla V100": "V100 SXM2 16GB",
    "GTX_TITAN_X": "GTX Titan X",
    "Radeon VII": "Radeon VII",
    # TensorDock
    "geforcertx4090-pcie-24gb": "RTX 4090",
    "geforcertx3080ti-pcie-12gb": "RTX 3080 Ti",
    "geforcegtx1070-pcie-8gb": "GTX 1070",
    "h100-sxm5-80gb": "H100 SXM",
    "a100-pcie-80gb": "A100 PCIe 80GB",
    "a100-pcie-40gb": "A100 PCIe 40GB",
    "l40-pcie-48gb": "L40",
    "rtxa4000-pcie-16gb": "RTX A4000",
    "rtx4000sffada-pcie-20gb": "RTX 4000 SFF Ada",
    "quadrortx4000-pcie-8gb": "Quadro RTX 4000",
    "v100-sxm2-16gb": "V100 SXM2 16GB",
    # io.net, RunPod, the driver
    "GeForce RTX 4090": "RTX 4090",
    "NVIDIA GeForce RTX 4090": "RTX 4090",
    "NVIDIA H100 80GB HBM3": "H100 SXM",
    "NVIDIA H100 PCIe": "H100 PCIe",
    "NVIDIA H100 NVL": "H100 NVL",
    "NVIDIA H200 NVL": "H200 NVL",
    "NVIDIA A100 80GB PCIe": "A100 PCIe 80GB",
    "NVIDIA A100-SXM4-80GB": "A100 SXM4 80GB",
    "NVIDIA A100-PCIE-40GB": "A100 PCIe 40GB",
    "NVIDIA RTX 6000 Ada Generation": "RTX 6000 Ada",
    "NVIDIA GeForce RTX 4080 SUPER": "RTX 4080 Super",
    "NVIDIA GeForce RTX 3060 Ti": "RTX 3060 Ti",
    "NVIDIA B300 SXM6 AC": "B300",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "RTX PRO 6000 Server",
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition": "RTX PRO 6000 Max-Q",
    "NVIDIA GH200 480GB": "GH200 96GB",  # the driver's 480 is the CPU's memory
    "AMD Instinct MI300X OAM": "MI300X",
    "Intel(R) Arc(TM) A770 Graphics": "Arc A770 16GB",
    "Tesla V100-SXM2-32GB": "V100 SXM2 32GB",
    "Tesla T4": "T4",
    "NVIDIA TITAN X (Pascal)": "Titan X Pascal",
    # Shadeform, with and without its count; Lambda; the io.net SDK
    "H100_sxm5": "H100 SXM",
    "H100_sxm5x8": "H100 SXM",
    "A100_80G_pcie": "A100 PCIe 80GB",
    "A6000": "RTX A6000",
    "gpu_8x_a100_sxm4": "A100 SXM4 80GB",
    "H100:1": "H100 SXM",
    "8x NVIDIA H200": "H200 SXM",
    # Hoonify, GPU.ai, gpuhunt, people
    "h200-141": "H200 SXM",
    "h100-80": "H100 SXM",
    "l40s-48": "L40S",
    "h100_sxm": "H100 SXM",
    "a100_80gb": "A100 SXM4 80GB",
    "A100-40GB": "A100 SXM4 40GB",
    "H100 SXM 80GB": "H100 SXM",
    "rtx4090": "RTX 4090",
    "4090": "RTX 4090",
    "3060ti": "RTX 3060 Ti",
    "RTX6000Ada": "RTX 6000 Ada",
    "RX 7900 XTX": "RX 7900 XTX",
    "MI250X": "MI250X",
    "Gaudi2": "Gaudi 2",
    "  rtx   4090 ": "RTX 4090",
    # near neighbours
    "RTX 6000 Ada": "RTX 6000 Ada",
    "Quadro RTX 6000": "Quadro RTX 6000",
    "RTX 4000 Ada": "RTX 4000 Ada",
    "Quadro RTX 4000": "Quadro RTX 4000",
    "RTX A4000": "RTX A4000",
    "RTX 4080": "RTX 4080",
    "RTX 3060": "RTX 3060 12GB",
    "A10": "A10",
    "A10G": "A10G",
    "L4": "L4",
    "L40": "L40",
    "RX 7900 XT": "RX 7900 XT",
}


@pytest.mark.parametrize(("spelling", "name"), SPELLINGS.items())
def test_spelling(spelling: str, name: str) -> None:
    assert name_of(normalise(spelling)) == name


UNKNOWN = {
    "no GPU": ("", " ", "-", "cpu", "gpu", "NVIDIA", "NVIDIA GeForce", "RTX", "sxm", "80GB", "TPU v5e"),
    "no such model": ("H1000", "A1000", "RTX 4090 Ti", "RTX 4090 Super", "RTX 3070 Super", "Titan"),
    "slower namesakes": (
        "RTX 3060 Laptop",
        "NVIDIA GeForce RTX 3060 Laptop GPU",
        "RTX 4090M",
        "RTX 4090笔记本",
    ),
    "several cards, only memory can tell": ("RTX 6000", "RTX 5000", "RTX 4000", "NVIDIA RTX 6000", "Titan X"),
    "no such size": ("RTX 4080 12GB", "RTX 4090 48GB", "H100 40GB", "h100-40", "A100 20GB", "A100 8"),
    "no such form": ("RTX 4090 SXM5", "L40 SXM", "A100 NVL", "a100-nvlink-40gb"),
    "another vendor's": ("AMD RTX 4090", "NVIDIA MI300X", "Radeon A770", "NVIDIA AMD RTX 4090"),
    "slices": ("NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb", "NVIDIA A40-48Q"),
    "digits that must not close up": ("L4 0", "A10 0", "RTX 40 90", "40 90"),
    "not a name": ("4" * 10_000, "RTX 4090 / RTX 3090", "'; drop table offers"),
}


@pytest.mark.parametrize("spelling", [spelling for spellings in UNKNOWN.values() for spelling in spellings])
def test_unknown_rather_than_nearly_right(spelling: str) -> None:
    assert normalise(spelling) is None
    assert normalise(spelling, vram_gb=5.55) is None


@pytest.mark.parametrize(
    ("spelling", "vram_gb", "name"),
    [
        ("A100", 80.0, "A100 SXM4 80GB"),
        ("A100", 39.6, "A100 SXM4 40GB"),
        ("A100 SXM4", 40960 / 1024, "A100 SXM4 40GB"),
        ("A100 PCIE", 39.4, "A100 PCIe 40GB"),
        ("A100", 20.0, None),  # a slice of one, or something new
        ("H100", 93.6, "H100 NVL"),
        ("H100", 79.6, "H100 SXM"),
        ("H200", 140.4, "H200 SXM"),
        ("Tesla V100", 31.7, "V100 SXM2 32GB"),
        ("RTX 3060", 8.0, "RTX 3060 8GB"),
        ("RTX 3080", 12.0, "RTX 3080 12GB"),
        ("RTX 4060 Ti", 7.99, "RTX 4060 Ti 8GB"),
        ("RTX 6000", 24.0, "Quadro RTX 6000"),
        ("RTX 6000", 47.99, "RTX 6000 Ada"),
        ("RTX 4000", 8.0, "Quadro RTX 4000"),
        ("RTX 4000", 19.99, "RTX 4000 Ada"),
        ("RTX 4090", 23.99, "RTX 4090"),
        ("RTX 4090", 48.0, "RTX 4090"),  # rebuilt by its owner; the name leaves no doubt
        ("A100 80GB", 40.0, "A100 SXM4 80GB"),  # the name states its size
        ("RTX 4090", 0.0, "RTX 4090"),  # hosts that report nothing
        ("A100", 0.0, "A100 SXM4 80GB"),
    ],
)
def test_memory_decides_between_variants(spelling: str, vram_gb: float, name: str | None) -> None:
    assert name_of(normalise(spelling, vram_gb=vram_gb)) == name


def test_memory_wobble_is_forgiven_for_every_variant() -> None:
    for g in GPUS:
        for factor in (0.94, 0.97, 1.0, 1.03, 1.06):
            assert normalise(g.name, vram_gb=g.vram_gb * factor) is g


def test_case_and_separators_mean_nothing() -> None:
    dice = random.Random(7)
    for alias, g in ALIASES:
        for _ in range(5):
            mangled = re.sub(r"[ _-]+", lambda _: dice.choice((" ", "_", "-", "  ", " - ", "/")), alias)
            mangled = "".join(dice.choice((c.upper(), c.lower())) for c in mangled)
            assert normalise(mangled) is g, (alias, mangled)


# ---- filters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("H100", {"H100 SXM", "H100 PCIe", "H100 NVL"}),
        ("A100", {"A100 SXM4 80GB", "A100 SXM4 40GB", "A100 PCIe 80GB", "A100 PCIe 40GB"}),
        ("A100 SXM4", {"A100 SXM4 80GB", "A100 SXM4 40GB"}),
        ("a100_80gb", {"A100 SXM4 80GB", "A100 PCIe 80GB"}),
        ("NVIDIA H200", {"H200 SXM", "H200 NVL"}),
        ("RTX 4090", {"RTX 4090"}),
        ("rtx4080", {"RTX 4080"}),
        ("RTX 3060", {"RTX 3060 12GB", "RTX 3060 8GB"}),
        ("RTX 3060 8GB", {"RTX 3060 8GB"}),
        ("RTX 6000", {"Quadro RTX 6000", "RTX 6000 Ada", "RTX PRO 6000 Server"}),
        ("RTX PRO 6000", {"RTX PRO 6000 Server", "RTX PRO 6000 Workstation", "RTX PRO 6000 Max-Q"}),
        ("RTX 4090 Ti", set()),
        ("AMD H100", set()),
        ("", set()),
        ("nothing of the kind", set()),
    ],
)
def test_matching(query: str, names: set[str]) -> None:
    assert {g.name for g in matching(query)} == names


def test_matching_finds_what_normalise_finds() -> None:
    for alias, g in ALIASES:
        assert g in matching(alias)


def test_lookup_takes_microseconds() -> None:
    normalise("NVIDIA GeForce RTX 4090", vram_gb=23.99)
    start = time.perf_counter()
    for _ in range(1000):
        normalise("NVIDIA GeForce RTX 4090", vram_gb=23.99)
    assert time.perf_counter() - start < 0.1  # 100 us each: fifty times the usual, for busy machines
