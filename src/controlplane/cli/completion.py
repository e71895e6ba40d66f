"""`gpuplane completion`."""

from __future__ import annotations

import click

VARIABLE = "_GPUPLANE_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print shell completion.

    \b
      bash:  eval "$(gpuplane completion bash)"             in ~/.bashrc
      zsh:   eval "$(gpuplane completion zsh)"              in ~/.zshrc
      fish:  gpuplane completion fish > ~/.config/fish/completions/gpuplane.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "gpuplane", VARIABLE).source())
