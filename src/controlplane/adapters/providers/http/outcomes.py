"""What a launch came to, for marketplaces whose refusals are told apart by status and words."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.adapters.providers.http.answer import Answer
from controlplane.adapters.providers.http.classify import FUNDS_WORDS
from controlplane.adapters.providers.http.errors import Refused
from controlplane.ports.provider import (
    Ambiguous,
    AuthFailed,
    LaunchOutcome,
    NoFunds,
    ProviderError,
    RateLimited,
    Rejected,
    Stockout,
)

LIMITED_S = 10.0  # how long to stay away when the provider does not say

_AFTER_WORK = frozenset({408, 409})  # the request got in: it timed out there, or met something of the same name


def not_bought(error: ProviderError) -> LaunchOutcome:
    """Of a launch that failed before the purchase was sent: nothing exists. What a search or a list answers is about
    all offers, so that no refusal of these says of one that it is sold out."""
    status = error.status if isinstance(error, Refused) else 0
    if status in (401, 403):
        return AuthFailed("the provider refused the credential")
    if status == 402:
        return NoFunds("the provider wants to be paid first")
    return RateLimited(LIMITED_S if error.retry_after_s is None else error.retry_after_s)


def refused(answer: Answer, status: int, stock_words: Sequence[str]) -> LaunchOutcome:
    """Of a purchase that was answered without naming a machine.

    `status` is the answer's own, or what its body says instead; `stock_words` are how this marketplace says that
    there is none left, in lower case. Only what the provider's own JSON refuses is a refusal: a page of a gateway on
    the way says nothing about what happened behind it.
    """
    if status == 429:
        return RateLimited(LIMITED_S if answer.retry_after_s is None else answer.retry_after_s)
    if status >= 500 or status in _AFTER_WORK or not answer.is_json:
        return Ambiguous(f"the provider answered status {status} with {answer.kind}", answer.sent_at)
    if status in (401, 403):
        return AuthFailed(answer.reason)
    if answer.says(*stock_words):
        return Stockout(answer.reason or "sold out")
    if status == 402 or (status != 422 and answer.says(*FUNDS_WORDS)):
        return NoFunds(answer.reason)
    if 400 <= status < 500:
        return Rejected(answer.reason or f"the provider refused it with status {status}")
    return Ambiguous("the provider's answer named no machine", answer.sent_at)
