"""What all commands share: lazily loaded groups, common options, the connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gpuplane_client import Client


@dataclass
class Common:
    """The options that every command takes."""

    output: str = "table"
    state: str = ""
    endpoint: str = ""

    @property
    def json(self) -> bool:
        return self.output == "json"


def common() -> Common:
    """The common options of the running command."""
    return click.get_current_context().ensure_object(Common)


@contextmanager
def connect(*, operator: bool = False, retry_for: float = 1.0, outage: float = 300.0) -> Iterator[Client]:
    """A client for the server that options, environment and state folder name."""
    from gpuplane_client import Client, discover

    from controlplane.cli.errors import at_endpoint

    options = common()
    config = discover(options.state, endpoint=options.endpoint, operator=operator)
    with (
        Client(config.endpoint, config.key, retry_for=retry_for, outage=outage) as client,
        at_endpoint(config.endpoint),
    ):
        yield client


def _remember(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value and param.name:
        setattr(ctx.ensure_object(Common), param.name, value)


def _common_options() -> dict[str, click.Option]:
    shared: dict[str, Any] = {"expose_value": False, "callback": _remember}
    return {
        "output": click.Option(
            ["-o", "--output"],
            type=click.Choice(["table", "json"]),
            envvar="GPUPLANE_OUTPUT",
            help="table for people, json for programs.",
            **shared,
        ),
        "state": click.Option(
            ["--state"],
            metavar="DIR",
            help="State folder of `gpuplane up`, where endpoint and key are found.  [default: .gpuplane]",
            **shared,
        ),
        "endpoint": click.Option(
            ["--endpoint"], metavar="HOST:PORT", help="Server to talk to; https:// for TLS.", **shared
        ),
    }


class ApiCommand(click.Command):
    """A command that talks to the server: it also takes -o, --state and --endpoint."""

    shared: tuple[str, ...] = ("output", "state", "endpoint")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options = _common_options()
        self._shared = [options[name] for name in self.shared]
        self.params += self._shared

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [param for param in self.get_params(ctx) if param not in self._shared]
        _write_options(ctx, formatter, "Options", own)
        _write_options(ctx, formatter, "Common options", self._shared)


class LocalCommand(ApiCommand):
    """A command about this host: output format only."""

    shared = ("output",)


def _write_options(
    ctx: click.Context, formatter: click.HelpFormatter, title: str, params: Sequence[click.Parameter]
) -> None:
    records = [record for param in params if (record := param.get_help_record(ctx)) is not None]
    if records:
        with formatter.section(title):
            formatter.write_dl(records)


class Group(click.Group):
    """A group whose commands take the common options."""

    command_class = ApiCommand


class LazyGroup(click.Group):
    """The root: imports a command's module when the command is asked for, so that each starts fast.

    `sections` maps a heading of the help page to {command: "module:attribute"}.
    """

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in self._sections.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for section in self._sections.values():
            if cmd_name in section:
                module, _, attribute = section[cmd_name].partition(":")
                command: click.Command = getattr(import_module(f"controlplane.cli.{module}"), attribute)
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            # click looks for similar names among the commands that it has loaded.
            raise click.NoSuchCommand(error.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in self._sections.items():
            rows = []
            for name in section:
                command = self.get_command(ctx, name)
                rows.append((name, command.get_short_help_str(limit=66) if command else ""))
            with formatter.section(title):
                formatter.write_dl(rows)
