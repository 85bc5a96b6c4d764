"""What the admin's commands share: the settings, the database, and how they speak."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from slurmbatch import config
from slurmbatch.config import Settings
from slurmbatch.errors import SettingsError, SlurmbatchError
from slurmbatch.store import Store, open_store

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="SLURMBATCH_CONFIG",
    default=config.DEFAULT_PATH,
    show_default=True,
    help="The settings file; also from SLURMBATCH_CONFIG.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@contextmanager
def own_errors() -> Iterator[None]:
    """Our errors become the command's."""
    try:
        yield
    except SettingsError as error:
        lines = "\n  ".join(error.mistakes)
        raise click.ClickException(f"The settings have mistakes:\n  {lines}") from error
    except SlurmbatchError as error:
        raise click.ClickException(error.detail) from error


def settings_of(config_path: Path) -> Settings:
    """No admin's command lets anybody in, so none needs the keys."""
    with own_errors():
        return config.load(config_path, with_keys=False)


def database_of(config_path: Path) -> Path:
    return settings_of(config_path).store.path


@contextmanager
def store_of(config_path: Path) -> Iterator[Store]:
    """The database of these settings, beside a running daemon."""
    path = database_of(config_path)
    with own_errors(), closing(open_store(path, exclusive=False)) as store:
        yield store


def moment(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def table(rows: Sequence[Mapping[str, str]], names: Sequence[str]) -> Iterator[str]:
    """Lines of columns, with a head in capitals."""
    head = {name: name.upper().replace("_", " ") for name in names}
    widths = {name: max(len(row[name]) for row in [head, *rows]) for name in names}
    for row in [head, *rows]:
        yield "  ".join(row[name].ljust(widths[name]) for name in names).rstrip()
