"""The commands. Each is imported only when it is called, so that `slurmbatch --help` is quick."""

from __future__ import annotations

import importlib

import click
from click.shell_completion import CompletionItem

from slurmbatch import __version__

USERS = {
    "login": ("slurmbatch.cli.login:login", "Keep the URL of a service, and your key to it."),
    "logout": ("slurmbatch.cli.login:logout", "Forget a service, and the key to it."),
    "profiles": ("slurmbatch.cli.login:list_profiles", "Show the services logged in to."),
    "keys": ("slurmbatch.cli.keys:keys", "Your API keys: show them, make one, revoke one."),
    "tools": ("slurmbatch.cli.catalogue:tools", "Show what may be run, or one tool."),
    "filesystems": ("slurmbatch.cli.catalogue:filesystems", "Show what jobs can ask for."),
    "submit": ("slurmbatch.cli.submit:submit", "Run a tool as a batch of jobs."),
    "ls": ("slurmbatch.cli.batches:ls", "List batches, newest first."),
    "show": ("slurmbatch.cli.batches:show", "Show a batch, or one of its jobs."),
    "watch": ("slurmbatch.cli.watch:watch", "Watch a batch until it is through."),
    "wait": ("slurmbatch.cli.watch:wait", "Wait for batches; the exit code tells success."),
    "jobs": ("slurmbatch.cli.jobs:jobs", "List the jobs of a batch."),
    "logs": ("slurmbatch.cli.jobs:logs", "Print what jobs have printed."),
    "cancel": ("slurmbatch.cli.batches:cancel", "End what has not ended of a batch."),
    "retry": ("slurmbatch.cli.batches:retry", "Run failed jobs of a batch again."),
    "rm": ("slurmbatch.cli.batches:rm", "Delete batches for good."),
    "open": ("slurmbatch.cli.batches:open_", "Open the dashboard."),
    "completion": ("slurmbatch.cli.completion:completion", "Complete commands in your shell."),
}
ADMINS = {
    "serve": ("slurmbatch.cli.serve:serve", "Run the daemon."),
    "check-config": (
        "slurmbatch.cli.check_config:check_config",
        "Check the settings, all of them.",
    ),
    "admin": ("slurmbatch.cli.admin:admin", "For the service's administrators."),
    "sandbox": ("slurmbatch.cli.sandbox:sandbox", "A private, real Slurm to try things out on."),
    "demo": ("slurmbatch.cli.demo:demo", "Run a 100-job batch and watch it end."),
}
COMMANDS = USERS | ADMINS


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
        for title, commands in (("Commands", USERS), ("For the service", ADMINS)):
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Without importing all of them, as click's own does."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="slurmbatch")
def main() -> None:
    """A REST bridge to Slurm: run tools as batches of jobs, and see how they fare.

    BATCH is the id of a batch, as much of its beginning as is unique, or @ for the newest one.
    """
