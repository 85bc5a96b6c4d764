"""Where a job's time went, when it is expected to start, and whether it ever will."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmbatch.model import Job, JobChange, Status
from slurmbatch.store import Store, open_store
from tests.store.test_store import NOW, make

WAITS, RUNS = JobChange(1, Status.RUNNABLE, "CAPACITY: waits"), JobChange(1, Status.RUNNING, "r")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "state" / "x.sqlite", exclusive=True)
    yield opened
    opened.close()


@pytest.fixture
def batch_id(store: Store) -> str:
    return make(store, 1)


def job(store: Store, batch_id: str) -> Job:
    found = store.batches.job("alice", batch_id, 0)
    assert found is not None
    return found


def apply(store: Store, batch_id: str, at: float, **change: object) -> Job:
    """The job after a change that was seen so many seconds after its batch was made."""
    fields = {"task": 1, "reason": "X: x", **change}
    pk = store.arrays.of_batch(batch_id)[0].pk
    store.arrays.apply({pk: [JobChange(**fields)]}, NOW + at)  # type: ignore[arg-type]
    return job(store, batch_id)


def spent(found: Job) -> list[float]:
    return list(found.time_in_status.values())


def test_each_status_has_the_time_between_the_looks(store: Store, batch_id: str) -> None:
    apply(store, batch_id, 10, status=Status.PENDING)
    apply(store, batch_id, 15, status=Status.RUNNABLE)
    apply(store, batch_id, 30, status=Status.STARTING)
    apply(store, batch_id, 32, status=Status.RUNNING, start_time=NOW + 31)
    found = apply(store, batch_id, 100, status=Status.SUCCEEDED, start_time=NOW + 31,
                  stop_time=NOW + 99)  # fmt: skip
    assert spent(found) == [10, 5, 15, 2, 67]
    assert found.elapsed == 68


def test_slurm_s_own_times_count_where_it_says(store: Store, batch_id: str) -> None:
    apply(store, batch_id, 10, status=Status.RUNNABLE)
    running = apply(store, batch_id, 40, status=Status.RUNNING, start_time=NOW + 38)
    assert spent(running) == [10, 0, 28, 0, 0]
    assert running.status_since == NOW + 38


def test_one_that_ran_between_two_looks_has_run_all_the_same(store: Store, batch_id: str) -> None:
    apply(store, batch_id, 10, status=Status.RUNNABLE)
    found = apply(store, batch_id, 40, status=Status.FAILED, start_time=NOW + 20,
                  stop_time=NOW + 33)  # fmt: skip
    assert spent(found) == [10, 0, 10, 0, 13]


def test_a_new_reason_is_no_new_status(store: Store, batch_id: str) -> None:
    apply(store, batch_id, 10, status=Status.RUNNABLE, reason="CAPACITY: one")
    apply(store, batch_id, 20, status=Status.RUNNABLE, reason="LIMIT: another")
    assert spent(apply(store, batch_id, 50, status=Status.STARTING)) == [10, 0, 40, 0, 0]


@pytest.mark.parametrize(
    ("start", "stop"), [(-500, -400), (5000, 6000), (None, None), (25, 5), (-500, 6000)]
)
def test_no_time_is_counted_twice_or_below_nothing(
    store: Store, batch_id: str, start: float | None, stop: float | None
) -> None:
    """Whatever another clock says: they add up to the time from the first look to the end."""
    apply(store, batch_id, 10, status=Status.PENDING)
    found = apply(store, batch_id, 40, status=Status.FAILED,
                  start_time=None if start is None else NOW + start,
                  stop_time=None if stop is None else NOW + stop)  # fmt: skip
    assert min(spent(found)) >= 0
    assert 10 <= sum(spent(found)) <= 40


def test_a_clock_that_is_set_back_costs_nothing(store: Store, batch_id: str) -> None:
    apply(store, batch_id, 10, status=Status.RUNNABLE)
    assert spent(apply(store, batch_id, -3600, status=Status.STARTING)) == [10, 0, 0, 0, 0]


def test_all_runs_of_a_job_together(store: Store, batch_id: str) -> None:
    apply(store, batch_id, 10, status=Status.RUNNING)
    apply(store, batch_id, 20, status=Status.PENDING, restarts=1)
    apply(store, batch_id, 50, status=Status.RUNNING, restarts=1, start_time=NOW + 50)
    found = apply(store, batch_id, 55, status=Status.SUCCEEDED, restarts=1, stop_time=NOW + 55)
    assert spent(found) == [10, 30, 0, 0, 15]
    (earlier,) = found.attempts
    assert earlier.attempt == 1


def test_an_expected_start_is_shown_while_it_waits(store: Store, batch_id: str) -> None:
    found = apply(store, batch_id, 1, status=Status.RUNNABLE, expected_start=NOW + 60)
    assert found.expected_start == NOW + 60
    assert apply(store, batch_id, 2, status=Status.RUNNING).expected_start is None


def test_tasks_that_share_a_row_share_its_expected_start(store: Store) -> None:
    batch_id = make(store, 4)
    pk = store.arrays.of_batch(batch_id)[0].pk
    store.arrays.apply({pk: [WAITS, JobChange(2, Status.RUNNING, "RUNNING: runs")]}, NOW)
    store.arrays.expect({pk: NOW + 30})
    starts = [found.expected_start for n in range(3)
              if (found := store.batches.job("alice", batch_id, n)) is not None]  # fmt: skip
    assert starts == [NOW + 30, None, None]
    store.arrays.expect({pk: None})
    assert job(store, batch_id).expected_start is None


def test_whether_it_will_ever_run(store: Store, batch_id: str) -> None:
    assert apply(store, batch_id, 1, status=Status.PENDING, never_runs=True).never_runs
    assert not apply(store, batch_id, 2, status=Status.FAILED).never_runs
