"""Copies of the database, what is found wrong in it, and what it gives back."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from slurmbatch.errors import AlreadyRunning, NewerSchema, StoreUnavailable
from slurmbatch.model import Batch, Hardware, SlurmOptions
from slurmbatch.store import NewArray, Store, new_id, new_tag, open_store, upkeep


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "x.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    made = open_store(path, exclusive=True)
    yield made
    made.close()


def add(store: Store, n_jobs: int = 3, ended: float | None = None, user: str = "alice") -> str:
    batch = Batch(
        new_id(), user, "t", "", n_jobs, Hardware((), 1, 1), SlurmOptions(), 1.0, 1, 0, {}
    )
    store.batches.create(
        batch, fixed_args={}, variable_args=[{"n": n} for n in range(n_jobs)],
        arrays=[NewArray(new_tag(store.instance), n_jobs)],
    )  # fmt: skip
    if ended is not None:
        with store._db.write() as db:
            pk = db.execute_sql("SELECT pk FROM batch WHERE batch_id = ?", (batch.batch_id,))
            (number,) = pk.fetchone()
            db.execute_sql(
                "UPDATE batch SET finished_at = ?, n_status_0 = 0, n_status_5 = n_jobs"
                " WHERE pk = ?", (ended, number)
            )  # fmt: skip
            db.execute_sql("UPDATE job SET status = 5 WHERE batch = ?", (number,))
            db.execute_sql("UPDATE array SET state = 'DONE' WHERE batch = ?", (number,))
    return batch.batch_id


def ids(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT batch_id FROM batch")}


class TestCopies:
    def test_one_made_while_others_write_is_whole(
        self, store: Store, path: Path, tmp_path: Path
    ) -> None:
        before = {add(store, 1000) for _ in range(3)}
        stop, made = threading.Event(), []

        def write() -> None:
            while not stop.is_set():
                made.append(add(store, 20))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            while len(made) < 3:
                time.sleep(0.01)
            upkeep.back_up(path, tmp_path / "copy")
            count = len(made)
            while len(made) < count + 3:  # nobody was held up
                time.sleep(0.01)
        finally:
            stop.set()
            writer.join()
        assert upkeep.examine(tmp_path / "copy", thoroughly=True) == []
        assert before < ids(tmp_path / "copy")
        assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
        # The database's own name, by which its arrays are known in Slurm, goes along.
        with closing(sqlite3.connect(tmp_path / "copy")) as connection:
            kept = connection.execute("SELECT value FROM meta WHERE key = 'instance'").fetchone()
        assert kept == (store.instance,)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["copy", "state"]

    def test_an_older_copy_is_not_written_over(
        self, store: Store, path: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "copy").write_text("precious")
        with pytest.raises(StoreUnavailable, match="is there already"):
            upkeep.back_up(path, tmp_path / "copy")
        assert (tmp_path / "copy").read_text() == "precious"

    def test_put_back_it_is_all_that_there_is_and_what_was_there_is_kept(
        self, path: Path, tmp_path: Path
    ) -> None:
        with closing(open_store(path, exclusive=True)) as store:
            old = add(store)
            upkeep.back_up(path, tmp_path / "copy")
            new = add(store)
        kept = upkeep.restore(path, tmp_path / "copy")
        assert ids(path) == {old}
        assert kept is not None
        assert ids(kept) == {old, new}
        with closing(open_store(path, exclusive=True)) as store:
            assert store.batches.get("alice", old) is not None
            add(store)

    @pytest.mark.parametrize("broken", [b"", b"this is no database" * 500])
    def test_put_back_where_there_is_no_database(
        self, path: Path, tmp_path: Path, broken: bytes
    ) -> None:
        with closing(open_store(path, exclusive=True)) as store:
            old = add(store)
            upkeep.back_up(path, tmp_path / "copy")
        path.write_bytes(broken)
        upkeep.restore(path, tmp_path / "copy")
        assert ids(path) == {old}
        assert path.stat().st_mode & 0o777 == 0o600
        with closing(open_store(path, exclusive=True)) as store:
            assert store.batches.get("alice", old) is not None

    def test_not_under_a_running_daemon(self, store: Store, path: Path, tmp_path: Path) -> None:
        mine = add(store)
        upkeep.back_up(path, tmp_path / "copy")
        with pytest.raises(AlreadyRunning):
            upkeep.restore(path, tmp_path / "copy")
        assert store.batches.get("alice", mine) is not None

    def test_no_copy_that_is_not_sound(self, path: Path, tmp_path: Path) -> None:
        with closing(open_store(path, exclusive=True)) as store:
            mine = add(store, 2000)
            upkeep.back_up(path, tmp_path / "copy")
        whole = (tmp_path / "copy").read_bytes()
        (tmp_path / "copy").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(StoreUnavailable, match="is not sound"):
            upkeep.restore(path, tmp_path / "copy")
        (tmp_path / "empty").touch()
        with pytest.raises(StoreUnavailable, match="no database of slurmbatch"):
            upkeep.restore(path, tmp_path / "empty")
        assert ids(path) == {mine}

    def test_none_of_a_newer_release(self, path: Path, tmp_path: Path) -> None:
        with closing(open_store(path, exclusive=True)):
            upkeep.back_up(path, tmp_path / "copy")
        with closing(sqlite3.connect(tmp_path / "copy")) as connection:
            connection.execute("PRAGMA user_version = 9999")
        with pytest.raises(NewerSchema):
            upkeep.restore(path, tmp_path / "copy")


class TestWhatIsWrong:
    def test_nothing(self, store: Store, path: Path) -> None:
        add(store)
        add(store, ended=5.0)
        assert upkeep.examine(path, thoroughly=True) == []

    @pytest.mark.parametrize(
        ("statement", "wrong"),
        [
            ("UPDATE batch SET n_status_0 = n_status_0 + 1", "counters of batches"),
            ("UPDATE job SET status = 6 WHERE idx = 0", "counters of batches"),
            ("UPDATE array SET n_unfinished = 7", "arrays do not agree"),
        ],
    )
    def test_what_does_not_agree(
        self, store: Store, path: Path, statement: str, wrong: str
    ) -> None:
        batch_id = add(store)
        with store._db.write() as db:
            db.execute_sql(statement)
        found = upkeep.examine(path, thoroughly=True)
        assert any(wrong in each for each in found)
        assert any(batch_id in each or "sb-" in each for each in found)

    def test_a_file_that_is_damaged(self, path: Path) -> None:
        with closing(open_store(path, exclusive=True)) as store:
            add(store, 5000)
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2 // 4096 * 4096)
            file.write(b"\xff" * 8192)
        assert any("SQLite says" in each for each in upkeep.examine(path, thoroughly=True))

    def test_none_at_all(self, tmp_path: Path) -> None:
        assert "is not there" in upkeep.examine(tmp_path / "nothing", thoroughly=True)[0]


class TestWhatIsNotKept:
    def test_only_what_ended_before_then_and_is_the_users(self, store: Store) -> None:
        old, theirs = add(store, ended=10.0), add(store, ended=10.0, user="bob")
        recent, unfinished = add(store, ended=30.0), add(store)
        assert set(store.upkeep.due(20.0)) == {old, theirs}
        assert store.upkeep.expire(20.0, "alice") == 1
        assert store.batches.get("alice", old) is None
        for user, kept in (("alice", recent), ("alice", unfinished), ("bob", theirs)):
            assert store.batches.get(user, kept) is not None
        assert store.graves.purge(40.0) == [old]
        assert store.upkeep.expire(20.0) == 1

    def test_many_at_once_are_removed_bit_by_bit(self, store: Store) -> None:
        for _ in range(30):
            add(store, 10, ended=1.0)
        assert store.upkeep.expire(2.0) == 30
        first = store.graves.purge(3.0, seconds=0.0)
        assert len(first) == 1
        rest = store.graves.purge(3.0, seconds=60.0)
        assert len(rest) == 29

    def test_one_of_many_jobs_is_removed_in_portions(self, store: Store) -> None:
        batch_id = add(store, 100, ended=1.0)
        store.upkeep.expire(2.0)
        assert store.graves.purge(3.0, portion=30, seconds=0.0) == []
        assert store._db.sql("SELECT count(*) FROM job")[0][0] == 70
        assert store.graves.purge(3.0, portion=30, seconds=60.0) == [batch_id]
        assert store._db.sql("SELECT count(*) FROM job")[0][0] == 0

    def test_the_space_is_given_back_a_little_at_a_time(self, store: Store, path: Path) -> None:
        for _ in range(4):
            add(store, 40_000, ended=1.0)
        store.upkeep.expire(2.0)
        while not len(store.graves.purge(3.0)):
            pass
        store.graves.purge(3.0, seconds=60.0)
        full = store._db.sql("PRAGMA page_count")[0][0]
        rounds = 0
        while store.upkeep.give_back():
            left = store._db.sql("PRAGMA page_count")[0][0]
            assert 512 <= full - left <= 512 + 2
            full, rounds = left, rounds + 1
        assert rounds >= 2
        assert store._db.sql("PRAGMA freelist_count")[0][0] < 1024 + 512
        assert upkeep.examine(path, thoroughly=True) == []

    def test_a_database_of_an_older_release_gives_back_once_it_is_written_anew(
        self, path: Path
    ) -> None:
        path.parent.mkdir(mode=0o700)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE x (y)")
            connection.execute("DROP TABLE x")
        path.chmod(0o600)
        with closing(open_store(path, exclusive=True)) as store:
            mine = add(store)
            assert store._db.sql("PRAGMA auto_vacuum") == [(0,)]
            assert store.upkeep.give_back() is False
            store.upkeep.compact()
        with closing(open_store(path, exclusive=True)) as store:
            assert store._db.sql("PRAGMA auto_vacuum") == [(2,)]
            assert store.batches.get("alice", mine) is not None
