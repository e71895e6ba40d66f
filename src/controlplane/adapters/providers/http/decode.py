"""Reading JSON bodies: decimals stay exact, and a large body does not hold up the loop."""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

_LARGE = 256 * 1024
_ROWS_AT_ONCE = 100  # about a millisecond
_ENVELOPES = 4  # objects within objects around a list

_SPACE = re.compile(r"[ \t\r\n]*")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _exact(text: str) -> Decimal:
    """The number; infinite where no Decimal holds it, so that one absurd number does not spoil a whole answer."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("Infinity")


_DECODER = json.JSONDecoder(parse_float=_exact, parse_constant=_no_constant)


async def decode(body: bytes) -> Any:
    """The value of a JSON text. Raises ValueError if it is none."""
    try:
        text = body.decode()
        return _DECODER.decode(text) if len(text) < _LARGE else await _Pieces(text).value()
    except RecursionError:
        raise ValueError("nested too deeply") from None


class _Pieces:
    """Decodes the outer objects' members one by one, and their arrays element by element."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = self._skip(0)

    async def value(self) -> Any:
        found = await self._nested(_ENVELOPES)
        if self._at != len(self._text):
            raise ValueError("something follows the value")
        return found

    async def _nested(self, depth: int) -> Any:
        if depth and self._peek() == "{":
            return await self._object(depth - 1)
        return await self._array() if self._peek() == "[" else self._one()

    async def _object(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        self._take("{")
        more = not self._ends("}")
        while more:
            key = self._one()
            if not isinstance(key, str):
                raise ValueError("a member without a name")
            self._take(":")
            members[key] = await self._nested(depth)
            more = not self._ends("}", after_one=True)
        return members

    async def _array(self) -> list[Any]:
        elements: list[Any] = []
        self._take("[")
        more = not self._ends("]")
        while more:
            elements.append(self._one())
            if len(elements) % _ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
            more = not self._ends("]", after_one=True)
        return elements

    def _ends(self, mark: str, *, after_one: bool = False) -> bool:
        """Whether the mark ends it here; after an element, only a comma may stand in its place."""
        if self._peek() == mark:
            self._take(mark)
            return True
        if after_one:
            self._take(",")
        return False

    def _one(self) -> Any:
        found, end = _DECODER.raw_decode(self._text, self._at)
        self._at = self._skip(end)
        return found

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, mark: str) -> None:
        if self._peek() != mark:
            raise ValueError(f"{mark!r} expected at {self._at}")
        self._at = self._skip(self._at + 1)

    def _skip(self, at: int) -> int:
        space = _SPACE.match(self._text, at)
        return space.end() if space else at
