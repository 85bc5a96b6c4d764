"""`slurmbatch login`, `logout` and `profiles`: which services there are, and the keys to them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from socket import gethostname

import click
import httpx

from slurmbatch.cli import munge, terminal
from slurmbatch.cli.remote import told
from slurmbatch.client import ApiError, Client, ClientError, NotLoggedIn, Patience, profiles
from slurmbatch.client.connection import is_private
from slurmbatch.client.profiles import DEFAULT, Profile

json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


# Where an administrator may say which service is the cluster's own.
SITE = Path("/etc/slurmbatch/url")


@click.command()
@click.argument("url", required=False)
@click.option("--profile", "name", metavar="NAME", default=DEFAULT, show_default=True,
              help="Under which name to keep it.")  # fmt: skip
@click.option("--munge/--key", "by_munge", default=None,
              help="By your account on this cluster; or with a key. Default: munge where it is, "
              "and the service takes it.")  # fmt: skip
@click.option("--munge-socket", "socket", type=click.Path(path_type=Path), metavar="PATH",
              envvar="SLURMBATCH_MUNGE_SOCKET", help="Of another munged than the usual one.",
              )  # fmt: skip
@json_option
def login(
    url: str | None, name: str, by_munge: bool | None, socket: Path | None, as_json: bool
) -> None:
    """Keep the URL of a service and your API key to it, once both have been tried.

    On a machine of the cluster a key is made for you there and then, as far as the service takes
    munge credentials. Elsewhere it is asked for, or read from standard input. Without a URL it is
    SLURMBATCH_URL, or the one in /etc/slurmbatch/url.
    """
    file = profiles.path()
    with told(as_json):
        address = (url or os.environ.get(profiles.URL) or _site()).rstrip("/")
        stored = profiles.load(file)
        profile = _logged_in(address, by_munge, socket)
        with Client(profile.url, profile.key) as client:
            tools = client.tools()
            profiles.save(file, stored.having(name, profile))
        old = stored.profiles.get(name)
        if old is not None and old.url == profile.url:
            with suppress(ClientError):
                _revoke(old)
    if as_json:
        terminal.print_json({"profile": name, "url": profile.url})
        return
    terminal.say(f"Logged in to {profile.url}, where you may run {_counted(len(tools))}.")
    if profile.made_here:
        terminal.say("A key was made for that; slurmbatch logout revokes it.")
    terminal.say(f"Kept as profile {name} in {file}.")
    if not is_private(profile.url):
        terminal.say("Note: with http:// anybody on the way can read your key; try https://.")


def _site() -> str:
    try:
        return SITE.read_text(encoding="utf-8").split()[0]
    except (OSError, ValueError, IndexError):
        raise NotLoggedIn("Which service? slurmbatch login URL, or set SLURMBATCH_URL.") from None


def _logged_in(url: str, by_munge: bool | None, socket: Path | None) -> Profile:
    if by_munge is None and sys.stdin.isatty() and munge.is_there():
        with suppress(ClientError):
            return _by_munge(url, socket)
    return _by_munge(url, socket) if by_munge else _by_key(url)


def _by_munge(url: str, socket: Path | None) -> Profile:
    """With a key that is made for it."""
    shown = f"Munge {munge.credential(url, socket)}"
    # A credential is good once: there is no second try with it.
    with Client(url, shown, patience=Patience(tries=1)) as client:
        made = client.create_key(f"slurmbatch login on {gethostname()}"[:100])
    return Profile(url, made["key"], made_here=True)


def _by_key(url: str) -> Profile:
    is_person = sys.stdin.isatty()
    key = click.prompt("API key", hide_input=True, err=True) if is_person else sys.stdin.readline()
    if not key.strip().isascii() or not key.strip().isprintable() or not key.strip():
        raise click.ClickException("Expected an API key: printable ASCII, on one line.")
    return Profile(url, key.strip())


@click.command()
@click.option("--profile", "name", metavar="NAME", help="Which one. Default: the current one.")
@click.option("--keep-key", is_flag=True, help="Don't revoke the key that login has made.")
@json_option
def logout(name: str | None, keep_key: bool, as_json: bool) -> None:
    """Forget a service, and the key to it. One that login has made is revoked; another one, that
    you brought along, stays good."""
    with told(as_json):
        file = profiles.path()
        stored = profiles.load(file)
        gone = name or stored.current
        if gone not in stored.profiles:
            raise ClientError(f"There is no profile {gone!r}.")
        profile = stored.profiles[gone]
        revoked = not keep_key and _revoke(profile)
        profiles.save(file, stored.without(gone))
    if as_json:
        terminal.print_json({"profile": gone, "url": profile.url, "revoked": revoked})
    else:
        terminal.say(f"Forgot {profile.url} (profile {gone}).")
        if revoked:
            terminal.say("The key is revoked.")


def _revoke(profile: Profile) -> bool:
    """The key of a profile, if it was made for it: whether it works no more for sure."""
    if not profile.made_here:
        return False
    try:
        with Client(profile.url, profile.key) as client:
            client.revoke_key(profile.key.split("_")[1])
    except ApiError as error:
        # It has expired, or was revoked before.
        if error.status not in (httpx.codes.UNAUTHORIZED, httpx.codes.NOT_FOUND):
            raise
    return True


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
