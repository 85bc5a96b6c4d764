"""An sbatch that is started ahead: it submits what it would have submitted, or nothing at all."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from slurmbatch.model import SlurmOptions, Submission
from slurmbatch.slurm.begun import Begun
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.slurm.port import SubmitRequest

SBATCH = """\
#!/bin/sh
echo "$$ $*" >> {here}/started
IFS= read -r script
[ -n "$script" ] || {{ echo "sbatch: error: Batch script is empty!" >&2; exit 1; }}
echo "$script" > {here}/submitted
echo 7
"""


@pytest.fixture
def slurm(tmp_path: Path) -> CommandSlurm:
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(SBATCH.format(here=tmp_path))
    sbatch.chmod(0o755)
    return CommandSlurm(bin_dir=tmp_path, submit_timeout=20)


@pytest.fixture
def request_(tmp_path: Path) -> SubmitRequest:
    return SubmitRequest(
        tag="sb-tag", script="", n_tasks=3, cpu=2, memory=256, output=PurePath("/logs/%a.log"),
        work_dir=tmp_path, options=SlurmOptions(), comment="slurmbatch batch=b user=u",
    )  # fmt: skip


@pytest.fixture
def begun(slurm: CommandSlurm, request_: SubmitRequest) -> Iterator[Begun]:
    made = slurm.begin(request_)
    assert made is not None
    yield made
    made.drop()


def started(slurm: CommandSlurm, n: int) -> list[int]:
    """The processes of sbatch, once there have been so many."""
    place, deadline = Path(f"{slurm.bin_dir}/started"), time.monotonic() + 60
    while not place.exists() or len(place.read_text().splitlines()) < n:
        assert time.monotonic() < deadline, "it was not started"
        time.sleep(0.01)
    return [int(line.split()[0]) for line in place.read_text().splitlines()]


def submitted(slurm: CommandSlurm) -> str:
    place = Path(f"{slurm.bin_dir}/submitted")
    return place.read_text() if place.exists() else ""


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("size", [1, 70_000, 900_000])
def test_it_is_given_the_whole_script(
    slurm: CommandSlurm, request_: SubmitRequest, begun: Begun, size: int
) -> None:
    script = "x" * size
    started(slurm, 1)
    assert slurm.submit(replace(request_, script=script, begun=begun)) == Submission(7)
    assert submitted(slurm) == f"{script}\n"
    [pid] = started(slurm, 1)
    begun.drop()
    assert is_gone(pid)
    assert len(started(slurm, 1)) == 1


def test_what_is_not_wanted_ends_and_submits_nothing(slurm: CommandSlurm, begun: Begun) -> None:
    [pid] = started(slurm, 1)
    begun.drop()
    begun.drop()
    assert is_gone(pid)
    assert submitted(slurm) == ""


def test_what_was_dropped_is_of_no_use(
    slurm: CommandSlurm, request_: SubmitRequest, begun: Begun
) -> None:
    begun.drop()
    assert slurm.submit(replace(request_, script="new", begun=begun)) == Submission(7)
    assert submitted(slurm) == "new\n"


@pytest.mark.parametrize("changed", [
    {"tag": "sb-other"}, {"n_tasks": 2}, {"memory": 512}, {"options": SlurmOptions(partition="x")},
    {"throttle": 1}, {"requeue": True}, {"exclude": "node1"}, {"features": ("fast",)},
])  # fmt: skip
def test_another_request_than_it_was_started_for_gets_an_sbatch_of_its_own(
    slurm: CommandSlurm, request_: SubmitRequest, begun: Begun, changed: dict[str, object]
) -> None:
    other = replace(request_, script="other", begun=begun, **changed)  # type: ignore[arg-type]
    started(slurm, 1)
    assert slurm.submit(other) == Submission(7)
    assert submitted(slurm) == "other\n"
    first, _ = started(slurm, 2)
    assert not is_gone(first)
    begun.drop()
    assert is_gone(first)
    assert submitted(slurm) == "other\n"


def test_a_script_that_is_too_long_for_a_pipe_gets_an_sbatch_of_its_own(
    slurm: CommandSlurm, request_: SubmitRequest, begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("fcntl.fcntl", refused)
    script = "x" * 100_000
    assert slurm.submit(replace(request_, script=script, begun=begun)) == Submission(7)
    assert submitted(slurm) == f"{script}\n"


def test_one_that_has_ended_meanwhile_is_of_no_use(
    slurm: CommandSlurm, request_: SubmitRequest, begun: Begun
) -> None:
    [pid] = started(slurm, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert slurm.submit(replace(request_, script="new", begun=begun)) == Submission(7)
    assert submitted(slurm) == "new\n"


def test_it_is_taken_once(slurm: CommandSlurm, request_: SubmitRequest, begun: Begun) -> None:
    for script in ("first", "second"):
        assert slurm.submit(replace(request_, script=script, begun=begun)) == Submission(7)
        assert submitted(slurm) == f"{script}\n"
    assert len(started(slurm, 2)) == 2


def test_without_an_sbatch_nothing_is_begun(tmp_path: Path, request_: SubmitRequest) -> None:
    slurm = CommandSlurm(bin_dir=tmp_path / "nowhere")
    begun = slurm.begin(request_)
    if begun is not None:  # where setpriv is what was started
        begun.drop()
