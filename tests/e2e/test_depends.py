"""Batches that wait for others, on a real Slurm, over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Api
from .gate import Gate

pytestmark = pytest.mark.slurm


def test_nothing_of_it_is_in_slurm_before_its_parent_has_succeeded(
    api: Api, tmp_path: Path, gate: Gate
) -> None:
    """The trap: a dependency in Slurm knows no parent that is not handed over yet."""
    trace = tmp_path / "trace"
    trace.touch(mode=0o666)
    tmp_path.chmod(0o777)
    parent = api.submit(
        tool_id="probe", fixed_args={"print": "parent"},
        variable_args=[{"trace": str(trace)}, {"trace": str(trace)}, {"trace": str(gate)}],
    )  # fmt: skip
    child = api.submit(
        tool_id="probe", fixed_args={"trace": str(trace), "print": "child"},
        variable_args=[{}, {}], depends_on=[parent],
    )  # fmt: skip
    grandchild = api.submit(
        tool_id="probe", fixed_args={"trace": str(trace), "print": "grandchild"},
        depends_on=[{"batch_id": child, "type": "afterany"}],
    )  # fmt: skip
    for batch_id, of in ((child, parent), (grandchild, child)):
        batch = api.batch(batch_id)
        assert batch["submitted_jobs"]["PENDING"] == batch["n_jobs"]
        assert batch["n_submitted"] == 0
        assert [each["batch_id"] for each in batch["depends_on"]] == [of]
        reason = api.job(batch_id)["reason"]
        assert reason.startswith(f"DEPENDENCY: waits for batch {of} to ")
    assert api.batch(grandchild)["depends_on"] == [{"batch_id": child, "type": "afterany"}]
    gate.open()
    assert api.ended(grandchild) == {"SUCCEEDED": 1}
    assert api.ended(child) == {"SUCCEEDED": 2}
    words = trace.read_text().split()
    assert words == ["parent"] * 2 + ["child"] * 2 + ["grandchild"]


def test_after_a_parent_that_failed_long_ago_a_chain_fails_at_once(api: Api) -> None:
    """The trap: to Slurm, a job whose dependency can never be satisfied waits for ever."""
    parent = api.submit(tool_id="probe", variable_args=[{"exit_code": 3}, {}])
    assert api.ended(parent) == {"FAILED": 1, "SUCCEEDED": 1}
    child = api.submit(tool_id="probe", variable_args=[{}, {}], depends_on=[parent])
    grandchild = api.submit(tool_id="probe", depends_on=[{"batch_id": child, "type": "afterok"}])
    whatever = api.submit(tool_id="probe", depends_on=[{"batch_id": child, "type": "afterany"}])
    assert api.ended(grandchild) == {"FAILED": 1}
    assert api.ended(child) == {"FAILED": 2}
    assert api.job(child)["reason"] == (
        f"DEPENDENCY: batch {parent}, on which it depends, has failed: 1 of its 2 jobs failed"
    )
    assert child in api.job(grandchild)["reason"]
    assert api.batch(child)["n_submitted"] == 0
    assert api.ended(whatever) == {"SUCCEEDED": 1}


def test_job_by_job_the_good_ones_go_on(api: Api, gate: Gate) -> None:
    rows = [{}, {"exit_code": 1}, gate.args, {}, {}]
    parent = api.submit(tool_id="probe", variable_args=rows)
    child = api.submit(
        tool_id="probe", variable_args=[{"print": f"child of {n}"} for n in range(5)],
        depends_on=[{"batch_id": parent, "type": "aftercorr"}],
    )  # fmt: skip
    # Its counterpart has ended, others of its parent run still.
    api.until(child, lambda each: each["submitted_jobs"]["SUCCEEDED"] == 3)
    gate.open()
    assert api.ended(child) == {"SUCCEEDED": 4, "FAILED": 1}
    assert api.job(child, 1)["reason"].startswith(f"DEPENDENCY: job {parent}-1, on which it")
    assert [api.log(child, n) for n in (0, 2, 3, 4)] == [f"child of {n}\n" for n in (0, 2, 3, 4)]


def test_one_whose_parent_is_deleted_or_cancelled(api: Api) -> None:
    parents = [api.submit(tool_id="probe", fixed_args={"sleep": 60}) for _ in range(2)]
    children = [api.submit(tool_id="probe", depends_on=[each]) for each in parents]
    assert api.http.delete(f"/batches/{parents[0]}").status_code == 200
    assert api.http.post(f"/batches/{parents[1]}/cancel").status_code == 202
    assert [api.ended(each) for each in children] == [{"FAILED": 1}] * 2
    assert "was deleted before it had succeeded" in api.job(children[0])["reason"]
    assert "was cancelled" in api.job(children[1])["reason"]


def test_one_that_waits_is_cancelled_and_nothing_of_it_runs(api: Api, gate: Gate) -> None:
    parent = api.submit(tool_id="probe", fixed_args=gate.args)
    child = api.submit(tool_id="probe", depends_on=[parent])
    assert api.http.post(f"/batches/{child}/cancel").status_code == 202
    assert api.ended(child) == {"FAILED": 1}
    gate.open()
    assert api.ended(parent) == {"SUCCEEDED": 1}
    assert api.batch(child)["n_submitted"] == 0
    assert api.job(child)["reason"].startswith("CANCELLED: ")


def test_what_is_no_batch_of_the_caller_s(api: Api) -> None:
    answer = api.post({"tool_id": "probe", "depends_on": ["nonsense", {"batch_id": "0" * 26}]})
    assert answer.status_code == 422
    errors = answer.json()["errors"]
    assert [each["pointer"] for each in errors] == ["/depends_on/0", "/depends_on/1/batch_id"]
    assert len({each["detail"] for each in errors}) == 1
