"""`slurmbatch serve`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from slurmbatch import daemon
from slurmbatch.cli.options import config_option
from slurmbatch.config import load
from slurmbatch.errors import SlurmbatchError, Superseded


@click.command()
@config_option
def serve(config_path: Path) -> None:
    """Run the daemon in the foreground until SIGTERM or SIGINT."""
    try:
        code = daemon.run(load(config_path))
    except Superseded as error:
        click.echo(error.detail, err=True)
        sys.exit(daemon.SUPERSEDED)
    except SlurmbatchError as error:
        click.echo(error.detail, err=True)
        sys.exit(1)
    sys.exit(code)
