"""The short form of `make chaos`: a plane of two server processes on PostgreSQL, killed under load."""

from __future__ import annotations

from tests.chaos.campaign import Order, run


def test_three_kills_of_two_processes_on_postgresql() -> None:
    verdict = run(Order("postgresql", processes=2, kills=3, seed=5, pause_s=(0.3, 1.0)))
    print(verdict)
    assert not verdict.broken, str(verdict)
    assert verdict.accepted > 20
