"""`slurmbatch admin batches, cancel, drain, resume, trace`: across all users."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from slurmbatch.cli.admin.audit import act
from slurmbatch.cli.admin.common import config_option, json_option, moment, store_of, table

_NAMES = ("batch_id", "user", "tool", "created_at", "n_jobs", "jobs")
_user = click.option("--user", "user_id", metavar="NAME", help="Only those of this user.")


@click.command()
@_user
@click.option("--all", "with_ended", is_flag=True, help="Also those that have ended.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    metavar="N",
    help="At most so many, the newest.",
)
@json_option
@config_option
def batches(
    user_id: str | None, with_ended: bool, limit: int, as_json: bool, config_path: Path
) -> None:
    """Show batches of all users."""
    with store_of(config_path) as store:
        found = store.operations.batches(user_id, open_only=not with_ended, limit=limit)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo("No batches.", err=True)
        return
    for line in table([_row(each) for each in found], _NAMES):
        click.echo(line)


def _row(batch: Mapping[str, Any]) -> dict[str, str]:
    return {
        "batch_id": batch["batch_id"],
        "user": batch["user_id"],
        "tool": batch["tool_id"],
        "created_at": moment(batch["created_at"]),
        "n_jobs": str(batch["n_jobs"]),
        "jobs": _counted(batch["jobs"]),
    }


def _counted(jobs: Mapping[str, int]) -> str:
    return " ".join(f"{status}={n}" for status, n in jobs.items())


@click.command()
@click.option("--user", "user_id", required=True, metavar="NAME", help="Whose batches.")
@click.argument("batch_ids", nargs=-1, metavar="[BATCH_ID]...")
@config_option
def cancel(user_id: str, batch_ids: tuple[str, ...], config_path: Path) -> None:
    """End what has not ended of a user's batches: of these, or of all."""
    count = 0
    with store_of(config_path) as store:
        wanted = batch_ids or tuple(
            each["batch_id"] for each in store.operations.batches(user_id, open_only=True, limit=-1)
        )
        for batch_id in wanted:
            told = act("batch.cancel", batch_id, owner=user_id)
            if store.batches.cancel(user_id, batch_id, told.at, told):
                count += 1
            else:
                store.audit.add(replace(told, outcome="refused"))
                click.echo(f"{user_id} has no batch {batch_id}.", err=True)
    click.echo(f"{count} batches are being cancelled.")
    if count < len(wanted):
        raise SystemExit(1)


@click.command()
@click.option("--why", required=True, metavar="TEXT", help="Told to whoever submits a batch.")
@config_option
def drain(why: str, config_path: Path) -> None:
    """Accept no new batches, and no retries, until resumed. What there is goes on."""
    with store_of(config_path) as store:
        store.operations.drain(time.time(), why, act("service.drain", detail=why))
    click.echo("Nothing new is accepted; slurmbatch admin resume ends that.")


@click.command()
@config_option
def resume(config_path: Path) -> None:
    """Accept new batches again."""
    with store_of(config_path) as store:
        was = store.operations.resume(act("service.resume"))
    click.echo("New batches are accepted." if was else "New batches were accepted already.")


@click.command()
@click.argument("some_id", metavar="ID")
@json_option
@config_option
def trace(some_id: str, as_json: bool, config_path: Path) -> None:
    """Tell all about a batch, from any ID of it.

    That may be of the batch, a job, a log, the request that made it, an array's name (sb-...), or
    Slurm's number, also with a task's (12_3).
    """
    with store_of(config_path) as store:
        stories = [store.operations.story(each) for each in store.operations.find(some_id)]
    if as_json:
        click.echo(json.dumps(stories, indent=2))
    for story in stories if not as_json else ():
        for line in _told(story):
            click.echo(line)
    if not stories:
        raise click.ClickException(f"Nothing goes by {some_id}, or its records are gone.")


def _told(story: Mapping[str, Any]) -> Iterator[str]:
    batch = story["batch"]
    yield f"batch {batch['batch_id']} ({story['found_as']})"
    yield f"  of {batch['user_id']}, tool {batch['tool_id']}, name {batch['name'] or '-'}"
    yield f"  made {moment(batch['created_at'])} by request {batch['request_id'] or '-'}"
    for name in ("cancelled_at", "deleted_at", "finished_at"):
        if batch[name]:
            yield f"  {name.removesuffix('_at')} {moment(batch[name])}"
    yield f"  {batch['n_jobs']} jobs: {_counted(batch['jobs'])}"
    for array in story["arrays"]:
        yield from _array(array)
    if "job" in story:
        yield from _job(story["job"])
    yield f"in the log: grep {batch['batch_id']}"


def _array(array: Mapping[str, Any]) -> Iterator[str]:
    number = array["slurm_job_id"] or "none yet"
    yield (
        f"  array {array['ordinal']} ({array['tag']}): {array['state']}, Slurm job {number}, "
        f"{array['n_unfinished']} of {array['n_tasks']} jobs have not ended"
    )
    times = [
        f"{name.removesuffix('_at')} {moment(array[name])}"
        for name in ("tried_at", "submitted_at", "released_at", "cancelled_at")
        if array[name]
    ]
    if times:
        yield f"    tries {array['tries']}, {', '.join(times)}"
    if array["waiting"]:
        yield f"    {array['waiting']}"


def _job(job: Mapping[str, Any] | None) -> Iterator[str]:
    if job is None:
        yield "  there is no such job in it"
        return
    where = f"Slurm job {job['slurm_job_id']}_{job['task']}" if job["slurm_job_id"] else "no number"
    yield f"  job {job['idx']}: {job['status']}, {where}, on {job['node_list'] or 'no node'}"
    if job["reason"]:
        yield f"    {job['reason']}"
    for name in ("start_time", "stop_time"):
        if job[name]:
            yield f"    {name.removesuffix('_time')} {moment(job[name])}"
