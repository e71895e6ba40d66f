"""Tables on narrow terminals: long ids go on in the next line, and nothing of them is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.type.money_pb2 import Money
from gpuplane.v1 import operation_pb2
from gpuplane.v1.offer_service_pb2 import ListOffersResponse, OfferCandidate, RankOffersResponse
from gpuplane.v1.stray_pb2 import STRAY_KIND_FOREIGN, STRAY_WISH_DESTROY, Stray
from gpuplane.v1.stray_service_pb2 import ListStraysResponse

from controlplane.cli.columns import GAP, column_widths
from tests.unit.cli import canned
from tests.unit.cli.conftest import Run
from tests.unit.client.fake import FakePlane

UUID = "1a779525-4c04-4f2c-aa45-58b47d54bb38"
LONG_ID = f"tensordock-{UUID}-geforcertx4090-pcie-24gb"
PRICE = Money(currency_code="USD", nanos=312_416_666)


@pytest.fixture(params=["80", "100"])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, cli: Run) -> int:
    monkeypatch.setenv("COLUMNS", request.param)  # after `cli`, which takes it away
    return int(request.param)


def columns(out: str) -> dict[str, str]:
    """What stands below each heading of a table, its lines joined without spaces."""
    heading, *lines = out.splitlines()
    starts = [at for at, char in enumerate(heading) if char != " " and (at == 0 or heading[at - 1] == " ")]
    ends = [*starts[1:], None]
    return {
        heading[start:end].strip(): "".join("".join(line[start:end].split()) for line in lines)
        for start, end in zip(starts, ends, strict=True)
    }


def fits(out: str, width: int) -> bool:
    return max(map(len, out.splitlines())) <= width and "…" not in out


def test_attempts(cli: Run, plane: FakePlane, width: int) -> None:
    message = "the provider asked for fewer calls, and the offer was left for the next one"
    attempt = operation_pb2.Attempt(
        number=1, offer_id=f"{LONG_ID}-1x", price_per_hour=PRICE, message=message,
        outcome=operation_pb2.ATTEMPT_OUTCOME_RATE_LIMITED, start_time=canned.BEGAN, end_time=canned.ENDED,
    )  # fmt: skip
    operation = canned.operation()
    del operation.attempts[:]
    operation.attempts.append(attempt)
    plane.on("GetOperation", operation)
    table = cli("operations", "get", canned.OP).out.split("\n\n")[-1]
    assert fits(table, width)
    assert columns(table) == {
        "#": "1", "OFFER": f"{LONG_ID}-1x", "PRICE": "$0.312416666/h", "OUTCOME": "rate-limited",
        "MESSAGE": message.replace(" ", ""),
    }  # fmt: skip


def test_offers(cli: Run, plane: FakePlane, width: int) -> None:
    offers = [canned.offer(f"{LONG_ID}-{count}x") for count in (1, 8)]
    plane.on("ListOffers", ListOffersResponse(offers=offers))
    plane.on(
        "RankOffers",
        RankOffersResponse(candidates=[OfferCandidate(offer=each, expected_price_per_hour=PRICE) for each in offers]),
    )
    listed, ranked = cli("offers").out, cli("offers", "rank", "--gpu", "A100").out
    for table in (listed, ranked):
        assert fits(table, width)
        shown = columns(table)
        assert shown["ID"] == f"{LONG_ID}-1x{LONG_ID}-8x"
        assert shown["GPU"] == "8xA100SXM480GB" * 2
        assert shown["PRICE"] == "$14.0656/h" * 2
        assert shown["SURE"] == "0%" * 2
    assert columns(ranked)["EXPECTED"] == "$0.312416666/h" * 2


def test_strays(cli: Run, plane: FakePlane, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPUPLANE_KEY")
    (tmp_path / ".gpuplane").mkdir()
    (tmp_path / ".gpuplane" / "operator.key").write_text("op_secret\n")
    stray = Stray(
        id="stray_" + "0" * 25 + "a", kind=STRAY_KIND_FOREIGN, provider="tensordock", machine_id=UUID,
        provider_status="StoppedDisassociated", price_per_hour=PRICE, first_seen_time=canned.BEGAN,
        wish=STRAY_WISH_DESTROY,
    )  # fmt: skip
    plane.on("ListStrays", ListStraysResponse(strays=[stray]))
    out = cli("strays", "list").out
    assert fits(out, width)
    shown = columns(out)
    assert (shown["ID"], shown["MACHINE"], shown["STATUS"]) == (stray.id, UUID, "StoppedDisassociated")


def test_what_is_kept_whole_gives_way_last_and_no_column_vanishes() -> None:
    natural, whole = [40, 40, 8], [True, False, True]
    assert column_widths(natural, whole, 100) == natural
    assert column_widths(natural, whole, 70) == [40, 18, 8]
    assert column_widths(natural, whole, 50) == [28, 10, 8]
    assert column_widths(natural, whole, 20) == [5, 5, 5]
    assert column_widths(natural, whole, 1) == [1, 1, 1]
    assert column_widths([], [], 80) == []
    for room in range(7, 120):
        assert sum(column_widths(natural, whole, room)) + 2 * GAP <= room
