"""`slurmbatch admin doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from slurmbatch.cli.admin.common import config_option, json_option
from slurmbatch.daemon import command_slurm
from slurmbatch.doctor import WRONG, Finding, examine


@click.command()
@click.option(
    "--canary",
    type=click.FloatRange(1, 86_400),
    metavar="SECONDS",
    help="Run a small job through Slurm, too, and wait so long for its end.",
)
@click.option(
    "--nodes",
    metavar="NODES",
    help="With --canary: one such job on each of these (n[1-4]), or on all.",
)
@json_option
@config_option
def doctor(canary: float | None, nodes: str | None, as_json: bool, config_path: Path) -> None:
    """Look at everything that could be wrong, and say what to do. Ends with 1 if something is."""
    if nodes is not None and canary is None:
        raise click.UsageError("--nodes is for the canary: say --canary SECONDS, too.")
    findings = []
    for each in examine(config_path, command_slurm, with_canary=canary, nodes=nodes):
        findings.append(each)
        if not as_json:
            _show(each)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in findings], indent=2))
    if any(each.level == WRONG for each in findings):
        raise SystemExit(1)


def _show(finding: Finding) -> None:
    click.echo(f"{finding.level:<8} {finding.check:<12} {finding.found}")
    if finding.advice:
        click.echo(f"{'':<21} -> {finding.advice}")
