"""A large batch is written in portions, and is there as a whole or not at all."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.errors import KeyReused, StoreFull
from slurmbatch.model import ArrayState, Batch, Hardware, SlurmOptions, Status
from slurmbatch.spool import Spool, compact
from slurmbatch.store import Idempotency, NewArray, Store, new_id, open_store, staging
from slurmbatch.store import batches as module
from slurmbatch.store.upkeep import _broken_invariants

from .test_store import NOW, counted, jobs, make

N_JOBS = 95


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "_JOBS_A_TRANSACTION", 10)
    return tmp_path / "state" / "x.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = open_store(path, exclusive=True)
    yield opened
    opened.close()


def create(
    store: Store,
    variable_args: Any,
    key: Idempotency | None = None,
    n_jobs: int = N_JOBS,
) -> str | None:
    batch = Batch(new_id(), "alice", "t", "", n_jobs, Hardware((), 1, 1), SlurmOptions(), NOW, 1, 0,
                  {})  # fmt: skip
    arrays = [NewArray(f"sb-{new_id()}", size) for size in (40, 40, n_jobs - 80)]
    return store.batches.create(batch, fixed_args={}, variable_args=variable_args, arrays=arrays,
                                idempotency=key)  # fmt: skip


def while_made(deed: Callable[[int], object], n_jobs: int = N_JOBS) -> Iterator[dict[str, int]]:
    """The jobs' arguments; `deed` is done before each of them."""
    for number in range(n_jobs):
        deed(number)
        yield {"seed": number}


def rows(store: Store) -> list[int]:
    return [store._db.sql(f"SELECT count(*) FROM {table}")[0][0]
            for table in ("batch", "array", "job", "idempotency")]  # fmt: skip


def purge(store: Store) -> None:
    for _ in range(3):
        store.graves.purge(NOW)


def test_it_is_what_a_small_one_is(store: Store) -> None:
    batch_id = make(store, N_JOBS, per_array=40)
    assert [job.args["seed"] for job in jobs(store, batch_id)] == list(range(N_JOBS))
    assert counted(store, batch_id) == {Status.SUBMITTED: N_JOBS}
    arrays = store.arrays.in_state(ArrayState.INTENT)
    assert [(array.ordinal, array.n_tasks) for array in arrays] == [(0, 40), (1, 40), (2, 15)]
    numbers = [store.arrays.arguments(array.pk)[1] for array in arrays]
    assert [index for own in numbers for index, _ in own] == list(range(N_JOBS))


def test_from_a_spool_as_it_is(store: Store, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(N_JOBS):
        spool.append({"seed": number, "text": 'ä "x"\n'})
    assert create(store, spool) is None
    [batch] = store.batches.list("alice")
    assert [job.args for job in jobs(store, batch.batch_id)] == list(spool)


ODD = [
    1.0,
    -0.0,
    1e300,
    5e-324,
    0.1,
    2**63 - 1,
    -(2**63),
    True,
    "",
    "ä\u2028😀\x7f",
    'q"\\/\n\t',
    "1",
]


@pytest.mark.parametrize("most", [5, 10, 1000])
def test_every_argument_is_kept_as_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(module, "_JOBS_A_TRANSACTION", most)
    args = [{"a": ODD[n % len(ODD)], 'ö "': n} for n in range(N_JOBS)]
    create(store, args)
    [batch] = store.batches.list("alice")
    kept = [job.args for job in jobs(store, batch.batch_id)]
    assert list(map(repr, kept)) == list(map(repr, args))
    texts = store._db.sql("SELECT args FROM job ORDER BY idx")
    assert [text for (text,) in texts] == [compact(each) for each in args]


def test_nobody_sees_a_part_of_it_and_everybody_gets_a_turn_to_write(store: Store) -> None:
    def look(number: int) -> None:
        assert store.batches.list("alice") == []
        assert store.arrays.in_state(*ArrayState) == []
        assert store.graves.purge(NOW) == []
        if number % 10 == 0:
            turn = threading.Thread(target=store.remember, args=("turn", str(number)))
            turn.start()
            turn.join(20)
            assert store.recall("turn") == str(number)

    create(store, while_made(look))
    assert len(store.batches.list("alice")) == 1


@pytest.mark.parametrize("trouble", [StoreFull(), ValueError("a bug"), KeyboardInterrupt()])
def test_trouble_in_the_middle_leaves_nothing(store: Store, trouble: BaseException) -> None:
    kept = make(store, 5)
    before = rows(store)

    def fail(number: int) -> None:
        if number == 55:
            raise trouble

    with pytest.raises(type(trouble)):
        create(store, while_made(fail), Idempotency("k", b"1"))
    assert [batch.batch_id for batch in store.batches.list("alice")] == [kept]
    purge(store)
    assert rows(store) == before
    assert create(store, while_made(lambda _: None), Idempotency("k", b"2")) is None


@pytest.mark.parametrize("at", [0, 11, 55, 94])
def test_a_daemon_killed_in_the_middle_leaves_nothing(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    class Killed(BaseException):
        """Nothing of ours runs after it."""

    def kill(number: int) -> None:
        if number == at:
            raise Killed

    with monkeypatch.context() as killed, pytest.raises(Killed):
        killed.setattr(staging, "give_up", lambda *_: (_ for _ in ()).throw(Killed()))
        create(store, while_made(kill), Idempotency("k", b"1"))
    assert rows(store)[:2] == [1, 3]
    store.close()
    again = open_store(path, exclusive=True)
    assert again.batches.list("alice") == []
    assert {array.state for array in again.arrays.in_state(*ArrayState)} == {ArrayState.DONE}
    purge(again)
    assert rows(again) == [0, 0, 0, 0]
    assert create(again, while_made(lambda _: None), Idempotency("k", b"1")) is None
    assert len(again.batches.list("alice")) == 1
    again.close()


def test_a_copy_from_the_middle_is_sound_and_has_nothing_of_it(
    store: Store, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.sqlite"

    def take(number: int) -> None:
        if number == 55:
            store._db.writer.execute_sql("VACUUM INTO ?", (str(copy),))

    create(store, while_made(take))
    with closing(sqlite3.connect(copy)) as connection:
        assert list(_broken_invariants(connection)) == []
    copy.chmod(0o600)
    tmp_path.chmod(0o700)
    restored = open_store(copy, exclusive=True)
    assert restored.batches.list("alice") == []
    purge(restored)
    assert rows(restored) == [0, 0, 0, 0]
    restored.close()


def test_the_same_key_meanwhile_makes_one_batch(store: Store) -> None:
    made: list[str | None] = []

    def other(number: int) -> None:
        if number == 50:
            made.append(create(store, while_made(lambda _: None), Idempotency("k", b"1")))

    earlier = create(store, while_made(other), Idempotency("k", b"1"))
    assert made == [None]
    assert [batch.batch_id for batch in store.batches.list("alice")] == [earlier]
    purge(store)
    assert rows(store) == [1, 3, N_JOBS, 1]

    def another(number: int) -> None:
        if number == 50:
            create(store, while_made(lambda _: None), Idempotency("l", b"1"))

    with pytest.raises(KeyReused):
        create(store, while_made(another), Idempotency("l", b"2"))
    purge(store)
    assert rows(store) == [2, 6, 2 * N_JOBS, 2]
