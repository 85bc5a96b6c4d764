"""A slurmctld that is killed right after its very first start, on each version of Slurm."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from slurmbatch.sandbox import Sandbox

pytestmark = pytest.mark.slurm


def test_a_new_slurmctld_that_is_killed_comes_back() -> None:
    root = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    box = Sandbox(root / "box", nodes=1)
    try:
        box.up()
        box.kill("slurmctld", signal.SIGKILL)
        box.start("slurmctld")
        assert "UP" in box.run(["scontrol", "ping"]).stdout
    finally:
        box.down()
        shutil.rmtree(root)
