"""Stored messages in memory, for the one process that owns a SQLite file: a read that hits costs no statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

BYTES = 32 << 20
ENTRY_BYTES = 300
"""What an entry takes beside its message: id, tuple, slots."""

PAGES = 1000

Entry = tuple[str, bytes]
"""Owner and message."""

PageKey = tuple[str | None, str, int]
"""Whose rows (None: everybody's), before which id, how many at most."""


class MessageCache:
    """The messages of one table by id, each with the account that owns it, and the ids of unfiltered pages.

    Two generations bound it: when the younger holds half of what it may, the older is dropped and the younger takes
    its place; an entry that is read moves to the younger. So what is asked for stays. Used on the loop's thread only.
    """

    def __init__(self, limit: int = BYTES) -> None:
        self._half = limit // 2
        self._size = 0  # of the younger
        self._young: dict[str, Entry] = {}
        self._old: dict[str, Entry] = {}
        self._pages: dict[PageKey, Sequence[str]] = {}

    def get(self, id: str) -> Entry | None:
        """What is remembered of a row."""
        entry = self._young.get(id)
        if entry is None and (entry := self._old.get(id)) is not None:
            self.put(id, entry)
        return entry

    def put(self, id: str, entry: Entry) -> None:
        """Remember a committed row."""
        before = self._young.get(id)
        self._old.pop(id, None)
        self._size += len(entry[1]) - len(before[1]) if before else len(entry[1]) + ENTRY_BYTES
        self._young[id] = entry
        if self._size > self._half:
            self._old, self._young, self._size = self._young, {}, 0

    def page(self, key: PageKey) -> list[tuple[str, bytes]] | None:
        """The ids and messages of a page, or None if something of it is missing."""
        ids = self._pages.get(key)
        return self.all(ids) if ids is not None else None

    def all(self, ids: Iterable[str]) -> list[tuple[str, bytes]] | None:
        """All these rows, or None if one is missing."""
        found, young = [], self._young
        for id in ids:
            entry = young.get(id) or self.get(id)
            if entry is None:
                return None
            found.append((id, entry[1]))
        return found

    def put_page(self, key: PageKey, ids: Sequence[str]) -> None:
        """Remember which rows a page has."""
        if len(self._pages) >= PAGES:
            self._pages.clear()
        self._pages[key] = ids

    def turn_pages(self) -> None:
        """A row was added: forget which rows pages have."""
        self._pages.clear()

    def drop(self, id: str) -> None:
        """A row was removed."""
        self._pages.clear()
        self._old.pop(id, None)
        if (entry := self._young.pop(id, None)) is not None:
            self._size -= len(entry[1]) + ENTRY_BYTES

    def clear(self) -> None:
        """Forget everything."""
        self._old, self._young, self._pages, self._size = {}, {}, {}, 0
