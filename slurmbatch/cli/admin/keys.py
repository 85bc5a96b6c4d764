"""`slurmbatch admin key`: who may call, and until when."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import click

from slurmbatch.cli.admin.audit import act
from slurmbatch.cli.admin.common import config_option, json_option, moment, store_of, table
from slurmbatch.identity import USER_ID, new_key
from slurmbatch.model import USUAL_SCOPES, ApiKey, Scope

_DAY = 86_400
_MAX_NAME = 100
_NAMES = (
    "key_id", "user", "state", "created_at", "expires_at", "revoked_at", "name", "scopes",
    "last_used_at",
)  # fmt: skip


@click.group()
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
@click.option("--name", default="", metavar="TEXT", help="For people to know it by.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([each.value for each in Scope]),
    help="What it is good for; may be repeated. Default: read and submit.",
)
@config_option
def create(
    user_id: str, expires: int | None, name: str, scopes: tuple[str, ...], config_path: Path
) -> None:
    """Make a key and print it, once: nobody can show it again."""
    if not USER_ID.fullmatch(user_id):
        raise click.BadParameter(
            "letters, digits and . _ @ - are allowed, at most 128, the first a letter, digit or _",
            param_hint="--user",
        )
    now = time.time()
    kept, secret = new_key(
        user_id, now + expires * _DAY if expires else None, now, name=_checked(name),
        scopes=frozenset(map(Scope, scopes)) or USUAL_SCOPES,
    )  # fmt: skip
    with store_of(config_path) as store:
        granted = " ".join(sorted(kept.scopes))
        store.keys.add_key(kept, act("key.create", kept.key_id, owner=user_id, detail=granted))
    until = f"until {moment(kept.expires_at)}" if kept.expires_at else "until it is revoked"
    click.echo(f"API key {kept.key_id} for {user_id}, good {until}.", err=True)
    click.echo("It is shown this once. Send it in the Authorization header.", err=True)
    click.echo(secret)


@key.command("list")
@click.option("--user", "user_id", metavar="NAME", help="Only the keys of this user.")
@json_option
@config_option
def list_keys(user_id: str | None, as_json: bool, config_path: Path) -> None:
    """Show the keys, never their secrets."""
    now = time.time()
    with store_of(config_path) as store:
        rows = [_row(each, now) for each in store.keys.list_keys(user_id)]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("No keys.", err=True)
    for line in table(rows, _NAMES) if rows else ():
        click.echo(line)


@key.command()
@click.argument("key_id")
@config_option
def revoke(key_id: str, config_path: Path) -> None:
    """Make a key useless from now on, and the keys that were made with it."""
    with store_of(config_path) as store:
        known = store.keys.key(key_id)
        told = act("key.revoke", key_id, owner=known.user_id if known else "")
        if not store.keys.revoke_key(key_id, told.at, told):
            store.audit.add(replace(told, outcome="refused"))
            raise click.ClickException(f"There is no key {key_id} that could be revoked.")
    click.echo(f"API key {key_id} is revoked.", err=True)


def _checked(name: str) -> str:
    if len(name) > _MAX_NAME or not name.isprintable():
        raise click.BadParameter(
            f"at most {_MAX_NAME} characters, none of them control characters", param_hint="--name"
        )
    return name


def _row(each: ApiKey, now: float) -> dict[str, str]:
    return {
        "key_id": each.key_id,
        "user": each.user_id,
        "state": each.state(now),
        "created_at": moment(each.created_at),
        "expires_at": moment(each.expires_at),
        "revoked_at": moment(each.revoked_at),
        "name": each.name,
        "scopes": ",".join(sorted(each.scopes)),
        "last_used_at": moment(each.used_at),
    }
