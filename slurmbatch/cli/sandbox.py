"""The commands for the sandbox."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from slurmbatch.sandbox import Sandbox, SandboxError

OPEN_PORTS = (
    "this host's name is no loopback address, so Slurm listens on all its addresses; "
    "only this sandbox's own munge key is let in"
)
PURPOSE = "for trying out and for tests, not for real work"

directory = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    help="Where it lives. Default: $SLURMBATCH_SANDBOX, or ~/.slurmbatch-sandbox.",
)


def told_plainly(action: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls it; what goes wrong with a sandbox is a message, not a traceback."""
    try:
        return action(*args, **kwargs)
    except SandboxError as error:
        raise click.ClickException(str(error)) from None


@click.group()
def sandbox() -> None:
    """A private, real Slurm in one directory, for trying out and for tests, not for real work."""


@sandbox.command()
@directory
@click.option("--nodes", type=click.IntRange(1, 1000), help="How many nodes. Default: 4.")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Another Slurm: that of the Debian system unpacked there. Default: "
    "$SLURMBATCH_SANDBOX_ROOT, or the one that is installed.",
)
@click.option("--daemon", is_flag=True, help="Start slurmbatch on it too, with a demo user.")
def up(directory: Path | None, nodes: int | None, root: Path | None, daemon: bool) -> None:
    """Bring it up; of one that is up, start again what has died."""
    started = time.monotonic()
    box = Sandbox(directory, nodes=nodes, root=root)
    told_plainly(box.up, daemon=daemon)
    took = time.monotonic() - started
    click.echo(f"A sandbox with {box.plan.shape.nodes} nodes is up ({took:.1f} s), {PURPOSE}.")
    click.echo(f"  use it:     . {box.dir}/env && sinfo")
    if daemon:
        click.echo(f"  slurmbatch: {box.url}  (the key is in {box.dir}/env)")
    if not box.plan.loopback_only:
        click.echo(f"  note:       {OPEN_PORTS}")
    click.echo(f"  end it:     slurmbatch sandbox down --dir {box.dir}")


@sandbox.command()
@directory
def down(directory: Path | None) -> None:
    """End all its processes, jobs too, and remove its directory."""
    box = Sandbox(directory)
    was_there = box.dir.exists()
    told_plainly(box.down)
    click.echo(f"{box.dir} is gone." if was_there else f"There is no sandbox in {box.dir}.")


@sandbox.command()
@directory
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(directory: Path | None, as_json: bool) -> None:
    """Tell how each of its parts is; the exit code is 1 unless all of them run."""
    box = Sandbox(directory)
    parts = told_plainly(box.status)
    is_up = all(part.state == "running" for part in parts)
    if as_json:
        listed = [dataclasses.asdict(part) for part in parts]
        click.echo(json.dumps({"dir": str(box.dir), "up": is_up, "components": listed}, indent=2))
    else:
        for part in parts:
            click.echo(f"{part.name:<14} {part.state:<8} {part.pid or '-':>8}  {part.log}")
    raise SystemExit(0 if is_up else 1)


@sandbox.command()
@directory
def shell(directory: Path | None) -> None:
    """Start your shell with the sandbox's environment."""
    box = Sandbox(directory)
    if not box.exists:
        raise click.ClickException(f"There is no sandbox in {box.dir}.")
    program = os.environ.get("SHELL") or "/bin/sh"
    click.echo(f"A shell on the sandbox in {box.dir}, {PURPOSE}; `exit` leaves it.", err=True)
    os.execvpe(program, [program], {**os.environ, **box.variables})  # noqa: S606
