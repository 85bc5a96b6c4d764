"""`slurmbatch completion`: what a shell needs to complete the commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from slurmbatch.cli import terminal


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def completion(ctx: click.Context, shell: str, as_json: bool) -> None:
    """Print what makes your shell complete commands, options, tools and batches.

    Put this into ~/.bashrc, say: eval "$(slurmbatch completion bash)"
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101
    script = kind(ctx.find_root().command, {}, "slurmbatch", "_SLURMBATCH_COMPLETE").source()
    if as_json:
        terminal.print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
