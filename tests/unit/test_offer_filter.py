"""Filters by AIP-160: what they leave, and how they are refused."""

from __future__ import annotations

import pytest

from controlplane.domain.errors import InvalidArgument
from controlplane.domain.offer import Tier
from controlplane.usecases.filter_syntax import DEEPEST, LONGEST, MOST_COMPARISONS
from controlplane.usecases.offer_filter import FIELDS, read_filter
from controlplane.usecases.offerbook import OfferBook
from tests.support.fakes import START
from tests.unit.test_offerbook import book_of, offer

MINUTE = 60_000_000


@pytest.fixture(scope="module")
def book() -> OfferBook:
    made = book_of(
        offer("vastai-1", 0.4, location="Oslo, NO", reliability=0.99, cuda_version=12.4),
        offer(
            "vastai-2",
            0.5,
            gpu_type="H100 SXM",
            vram_gb=80,
            gpu_count=8,
            location="Austin, US",
            region="na",
            available=4,
        ),
        offer("ionet-1", 0.6, gpu_type="MI300X", vram_gb=192, tier=Tier.SPOT, region="", location="", reliability=0.5),
        offer("local-1", 0.7, gpu_type="cpu", gpu_count=0, vram_gb=0, simulated=True, region="eu", location="here"),
    )
    made.update("ionet", (made.get("ionet-1"),), START - 5 * MINUTE)  # type: ignore[arg-type]
    return made


def left(book: OfferBook, text: str) -> set[str]:
    found = read_filter(text)
    if found is None:
        return {each.id for each in book}
    mask = found.select(book.index, lambda: book.outlook(book.view(START)))
    return {each.id for each, shown in zip(book, mask.tolist(), strict=True) if shown}


V1, V2, IO, LO = "vastai-1", "vastai-2", "ionet-1", "local-1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {V1, V2, IO, LO}),
        ("  ", {V1, V2, IO, LO}),
        ("provider = vastai", {V1, V2}),
        ("provider != vastai", {IO, LO}),
        ("provider = VAST*", {V1, V2}),
        ('gpu_type = "RTX 4090"', {V1}),
        ("gpu_type = h100", {V2}),
        ("gpu_type = h100-sxm", {V2}),
        ("gpu_type = cpu", {LO}),
        ("gpu_type:300", {IO}),
        ("gpu_type = *4090", {V1}),
        ("gpu_count >= 2", {V2}),
        ("gpu_count = 1", {V1, IO}),
        ("vram_gb > 24 AND vram_gb < 192", {V2}),
        ("price_per_hour <= 0.5", {V1, V2}),
        ("price_per_hour < 0.5", {V1}),
        ("price_per_hour = 0.6", {IO}),
        ("reliability >= 0.9", {V1}),
        ("NOT reliability >= 0.9", {V2, IO, LO}),
        ("reliability != 0.5", {V1, V2, LO}),
        ("reliability:*", {V1, IO}),
        ("confidence >= 0.6", {V1, V2, LO}),
        ("confidence = 0.5", {IO}),
        ("cuda_version > 12", {V1}),
        ("location:oslo", {V1}),
        ('location = "austin, us"', {V2}),
        ("location = *,*", {V1, V2}),
        ("location:*", {V1, V2, LO}),
        ("region = EU", {V1, LO}),
        ('region = ""', {IO}),
        ("tier = spot", {IO}),
        ("tier = on-demand", {V1, V2, LO}),
        ("tier = TIER_ON_DEMAND", {V1, V2, LO}),
        ("vendor = nvidia", {V1, V2}),
        ("vendor = amd", {IO}),
        ("vendor != AMD", {V1, V2, LO}),
        ("architecture = hopper", {V2}),
        ("available > 1", {V2}),
        ("cpu_count >= 8 memory_gb >= 64 disk_gb >= 100", {V1, V2, IO, LO}),
        ("cpu_count > 8 OR memory_gb > 64 OR disk_gb > 100", set()),
        ("simulated = true", {LO}),
        ("simulated != true", {V1, V2, IO}),
        ("simulated:false", {V1, V2, IO}),
        ("-provider = vastai", {IO, LO}),
        ("-(provider = vastai OR provider = ionet)", {LO}),
        ("NOT (provider = vastai AND gpu_count = 8)", {V1, IO, LO}),
        # OR binds tighter than AND.
        ("region = na OR region = eu AND simulated = true", {LO}),
        ("region = na OR (region = eu AND simulated = true)", {V2, LO}),
        ("provider=vastai gpu_count=8", {V2}),
        ("location = 'here'", {LO}),
    ],
)
def test_leaves(book: OfferBook, text: str, expected: set[str]) -> None:
    assert left(book, text) == expected


@pytest.mark.parametrize(
    ("text", "position", "word", "rule"),
    [
        ("price = 1", 1, "price", "must name a field among"),
        ("vram_gb >= lots", 12, "lots", "must have a number for vram_gb"),
        ("vram_gb >= 1e3", 12, "1e3", "must have a number"),
        ("vram_gb >=", 11, "the end", "must have a value after vram_gb >="),
        ("vram_gb 24", 9, "24", "must have one of = != < <= > >= : after vram_gb"),
        ("provider < b", 1, "provider", "must compare provider by"),
        ("simulated = maybe", 13, "maybe", "must be = or != true or false"),
        ("simulated > true", 13, "true", "must be = or != true or false"),
        ("(vram_gb = 1", 1, "(", "parenthesis that is not closed"),
        ("vram_gb = 1)", 12, ")", "a parenthesis too many"),
        ("vram_gb = 1 AND", 16, "the end", "must have a field here"),
        ("OR vram_gb = 1", 1, "OR", "must have a field here"),
        ("NOT NOT vram_gb = 1", 5, "NOT", "must have a field here"),
        ('location = "oslo', 12, '"', "must have a value"),
        ("price_per_hour < 0.1234567891", 18, "0.1234567891", "at most nine decimals"),
        ("vram_gb = 1 " * (MOST_COMPARISONS + 1), 12 * MOST_COMPARISONS + 1, "vram_gb", "at most 64 comparisons"),
        ("(" * (DEEPEST + 1) + "vram_gb = 1" + ")" * (DEEPEST + 1), DEEPEST + 1, "(", "nest deeper"),
        ("x" * (LONGEST + 1), LONGEST + 1, "x", "at most 4096 characters"),
    ],
)
def test_refusals_name_place_and_word(text: str, position: int, word: str, rule: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        read_filter(text)
    assert f"(at character {position})" in refused.value.message
    assert rule in refused.value.message
    assert refused.value.metadata["field"] == "filter"
    assert refused.value.metadata["value"] == word


def test_every_field_can_be_asked_about(book: OfferBook) -> None:
    for field in FIELDS:
        value = "true" if field == "simulated" else "1"
        found = read_filter(f"{field} = {value}")
        assert found is not None
        assert found.by_confidence is (field == "confidence")
        assert len(found.select(book.index, lambda: book.outlook(book.view(START)))) == 4


def test_many_stars_take_no_longer(book: OfferBook) -> None:
    assert left(book, f"location = {'*o' * 500}") == set()
