"""The memory of failed purchases, kept in the store so that replicas and later lives share it."""

from __future__ import annotations

from controlplane.domain.failures import FailureRecord, remembered, subjects, telling
from controlplane.domain.offer import Offer
from controlplane.domain.operation import Outcome
from controlplane.domain.principal import ALL
from controlplane.ports.store import Get, Transaction, UnitOfWork
from controlplane.usecases.core import Core

FORGOTTEN = 0.01  # a score below this is as good as none
PAGE = 1000


async def remember(core: Core, offer: Offer, outcome: Outcome, rest_s: float) -> None:
    """Note that an offer could not be had or used; nothing for outcomes that say nothing about it, or where the
    provider's offers do not rest (there the next look at its offers is the truth)."""
    if not rest_s or not telling(outcome):
        return
    weights = subjects(offer)

    def decide(tx: Transaction) -> list[FailureRecord]:
        records = [
            remembered(tx.get(FailureRecord, id), id, weight, offer, outcome, tx.now, rest_s)
            for id, weight in weights.items()
        ]
        for record in records:
            tx.put(record)
        return records

    core.offers.remember(await core.store.run(UnitOfWork(ALL, [Get(FailureRecord, id) for id in weights], decide)))


async def recall(core: Core) -> None:
    """Bring the offer book's memory up to the store's, and remove what has faded."""
    now, faded, before = core.clock.now(), [], ""
    while page := await core.store.select(ALL, FailureRecord, {}, before, PAGE):
        before = page[-1].id
        core.offers.remember(record for record in page if not _faded(record, now))
        faded += [record for record in page if _faded(record, now)]

    def decide(tx: Transaction) -> None:
        for old in faded[:PAGE]:
            if tx.get(FailureRecord, old.id) == old:
                tx.delete(FailureRecord, old.id)

    if faded:
        await core.store.run(UnitOfWork(ALL, [Get(FailureRecord, r.id) for r in faded[:PAGE]], decide))


def _faded(record: FailureRecord, now: int) -> bool:
    return record.score(now) < FORGOTTEN and record.rest_until <= now
