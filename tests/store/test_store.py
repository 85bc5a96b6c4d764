"""The store: what it keeps, what it refuses, and that its counters are right whatever happens."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmbatch.errors import (
    AlreadyRunning,
    Conflict,
    KeyReused,
    NewerSchema,
    StoreFull,
    StoreUnavailable,
)
from slurmbatch.model import (
    ApiKey,
    ArrayState,
    Batch,
    Hardware,
    Job,
    JobChange,
    Page,
    SlurmOptions,
    Status,
)
from slurmbatch.store import Idempotency, NewArray, Standing, Store, new_id, open_store
from slurmbatch.store.database import Database
from slurmbatch.store.migrations import MIGRATIONS

NOW = 1_800_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "slurmbatch.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = open_store(path, exclusive=True)
    yield opened
    opened.close()


def make(
    store: Store,
    n_jobs: int = 10,
    *,
    user: str = "alice",
    per_array: int = 4,
    key: Idempotency | None = None,
    name: str = "",
    tool: str = "probe",
) -> str:
    """A new batch; gives its id, or that of the batch that the key made before."""
    batch = Batch(
        batch_id=new_id(),
        user_id=user,
        tool_id=tool,
        name=name,
        n_jobs=n_jobs,
        hardware=Hardware(("scratch",), 2, 100),
        slurm=SlurmOptions(time_limit=5, partition="main"),
        created_at=NOW,
        version=1,
        n_submitted=0,
        counts={},
    )
    sizes = [min(per_array, n_jobs - first) for first in range(0, n_jobs, per_array)]
    earlier = store.batches.create(
        batch,
        fixed_args={"a": 1, "text": "é\n'"},
        variable_args=({"seed": i} for i in range(n_jobs)),
        arrays=[NewArray(f"sb-test-{new_id()}", size) for size in sizes],
        idempotency=key,
        request_id="r1",
    )
    return earlier or batch.batch_id


def jobs(store: Store, batch_id: str, *statuses: Status, after: int = -1,
         limit: int | None = None, user: str = "alice") -> list[Job]:  # fmt: skip
    batch = store.batches.get(user, batch_id)
    assert batch is not None
    return list(store.batches.jobs(batch, statuses=frozenset(statuses), after=after, limit=limit))


def fail(store: Store, batch_id: str, *indices: int) -> None:
    """These jobs of a batch of one array."""
    pk = store.arrays.of_batch(batch_id)[0].pk
    store.arrays.apply({pk: [JobChange(index + 1, Status.FAILED, "X") for index in indices]}, NOW)


@pytest.fixture
def reads(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each read of jobs."""
    sizes, sql = [], store.batches._db.sql

    def measured(text: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        found = sql(text, parameters)
        if "FROM job j JOIN" in text:
            sizes.append(len(found))
        return found

    monkeypatch.setattr(store.batches._db, "sql", measured)
    return sizes


def counted(store: Store, batch_id: str) -> dict[Status, int]:
    """The batch's counters, after a check that they are what counting the jobs gives."""
    batch = store.batches.get("alice", batch_id)
    assert batch is not None
    assert Counter(job.status for job in jobs(store, batch_id)) == Counter(
        {status: n for status, n in batch.counts.items() if n}
    )
    assert sum(batch.counts.values()) == batch.n_jobs
    return {status: n for status, n in batch.counts.items() if n}


def versioned(store: Store, batch_id: str) -> int:
    found = store.batches.version("alice", batch_id)
    assert found is not None
    return found[0]


class TestKeeping:
    def test_a_batch_comes_back_as_it_was_kept(self, store: Store) -> None:
        batch = store.batches.get("alice", make(store, name="pi"))
        assert batch is not None
        assert (batch.n_jobs, batch.name, batch.tool_id) == (10, "pi", "probe")
        assert batch.hardware == Hardware(("scratch",), 2, 100)
        assert batch.slurm == SlurmOptions(time_limit=5, partition="main")
        assert list(batch.counts) == list(Status)
        assert batch.counts[Status.SUBMITTED] == 10

    def test_jobs_have_fixed_and_own_arguments_in_order(self, store: Store) -> None:
        found = jobs(store, make(store))
        assert [job.args for job in found] == [
            {"a": 1, "text": "é\n'", "seed": i} for i in range(10)
        ]
        assert [job.index for job in found] == list(range(10))

    def test_arrays_are_intents_with_dense_tasks(self, store: Store) -> None:
        arrays = store.arrays.of_batch(make(store))
        assert [(a.n_tasks, a.state, a.tries) for a in arrays] == [
            (4, ArrayState.INTENT, 0), (4, ArrayState.INTENT, 0), (2, ArrayState.INTENT, 0)
        ]  # fmt: skip
        fixed, own = store.arrays.arguments(arrays[2].pk)
        assert fixed["a"] == 1
        assert own == [(8, {"seed": 8}), (9, {"seed": 9})]
        assert sorted(store.arrays.unfinished(arrays[2].pk)) == [1, 2]

    def test_it_survives_being_opened_again(self, store: Store, path: Path) -> None:
        batch_id, instance = make(store), store.instance
        store.close()
        again = open_store(path, exclusive=True)
        assert again.batches.get("alice", batch_id) is not None
        assert again.instance == instance
        again.close()

    def test_others_do_not_see_it(self, store: Store) -> None:
        batch_id = make(store)
        assert store.batches.get("bob", batch_id) is None
        assert store.batches.version("bob", batch_id) is None
        assert store.batches.job("bob", batch_id, 0) is None
        assert store.batches.place("bob", batch_id, 0) is None
        assert not store.batches.cancel("bob", batch_id, NOW)
        assert store.batches.delete("bob", batch_id, NOW) == 0
        assert store.batches.delete("bob", None, NOW) == 0
        assert store.batches.list("bob") == []
        assert counted(store, batch_id) == {Status.SUBMITTED: 10}

    def test_nothing_of_a_failed_write_stays(self, store: Store) -> None:
        make(store)
        before = store.batches.list("alice")
        batch = before[0]
        with pytest.raises(StoreUnavailable), store._db.write() as db:
            db.execute_sql("DELETE FROM job")
            db.connection().execute("SELECT no_such_function()")
        assert store.batches.list("alice") == before
        assert len(jobs(store, batch.batch_id)) == 10


class TestReading:
    def test_newest_first_and_by_pages(self, store: Store) -> None:
        ids = [make(store, 1) for _ in range(5)]
        listed = [batch.batch_id for batch in store.batches.list("alice")]
        assert listed == ids[::-1]
        page = [batch.batch_id for batch in store.batches.list("alice", Page(2, ids[3]))]
        assert page == [ids[2], ids[1]]

    def test_a_page_goes_on_where_its_last_batch_was_deleted(self, store: Store) -> None:
        ids = [make(store, 1) for _ in range(3)]
        store.batches.delete("alice", ids[1], NOW)
        assert [b.batch_id for b in store.batches.list("alice", Page(after=ids[1]))] == [ids[0]]

    def test_filters(self, store: Store) -> None:
        one, two = make(store, 1, name="x"), make(store, 1, tool="other")
        pk = store.arrays.of_batch(one)[0].pk
        store.arrays.apply({pk: [JobChange(1, Status.RUNNING, "RUNNING: runs")]}, NOW)
        by = store.batches.list
        assert [b.batch_id for b in by("alice", Page(status=Status.RUNNING))] == [one]
        assert [b.batch_id for b in by("alice", Page(tool_id="other"))] == [two]
        assert [b.batch_id for b in by("alice", Page(name="x"))] == [one]
        assert by("alice", Page(name="x", tool_id="other")) == []

    def test_jobs_by_status_and_by_pages(self, store: Store) -> None:
        batch_id = make(store, 1200, per_array=1000)
        pk = store.arrays.of_batch(batch_id)[0].pk
        odd = [JobChange(n, Status.RUNNING, "r") for n in range(1, 1000, 2)]
        store.arrays.apply({pk: odd}, NOW)
        assert len(jobs(store, batch_id)) == 1200
        assert [job.index for job in jobs(store, batch_id, Status.RUNNING)] == list(
            range(0, 999, 2)
        )
        assert len(jobs(store, batch_id, Status.RUNNING, Status.SUBMITTED)) == 1200
        assert [job.index for job in jobs(store, batch_id, after=700, limit=3)] == [701, 702, 703]
        assert jobs(store, batch_id, after=1199) == []

    def test_few_jobs_among_many_come_one_by_one(self, store: Store, reads: list[int]) -> None:
        batch_id = make(store, 90_000, per_array=90_000)
        fail(store, batch_id, 7, 30_000, 50_000)
        batch = store.batches.get("alice", batch_id)
        assert batch is not None
        failed = frozenset((Status.FAILED,))
        found = store.batches.jobs(batch, statuses=failed, after=-1, limit=None)
        assert next(found).index == 7
        assert reads == [1]
        assert [job.index for job in found] == [30_000, 50_000]
        # The counter says that these are all: what is left of the batch is not looked through.
        assert reads == [1, 1, 1]
        assert [job.index for job in jobs(store, batch_id, Status.FAILED, after=7)] == [
            30_000, 50_000,
        ]  # fmt: skip
        reads.clear()
        assert jobs(store, batch_id, Status.RUNNING) == []
        assert reads == []

    def test_what_changes_while_it_is_listed_hides_nothing(self, store: Store) -> None:
        batch_id = make(store, 45_000, per_array=45_000)
        fail(store, batch_id, 7, 40_000)
        batch = store.batches.get("alice", batch_id)
        assert batch is not None
        failed = frozenset((Status.FAILED,))
        found = store.batches.jobs(batch, statuses=failed, after=-1, limit=None)
        assert next(found).index == 7
        fail(store, batch_id, 20_500, 44_000)
        assert [job.index for job in found] == [20_500, 40_000, 44_000]

    def test_many_jobs_are_read_in_portions(self, store: Store, reads: list[int]) -> None:
        batch_id = make(store, 1200, per_array=1200)
        assert len(jobs(store, batch_id)) == 1200
        fail(store, batch_id, *range(100, 1200))
        assert len(jobs(store, batch_id, Status.FAILED)) == 1100
        assert len(jobs(store, batch_id, Status.FAILED, limit=3)) == 3
        assert len(jobs(store, batch_id, limit=501)) == 501
        # No more than is asked for.
        assert reads == [500, 500, 200, 500, 500, 100, 3, 500, 1]


class TestIdempotency:
    def test_the_same_key_and_body_give_the_same_batch(self, store: Store) -> None:
        first = make(store, key=Idempotency("k", b"1"))
        assert make(store, key=Idempotency("k", b"1")) == first
        assert len(store.batches.list("alice")) == 1

    def test_another_body_is_refused_and_keeps_nothing(self, store: Store) -> None:
        make(store, key=Idempotency("k", b"1"))
        with pytest.raises(KeyReused):
            make(store, key=Idempotency("k", b"2"))
        assert len(store.batches.list("alice")) == 1

    def test_keys_belong_to_a_user(self, store: Store) -> None:
        first = make(store, key=Idempotency("k", b"1"))
        assert make(store, user="bob", key=Idempotency("k", b"2")) != first

    def test_a_deleted_batch_is_not_made_again(self, store: Store) -> None:
        batch_id = make(store, key=Idempotency("k", b"1"))
        store.batches.delete("alice", batch_id, NOW)
        store.arrays.end_all(store.arrays.of_batch(batch_id)[0].pk, ArrayState.DONE, "X", NOW)
        store.graves.purge(NOW)
        with pytest.raises(Conflict, match=batch_id):
            make(store, key=Idempotency("k", b"1"))

    def test_a_withdrawn_batch_frees_its_key(self, store: Store) -> None:
        batch_id = make(store, key=Idempotency("k", b"1"))
        assert store.batches.withdraw(batch_id, NOW)
        assert store.batches.list("alice") == []
        assert all(array.cancel for array in store.arrays.of_batch(batch_id))
        assert make(store, key=Idempotency("k", b"2")) != batch_id
        assert store.batches.withdraw(batch_id, NOW)  # by another request that heard the same

    def test_what_slurm_has_a_part_of_is_not_withdrawn(self, store: Store) -> None:
        batch_id = make(store, 4, per_array=2, key=Idempotency("k", b"1"))
        array = store.arrays.of_batch(batch_id)[1]
        store.arrays.accepted(array.pk, 7, NOW)
        assert not store.batches.withdraw(batch_id, NOW)
        assert store.batches.get("alice", batch_id) is not None
        assert make(store, key=Idempotency("k", b"1")) == batch_id

    def test_many_at_once_make_one_batch(self, store: Store) -> None:
        made: list[str] = []
        start = threading.Barrier(8)

        def post() -> None:
            start.wait()
            made.append(make(store, 100, key=Idempotency("k", b"1")))

        threads = [threading.Thread(target=post) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 8
        assert len(set(made)) == 1
        assert len(store.batches.list("alice")) == 1


class TestHandOver:
    def test_the_steps_and_what_they_count(self, store: Store) -> None:
        batch_id = make(store, 4)
        pk = store.arrays.of_batch(batch_id)[0].pk
        store.arrays.trying(pk, NOW)
        store.arrays.accepted(pk, 77, NOW)
        held = store.arrays.get(pk)
        assert held is not None
        assert (held.state, held.slurm_job_id, held.tries) == (ArrayState.HELD, 77, 1)
        batch = store.batches.get("alice", batch_id)
        assert batch is not None
        assert batch.n_submitted == 4
        store.arrays.releasing(pk, "boot-1", NOW)
        store.arrays.queued(pk, "boot-1")
        queued = store.arrays.get(pk)
        assert queued is not None
        assert (queued.state, queued.released_boot) == (ArrayState.QUEUED, "boot-1")

    def test_a_step_from_the_wrong_state_does_nothing(self, store: Store) -> None:
        batch_id = make(store, 4)
        pk = store.arrays.of_batch(batch_id)[0].pk
        store.arrays.queued(pk, "boot-1")
        store.arrays.releasing(pk, "", NOW)
        store.arrays.accepted(pk, 77, NOW)
        store.arrays.accepted(pk, 78, NOW)
        array = store.arrays.get(pk)
        assert array is not None
        assert (array.state, array.slurm_job_id) == (ArrayState.HELD, 77)
        batch = store.batches.get("alice", batch_id)
        assert batch is not None
        assert batch.n_submitted == 4

    def test_why_it_waits_is_the_reason_of_its_jobs(self, store: Store) -> None:
        batch_id = make(store, 4)
        pk = store.arrays.of_batch(batch_id)[0].pk
        version = versioned(store, batch_id)
        store.arrays.waits(pk, "LIMIT: waits for room", NOW + 5)
        assert {job.reason for job in jobs(store, batch_id)} == {"LIMIT: waits for room"}
        assert versioned(store, batch_id) == version + 1
        assert store.arrays.in_state(ArrayState.INTENT, due=NOW) == []
        assert len(store.arrays.in_state(ArrayState.INTENT, due=NOW + 5)) == 1

    def test_submitted_again_it_is_a_new_generation_under_a_new_tag(self, store: Store) -> None:
        batch_id = make(store, 4)
        before = store.arrays.of_batch(batch_id)[0]
        store.arrays.trying(before.pk, NOW)
        store.arrays.accepted(before.pk, 77, NOW)
        store.arrays.submit_again(before.pk, "sb-test-new", NOW)
        after = store.arrays.of_batch(batch_id)[0]
        assert (after.state, after.generation, after.slurm_job_id, after.tries) == (
            ArrayState.INTENT, 2, None, 0
        )  # fmt: skip
        assert store.graves.standing(before.tag) is Standing.BURIED
        assert store.graves.standing("sb-test-new") is Standing.INTENT
        assert store.graves.standing("sb-test-other") is Standing.UNKNOWN
        batch = store.batches.get("alice", batch_id)
        assert batch is not None
        assert batch.n_submitted == 0

    def test_what_may_have_been_released_is_not_submitted_again(self, store: Store) -> None:
        batch_id = make(store, 4)
        pk = store.arrays.of_batch(batch_id)[0].pk
        store.arrays.accepted(pk, 77, NOW)
        store.arrays.releasing(pk, "1", NOW)
        store.arrays.held_again(pk)
        before = store.arrays.of_batch(batch_id), store.batches.get("alice", batch_id)
        store.arrays.submit_again(pk, "sb-test-new", NOW)
        assert (store.arrays.of_batch(batch_id), store.batches.get("alice", batch_id)) == before

    def test_of_each_name_it_is_known_how_it_stands(self, store: Store) -> None:
        batch_id, gone = make(store, 1), make(store, 1)
        (array,), (other,) = store.arrays.of_batch(batch_id), store.arrays.of_batch(gone)
        store.arrays.accepted(array.pk, 77, NOW)
        assert store.graves.standing(array.tag) is Standing.OPEN
        store.arrays.end_all(array.pk, ArrayState.DONE, "X: x", NOW)
        assert store.graves.standing(array.tag) is Standing.OVER
        store.batches.cancel("alice", gone, NOW)
        store.arrays.end_all(other.pk, ArrayState.DONE, "X: x", NOW)
        assert store.graves.standing(other.tag) is Standing.BURIED


class TestChanges:
    def test_an_end_is_final_unless_reopened(self, store: Store) -> None:
        batch_id = make(store, 2)
        pk = store.arrays.of_batch(batch_id)[0].pk
        store.arrays.apply({pk: [JobChange(1, Status.SUCCEEDED, "OK")]}, NOW)
        store.arrays.apply({pk: [JobChange(1, Status.RUNNING, "r")]}, NOW)
        assert counted(store, batch_id) == {Status.SUCCEEDED: 1, Status.SUBMITTED: 1}
        store.arrays.apply({pk: [JobChange(1, Status.PENDING, "p", reopen=True)]}, NOW)
        assert counted(store, batch_id) == {Status.PENDING: 1, Status.SUBMITTED: 1}

    def test_the_last_end_ends_the_array_and_the_batch(self, store: Store) -> None:
        batch_id = make(store, 2)
        pk = store.arrays.of_batch(batch_id)[0].pk
        first = store.arrays.apply({pk: [JobChange(1, Status.SUCCEEDED, "OK")]}, NOW)
        assert (first.jobs, first.finished) == (1, ())
        last = store.arrays.apply({pk: [JobChange(2, Status.FAILED, "X")]}, NOW + 1)
        assert last.finished == ((batch_id, "alice", 1, "r1"),)
        assert store.arrays.of_batch(batch_id)[0].state is ArrayState.DONE
        batch = store.batches.get("alice", batch_id)
        assert batch is not None
        assert batch.finished_at == NOW + 1

    def test_a_change_of_nothing_but_the_reason_is_a_new_version(self, store: Store) -> None:
        batch_id = make(store, 2)
        pk = store.arrays.of_batch(batch_id)[0].pk
        store.arrays.apply({pk: [JobChange(1, Status.RUNNABLE, "one")]}, NOW)
        version = versioned(store, batch_id)
        store.arrays.apply({pk: [JobChange(1, Status.RUNNABLE, "two")]}, NOW)
        assert versioned(store, batch_id) == version + 1

    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 2**32), rounds=st.integers(1, 12))
    def test_counters_are_always_what_counting_gives(
        self, tmp_path_factory: pytest.TempPathFactory, seed: int, rounds: int
    ) -> None:
        chance = random.Random(seed)
        store = open_store(tmp_path_factory.mktemp("s") / "d" / "x.sqlite", exclusive=True)
        try:
            batch_id = make(store, 30, per_array=7)
            pks = [array.pk for array in store.arrays.of_batch(batch_id)]
            for _ in range(rounds):
                changes = {
                    pk: [
                        JobChange(task, chance.choice(list(Status)), "r",
                                  reopen=chance.random() < 0.2)
                        for task in chance.sample(range(1, 9), 4)
                    ]
                    for pk in chance.sample(pks, 3)
                }  # fmt: skip
                store.arrays.apply(changes, NOW)
                counted(store, batch_id)
            for array in store.arrays.of_batch(batch_id):
                unfinished = store.arrays.unfinished(array.pk)
                assert (array.state is ArrayState.DONE) == (not unfinished)
        finally:
            store.close()


class TestDeleting:
    def test_hidden_at_once_and_purged_when_nothing_runs(self, store: Store) -> None:
        batch_id = make(store, 8, per_array=4)
        arrays = store.arrays.of_batch(batch_id)
        store.batches.delete("alice", batch_id, NOW)
        assert store.batches.get("alice", batch_id) is None
        assert store.batches.list("alice") == []
        assert store.graves.purge(NOW) == []
        for array in store.arrays.of_batch(batch_id):
            assert array.cancel
            store.arrays.end_all(array.pk, ArrayState.DONE, "CANCELLED: x", NOW)
        assert store.graves.purge(NOW) == [batch_id]
        assert store._db.sql("SELECT count(*) FROM job") == [(0,)]
        assert store._db.sql("SELECT count(*) FROM array") == [(0,)]
        assert store.graves.standing(arrays[0].tag) is Standing.BURIED
        store.graves.forget_tombstones(NOW + 1)
        assert store.graves.standing(arrays[0].tag) is Standing.UNKNOWN

    def test_a_big_one_goes_in_portions(self, store: Store) -> None:
        batch_id = make(store, 25, per_array=25)
        store.batches.delete("alice", batch_id, NOW)
        store.arrays.end_all(store.arrays.of_batch(batch_id)[0].pk, ArrayState.DONE, "X", NOW)
        assert store.graves.purge(NOW, portion=10, seconds=0) == []
        assert store._db.sql("SELECT count(*) FROM job") == [(15,)]
        assert store.graves.purge(NOW, portion=10, seconds=0) == []
        assert store.graves.purge(NOW, portion=10, seconds=0) == [batch_id]

    def test_a_cancelled_one_keeps_its_first_time(self, store: Store) -> None:
        batch_id = make(store, 1)
        assert store.batches.cancel("alice", batch_id, NOW)
        assert store.batches.cancel("alice", batch_id, NOW + 9)
        batch = store.batches.get("alice", batch_id)
        assert batch is not None
        assert batch.cancelled_at == NOW

    def test_what_has_ended_is_not_cancelled_any_more(self, store: Store) -> None:
        batch_id = make(store, 1)
        pk = store.arrays.of_batch(batch_id)[0].pk
        store.arrays.apply({pk: [JobChange(1, Status.SUCCEEDED, "OK")]}, NOW)
        assert store.batches.cancel("alice", batch_id, NOW + 9)
        batch = store.batches.get("alice", batch_id)
        assert batch is not None
        assert batch.cancelled_at is None


class TestKeys:
    def test_kept_listed_revoked_once(self, store: Store) -> None:
        key = ApiKey("abc", "alice", b"hash", NOW, NOW + 1)
        store.keys.add_key(key)
        assert store.keys.key("abc") == key
        assert store.keys.list_keys("bob") == []
        assert store.keys.revoke_key("abc", NOW)
        assert not store.keys.revoke_key("abc", NOW)
        found = store.keys.key("abc")
        assert found is not None
        assert found.revoked_at == NOW


class TestTheFile:
    def test_modes_and_pragmas(self, store: Store, path: Path) -> None:
        make(store)
        for file in path.parent.iterdir():
            assert file.stat().st_mode & 0o077 == 0, file
        pragma = store._db.writer.execute_sql
        assert pragma("PRAGMA journal_mode").fetchone() == ("wal",)
        assert pragma("PRAGMA synchronous").fetchone() == (2,)
        assert store._db.sql("PRAGMA query_only") == [(1,)]
        assert store._db.sql("PRAGMA wal_autocheckpoint") == [(0,)]

    @pytest.mark.parametrize("exclusive", [True, False])
    def test_a_directory_of_another_account_s_is_refused(
        self, tmp_path: Path, exclusive: bool
    ) -> None:
        place = Path("/")
        if os.geteuid() == 0:
            place = tmp_path / "state"
            place.mkdir(mode=0o700)
            os.chown(place, 12_345, -1)
        before = sorted(place.iterdir())
        with pytest.raises(StoreUnavailable, match=f"{place} belongs to .*: run this as that acc"):
            open_store(place / "x.sqlite", exclusive=exclusive)
        assert sorted(place.iterdir()) == before

    @pytest.mark.parametrize("what", ["file", "directory"])
    def test_loose_modes_are_refused(self, path: Path, what: str) -> None:
        open_store(path, exclusive=True).close()
        (path if what == "file" else path.parent).chmod(0o755)
        with pytest.raises(StoreUnavailable, match="open to others"):
            open_store(path, exclusive=True)

    def test_a_second_daemon_is_told_who_holds_it(self, store: Store, path: Path) -> None:
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()} on "):
            open_store(path, exclusive=True)

    def test_an_administrators_command_may_write_beside_the_daemon(
        self, store: Store, path: Path
    ) -> None:
        process = subprocess.Popen([sys.executable, "-c", ADD_KEYS, str(path)])
        for _ in range(100):
            make(store, 5)
        assert process.wait(30) == 0
        assert len(store.keys.list_keys()) == 50
        assert store._db.sql("PRAGMA integrity_check") == [("ok",)]

    def test_a_newer_schema_is_refused_and_left_alone(self, path: Path) -> None:
        open_store(path, exclusive=True).close()
        newer = len(MIGRATIONS) + 1
        with sqlite3.connect(path) as raw:
            raw.execute(f"PRAGMA user_version = {newer}")
        with pytest.raises(NewerSchema, match=str(newer)):
            open_store(path, exclusive=True)
        with sqlite3.connect(path) as raw:
            assert raw.execute("PRAGMA user_version").fetchone() == (newer,)

    def test_a_full_disk_is_told_as_such_and_nothing_is_kept(self, store: Store) -> None:
        make(store, 10)
        pages = store._db.writer.execute_sql("PRAGMA page_count").fetchone()[0]
        store._db.writer.execute_sql(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreFull):
            make(store, 5000, per_array=1000)
        assert len(store.batches.list("alice")) == 1
        store._db.writer.execute_sql("PRAGMA max_page_count = 1000000")
        make(store, 5000, per_array=1000)
        assert len(store.batches.list("alice")) == 2

    def test_a_file_that_is_no_database_is_told_as_such(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700)
        path.write_bytes(b"not a database at all, but long enough to look like one" * 50)
        path.chmod(0o600)
        with pytest.raises(StoreUnavailable, match="not a database"):
            open_store(path, exclusive=True)


ADD_KEYS = """
import sys
from pathlib import Path
from slurmbatch.model import ApiKey
from slurmbatch.store import open_store
store = open_store(Path(sys.argv[1]), exclusive=False)
for number in range(50):
    store.keys.add_key(ApiKey(f"k{number}", "bob", b"h", 1.0))
store.close()
"""


def test_ids_sort_by_time_also_when_many_are_made_at_once() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert all(len(each) == 26 for each in ids)


class TestWhatIsRemembered:
    """A read may be answered without the database, but never with what was there before."""

    def test_until_something_is_written(self, store: Store) -> None:
        batch_id = make(store, 2)
        first = store.batches.get("alice", batch_id)
        assert store.batches.get("alice", batch_id) is first
        store.batches.cancel("alice", batch_id, NOW)
        after = store.batches.get("alice", batch_id)
        assert after is not None
        assert after.cancelled_at == NOW
        assert store.batches.version("alice", batch_id) == (after.version, False)
        store.batches.delete("alice", batch_id, NOW)
        assert store.batches.get("alice", batch_id) is None
        assert store.batches.version("alice", batch_id) is None

    def test_what_is_not_there_is_seen_when_it_is(self, store: Store) -> None:
        assert store.keys.key("k1") is None
        store.keys.add_key(ApiKey("k1", "alice", b"h", NOW))
        assert store.keys.key("k1") is not None
        store.keys.revoke_key("k1", NOW)
        revoked = store.keys.key("k1")
        assert revoked is not None
        assert revoked.revoked_at == NOW

    def test_each_thread_sees_what_another_has_written(self, store: Store) -> None:
        batch_id = make(store, 2)
        seen: list[int] = []
        turn, done = threading.Semaphore(0), threading.Semaphore(0)

        def look() -> None:
            for _ in range(50):
                turn.acquire()
                found = store.batches.get("alice", batch_id)
                seen.append(found.version if found else -1)
                done.release()

        thread = threading.Thread(target=look)
        thread.start()
        pk = store.arrays.of_batch(batch_id)[0].pk
        for number in range(50):
            store.arrays.waits(pk, f"WAITING: {number}", 0.0)
            turn.release()
            done.acquire()
        thread.join()
        assert seen == list(range(seen[0], seen[0] + 50))

    def test_another_process_is_noticed_soon(self, store: Store) -> None:
        assert store.keys.key("k1") is None
        other = Store(Database(store._db.path, exclusive=False))
        other.keys.add_key(ApiKey("k1", "alice", b"h", NOW))
        deadline = time.monotonic() + 10
        while store.keys.key("k1") is None:
            assert time.monotonic() < deadline
        other.keys.revoke_key("k1", NOW)
        while (found := store.keys.key("k1")) and found.revoked_at is None:
            assert time.monotonic() < deadline
        other.close()

    def test_memory_has_a_bound(self, store: Store) -> None:
        for number in range(10_000):
            store.keys.key(f"no-{number}")
        assert len(store._db._memory.kept) < 5000
