"""How wide the columns of a table are. Pure arithmetic, in characters."""

from __future__ import annotations

from collections.abc import Sequence

GAP = 2
"""Between two columns."""
READABLE = 10
"""No column becomes narrower than this while another still can."""


def column_widths(natural: Sequence[int], whole: Sequence[bool], room: int) -> list[int]:
    """Widths that fit `room`, gaps included, however little of it there is: the widest columns give way first.

    The columns marked `whole` keep their natural width until the others are as narrow as can be read.
    """
    left = room - GAP * (len(natural) - 1)
    readable = [min(width, READABLE) for width in natural]
    firm = [width if keep else least for width, least, keep in zip(natural, readable, whole, strict=True)]
    widths = list(natural)
    for least in (firm, readable, [1] * len(natural)):
        widths = _narrowed(widths, least, left)
    return widths


def _narrowed(natural: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """The widths with the widest cut to one level, none below its least, so that they fit if they can."""
    for level in range(max(natural, default=0), 0, -1):
        widths = [max(low, min(width, level)) for width, low in zip(natural, least, strict=True)]
        if sum(widths) <= room:
            return widths
    return list(least)
