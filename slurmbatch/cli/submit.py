"""`slurmbatch submit`: from a command line to a batch."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from slurmbatch.cli import terminal
from slurmbatch.cli.remote import Session, remote, tool_ids
from slurmbatch.cli.values import Mistakes, Row, Values, crossed
from slurmbatch.cli.watch import follow
from slurmbatch.cli.wishes import course, notification, policy, resources
from slurmbatch.client import ApiError, Tool
from slurmbatch.client.operations import new_batch

T = TypeVar("T")
_DEPENDENCIES = ("afterok", "afterany", "aftercorr")
# What an option is called in a body.
_OPTIONS = {
    "/tool_id": "TOOL",
    "/name": "--name",
    "/hardware/cpu": "--cpu",
    "/hardware/memory": "--mem",
    "/hardware/filesystems": "--fs",
    "/slurm/time_limit": "--time",
    "/slurm/partition": "--partition",
    "/slurm/account": "--account",
    "/slurm/qos": "--qos",
    "/slurm/gpus": "--gpus",
    "/canary": "--canary",
    "/depends_on": "--depends-on",
    "/max_parallel": "--max-parallel",
    "/retry/max_attempts": "--max-attempts",
    "/retry/memory_factor": "--retry-mem-factor",
    "/retry/time_factor": "--retry-time-factor",
    "/retry/node_failures": "--retry-node-failures",
    "/notify": "--notify",
    "/notify/url": "--notify",
    "/notify/on": "--notify-on",
}


class Wrong(click.ClickException):
    """A command line that is one, but not what it should be."""

    exit_code = 2

    def __init__(self, *lines: str) -> None:
        super().__init__(terminal.harmless("\n  ".join(lines)))


@click.command()
@click.argument("tool", shell_complete=tool_ids)
@click.option("-a", "--arg", "args", metavar="NAME=VALUE", multiple=True,
              help="An argument of all jobs; may be repeated.")  # fmt: skip
@click.option("--sweep", "sweeps", metavar="NAME=VALUES", multiple=True,
              help="A job for each value: 1..100, 0..1:0.1, a,b,c. Several make all combinations.",
              )  # fmt: skip
@click.option("--sweep-file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
              help="A job for each row: .csv, .tsv or .jsonl; - reads CSV from standard input.",
              )  # fmt: skip
@resources
@course
@click.option("--name", default="", help="For people.")
@click.option("--idempotency-key", metavar="KEY",
              help="The same command with the same key makes one batch.")  # fmt: skip
@click.option("--dry-run", "is_dry", is_flag=True,
              help="Only have it checked, and Slurm asked when it would start.")  # fmt: skip
@click.option("--watch", "is_watched", is_flag=True, help="Watch it until all jobs have ended.")
@remote
def submit(
    session: Session,
    tool: str,
    args: tuple[str, ...],
    sweeps: tuple[str, ...],
    sweep_file: Path | None,
    filesystems: tuple[str, ...],
    parents: tuple[str, ...],
    idempotency_key: str | None,
    is_dry: bool,
    is_watched: bool,
    **options: Any,
) -> None:
    """Run TOOL as a batch of jobs.

    Prints the id of the new batch, which is on disk by then and will not be lost.
    """
    fixed, rows = _arguments(_tool(session, tool), args, sweeps, sweep_file)
    depends_on = [_parent(session, each) for each in parents]
    body = new_batch(
        tool, fixed, sweep=rows, filesystems=filesystems or None, depends_on=depends_on or None,
        retry=policy(options), notify=notification(options), **options,
    )  # fmt: skip
    if is_dry:
        _show_dry(session, _told_by_option(session.client.dry_run_body, body))
        return
    batch = _told_by_option(session.client.submit_body, body, idempotency_key=idempotency_key)
    if is_watched:
        follow(session, batch)
    elif session.as_json:
        terminal.print_json(batch)
    else:
        click.echo(batch.id)
        terminal.say(
            f"Accepted: {batch.n_jobs} {'job' if batch.n_jobs == 1 else 'jobs'} of {tool}."
        )


def _tool(session: Session, tool_id: str) -> Tool:
    known = {each["id"]: each for each in session.client.tools()}
    if tool_id not in known:
        listed = ", ".join(known) or "none"
        raise Wrong(f"There is no tool {tool_id!r} for you; there are: {listed}")
    return known[tool_id]


def _arguments(
    tool: Tool, args: tuple[str, ...], sweeps: tuple[str, ...], file: Path | None
) -> tuple[Row, list[Row]]:
    values = Values(tool["id"], tool["parameters"])
    fixed = values.fixed(args)
    swept = values.swept(sweeps)
    rows = [] if file is None else _of_file(values, file)
    axes = [axis for axis in (rows, swept) if axis]
    try:
        values.check()
        return fixed, crossed(axes) if axes else []
    except Mistakes as error:
        raise Wrong(f"{tool['id']} cannot be run like this:", *error.mistakes) from error


def _parent(session: Session, text: str) -> dict[str, str]:
    batch, colon, kind = text.partition(":")
    if colon and kind not in _DEPENDENCIES:
        expected = ", ".join(_DEPENDENCIES)
        raise Wrong(f"--depends-on {text}: expected one of {expected} after the colon")
    return {"batch_id": session.batch(batch).id, "type": kind or _DEPENDENCIES[0]}


def _of_file(values: Values, file: Path) -> list[Row]:
    if str(file) == "-":
        return values.rows(sys.stdin, "standard input")
    try:
        # Excel puts a mark in front of its UTF-8.
        with file.open(encoding="utf-8-sig", newline="") as opened:
            return values.rows(opened, file.name)
    except OSError as error:
        raise Wrong(f"{file}: {error.strerror}") from error


def _show_dry(session: Session, found: dict[str, Any]) -> None:
    if session.as_json:
        terminal.print_json(found)
        return
    hardware, arrays = found["hardware"], found["n_arrays"]
    split = "one job array" if arrays == 1 else f"{arrays} job arrays"
    terminal.print_fields(
        {
            "jobs": f"{found['n_jobs']}, in {split}",
            "each job": f"{hardware['cpu']} CPU, {hardware['memory']} MiB",
            "expected start": found["expected_start"] or "unknown",
            "on": found["expected_nodes"],
            "note": found["reason"],
        }
    )
    terminal.say("Nothing is wrong with it. Nothing was submitted.")


def _told_by_option(post: Callable[..., T], body: dict[str, Any], **options: Any) -> T:
    """What is wrong with the body is wrong with an option here."""
    try:
        return post(body, **options)
    except ApiError as error:
        for each in error.errors:
            each["pointer"] = _option(each["pointer"])
        raise


def _option(pointer: str) -> str:
    """Where on the command line a mistake in the body is."""
    if found := re.fullmatch(r"/fixed_args/(.*)", pointer):
        return f"-a {found[1]}"
    if found := re.fullmatch(r"/variable_args/(\d+)(?:/(.*))?", pointer):
        return f"job {found[1]}, {found[2]}" if found[2] else f"job {found[1]}"
    return _OPTIONS.get(re.sub(r"/\d+(/.*)?$", "", pointer), pointer)
