"""What all commands share that talk to a service: which one, how ids are read, how they end."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import click
from click.shell_completion import CompletionItem

from slurmbatch.cli import terminal
from slurmbatch.client import (
    ApiError,
    Batch,
    Client,
    ClientError,
    Job,
    NoAnswer,
    NotLoggedIn,
    Patience,
)

# Exit codes, the same for all of these commands; docs/commands.md tells of them.
WRONG, FAILED, NO_CREDENTIALS, UNKNOWN_ID, AWAY, TOO_LATE, INTERRUPTED = 2, 3, 4, 5, 6, 124, 130
_FULL_ID = 26
_NEWEST = "@"
_HURRY = Patience(tries=1)
_SUGGESTIONS = 20
_MANY = 1000


@dataclass(slots=True)
class Session:
    """One call of a command."""

    client: Client
    as_json: bool

    def batch(self, text: str) -> Batch:
        """The batch that is meant: the newest, or the only one whose id begins like this."""
        if text == _NEWEST:
            found = list(islice(self.client.batches(page=1), 1))
            if not found:
                raise UnknownId("You have no batches.")
            return found[0].refresh()
        if len(text) == _FULL_ID:
            return self.client.batch(text)
        return self._only(
            [each for each in self.client.batches() if each.id.startswith(text)], text
        )

    def job(self, batch: Batch, text: str) -> Job:
        """One of its jobs, by its index or its id."""
        return batch.job(int(text) if text.isascii() and text.isdigit() else text)

    def _only(self, found: list[Batch], text: str) -> Batch:
        if not found:
            raise UnknownId(f"No batch of yours has an id that begins with {text!r}.")
        if len(found) > 1:
            listed = ", ".join(each.id for each in found[:5])
            raise UnknownId(f"{len(found)} batches have ids that begin with {text!r}: {listed}")
        return found[0].refresh()


class UnknownId(ClientError):
    """Nothing is there under that id, or more than one thing."""


def remote(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command that gets a session, and the options that all of them have."""

    @click.option("--profile", metavar="NAME", help="The service to ask, of those logged in to.")
    @click.option("--json", "as_json", is_flag=True, help="For programs.")
    @functools.wraps(command)
    def called(profile: str | None, as_json: bool, **given: Any) -> Any:
        on_retry = None if as_json else _say_trouble
        with told(as_json), Client(profile=profile, on_retry=on_retry) as client:
            return command(Session(client, as_json), **given)

    return called


@contextmanager
def told(as_json: bool) -> Iterator[None]:
    """What goes wrong is a message and an exit code, not a traceback."""
    try:
        yield
    except (ClientError, TimeoutError) as error:
        _show(error, as_json)
        sys.exit(_exit_code(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _show(error: ClientError | TimeoutError, as_json: bool) -> None:
    problem: dict[str, Any] = {"detail": str(error)}
    if isinstance(error, ApiError):
        problem = error.problem
    if as_json:
        click.echo(json.dumps(problem), err=True)
        return
    mistakes = [f"  {each['pointer']}: {each['detail']}" for each in problem.get("errors", ())]
    told = problem.get("detail") or problem.get("title")
    terminal.say("\n".join([f"Error: {told}", *mistakes]))


def _exit_code(error: ClientError | TimeoutError) -> int:
    if isinstance(error, ApiError):
        by_status = {401: NO_CREDENTIALS, 403: NO_CREDENTIALS, 404: UNKNOWN_ID}
        by_status |= dict.fromkeys((400, 413, 422), WRONG)
        by_status |= dict.fromkeys((429, 502, 503, 504), AWAY)
        return by_status.get(error.status, 1)
    kinds: dict[type[Exception], int] = {
        UnknownId: UNKNOWN_ID, NotLoggedIn: NO_CREDENTIALS, NoAnswer: AWAY, TimeoutError: TOO_LATE,
    }  # fmt: skip
    return kinds.get(type(error), 1)


def _say_trouble(error: ClientError, seconds: float) -> None:
    told = error.title if isinstance(error, ApiError) else str(error)
    terminal.say(f"{told}; trying again in {seconds:.0f} s")


# --- what the shell may complete ----------------------------------------------------------------


def batch_ids(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The newest ones."""

    def found(client: Client) -> list[CompletionItem]:
        known = islice(client.batches(page=_SUGGESTIONS), _SUGGESTIONS)
        return [
            CompletionItem(each.id, help=terminal.in_a_line(f"{each.tool_id} {each.name}"))
            for each in known
            if each.id.startswith(incomplete)
        ]

    return suggested(ctx, found)


def tool_ids(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    def found(client: Client) -> list[CompletionItem]:
        return [
            CompletionItem(each["id"], help=terminal.in_a_line(each["description"]))
            for each in client.tools()
            if each["id"].startswith(incomplete)
        ]

    return suggested(ctx, found)


def suggested(
    ctx: click.Context, find: Callable[[Client], list[CompletionItem]]
) -> list[CompletionItem]:
    """What a service suggests, if it does so quickly; a shell that completes shows no errors."""
    with suppress(ClientError):
        profile = ctx.params.get("profile")
        with Client(profile=profile, timeout=2.0, patience=_HURRY) as client:
            return find(client)
    return []
