"""What a batch says of its jobs is right whatever happens to them."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.model import JobChange, Status
from slurmbatch.store import Store, open_store
from slurmbatch.store.usage import Used
from tests.store.test_store import NOW, make

TOLD = (Status.PENDING, Status.RUNNABLE, Status.FAILED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "x.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = open_store(path, exclusive=True)
    yield opened
    opened.close()


def said(store: Store, batch_id: str) -> dict[str, Any]:
    batch = store.batches.get("alice", batch_id)
    assert batch is not None
    found: dict[str, Any] = json.loads(batch.summary)
    return found


def counted(store: Store, batch_id: str) -> dict[tuple[str, str], int]:
    return {(each["status"], each["reason"]): each["n_jobs"]
            for each in said(store, batch_id)["reasons"]}  # fmt: skip


def array(store: Store, batch_id: str) -> int:
    return store.arrays.of_batch(batch_id)[0].pk


def submitted(store: Store, pk: int, number: int = 7) -> None:
    store.arrays.trying(pk, NOW)
    store.arrays.accepted(pk, number, NOW)


def end(task: int, status: Status = Status.SUCCEEDED, reason: str = "OK: ended", node: str = "n1",
        seconds: float = 100.0) -> JobChange:  # fmt: skip
    return JobChange(task, status, reason, "COMPLETED", NOW, NOW + seconds, 0, 0, node)


def test_37_of_40_failed_on_one_node(store: Store) -> None:
    batch_id = make(store, 40, per_array=40)
    bad = "EXIT: ended with exit code 1 (FAILED)"
    changes = [end(task, Status.FAILED, bad, "n12") for task in range(4, 41)]
    store.arrays.apply({array(store, batch_id): changes}, NOW)
    (reason,) = said(store, batch_id)["reasons"]
    assert reason == {
        "text": "37 of 40 jobs failed on n12: ended with exit code 1 (FAILED)",
        "status": "FAILED", "reason": bad, "n_jobs": 37, "node": "n12", "job_id": f"{batch_id}-3",
    }  # fmt: skip


def test_the_most_frequent_first_and_ten_at_most(store: Store) -> None:
    batch_id = make(store, 78, per_array=78)
    tasks = iter(range(1, 79))
    changes = [JobChange(next(tasks), Status.RUNNABLE, f"LIMIT: {many:02}")
               for many in range(1, 13) for _ in range(many)]  # fmt: skip
    store.arrays.apply({array(store, batch_id): changes}, NOW)
    assert list(counted(store, batch_id).values()) == list(range(12, 2, -1))


def test_what_waits_to_be_handed_over_says_why(store: Store) -> None:
    batch_id = make(store, 10, per_array=4)
    pks = [each.pk for each in store.arrays.of_batch(batch_id)]
    store.arrays.waits(pks[0], "LIMIT: no room", NOW)
    store.arrays.waits(pks[1], "LIMIT: no room", NOW)
    assert counted(store, batch_id) == {("SUBMITTED", "LIMIT: no room"): 8}
    submitted(store, pks[0])
    assert counted(store, batch_id) == {("SUBMITTED", "LIMIT: no room"): 4}


def test_after_any_changes_it_is_as_if_counted_anew(store: Store) -> None:
    chance = random.Random(20261127)
    batch_id = make(store, 60, per_array=20)
    pks = [each.pk for each in store.arrays.of_batch(batch_id)]
    for step in range(60):
        changes = {
            pk: [JobChange(task, chance.choice(list(Status)), chance.choice(["A: a", "B: b", ""]),
                           node_list=chance.choice(["n1", "n2"]), reopen=chance.random() < 0.3,
                           restarts=chance.randint(0, 2))
                 for task in chance.sample(range(1, 21), chance.randint(1, 20))]
            for pk in chance.sample(pks, chance.randint(1, 3))
        }  # fmt: skip
        store.arrays.apply(changes, NOW + step)
        batch = store.batches.get("alice", batch_id)
        assert batch is not None
        jobs = list(store.batches.jobs(batch, statuses=frozenset(), after=-1, limit=None))
        wanted = Counter((job.status.value, job.reason) for job in jobs
                         if job.status in TOLD and job.reason)  # fmt: skip
        assert counted(store, batch_id) == dict(wanted)
        by_id = {job.job_id: job for job in jobs}
        for reason in said(store, batch_id)["reasons"]:
            if reason["status"] == "FAILED":
                example = by_id[reason["job_id"]]
                assert (example.status, example.reason) == (Status.FAILED, reason["reason"])


def test_jobs_that_are_submitted_again_have_no_reason_any_more(store: Store) -> None:
    batch_id = make(store, 4)
    pk = array(store, batch_id)
    submitted(store, pk)
    store.arrays.apply({pk: [JobChange(n, Status.RUNNABLE, "LIMIT: x") for n in (1, 2)]}, NOW)
    store.arrays.submit_part_again(pk, [1], "sb-again", NOW)
    assert counted(store, batch_id) == {("RUNNABLE", "LIMIT: x"): 1}


def test_what_those_used_that_succeeded(store: Store) -> None:
    batch_id = make(store, 4)
    pk = array(store, batch_id)
    submitted(store, pk)
    changes = [end(1), end(2, seconds=200), end(3, Status.FAILED, "EXIT: x"), end(4, seconds=2)]
    store.arrays.apply({pk: changes}, NOW)
    dues = {each.task[1]: each for each in store.usage.due(NOW + 60, 10)}
    assert set(dues) == {1, 2, 3, 4}
    before = store.batches.version("alice", batch_id)
    store.usage.keep([Used(dues[1], 50.0, 150.0), Used(dues[2], 60.0, 100.0),
                      Used(dues[3], 9999.0, 9999.0), Used(dues[4], 1.5, 2.0)], NOW)  # fmt: skip
    usage = said(store, batch_id)["usage"]
    assert usage["n_jobs"] == 3
    assert usage["memory"] == {"asked": 100, "p50": 50.0, "p95": 60.0, "max": 60.0}
    # Of two seconds nobody can tell how busy a CPU was.
    assert usage["cpu"] == {"asked": 2, "p50": 0.5, "p95": 1.5, "max": 1.5}
    assert usage["time"] == {"asked": 300, "p50": 100.0, "p95": 200.0, "max": 200.0}
    assert before != store.batches.version("alice", batch_id)
    store.usage.keep([Used(dues[1], 50.0, 150.0)], NOW)
    assert said(store, batch_id)["usage"]["n_jobs"] == 3
    assert store.usage.due(NOW + 60, 10) == ()


def test_an_end_is_expected_once_there_is_something_to_tell_it_from(store: Store) -> None:
    batch_id = make(store, 4)
    pk = array(store, batch_id)
    runs = [JobChange(task, Status.RUNNING, "RUNNING: runs", start_time=NOW + 100, node_list="n1")
            for task in (2, 3)]  # fmt: skip
    store.arrays.apply({pk: runs}, NOW + 100)
    assert said(store, batch_id)["expected_end"] is None
    store.arrays.apply({pk: [end(1)]}, NOW + 101)
    assert said(store, batch_id)["expected_end"] == NOW + 100 + 100 * 1.5
    store.arrays.apply({pk: [end(task) for task in (2, 3, 4)]}, NOW + 300)
    assert said(store, batch_id)["expected_end"] is None


def test_nothing_of_it_is_left_of_a_batch_that_is_gone(store: Store) -> None:
    batch_id = make(store, 2)
    pk = array(store, batch_id)
    submitted(store, pk)
    store.arrays.apply({pk: [end(1), end(2, Status.FAILED, "EXIT: x")]}, NOW)
    store.usage.keep([Used(each, 5.0, 5.0) for each in store.usage.due(NOW + 60, 10)], NOW)
    store.batches.delete("alice", batch_id, NOW)
    assert store.graves.purge(NOW) == [batch_id]
    for table in ("reason", "usage"):
        assert store._db.sql(f"SELECT count(*) FROM {table}") == [(0,)]


def test_batches_of_before_say_it_from_the_next_start_on(store: Store, path: Path) -> None:
    batch_id = make(store, 2)
    bad = [end(task, Status.FAILED, "EXIT: x") for task in (1, 2)]
    store.arrays.apply({array(store, batch_id): bad}, NOW)
    with store._db.write() as db:
        db.execute_sql("UPDATE batch SET summary = ''")
    store.close()
    again = open_store(path, exclusive=True)
    assert counted(again, batch_id) == {("FAILED", "EXIT: x"): 2}
    again.close()
