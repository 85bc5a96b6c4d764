"""`slurmbatch login`, `logout` and `profiles`: which services there are, and the keys to them."""

from __future__ import annotations

import sys

import click

from slurmbatch.cli import terminal
from slurmbatch.cli.remote import told
from slurmbatch.client import Client, ClientError, profiles
from slurmbatch.client.connection import is_private
from slurmbatch.client.profiles import DEFAULT, Profile

json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.command()
@click.argument("url")
@click.option("--profile", "name", metavar="NAME", default=DEFAULT, show_default=True,
              help="Under which name to keep it.")  # fmt: skip
@json_option
def login(url: str, name: str, as_json: bool) -> None:
    """Keep the URL of a service and your API key to it, once both have been tried.

    The key is asked for, or read from standard input.
    """
    is_person = sys.stdin.isatty()
    key = click.prompt("API key", hide_input=True, err=True) if is_person else sys.stdin.readline()
    profile = Profile(url.rstrip("/"), key.strip())
    if not profile.key.isascii() or not profile.key.isprintable() or not profile.key:
        raise click.ClickException("Expected an API key: printable ASCII, on one line.")
    with told(as_json), Client(profile.url, profile.key) as client:
        tools = client.tools()
        file = profiles.path()
        profiles.save(file, profiles.load(file).having(name, profile))
    if as_json:
        terminal.print_json({"profile": name, "url": profile.url})
    else:
        terminal.say(f"Logged in to {profile.url}, where you may run {_counted(len(tools))}.")
        terminal.say(f"Kept as profile {name} in {file}.")
        if not is_private(profile.url):
            terminal.say("Note: with http:// anybody on the way can read your key; try https://.")


@click.command()
@click.option("--profile", "name", metavar="NAME", help="Which one. Default: the current one.")
@json_option
def logout(name: str | None, as_json: bool) -> None:
    """Forget a service, and the key to it. The key itself stays good."""
    with told(as_json):
        file = profiles.path()
        stored = profiles.load(file)
        gone = name or stored.current
        if gone not in stored.profiles:
            raise ClientError(f"There is no profile {gone!r}.")
        profiles.save(file, stored.without(gone))
    if as_json:
        terminal.print_json({"profile": gone, "url": stored.profiles[gone].url})
    else:
        terminal.say(f"Forgot {stored.profiles[gone].url} (profile {gone}).")


@click.command("profiles")
@click.option("--use", metavar="NAME", help="Make this one the current one.")
@json_option
def list_profiles(use: str | None, as_json: bool) -> None:
    """Show the services that you are logged in to; the keys are not shown."""
    with told(as_json):
        file = profiles.path()
        stored = profiles.load(file)
        if use is not None:
            if use not in stored.profiles:
                raise ClientError(f"There is no profile {use!r}.")
            stored = stored.having(use, stored.profiles[use])
            profiles.save(file, stored)
    found = [
        {"profile": name, "url": each.url, "current": name == stored.current}
        for name, each in stored.profiles.items()
    ]
    if as_json:
        terminal.print_json(found)
        return
    rows = [
        ("*" if each["current"] else "", str(each["profile"]), str(each["url"])) for each in found
    ]
    terminal.print_table(("", "PROFILE", "URL"), rows)


def _counted(tools: int) -> str:
    return "one tool" if tools == 1 else f"{tools} tools"
