"""Provider cost: the three ways of billing, drift of prices, and clocks that disagree."""

from __future__ import annotations

from typing import Any

from controlplane.domain.billing import HOUR, SECOND
from controlplane.domain.metering import ProviderMeter
from tests.support.fakes import START

PRICE, STORAGE = 3_600_000_000, 36_000_000  # a nano-dollar times 10^6 a second, and a hundredth of it


def seen(meter: ProviderMeter, at_s: float, **told: Any) -> ProviderMeter:
    facts: dict[str, Any] = {
        "running": True, "running_s": None, "created_at": None, "paid_until": None, "price": None
    } | told  # fmt: skip
    return meter.seen(START + round(at_s * SECOND), **facts)


def total(meter: ProviderMeter, at_s: float) -> int:
    return meter.total(START + round(at_s * SECOND))


def test_the_full_price_is_taken_from_creation_to_end() -> None:
    meter = ProviderMeter(PRICE, START)
    assert total(meter, 100) == 100_000_000
    assert total(seen(meter, 50, created_at=START + 10 * SECOND), 100) == 90_000_000


def test_only_storage_is_billed_until_it_runs_and_after_it_stopped() -> None:
    meter = ProviderMeter(PRICE, START, STORAGE, ran_at=START)
    loading = seen(meter, 20, running=False, running_s=0.0)
    assert total(loading, 20) == 20 * 10_000
    running = seen(loading, 35, running_s=5.0)
    assert total(running, 35) == 35 * 10_000 + 5 * 990_000
    assert total(running, 95) == 95 * 10_000 + 65 * 990_000, "it runs on between two looks"
    stopped = seen(running, 100, running=False, running_s=68.0)
    assert total(stopped, 1000) == 1000 * 10_000 + 68 * 990_000, "its clock stands still"


def test_a_row_does_not_change_with_every_look_at_a_clock_that_runs_on() -> None:
    running = seen(ProviderMeter(PRICE, START, STORAGE, ran_at=START), 35, running_s=5.0)
    assert seen(running, 65, running_s=35.2) is running
    assert seen(running, 65, running_s=34.0) != running, "a second is told"


def test_paid_in_advance_costs_whole_units_whenever_it_ends() -> None:
    meter = ProviderMeter(PRICE, 0, prepaid_s=3600).begun(START)
    assert total(meter, 1) == total(meter, 3599) == PRICE
    assert total(meter.extended(3600), 3700) == 2 * PRICE
    wobbling = seen(meter, 30, paid_until=START + 2 * HOUR + 7 * SECOND)
    assert total(wobbling, 60) == 2 * PRICE, "the provider says how many units were paid"
    assert total(seen(wobbling, 90, paid_until=START + HOUR), 90) == 2 * PRICE, "what was paid stays paid"


def test_another_price_counts_from_when_it_was_seen() -> None:
    dearer = seen(ProviderMeter(PRICE, START), 100, price=2 * PRICE)
    assert total(dearer, 100) == 100_000_000
    assert total(dearer, 150) == 200_000_000
    assert seen(dearer, 160, price=0) is dearer, "a price of nothing is a mistake of the provider's"


def test_running_time_goes_on_through_a_change_of_price() -> None:
    meter = seen(ProviderMeter(PRICE, START, STORAGE, ran_at=START), 10, running_s=10.0)
    dearer = seen(meter, 20, running_s=20.0, price=2 * PRICE)
    assert total(dearer, 20) == 20 * 1_000_000
    later = seen(dearer, 30, running_s=30.0)
    assert total(later, 30) == 20 * 1_000_000 + 10 * 2_000_000


def test_what_the_provider_says_was_paid_counts_refunds_included() -> None:
    meter = seen(ProviderMeter(PRICE, 0, prepaid_s=3600).begun(START), 5, billed_nano=PRICE + 7)
    assert total(meter, 10) == PRICE + 7
    assert total(meter.extended(3600), 10) == 2 * PRICE + 7, "until it is told"
    assert total(seen(meter, 20, running=False, billed_nano=0), 30) == 0, "given back"


def test_what_was_paid_in_advance_is_not_counted_again_at_another_price() -> None:
    meter = ProviderMeter(PRICE, 0, prepaid_s=3600).begun(START)
    assert total(seen(meter, 100, price=2 * PRICE), 200) == PRICE
