"""pyslurm's way and the commands' way on one real Slurm: the same jobs, and the same answers."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.errors import SlurmbatchError
from slurmbatch.model import JobReport, SlurmOptions
from slurmbatch.sandbox import Sandbox
from slurmbatch.slurm import quirks
from slurmbatch.slurm.binding import BindingSlurm
from slurmbatch.slurm.choose import bind
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.slurm.port import SlurmPort, SubmitRequest
from tests.contract.sites import PATH, REAL_PYSLURM, THROUGH_PYSLURM

pytestmark = THROUGH_PYSLURM


@pytest.fixture
def commands(cluster: Sandbox) -> CommandSlurm:
    return CommandSlurm(cluster.paths.slurm_conf, cluster.bin_dir)


@pytest.fixture
def binding(commands: CommandSlurm) -> Iterator[BindingSlurm]:
    made = bind(commands, PATH)
    yield made
    made.close()


@pytest.fixture
def request_for(cluster: Sandbox, tmp_path: Path) -> Callable[..., SubmitRequest]:
    def make(tag: str, script: str = "exit 0", **changed: Any) -> SubmitRequest:
        values: dict[str, Any] = {"n_tasks": 3, "options": SlurmOptions(), **changed}
        return SubmitRequest(
            tag=f"{tmp_path.name}-{tag}", script=f"#!/bin/bash\n{script}\n", cpu=1, memory=16,
            output=tmp_path / f"{tag}-%a", work_dir=tmp_path, **values,
        )  # fmt: skip

    return make


def ended(slurm: SlurmPort, tag: str, n: int = 3) -> list[JobReport]:
    deadline = time.monotonic() + 30
    while True:
        rows = slurm.find(tag)
        if len(rows) == n and all(row.state in ("COMPLETED", "FAILED") for row in rows):
            return rows
        assert time.monotonic() < deadline, rows
        time.sleep(0.1)


def in_order(rows: list[JobReport]) -> list[JobReport]:
    return sorted(rows, key=lambda row: (row.array_job_id, row.tasks))


def test_jobs_see_the_same(
    commands: CommandSlurm, binding: BindingSlurm, request_for: Any, tmp_path: Path
) -> None:
    ways: dict[str, SlurmPort] = {"commands": commands, "pyslurm": binding}
    other = "^SLURM_(.*JOB_?ID|.*SLUID|TASK_PID|JOB_.*_TIME"
    if REAL_PYSLURM:  # on a Slurm that it is not made for; see docs/pyslurm.md
        other += "|PROFILE|SUBMIT_DIR|TRES_PER_TASK"
    show = f"umask; pwd; echo oops >&2; env | grep -Ev '{other})=' | sort"
    printed = []
    for name, way in ways.items():
        asked = request_for(name, show)
        way.release(way.submit(asked).slurm_job_id)
        ended(commands, asked.tag)
        printed.append((tmp_path / f"{name}-2").read_text().replace(asked.tag, "TAG").splitlines())
    assert printed[0] == printed[1]
    assert "0077" in printed[0]


def test_the_same_is_said_of_jobs(
    commands: CommandSlurm, binding: BindingSlurm, request_for: Any
) -> None:
    codes = request_for("codes", "exit $((SLURM_ARRAY_TASK_ID * 64 + 1))")
    held = request_for("held", n_tasks=7)
    binding.submit(held)
    binding.release(binding.submit(codes).slurm_job_id)
    assert binding.find(held.tag) == commands.find(held.tag)
    assert {row.exit_code for row in ended(commands, codes.tag)} == {65, 129, 193}
    assert in_order(binding.live()) == in_order(commands.live())
    binding.cancel(binding.find(held.tag)[0].array_job_id)
    assert [row.state for row in commands.find(held.tag)] == ["CANCELLED"]


@pytest.mark.parametrize(
    "changed",
    [
        {"options": SlurmOptions(partition="nowhere")},
        {"options": SlurmOptions(account="nobody")},
        {"options": SlurmOptions(qos="none")},
        {"options": SlurmOptions(gpus=3)},
        {"features": ("none",)},
        {"licences": ("none:1",)},
        {"n_tasks": 100_000},
    ],
)
def test_the_same_is_refused(
    commands: CommandSlurm, binding: BindingSlurm, request_for: Any, changed: dict[str, Any]
) -> None:
    refusals = []
    for way in (commands, binding):
        with pytest.raises(SlurmbatchError) as caught:
            way.submit(request_for("bad", **changed))
        words = caught.value.detail.replace("Batch job submission failed: ", "")
        refusals.append((type(caught.value), words))
    assert refusals[0] == refusals[1]


def test_slurms_own_table_of_errors_means_the_same(cluster: Sandbox) -> None:
    usr = Path(cluster.plan.shape.root or "/") / "usr"
    library = ctypes.CDLL(str(next(usr.glob("lib*/**/libslurmfull.so"))))
    library.slurm_strerror.restype = ctypes.c_char_p
    words = {n: library.slurm_strerror(n).decode() for n in [*range(1, 2200), 8000]}
    by_words = {n for n, text in words.items() if any(each in text for each in quirks.REFUSALS)}
    assert by_words == quirks.REFUSED_BY_NUMBER
