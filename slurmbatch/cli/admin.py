"""`slurmbatch admin`: API keys. Works beside a running daemon, on the same database."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from slurmbatch import config
from slurmbatch.errors import SettingsError, SlurmbatchError
from slurmbatch.identity import USER_ID, new_key
from slurmbatch.model import ApiKey
from slurmbatch.store import Store, open_store

_DAY = 86_400

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="SLURMBATCH_CONFIG",
    default=config.DEFAULT_PATH,
    show_default=True,
    help="The settings file; also from SLURMBATCH_CONFIG.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def admin() -> None:
    """For the service's administrators."""


@admin.group()
def key() -> None:
    """API keys: who may call, and until when."""


@key.command()
@click.option("--user", "user_id", required=True, metavar="NAME", help="Whose key it will be.")
@click.option(
    "--expires",
    type=click.IntRange(1, 36_500),
    metavar="DAYS",
    help="Days after which the key stops working. Default: never.",
)
@config_option
def create(user_id: str, expires: int | None, config_path: Path) -> None:
    """Make a key and print it, once: nobody can show it again."""
    if not USER_ID.fullmatch(user_id):
        raise click.BadParameter(
            "letters, digits and . _ @ - are allowed, at most 128, the first a letter, digit or _",
            param_hint="--user",
        )
    now = time.time()
    kept, secret = new_key(user_id, now + expires * _DAY if expires else None, now)
    with _store(config_path) as store:
        store.keys.add_key(kept)
    until = f"until {_moment(kept.expires_at)}" if kept.expires_at else "until it is revoked"
    click.echo(f"API key {kept.key_id} for {user_id}, good {until}.", err=True)
    click.echo("It is shown this once. Send it in the Authorization header.", err=True)
    click.echo(secret)


@key.command("list")
@click.option("--user", "user_id", metavar="NAME", help="Only the keys of this user.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
@config_option
def list_keys(user_id: str | None, as_json: bool, config_path: Path) -> None:
    """Show the keys, never their secrets."""
    now = time.time()
    with _store(config_path) as store:
        rows = [_row(each, now) for each in store.keys.list_keys(user_id)]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("No keys.", err=True)
    widths = {name: max(len(row[name]) for row in [*rows, _HEAD]) for name in _HEAD}
    for row in [_HEAD, *rows] if rows else []:
        click.echo("  ".join(row[name].ljust(widths[name]) for name in _HEAD).rstrip())


@key.command()
@click.argument("key_id")
@config_option
def revoke(key_id: str, config_path: Path) -> None:
    """Make a key useless from now on."""
    with _store(config_path) as store:
        if not store.keys.revoke_key(key_id, time.time()):
            raise click.ClickException(f"There is no key {key_id} that could be revoked.")
    click.echo(f"API key {key_id} is revoked.", err=True)


@contextmanager
def _store(config_path: Path) -> Iterator[Store]:
    """The database of these settings; our own errors become the command's."""
    try:
        path = config.load(config_path, with_keys=False).store.path
        with closing(open_store(path, exclusive=False)) as store:
            yield store
    except SettingsError as error:
        lines = "\n  ".join(error.mistakes)
        raise click.ClickException(f"The settings have mistakes:\n  {lines}") from error
    except SlurmbatchError as error:
        raise click.ClickException(error.detail) from error


_HEAD = {
    name: name.upper().replace("_", " ")
    for name in ("key_id", "user", "state", "created_at", "expires_at", "revoked_at")
}


def _row(each: ApiKey, now: float) -> dict[str, str]:
    expired = each.expires_at is not None and each.expires_at <= now
    state = "revoked" if each.revoked_at is not None else "expired" if expired else "active"
    return {
        "key_id": each.key_id,
        "user": each.user_id,
        "state": state,
        "created_at": _moment(each.created_at),
        "expires_at": _moment(each.expires_at),
        "revoked_at": _moment(each.revoked_at),
    }


def _moment(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
