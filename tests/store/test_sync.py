"""What survives the end of the process at once, and a power cut only once it is synced."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmbatch.errors import StoreUnavailable
from slurmbatch.store import Store, open_store
from slurmbatch.store.database import Database

from .test_store import make

NORMAL, FULL = 1, 2


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(Database(tmp_path / "x.sqlite", exclusive=True))
    yield made
    made.close()


def level(store: Store) -> int:
    return int(store._db.writer.execute_sql("PRAGMA synchronous").fetchone()[0])


def test_only_what_asks_for_it_is_not_synced(store: Store) -> None:
    with store._db.write() as db:
        assert int(db.execute_sql("PRAGMA synchronous").fetchone()[0]) == FULL
    with store._db.write(synced=False) as db:
        assert int(db.execute_sql("PRAGMA synchronous").fetchone()[0]) == NORMAL
    assert level(store) == FULL
    with pytest.raises(ZeroDivisionError), store._db.write(synced=False):
        _ = 1 / 0
    assert level(store) == FULL


def test_a_new_batch_survives_a_kill_right_after_its_commit(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    child = os.fork()
    if not child:
        make(open_store(path, exclusive=True), 3)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    store = open_store(path, exclusive=True)
    assert [batch.n_jobs for batch in store.batches.list("alice")] == [3]
    store.close()


def test_a_sync_is_one_of_the_log_that_has_what_was_committed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []

    def fdatasync(file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").readlink())

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    batch_id = make(store, 3)
    log = store._db.path.with_name("x.sqlite-wal")
    assert batch_id.encode() in log.read_bytes()
    store.sync()
    store.sync()
    assert synced == [log, log]
    # SQLite begins it anew, but it stays the same file.
    store._db.writer.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    make(store, 3)
    store.sync()
    assert synced[2].stat().st_ino == log.stat().st_ino


def test_it_needs_nothing_to_have_been_written(tmp_path: Path) -> None:
    for _ in range(2):
        store = open_store(tmp_path / "x.sqlite", exclusive=True)
        store.sync()
        store.close()


def test_a_disk_that_fails_is_told_of(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fdatasync(_: int) -> None:
        raise OSError(5, "Input/output error")

    make(store, 3)
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        store.sync()
