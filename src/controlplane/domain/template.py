"""Templates: a provider's own recipes for machines, and the test of an offer against their constraints."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from controlplane.domain.offer import Offer

Scalar = float | str | bool


@dataclass(frozen=True, slots=True)
class Constraint:
    """One condition on a fact of an offer: `op` is eq, neq, gt, gte, lt, lte, in or notin."""

    fact: str
    op: str
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """One template. `id` is the provider's; `env` what it sets unless the caller sets it; `vendor` what else the
    provider says of it, in its own words, for those who speak its language."""

    id: str
    provider: str
    name: str
    image: str
    description: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    on_start: str = ""
    ssh: bool = True
    recommended: bool = False
    disk_gb: int = 0  # recommended
    created_at: int | None = None
    constraints: tuple[Constraint, ...] = ()
    vendor: Mapping[str, Scalar] = field(default_factory=dict)

    def unmet_by(self, offer: Offer) -> str:
        """Why a machine of this offer could not run the template, in a few words; empty when it can."""
        if offer.provider != self.provider:
            return f"the template is {self.provider}'s"
        return next((f"{c.fact} must be {c.op} {c.value}" for c in self.constraints if not _holds(c, offer.facts)), "")


_ORDERED: dict[str, Callable[[float, float], bool]] = {
    "gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le,
}  # fmt: skip


def _holds(constraint: Constraint, facts: Mapping[str, Scalar]) -> bool:
    """A fact that the offer does not state meets nothing but an exclusion."""
    have, want = facts.get(constraint.fact), constraint.value
    if constraint.op in ("in", "notin"):
        among = isinstance(want, tuple) and any(_same(have, each) for each in want)
        return among is (constraint.op == "in")
    if constraint.op in ("eq", "neq"):
        return _same(have, want) is (constraint.op == "eq")
    left, right = _number(have), _number(want)
    return left is not None and right is not None and _ORDERED[constraint.op](left, right)


def _same(have: object, want: object) -> bool:
    """Equal as numbers, where both are: templates write `"2"` for 2."""
    left, right = _number(have), _number(want)
    return left == right if left is not None and right is not None else str(have) == str(want)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return float(value) if isinstance(value, bool) else None
    try:
        return float(value)
    except ValueError:
        return None
