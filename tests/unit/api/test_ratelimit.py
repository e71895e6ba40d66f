import pytest

from controlplane.api.interceptors.limits import KeyLimits, Limits
from controlplane.domain.errors import ResourceExhausted
from controlplane.domain.ratelimit import RateLimiter


def test_a_burst_then_the_rate():
    limiter = RateLimiter(rate=10, burst=3)
    assert [limiter.take("a", 0.0) for _ in range(3)] == [0.0] * 3
    assert limiter.take("a", 0.0) == pytest.approx(0.1)
    assert limiter.take("a", 0.05) == pytest.approx(0.05)
    assert limiter.take("a", 0.1) == 0.0
    assert limiter.take("a", 0.1) > 0


def test_a_refusal_takes_nothing():
    limiter = RateLimiter(rate=1, burst=1)
    limiter.take("a", 0.0)
    for _ in range(100):
        assert limiter.take("a", 0.5) == pytest.approx(0.5)
    assert limiter.take("a", 1.0) == 0.0


def test_keys_do_not_share():
    limiter = RateLimiter(rate=1, burst=1)
    assert limiter.take("a", 0.0) == 0.0
    assert limiter.take("b", 0.0) == 0.0


def test_a_bucket_never_holds_more_than_its_burst():
    limiter = RateLimiter(rate=100, burst=2)
    limiter.take("a", 0.0)
    assert sum(limiter.take("a", 1e6) == 0.0 for _ in range(10)) == 2


@pytest.mark.parametrize("rate", [3.0, 7.0, 100.0, 333.0])
def test_the_rate_holds_over_time(rate):
    limiter = RateLimiter(rate=rate, burst=5)
    taken = sum(limiter.take("a", i / 1000) == 0.0 for i in range(100_000))
    assert taken == pytest.approx(rate * 100 + 5, abs=1)


def test_full_buckets_are_forgotten():
    limiter = RateLimiter(rate=1000, burst=1)
    for i in range(100_000):
        limiter.take(f"key{i}", i / 1000)
    assert len(limiter) < 2000


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_nonsense_is_refused(rate, burst):
    with pytest.raises(ValueError, match="rate must be positive"):
        RateLimiter(rate, burst)


def test_streams_have_a_burst_of_their_number_and_a_bound():
    now = [0.0]
    limits = KeyLimits(Limits(calls_per_second=10, calls_burst=5, streams=1000), lambda: now[0])
    for _ in range(1000):
        limits.open_stream("a")
    limits.charge_call("a")  # calls have their own bucket
    with pytest.raises(ResourceExhausted) as caught:
        limits.open_stream("a")
    assert caught.value.reason == "RATE_LIMITED"
    now[0] = 1.0
    with pytest.raises(ResourceExhausted) as caught:
        limits.open_stream("a")
    assert caught.value.reason == "QUOTA_EXCEEDED"
    limits.close_stream("a")
    limits.open_stream("a")
    for _ in range(1000):
        limits.close_stream("a")
    assert limits.open_streams("a") == 0
