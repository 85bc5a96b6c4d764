"""`slurmbatch demo`: a batch through a real Slurm, watched to its end."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from slurmbatch.cli.board import bars
from slurmbatch.cli.terminal import harmless
from slurmbatch.client import Batch, Client, ClientError
from slurmbatch.sandbox import Sandbox

TOOL = "montecarlo-pi"
SAMPLES = 500_000
LOOK_EVERY = 0.25
PATIENCE = 3600.0


@dataclass(frozen=True, slots=True)
class Target:
    """The slurmbatch to talk to; `sandbox` is the directory of the one it runs on, if any."""

    url: str
    key: str
    sandbox: Path | None = None


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    help="A sandbox's directory. Default: SLURMBATCH_URL and SLURMBATCH_API_KEY say where.",
)
@click.option("--jobs", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.option("--end-with", metavar="COMMAND", help="The command to name that ends the sandbox.")
def demo(directory: Path | None, jobs: int, end_with: str | None) -> None:
    """Run a batch and watch it end; the exit code is 0 if all of its jobs have succeeded."""
    target = find_target(directory, os.environ)
    console = Console(highlight=False, markup=False)
    try:
        with Client(target.url, target.key) as client:
            batch = run(client, jobs, console)
            show_result(batch, console)
    except (ClientError, TimeoutError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        console.print("\nInterrupted." if end_with else "\nInterrupted; the batch itself goes on.")
        sys.exit(130)
    show_how_to_go_on(target, batch.id, end_with, console)
    sys.exit(0 if batch.succeeded() else 1)


def find_target(directory: Path | None, environment: Mapping[str, str]) -> Target:
    """A named sandbox before what the environment says."""
    if directory is not None:
        box = Sandbox(directory)
        if box.api_key is None:
            raise click.ClickException(
                f"There is no slurmbatch in {directory}; "
                f"`slurmbatch sandbox up --daemon --dir {directory}` starts one."
            )
        return Target(box.url, box.api_key, directory)
    try:
        return Target(environment["SLURMBATCH_URL"], environment["SLURMBATCH_API_KEY"])
    except KeyError as name:
        raise click.ClickException(
            f"{name.args[0]} is not set. Set it and the other of SLURMBATCH_URL and "
            "SLURMBATCH_API_KEY, or name a sandbox's directory with --dir."
        ) from None


def run(client: Client, jobs: int, console: Console) -> Batch:
    """Submits the batch and shows how it fares, until all of it has ended."""
    started = time.monotonic()
    batch = client.submit(
        TOOL,
        {"samples": SAMPLES},
        sweep={"seed": range(1, jobs + 1)},
        name=f"demo, {jobs} seeds",
    )
    answered = (time.monotonic() - started) * 1000
    console.print(f"Batch {batch.id}: {jobs} jobs of {TOOL}, accepted in {answered:.0f} ms")
    with progress(console, started) as show:
        return batch.wait(PATIENCE, on_change=show, interval=LOOK_EVERY)


@contextmanager
def progress(console: Console, started: float) -> Iterator[Callable[[Batch], None]]:
    """Something to call with each new state: bars on a terminal, lines elsewhere."""
    if not console.is_terminal:
        yield lambda batch: print(as_line(batch, time.monotonic() - started), flush=True)
        return
    block = "#" if console.options.ascii_only else "█"
    with Live(console=console, auto_refresh=False) as live:
        yield lambda batch: live.update(
            as_bars(batch, time.monotonic() - started, block), refresh=True
        )


def as_line(batch: Batch, seconds: float) -> str:
    counts = [f"{n} {status}" for status, n in batch.counts.items() if n]
    return f"{seconds:6.1f} s  {', '.join(counts)}"


def as_bars(batch: Batch, seconds: float, block: str) -> Group:
    return Group(bars(batch, block), Text(f"{seconds:.1f} s", style="bright_black"))


def show_result(batch: Batch, console: Console) -> None:
    """The counts, one job as the service gives it, and its log: a failed one if there is any."""
    counts = ", ".join(f"{n} {status}" for status, n in batch.counts.items() if n)
    console.print(f"\nAll {batch.n_jobs} jobs have ended: {counts}")
    wanted = "FAILED" if batch.counts["FAILED"] else "SUCCEEDED"
    for listed in islice(batch.jobs(status=wanted), 1):
        job = listed.refresh()
        console.print("\nOne of them:")
        print(harmless(as_json(job)))
        console.print("\nWhat it printed:")
        print(harmless(job.log(tail=20)).rstrip("\n"))


def as_json(record: Mapping[str, Any]) -> str:
    """A line for each field, which is shorter than json's own way, and still JSON."""
    fields = (f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in record.items())
    return "{\n" + ",\n".join(fields) + "\n}"


def show_how_to_go_on(
    target: Target, batch_id: str, end_with: str | None, console: Console
) -> None:
    lines = [
        f"  it answers at  {target.url}",
        f"  its dashboard  {target.url}/ui/#/batches/{batch_id}",
    ]
    if target.sandbox is not None:
        end = end_with or f"slurmbatch sandbox down --dir {target.sandbox}"
        lines += [
            f"  its key        {target.key}",
            f"  set both       . {target.sandbox}/env",
        ]
    lines += [
        "  look at a batch",
        '    curl -H "Authorization: $SLURMBATCH_API_KEY" \\',
        f'      "$SLURMBATCH_URL/batches/{batch_id}"',
    ]
    if target.sandbox is not None:
        lines.append(f"  end all of it  {end}")
    console.print("\nHow to go on:")
    print("\n".join(lines))
