"""`slurmbatch keys`: one's own API keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from slurmbatch.cli import terminal
from slurmbatch.cli.remote import Session, remote

_HEAD = ("KEY", "NAME", "SCOPES", "EXPIRES", "LAST USED", "REVOKED", "")


@click.group(invoke_without_command=True)
@click.pass_context
def keys(context: click.Context) -> None:
    """Your API keys: show them, make one, revoke one. Without a command: show them."""
    if context.invoked_subcommand is None:
        context.invoke(list_keys)


@keys.command("list")
@remote
def list_keys(session: Session) -> None:
    """Show your keys, newest first; never their secrets."""
    found = session.client.keys()
    if session.as_json:
        terminal.print_json(found)
        return
    rows = [
        (
            each["key_id"], each["name"], ",".join(each["scopes"]), each["expires_at"],
            each["last_used_at"], each["revoked_at"], "this one" if each["current"] else "",
        )
        for each in found
    ]  # fmt: skip
    terminal.print_table(_HEAD, rows)


@keys.command()
@click.option("--name", default="", metavar="TEXT", help="For you to know it by.")
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE",
              help="read, submit or admin; may be repeated. Default: as this one, without admin."
              )  # fmt: skip
@click.option("--expires", "days", type=click.IntRange(1, 36_500), metavar="DAYS",
              help="Days for which it works. Default: as long as may be.")  # fmt: skip
@remote
def create(session: Session, name: str, scopes: tuple[str, ...], days: int | None) -> None:
    """Make a key and print it, once: nobody can show it again."""
    until = None if days is None else datetime.now(UTC) + timedelta(days=days)
    made = session.client.create_key(name, scopes=scopes or None, expires_at=until)
    if session.as_json:
        terminal.print_json(made)
        return
    terminal.say(
        f"API key {made['key_id']} ({', '.join(made['scopes'])}), good until {made['expires_at']}."
    )
    terminal.say("It is shown this once. Send it in the Authorization header.")
    click.echo(made["key"])


@keys.command()
@click.argument("key_ids", nargs=-1, required=True, metavar="KEY_ID...")
@remote
def revoke(session: Session, key_ids: tuple[str, ...]) -> None:
    """Make keys useless from now on, and whatever was made with them."""
    for key_id in key_ids:
        session.client.revoke_key(key_id)
    if session.as_json:
        terminal.print_json({"revoked": list(key_ids)})
    else:
        terminal.say(f"Revoked {', '.join(key_ids)}.")
