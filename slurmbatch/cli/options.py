"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from slurmbatch.config import DEFAULT_PATH

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="SLURMBATCH_CONFIG",
    default=DEFAULT_PATH,
    show_default=True,
    show_envvar=True,
    help="The settings file.",
)
