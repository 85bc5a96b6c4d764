"""The commands. Each is imported only when it is called, so that `slurmbatch --help` is quick."""

from __future__ import annotations

import importlib

import click

from slurmbatch import __version__

COMMANDS = {
    "serve": ("slurmbatch.cli.serve:serve", "Run the daemon."),
    "check-config": (
        "slurmbatch.cli.check_config:check_config",
        "Check the settings, all of them.",
    ),
    "admin": ("slurmbatch.cli.admin:admin", "For the service's administrators: API keys."),
    "sandbox": ("slurmbatch.cli.sandbox:sandbox", "A private, real Slurm to try things out on."),
    "demo": ("slurmbatch.cli.demo:demo", "Run a 100-job batch and watch it end."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="slurmbatch")
def main() -> None:
    """A REST bridge to Slurm."""
