"""`slurmbatch admin audit`, and what the other commands write into the audit trail."""

from __future__ import annotations

import json
import os
import pwd
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import click

from slurmbatch.cli.admin.common import config_option, json_option, moment, store_of, table
from slurmbatch.cli.terminal import in_a_line
from slurmbatch.model import Act
from slurmbatch.store import COMMAND_LINE

_NAMES = (
    "at", "user", "what", "target", "owner", "outcome", "credential", "remote", "request_id",
    "detail",
)  # fmt: skip
# What the kernel says of who has never logged in.
_NEVER = 2**32 - 1


def act(
    what: str, target: str = "", *, owner: str = "", detail: str = "",
    outcome: Literal["done", "refused"] = "done",
) -> Act:  # fmt: skip
    """Of whoever runs this command."""
    credential = f"{COMMAND_LINE} as {_name_of(os.geteuid())}"
    return Act(time.time(), person(), what, target, owner, outcome, credential, detail=detail)


def person(environment: Mapping[str, str] = os.environ, proc: Path = Path("/proc/self")) -> str:
    """Who has logged in, whatever account that has become by su or sudo since; else who sudo says
    it is; else the account."""
    try:
        logged_in = int((proc / "loginuid").read_text())
    except (OSError, ValueError):
        logged_in = _NEVER
    if logged_in != _NEVER:
        return _name_of(logged_in)
    return environment.get("SUDO_USER") or _name_of(os.getuid())


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


@click.command()
@click.option("--user", "user_id", metavar="NAME", help="Done by them, or to what is theirs.")
@click.option("--what", metavar="KIND", help="Only of this kind, such as key or batch.cancel.")
@click.option("--target", metavar="ID", help="Only what was done to it.")
@click.option("--since", "since", callback=lambda _c, _p, text: _since(text), metavar="TIME",
              help="Only from then on: 2026-12-31T12:00:00Z, or so long ago: 90m, 12h, 7d."
              )  # fmt: skip
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, metavar="N",
              help="At most so many, the newest.")  # fmt: skip
@json_option
@config_option
def audit(
    user_id: str | None, what: str | None, target: str | None, since: float, limit: int,
    as_json: bool, config_path: Path,
) -> None:  # fmt: skip
    """Show who did what to what, from where, and with which credential; newest first."""
    with store_of(config_path) as store:
        found = store.audit.find(
            user_id=user_id, what=what, target=target, since=since, limit=limit
        )
    rows = [_row(each) for each in found]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("Nothing of that kind.", err=True)
        return
    cleaned = [{name: in_a_line(text) for name, text in row.items()} for row in rows]
    for line in table(cleaned, _NAMES):
        click.echo(line)


def _row(each: Act) -> dict[str, str]:
    told = asdict(each)
    return {**{name: told.get(name, "") for name in _NAMES}, "at": moment(each.at),
            "user": each.user_id}  # fmt: skip


def _since(text: str | None) -> float:
    if text is None:
        return 0.0
    units = {"m": "minutes", "h": "hours", "d": "days"}
    try:
        if text[-1:] in units:
            ago = timedelta(**{units[text[-1]]: float(text[:-1])})
            return (datetime.now(UTC) - ago).timestamp()
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter("expected 2026-12-31T12:00:00Z, or 90m, 12h, 7d") from None
