"""`slurmbatch admin doctor` on a real Slurm, with its canary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.sandbox import Sandbox

pytestmark = pytest.mark.slurm


def ask(box: Sandbox, directory: Path, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the last finding of each check."""
    code, last, _ = examined(box, directory, *options)
    return code, last


def examined(
    box: Sandbox, directory: Path, *options: str
) -> tuple[int, dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """The exit code, the last finding of each check, and all findings."""
    for name in ("logs", "claims", "state", "tools.d"):
        (directory / name).mkdir(exist_ok=True, mode=0o700)
    file = directory / "slurmbatch.toml"
    file.write_text(
        f'[store]\npath = "{directory}/state/x.sqlite"\n'
        f'[jobs]\nlog_dir = "{directory}/logs"\nclaims_dir = "{directory}/claims"\n'
        f'work_dir = "{directory}"\n[slurm]\nconf = "{box.paths.slurm_conf}"\n'
        + (f'bin_dir = "{box.bin_dir}"\n' if box.bin_dir else "")
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "slurmbatch",
            "admin",
            "doctor",
            "--json",
            *options,
            "--config",
            str(file),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    every = json.loads(done.stdout)
    return done.returncode, {each["check"]: each for each in every}, every


def test_all_is_well_and_the_canary_comes_back(cluster: Sandbox, tmp_path: Path) -> None:
    code, found = ask(cluster, tmp_path, "--canary", "120")
    assert code == 0, found
    assert found["accounting"]["level"] == "ok"
    assert found["clocks"]["level"] == "ok"
    assert found["rights"]["level"] == "ok"
    assert "released and logged, and made its claim" in found["canary"]["found"]
    assert os.listdir(tmp_path / "logs") == os.listdir(tmp_path / "claims") == []
    # It was no job of the service's, and none of it is left.
    assert "slurmbatch-doctor" not in cluster.run(["squeue", "-h", "-o", "%j %T"]).stdout


def test_a_canary_on_each_node(cluster: Sandbox, tmp_path: Path) -> None:
    named = ["sinfo", "-h", "-N", "-o", "%N"]
    every_node = sorted(set(cluster.run(named).stdout.split()))
    # Another test may have left a node of the shared cluster down.
    nodes = sorted(set(cluster.run([*named, "-r", "-t", "idle,mix,alloc"]).stdout.split()))
    asked = "all" if nodes == every_node else ",".join(nodes)
    code, _, every = examined(cluster, tmp_path, "--canary", "180", "--nodes", asked)
    assert code == 0, every
    told = [each["found"] for each in every if each["check"] == "canary"]
    assert [each.split(": ")[0] for each in told] == nodes
    assert all(f"ran on {node}," in each for node, each in zip(nodes, told, strict=True))
    assert os.listdir(tmp_path / "logs") == os.listdir(tmp_path / "claims") == []


def test_a_canary_that_never_gets_its_turn_is_taken_back(cluster: Sandbox, tmp_path: Path) -> None:
    cluster.run(["scontrol", "update", "PartitionName=main", "State=DOWN"])
    try:
        code, found = ask(cluster, tmp_path, "--canary", "3")
    finally:
        cluster.run(["scontrol", "update", "PartitionName=main", "State=UP"])
    assert code == 1
    assert "has not ended in time: PENDING" in found["canary"]["found"]
    # The cluster is shared: other tests' jobs may still wait in it.
    assert "slurmbatch-doctor" not in cluster.run(["squeue", "-h", "-o", "%j %T"]).stdout
