"""`slurmbatch check-config`: what is wrong with the settings, or what they say in short."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from slurmbatch.cli.options import config_option
from slurmbatch.config import Settings, load
from slurmbatch.errors import SettingsError


@click.command("check-config")
@config_option
def check_config(config_path: Path) -> None:
    """Check the settings and all tools, and name every mistake in them."""
    try:
        settings = load(config_path)
    except SettingsError as error:
        count = len(error.mistakes)
        for mistake in error.mistakes:
            click.echo(mistake, err=True)
        click.echo(f"{count} mistake{'' if count == 1 else 's'}.", err=True)
        raise SystemExit(1) from None
    for line in _summary(settings):
        click.echo(line)


def _summary(settings: Settings) -> Iterator[str]:
    server, slurm = settings.server, settings.slurm
    yield f"{settings.source}: no mistakes."
    yield f"  listens on   {server.host}:{server.port}"
    yield f"  database     {settings.store.path}"
    yield f"  job logs     {settings.jobs.log_dir}"
    yield f"  Slurm        {slurm.conf or 'as it finds itself'}"
    yield f"  tools        {_listed(settings.tools)}"
    yield f"  filesystems  {_listed(each.id for each in settings.filesystems)}"
    yield f"  tokens from  {_listed(each.issuer for each in settings.auth.jwt)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
