"""Pages of stored rows: sizes, cursors, and the one rule for the last page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from controlplane.domain.errors import invalid
from controlplane.usecases.tokens import Tokens

T = TypeVar("T")

DEFAULT_SIZE, MAX_SIZE = 50, 1000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page. `extra` travels unchanged from the first page's token to the last."""

    items: list[T]
    next_page_token: str
    extra: str = ""


def page_size(asked: int) -> int:
    """AIP-158: 0 is the default, too large is clamped, negative is refused."""
    if asked < 0:
        raise invalid("page_size", "must not be negative", asked)
    return min(asked or DEFAULT_SIZE, MAX_SIZE)


async def read_page(
    tokens: Tokens, query: object, asked: int, token: str, extra: Callable[[], Awaitable[str]] | None,
    fetch: Callable[[str, int], Awaitable[list[tuple[str, T]]]],
) -> Page[T]:  # fmt: skip
    """Read a page with `fetch(before_id, limit) -> [(id, item)]`. One row more than asked tells whether more follow."""
    size = page_size(asked)
    before, kept = tokens.read_page(token, query) if token else ("", await extra() if extra else "")
    rows = await fetch(before, size + 1)
    more = len(rows) > size
    rows = rows[:size]
    return Page([item for _, item in rows], tokens.page(query, rows[-1][0], kept) if more else "", kept)
