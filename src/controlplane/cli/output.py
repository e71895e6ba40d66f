"""Tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from controlplane.cli.columns import GAP, column_widths

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import Console
    from rich.text import Text

WIDTH = 100
_UNCUT = 400
_COLOURS = {
    "running": "green",
    "succeeded": "green",
    "created": "green",
    "ok": "green",
    "failed": "red",
    "missing": "red",
    "cancelled": "yellow",
    "terminated": "dim",
    "simulated": "magenta",
}


def to_dict(message: Message) -> dict[str, Any]:
    """The message as the REST API shows it."""
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def print_json(value: Any) -> None:
    """A message, or a sequence of messages as an array."""
    from google.protobuf.message import Message

    if isinstance(value, Message):
        value = to_dict(value)
    elif isinstance(value, (list, tuple)):
        value = [to_dict(item) if isinstance(item, Message) else item for item in value]
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_line(value: Message | dict[str, Any]) -> None:
    """One line of a stream, flushed: the reader may be a program that acts on it."""
    click.echo(json.dumps(value if isinstance(value, dict) else to_dict(value), ensure_ascii=False))
    sys.stdout.flush()


def word(enum: Any, value: int) -> str:
    """An enum value as a word: `INSTANCE_STATE_RUNNING` is `running`."""
    try:
        name: str = enum.Name(value)
    except ValueError:  # from a newer server
        return str(value)
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    return name.removeprefix(prefix).lower().replace("_", "-")


def choice(enum: Any) -> click.Choice[str]:
    """An option that takes one of the enum's words."""
    return click.Choice([word(enum, value) for value in enum.values() if value], case_sensitive=False)


def from_word(enum: Any, text: str | None) -> Any:
    """The enum value that a word means; the unspecified one for none."""
    return next((value for value in enum.values() if text and word(enum, value) == text.lower()), 0)


def console(*, err: bool = False, width: int | None = None) -> Console:
    """Unless a width is given: a terminal as wide as it is, a pipe of 100 columns."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    if width is None and not stream.isatty() and "COLUMNS" not in os.environ:
        width = WIDTH
    return Console(file=stream, width=width, highlight=False)


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    keep: Sequence[str] = ("ID",),
    fold: Sequence[str] = (),
    empty: str = "",
    wide: bool = False,
) -> None:
    """A table. Where the terminal is narrow the columns of `fold` go on in the next line and the others are cut;
    those of `keep` give way last, and then fold too.

    `wide` narrows nothing, however narrow the terminal.
    """
    from rich.cells import cell_len
    from rich.table import Table

    cells = [list(row) for row in rows]
    if not cells and empty:
        click.echo(empty, err=True)
        return
    screen = console(width=_UNCUT if wide else None)
    natural = [max(map(cell_len, column)) for column in zip(headings, *cells, strict=True)]
    widths = column_widths(natural, [wide or heading in keep for heading in headings], screen.width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for heading, width in zip(headings, widths, strict=True):
        table.add_column(heading, width=width)
    for row in cells:
        table.add_row(*[_cell(value, heading in {*keep, *fold}) for value, heading in zip(row, headings, strict=True)])
    screen.print(table)


def print_details(pairs: Iterable[tuple[str, str]]) -> None:
    """One thing as `name  value` lines; empty values are left out."""
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {value}")


def _cell(value: str, folds: bool) -> Text:
    from rich.text import Text

    style = next((colour for key, colour in _COLOURS.items() if value == key or value.endswith(f" {key}")), "")
    return Text(value, style=style, no_wrap=not folds, overflow="fold" if folds else "ellipsis")
