"""`slurmbatch jobs` and `logs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice

import click

from slurmbatch.cli import terminal
from slurmbatch.cli.catalogue import as_text
from slurmbatch.cli.remote import Session, batch_ids, remote
from slurmbatch.client import Batch, Job
from slurmbatch.client.shapes import STATUSES

is_failed = click.option("--failed", "is_failed", is_flag=True, help="Only those that have failed.")
statuses = click.option(
    "--status", "statuses", type=click.Choice(STATUSES, case_sensitive=False), multiple=True,
    help="Only those of this status; may be repeated.",
)  # fmt: skip


@click.command()
@click.argument("batch", shell_complete=batch_ids, default="@")
@is_failed
@statuses
@remote
def jobs(session: Session, batch: str, is_failed: bool, statuses: tuple[str, ...]) -> None:
    """List the jobs of BATCH, the newest if none is named, with their arguments and why they fare
    as they do.
    """
    found = session.batch(batch).jobs(status=_wanted(is_failed, statuses))
    if session.as_json:
        terminal.print_json_array(found)
        return
    terminal.print_table(("JOB", "STATUS", "ARGUMENTS", "REASON"), map(_row, found))


@click.command()
@click.argument("batch", shell_complete=batch_ids, default="@")
@click.argument("job", required=False)
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Go on until the job has ended.")
@click.option("--tail", type=click.IntRange(1, 10_000), metavar="N", help="Only the last N lines.")
@click.option("--attempt", type=click.IntRange(1), metavar="N",
              help="Of the Nth run, where jobs have run more than once.")  # fmt: skip
@is_failed
@statuses
@remote
def logs(
    session: Session, batch: str, job: str | None, is_followed: bool, tail: int | None,
    attempt: int | None, is_failed: bool, statuses: tuple[str, ...],
) -> None:  # fmt: skip
    """Print what JOB of BATCH has printed; without a JOB, what all of its jobs have.

    JOB is the index of a job, or its id.
    """
    found = session.batch(batch)
    chosen = _chosen(session, found, job, _wanted(is_failed, statuses))
    if is_followed and attempt is not None:
        raise click.UsageError("An earlier run prints nothing any more: --follow or --attempt.")
    if is_followed:
        _follow(chosen, tail, session.as_json)
    elif session.as_json:
        terminal.print_json_array(
            {**each, "log": each.log(tail=tail, attempt=attempt)} for each in chosen
        )
    else:
        _print(chosen, tail, attempt, is_alone=job is not None or found.n_jobs == 1)


def _chosen(
    session: Session, batch: Batch, job: str | None, wanted: tuple[str, ...]
) -> Iterator[Job]:
    if job is None:
        return batch.jobs(status=wanted)
    if wanted:
        raise click.UsageError("Name a job, or say which ones by their status.")
    return iter([session.job(batch, job)])


def _print(jobs: Iterator[Job], tail: int | None, attempt: int | None, *, is_alone: bool) -> None:
    for number, job in enumerate(jobs):
        if not is_alone:
            click.echo(f"{'' if number == 0 else chr(10)}==> {_title(job)} <==")
        writer = terminal.LogWriter()
        writer.write(job.log_bytes(tail=tail, attempt=attempt), final=True)


def _follow(jobs: Iterator[Job], tail: int | None, as_json: bool) -> None:
    chosen = list(islice(jobs, 2))
    if len(chosen) != 1:
        raise click.UsageError("Which job? One can be followed at a time: logs BATCH JOB -f.")
    if as_json:
        for chunk in chosen[0].follow(tail=tail):
            click.echo(json.dumps({"job_id": chosen[0].id, "log": chunk.decode(errors="replace")}))
        return
    writer = terminal.LogWriter()
    for chunk in chosen[0].follow(tail=tail):
        writer.write(chunk)
    writer.write(b"", final=True)


def _wanted(is_failed: bool, statuses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*(each.upper() for each in statuses), *["FAILED"] * is_failed]))


def _row(job: Job) -> tuple[str, ...]:
    return str(job.index), job.status, _arguments(job), job.reason


def _arguments(job: Job) -> str:
    text = " ".join(f"{name}={as_text(value)}" for name, value in job.args.items())
    return text if len(text) <= 40 or not sys.stdout.isatty() else f"{text[:39]}…"


def _title(job: Job) -> str:
    return terminal.in_a_line(f"{job.index} {job.status} {_arguments(job)}")
