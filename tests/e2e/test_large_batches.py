"""Batches that Slurm has no room for as a whole: handed over in pieces, each job once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmbatch.sandbox import Sandbox

from .conftest import Api

pytestmark = pytest.mark.slurm
N_JOBS, ROOM = 60, 30


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """On a cluster with arrays of at most 20, whose account may have 30 jobs at a time."""
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    box = Sandbox(directory, nodes=2, max_array_size=21)
    try:
        box.up(daemon=True)
        limit = ["sacctmgr", "-i", "modify", "account", "demo", "set", f"GrpSubmitJobs={ROOM}"]
        box.run(limit)
        yield Api(box)
    finally:
        box.down()
        shutil.rmtree(directory, ignore_errors=True)


def test_a_batch_above_the_submit_limit_goes_in_pieces_and_each_job_runs_once(
    api: Api,
) -> None:
    trace = api.box.dir / "work" / "trace"
    batch_id = api.submit(
        tool_id="probe", fixed_args={"trace": str(trace)},
        variable_args=[{"print": f"job {n}"} for n in range(N_JOBS)],
    )  # fmt: skip
    shown = api.until(batch_id, lambda each: each["n_submitted"] > 0)
    assert shown["n_submitted"] <= ROOM
    last = api.job(batch_id, N_JOBS - 1)
    assert last["status"] in ("SUBMITTED", "SUCCEEDED")
    assert api.ended(batch_id, 180) == {"SUCCEEDED": N_JOBS}
    assert sorted(trace.read_text().split("\n")[:-1]) == sorted(f"job {n}" for n in range(N_JOBS))
    ids = {api.job(batch_id, n)["slurm_job_id"].partition("_")[0] for n in range(0, N_JOBS, 5)}
    assert len(ids) >= 3


def test_what_waits_for_room_says_so_and_can_be_cancelled(api: Api) -> None:
    batch_id = api.submit(tool_id="probe", fixed_args={"sleep": 600}, variable_args=[{}] * N_JOBS)
    api.until(batch_id, lambda each: each["n_submitted"] == 20)
    waits = api.one(f"/batches/{batch_id}/jobs/{batch_id}-{N_JOBS - 1}")
    assert waits["status"] == "SUBMITTED"
    api.until(batch_id, lambda _: "LIMIT" in api.job(batch_id, 20)["reason"])
    api.until(batch_id, lambda _: "earlier part" in api.job(batch_id, N_JOBS - 1)["reason"])
    assert api.http.post(f"/batches/{batch_id}/cancel").status_code == 202
    assert api.ended(batch_id) == {"FAILED": N_JOBS}
    assert api.squeue("--states=PENDING,RUNNING") == []
