"""The daemon on a real Slurm through pyslurm, or its stand-in, which speaks to that Slurm."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from slurmbatch.sandbox import Sandbox
from tests.contract.sites import PATH, REAL_PYSLURM, THROUGH_PYSLURM

from .conftest import Api

pytestmark = THROUGH_PYSLURM


class Daemon:
    """A daemon that finds it, on a sandbox of its own."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.log = box.dir / "bound.log"
        config = box.paths.settings
        command = [sys.executable, "-m", "slurmbatch", "serve", "--config", str(config)]
        path = os.pathsep.join(PATH)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=log
            )


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    box = Sandbox(directory)
    try:
        box.up(daemon=True)
        box.stop_daemon()
        ours = Daemon(box)
        try:
            until(lambda: 'event="ready"' in ours.log.read_text())
            yield ours
        finally:
            ours.process.kill()
            ours.process.wait()
    finally:
        box.down()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def bound(daemon: Daemon) -> Iterator[Api]:
    spoken = Api(daemon.box)
    yield spoken
    spoken.http.close()


def until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def helpers(box: Sandbox) -> dict[int, str]:
    """Every process with pyslurm in it that speaks to this Slurm, and its parent."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            ours = f"SLURM_CONF={box.env['SLURM_CONF']}".encode()
            if b"slurmbatch.slurm.helper" in command and ours in (process / "environ").read_bytes():
                found[int(process.name)] = command[-2].decode()
        except OSError:
            continue
    return found


def test_it_is_chosen_by_itself_and_says_so(bound: Api, daemon: Daemon) -> None:
    until(lambda: httpx.get(f"{bound.box.url}/readyz", timeout=60).status_code == 200)
    assert httpx.get(f"{bound.box.url}/readyz", timeout=60).json()["backend"] == "pyslurm"
    (chosen,) = [line for line in daemon.log.open() if "way to Slurm chosen" in line]
    version = "26.5.2" if REAL_PYSLURM else "22.5.0"
    assert f'reason="pyslurm {version} fits slurm' in chosen


def test_jobs_end_as_they_do_with_the_commands(bound: Api) -> None:
    ends = [{"exit_code": 0}, {"exit_code": 137}, {"exit_code": 3}, {"signal": "TERM"}]
    batch_id = bound.submit(
        tool_id="probe", variable_args=ends, hardware={"cpu": 1, "memory": 16, "filesystems": []}
    )
    assert bound.ended(batch_id) == {"SUCCEEDED": 1, "FAILED": 3}
    reasons = [bound.job(batch_id, index)["reason"] for index in range(4)]
    assert [reason.partition("(")[0].strip() for reason in reasons] == [
        "OK: ended with exit code 0",
        "EXIT: ended with exit code 137, as after signal SIGKILL",
        "EXIT: ended with exit code 3",
        "SIGNAL: was ended by signal SIGTERM",
    ]


def test_a_batch_that_has_partly_started_is_cancelled_whole(bound: Api) -> None:
    batch_id = bound.submit(
        tool_id="probe", fixed_args={"sleep": 300}, variable_args=[{"print": "x"}] * 40,
        hardware={"cpu": 2, "memory": 16, "filesystems": []},
    )  # fmt: skip
    running = bound.until(batch_id, lambda each: each["submitted_jobs"]["RUNNING"] > 0)
    assert running["submitted_jobs"]["RUNNING"] < 40
    bound.http.post(f"/batches/{batch_id}/cancel")
    assert bound.ended(batch_id, seconds=30) == {"FAILED": 40}
    assert bound.squeue("--states=PENDING,RUNNING") == []


def test_a_killed_daemon_takes_its_helpers_along(daemon: Daemon) -> None:
    assert list(helpers(daemon.box).values()) == [str(daemon.process.pid)] * 2
    daemon.process.kill()
    until(lambda: not helpers(daemon.box))
