"""`slurmbatch admin backup, restore, take-over, check, migrate, purge`."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import click

from slurmbatch import headship
from slurmbatch.cli.admin.audit import act
from slurmbatch.cli.admin.common import config_option, database_of, own_errors, store_of
from slurmbatch.store import open_store, upkeep

_file = click.Path(path_type=Path, dir_okay=False)
_DAY = 86_400.0


@click.command()
@click.argument("target", type=_file)
@config_option
def backup(target: Path, config_path: Path) -> None:
    """Copy the database to the file TARGET, whole, beside a running daemon."""
    path = database_of(config_path)
    _must_be_there(path)
    began = time.monotonic()
    with own_errors():
        size = upkeep.back_up(path, target)
    took = time.monotonic() - began
    click.echo(f"{target}: {size / 1e6:.1f} MB, checked, in {took:.1f} s.", err=True)


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--yes", is_flag=True, help="Don't ask.")
@config_option
def restore(source: Path, yes: bool, config_path: Path) -> None:
    """Put the copy SOURCE in the place of the database, while no daemon runs."""
    path = database_of(config_path)
    if not yes:
        click.confirm(f"What was accepted after {source} was made is forgotten. Go on?", abort=True)
    with own_errors():
        kept = upkeep.restore(path, source)
    click.echo(f"{path} is as in {source}.", err=True)
    if kept is not None:
        click.echo(f"What it was before is kept in {kept}.", err=True)


@click.command()
@click.argument("file", type=_file, required=False)
@config_option
def check(file: Path | None, config_path: Path) -> None:
    """Look whether the database, or the copy FILE, is sound. Ends with 1 if it is not."""
    path = file or database_of(config_path)
    with own_errors():
        complaints = upkeep.examine(path, thoroughly=True)
    for line in complaints:
        click.echo(line)
    if complaints:
        raise SystemExit(1)
    click.echo(f"{path} is sound.")


@click.command()
@config_option
def migrate(config_path: Path) -> None:
    """Bring the database up to this release, while no daemon runs. The daemon does so by itself."""
    path = database_of(config_path)
    _must_be_there(path)
    with own_errors():
        before, after = upkeep.schema_of(path)
        with closing(open_store(path, exclusive=True)) as store:
            store.upkeep.compact()
    if before == after:
        click.echo(f"{path} has schema {after} already.")
    else:
        kept = f"{path}.schema-{before}"
        click.echo(f"{path}: from schema {before} to {after}; what it was is kept in {kept}.")


@click.command("take-over")
@click.option("--yes", is_flag=True, help="Don't ask.")
@config_option
def take_over(yes: bool, config_path: Path) -> None:
    """Let this database be the one that counts, while no daemon runs on it.

    For a second head node whose copy is older than the first one's last start. Whatever daemon was
    the head until now ends once one is started here.
    """
    path = database_of(config_path)
    _must_be_there(path)
    if not yes:
        click.confirm("What was accepted elsewhere after this copy was made is forgotten. Go on?",
                      abort=True)  # fmt: skip
    with own_errors(), closing(open_store(path, exclusive=True)) as store:
        store.audit.add(act("service.take-over"))
        store.remember(headship.KEY, headship.TAKES_OVER)
    click.echo("The next daemon that is started here takes over.", err=True)


@click.command()
@click.option("--older-than", "days", type=click.IntRange(0, 36_500), required=True,
              metavar="DAYS", help="Batches that ended longer ago than that.")  # fmt: skip
@click.option("--user", "user_id", metavar="NAME", help="Only those of this user.")
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
@config_option
def purge(days: int, user_id: str | None, dry_run: bool, config_path: Path) -> None:
    """Delete batches that have ended, with what they printed.

    They are hidden at once; the daemon removes them bit by bit, and gives the space back.
    """
    before = time.time() - days * _DAY
    with store_of(config_path) as store:
        if dry_run:
            count = len(store.upkeep.due(before, user_id))
            click.echo(f"{count} batches would be deleted.")
        else:
            told = act("batch.purge", owner=user_id or "", detail=f"older than {days} days")
            count = store.upkeep.expire(before, user_id, told)
            click.echo(f"{count} batches are deleted.")


def _must_be_there(path: Path) -> None:
    if not path.exists():
        raise click.ClickException(f"{path} is not there: the daemon makes it when it first starts")
