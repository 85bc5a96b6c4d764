"""What a job's log tells of its end, in the words of each version of slurmstepd."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurmbatch.model import ArraySpec, ArrayState, Hardware, SlurmOptions
from slurmbatch.places import log_parts
from slurmbatch.poller.evidence import Evidence

ARRAY = ArraySpec(
    pk=1, batch_id="b", user_id="alice", tool_id="t", ordinal=0, generation=1, tag="sb-x-1",
    n_tasks=2, state=ArrayState.QUEUED, hardware=Hardware((), 1, 64), slurm=SlurmOptions(),
    created_at=0.0, slurm_job_id=7,
)  # fmt: skip


def ran_out(root: Path, log: str) -> bool:
    path = root.joinpath(*log_parts("b", 0, 1, 1))
    path.parent.mkdir(parents=True)
    path.write_text(log)
    return Evidence(root).ran_out_of_memory(ARRAY, 1)


@pytest.mark.parametrize(
    "line",
    [
        # 22.05, 24.11, 26.05, and with cgroups.
        "slurmstepd-node1: error: Exceeded job memory limit",
        "slurmstepd-node1: error: StepId=1.batch exceeded memory limit (325386240 > 67108864), "
        "being killed",
        "[2026-11-27T01:58:45.770] error: Exceeded job memory limit",
        "[2026-11-27T01:58:45.643] error: StepId=1.batch exceeded memory limit (325668864 > "
        "67108864), being killed",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch. Some of the step tasks "
        "have been OOM Killed.",
    ],
)
def test_what_slurmstepd_says_of_memory_is_understood(tmp_path: Path, line: str) -> None:
    assert ran_out(tmp_path, f"some output\n{line}\n")


@pytest.mark.parametrize(
    "log",
    [
        "",
        "error: Exceeded job memory limit\n",
        "slurmstepd-node1: error: *** JOB 7 ON node1 CANCELLED AT 2026-11-27T01:58:34 ***\n",
        "[2026-11-27T01:58:45.654] error: *** JOB 1 ON node1 CANCELLED AT 2026-11-27T01:58:45 DUE "
        "to SIGNAL Killed ***\nmemory limit\n",
    ],
)
def test_nothing_else_counts(tmp_path: Path, log: str) -> None:
    assert not ran_out(tmp_path, log)
