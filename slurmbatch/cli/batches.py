"""`slurmbatch ls`, `show`, `cancel`, `rm` and `open`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

import click

from slurmbatch.cli import board, terminal
from slurmbatch.cli.remote import Session, batch_ids, remote
from slurmbatch.cli.watch import follow
from slurmbatch.client import Batch, Job
from slurmbatch.client.pace import duration
from slurmbatch.client.shapes import STATUSES

_SHORT_ID = 12
_SHOWN = 20
_LOG_LINES = 5


@click.command()
@click.option("--limit", type=click.IntRange(1), default=_SHOWN, show_default=True, metavar="N",
              help="How many at most.")  # fmt: skip
@click.option("--all", "is_all", is_flag=True, help="All of them.")
@click.option("--status", type=click.Choice(STATUSES, case_sensitive=False),
              help="Those that have a job of this status.")  # fmt: skip
@click.option("--tool", metavar="TOOL", help="Those of this tool.")
@click.option("--name", help="Those of exactly this name.")
@remote
def ls(
    session: Session, limit: int, is_all: bool, status: str | None, tool: str | None,
    name: str | None,
) -> None:  # fmt: skip
    """List your batches, newest first."""
    found: Iterator[Batch] = session.client.batches(status=status, tool_id=tool, name=name)
    listed = found if is_all else islice(found, limit)
    if session.as_json:
        terminal.print_json_array(listed)
        return
    terminal.print_table(("BATCH", "AGE", "TOOL", "JOBS", "STATUS", "NAME"), map(_row, listed))
    if not is_all and next(found, None) is not None:
        terminal.say("There are more; --all shows them.")


@click.command()
@click.argument("batch", shell_complete=batch_ids, default="@")
@click.argument("job", required=False)
@remote
def show(session: Session, batch: str, job: str | None) -> None:
    """Show BATCH, the newest if none is named, or one JOB of it: its index or its id."""
    found = session.batch(batch)
    if job is not None:
        one = session.job(found, job)
        terminal.print_json(one) if session.as_json else _show_job(one)
    elif session.as_json:
        terminal.print_json(found)
    else:
        _show_batch(found)


@click.command()
@click.argument("batches", metavar="BATCH...", shell_complete=batch_ids, nargs=-1, required=True)
@remote
def cancel(session: Session, batches: tuple[str, ...]) -> None:
    """End what has not ended of each BATCH; the records stay."""
    done = [session.batch(each).cancel() for each in batches]
    if session.as_json:
        terminal.print_json(done)
        return
    for each in done:
        click.echo(f"{each.id}  is being cancelled" if not each.done() else f"{each.id}  has ended")


@click.command()
@click.argument("batch", shell_complete=batch_ids)
@click.option("--failed", "is_failed", is_flag=True, help="All that have failed; so it is anyway.")
@click.option("--reason", "reasons", metavar="CLASS", multiple=True,
              help="Those that failed like this, such as TIMEOUT; may be repeated.")  # fmt: skip
@click.option("--job", "indices", metavar="INDEX", type=click.IntRange(0), multiple=True,
              help="Those with this index; may be repeated.")  # fmt: skip
@click.option("--mem-factor", type=float, metavar="K", help="With K times the memory.")
@click.option("--time-factor", type=float, metavar="K", help="With K times the time limit.")
@click.option("--exclude-failed-nodes", is_flag=True, help="Not on nodes where they failed.")
@click.option("--exclude-node", "nodes", metavar="NODES", multiple=True,
              help="Not on these, such as n[1-3,7]; may be repeated.")  # fmt: skip
@click.option("--idempotency-key", metavar="KEY",
              help="The same command with the same key is carried out once.")  # fmt: skip
@click.option("--watch", "is_watched", is_flag=True, help="Watch it until all jobs have ended.")
@remote
def retry(
    session: Session, batch: str, is_failed: bool, reasons: tuple[str, ...],
    indices: tuple[int, ...], mem_factor: float | None, time_factor: float | None,
    exclude_failed_nodes: bool, nodes: tuple[str, ...], idempotency_key: str | None,
    is_watched: bool,
) -> None:  # fmt: skip
    """Run the failed jobs of BATCH again, under the same ids: all of them, or a selection."""
    if is_failed and (reasons or indices):
        raise click.UsageError("All that have failed, or some of them by --reason or --job?")
    found = session.batch(batch).retry(
        reason=[each.upper() for each in reasons],
        indices=indices or None,
        memory_factor=mem_factor,
        time_factor=time_factor,
        exclude_failed_nodes=exclude_failed_nodes or None,
        exclude_nodes=nodes or None,
        idempotency_key=idempotency_key,
    )
    if is_watched:
        follow(session, found)
    elif session.as_json:
        terminal.print_json(found)
    else:
        click.echo(f"{found.id}  runs again: {board.summary(found)}")


@click.command()
@click.argument("batches", metavar="BATCH...", shell_complete=batch_ids, nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="All your batches.")
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")
@remote
def rm(session: Session, batches: tuple[str, ...], is_all: bool, is_sure: bool) -> None:
    """Delete each BATCH for good, records, logs and all; what still runs of it is cancelled."""
    if is_all == bool(batches):
        raise click.UsageError("Name the batches to delete, or say --all.")
    found = list(session.client.batches()) if is_all else [session.batch(each) for each in batches]
    running = [each for each in found if not each.done()]
    if is_all or running:
        _ask(f"Delete {_counted(len(found))}, {len(running)} of them not through yet?", is_sure)
    for each in found:
        each.delete()
        if not session.as_json:
            click.echo(f"{each.id}  is deleted")
    if session.as_json:
        terminal.print_json([{"batch_id": each.id} for each in found])


@click.command("open")
@click.argument("batch", shell_complete=batch_ids, required=False)
@remote
def open_(session: Session, batch: str | None) -> None:
    """Open the dashboard in a browser, on BATCH if one is named; print its address."""
    address = session.client.dashboard()
    if batch is not None:
        address += f"#/batches/{session.batch(batch).id}"
    if session.as_json:
        terminal.print_json({"url": address})
        return
    click.echo(address)
    if sys.stdout.isatty():
        click.launch(address)


def _ask(question: str, is_sure: bool) -> None:
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Say --yes; there is nobody to ask.")
    click.confirm(question, abort=True, err=True)


def _row(batch: Batch) -> tuple[str, ...]:
    shown = batch.id[:_SHORT_ID] if sys.stdout.isatty() else batch.id
    age = datetime.now(UTC) - (batch.created_at or datetime.now(UTC))
    return (
        shown, duration(max(0.0, age.total_seconds())), batch.tool_id, str(batch.n_jobs),
        board.summary(batch), batch.name,
    )  # fmt: skip


def _show_batch(batch: Batch) -> None:
    hardware, slurm = batch["hardware"], batch["slurm"]
    limit = slurm["time_limit"]
    terminal.print_fields(
        {
            "batch": batch.id,
            "name": batch.name,
            "tool": batch.tool_id,
            "status": board.summary(batch),
            "jobs": ", ".join(f"{n} {status}" for status, n in batch.counts.items() if n),
            "created": batch["created_at"],
            "finished": batch["finished_at"],
            "expected end": batch.get("expected_end", ""),
            "each job": f"{hardware['cpu']} CPU, {hardware['memory']} MiB"
            + (f", {limit} minutes" if limit is not None else ""),
            "filesystems": ", ".join(hardware["filesystems"]),
            "partition": slurm["partition"],
            "account": slurm["account"],
            "qos": slurm["qos"],
            "note": board.stale(batch),
        }
    )
    for each in batch.reasons():
        click.echo()
        terminal.print_text(each["text"])
        for printed in each["log"].splitlines()[-_LOG_LINES:]:
            click.echo(f"    {terminal.harmless(printed)}")
    for each in batch.get("usage", {}).get("suggestions", ()):
        click.echo()
        terminal.print_text(each)


def _show_job(job: Job) -> None:
    fields = {name: _text(value) for name, value in job.items() if name not in ("args", "attempts")}
    terminal.print_fields(fields)
    for name, value in job.args.items():
        click.echo(f"  {name}={terminal.in_a_line(_text(value))}")


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _counted(batches: int) -> str:
    return "one batch" if batches == 1 else f"{batches} batches"
