"""What a batch may wish for, as options: what each job gets, and how the batch is to go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from slurmbatch.client.quantities import mebibytes, minutes


def quantity(read: Callable[[str], int]) -> Callable[..., int | None]:
    """Reads memory, or a time."""

    def callback(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
        try:
            return None if value is None else read(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from error

    return callback


def resources(command: Callable[..., Any]) -> Callable[..., Any]:
    """What each job gets."""
    for option in reversed((
        click.option("--cpu", type=int, metavar="N", help="CPUs for each job."),
        click.option("--mem", "memory", metavar="SIZE", callback=quantity(mebibytes),
                     help="Memory for each job: 4G, 500M; a plain number is MiB."),
        click.option("--time", "time_limit", metavar="TIME", callback=quantity(minutes),
                     help="Time limit of each job: 1h, 90m, 1-12:00:00."),
        click.option("--fs", "filesystems", metavar="ID", multiple=True,
                     help="A filesystem that each job needs; may be repeated."),
        click.option("--gpus", type=int, metavar="N", help="GPUs for each job."),
        click.option("--partition", metavar="NAME"),
        click.option("--account", metavar="NAME"),
        click.option("--qos", metavar="NAME"),
    )):  # fmt: skip
        command = option(command)
    return command


def course(command: Callable[..., Any]) -> Callable[..., Any]:
    """In which order, and what after failures."""
    for option in reversed((
        click.option("--canary", type=click.IntRange(1), metavar="N",
                     help="Only the first N jobs at first; the others if those succeed."),
        click.option("--max-parallel", type=click.IntRange(1), metavar="N",
                     help="At most N of its jobs at a time."),
        click.option("--depends-on", "parents", metavar="BATCH[:TYPE]", multiple=True,
                     help="Wait for this batch; TYPE: afterok (it has to succeed), afterany, "
                          "aftercorr (job by job). May be repeated."),
        click.option("--max-attempts", type=int, metavar="N",
                     help="Run a job N times at most, if it lacks memory or time."),
        click.option("--retry-mem-factor", type=float, metavar="K",
                     help="With K times the memory, if it lacked that."),
        click.option("--retry-time-factor", type=float, metavar="K",
                     help="With K times the time limit, if it ran into that."),
        click.option("--retry-node-failures/--no-retry-node-failures", default=None,
                     help="Run a job again whose node failed, or that was preempted."),
        click.option("--notify", metavar="URL", help="Have this address told when it is through."),
        click.option("--notify-on", metavar="WHAT", multiple=True,
                     type=click.Choice(("finished", "first_failure")),
                     help="Of what, instead: finished, first_failure; may be repeated."),
    )):  # fmt: skip
        command = option(command)
    return command


def policy(options: dict[str, Any]) -> dict[str, Any] | None:
    """For retries; takes its options out of the others."""
    names = {
        "max_attempts": "max_attempts",
        "retry_mem_factor": "memory_factor",
        "retry_time_factor": "time_factor",
        "retry_node_failures": "node_failures",
    }
    taken = {field: options.pop(option) for option, field in names.items()}
    return {field: each for field, each in taken.items() if each is not None} or None


def notification(options: dict[str, Any]) -> dict[str, Any] | None:
    """Whom to tell of what; takes its options out of the others."""
    url, on = options.pop("notify"), options.pop("notify_on")
    if url is None:
        if on:
            raise click.UsageError("--notify-on needs --notify, the address to tell.")
        return None
    return {"url": url, "on": list(on)} if on else {"url": url}
