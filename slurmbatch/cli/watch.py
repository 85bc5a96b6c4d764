"""`slurmbatch watch` and `wait`: until all jobs of a batch have ended."""

from __future__ import annotations

import json
import sys
import time
from typing import NoReturn

import click
from rich.console import Console
from rich.live import Live

from slurmbatch.cli import board, terminal
from slurmbatch.cli.board import Board
from slurmbatch.cli.remote import FAILED, INTERRUPTED, Session, batch_ids, remote
from slurmbatch.client import ApiError, Batch, ClientError
from slurmbatch.client.quantities import minutes


@click.command()
@click.argument("batch", shell_complete=batch_ids, default="@")
@remote
def watch(session: Session, batch: str) -> None:
    """Watch BATCH until all of its jobs have ended; the newest, if none is named.

    Leave it with Ctrl-C: the batch goes on. The exit code is 0 if all jobs have succeeded, and 3
    if not.
    """
    follow(session, session.batch(batch))


@click.command()
@click.argument("batches", metavar="BATCH...", shell_complete=batch_ids, nargs=-1, required=True)
@click.option(
    "--timeout", metavar="TIME", help="At most so long: 30s, 1h. The exit code is 124 then."
)
@remote
def wait(session: Session, batches: tuple[str, ...], timeout: str | None) -> None:
    """Wait, silently, until all jobs of each BATCH have ended.

    The exit code is 0 if all jobs have succeeded, 3 if not.
    """
    deadline = None if timeout is None else time.monotonic() + seconds(timeout)
    found = [session.batch(each) for each in batches]
    for each in found:
        each.wait(None if deadline is None else deadline - time.monotonic())
    if session.as_json:
        terminal.print_json(found)
    else:
        for each in found:
            click.echo(f"{each.id}  {board.summary(each)}")
    sys.exit(0 if all(each.succeeded() for each in found) else FAILED)


def follow(session: Session, batch: Batch) -> NoReturn:
    """Shows how it fares until it is through, and ends with the code that tells how that was."""
    try:
        if session.as_json:
            for state in batch.changes():
                click.echo(json.dumps(dict(state)))
        elif sys.stdout.isatty():
            _live(session, batch)
        else:
            _in_lines(batch)
    except KeyboardInterrupt:
        terminal.say(f"The batch goes on; `slurmbatch watch {batch.id}` looks again.")
        sys.exit(INTERRUPTED)
    sys.exit(0 if batch.succeeded() else FAILED)


def _live(session: Session, batch: Batch) -> None:
    console = Console(highlight=False, markup=False)
    drawn = Board(batch)

    def troubled(error: ClientError, rest: float) -> None:
        told = error.title if isinstance(error, ApiError) else str(error)
        drawn.trouble = f"{told}; trying again"

    def answered() -> None:
        drawn.trouble = ""

    session.client.on_answer = answered
    session.client.on_retry = troubled
    with Live(console=console, refresh_per_second=4, get_renderable=lambda: drawn.draw(console)):
        for state in batch.changes():
            drawn.show(state)


def _in_lines(batch: Batch) -> None:
    began, known = time.monotonic(), set[str]()
    for state in batch.changes():
        click.echo(board.line(state, time.monotonic() - began))
        failed = [each for each in state.get("reasons", ()) if each["status"] == "FAILED"]
        for each in failed:
            if each["reason"] not in known:
                click.echo(f"         {terminal.in_a_line(each['text'])}")
        known |= {each["reason"] for each in failed}


def seconds(text: str) -> float:
    """A time that may be short: 90s, 1h; a plain number is seconds."""
    whole = text.removesuffix("s")
    if whole.isascii() and whole.isdigit():
        return float(whole)
    try:
        return minutes(text) * 60.0
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from error
