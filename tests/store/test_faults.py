"""The disk full, read-only, somebody else's lock, and a daemon killed in the middle: real ones."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slurmbatch.errors import StoreFull, StoreUnavailable
from slurmbatch.model import ApiKey
from slurmbatch.store import Store
from slurmbatch.store.database import Database
from slurmbatch.store.migrations import MIGRATIONS

from .test_store import make

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    place.mkdir()
    options = f"size={size},mode=0700"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=False)
    if done.returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@needs_root
def test_a_full_disk_keeps_nothing_by_halves_and_recovers_by_itself(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "3m") as disk:
        store = Store(Database(disk / "x.sqlite", exclusive=True))
        kept = make(store, 100)
        filler = disk / "filler"
        # Without a buffer, which would be written once more when it is closed.
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 65536)
        with pytest.raises(StoreFull):
            make(store, 5000, per_array=1000)
        assert [batch.batch_id for batch in store.batches.list("alice")] == [kept]
        filler.unlink()
        again = make(store, 1000, per_array=1000)
        assert {batch.batch_id for batch in store.batches.list("alice")} == {kept, again}
        assert store._db.sql("PRAGMA integrity_check") == [("ok",)]
        store.close()


@needs_root
def test_a_disk_that_turns_read_only_still_answers_and_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        store = Store(Database(disk / "x.sqlite", exclusive=True))
        kept = make(store, 10)
        remount = ["mount", "-o", "remount,{}", str(disk)]
        # A file that is open for writing keeps a tmpfs from turning read-only; what the daemon
        # then gets from a real disk with errors is the same EROFS, or EIO, from its writes.
        writable = subprocess.run([each.format("ro") for each in remount], check=False,
                                  capture_output=True)  # fmt: skip
        if writable.returncode:
            store._db.writer.execute_sql("PRAGMA query_only = 1")
        with pytest.raises(StoreUnavailable):
            make(store, 1)
        assert store.batches.get("alice", kept) is not None
        if writable.returncode:
            store._db.writer.execute_sql("PRAGMA query_only = 0")
        else:
            subprocess.run([each.format("rw") for each in remount], check=True)
        assert make(store, 1) != kept
        store.close()


def test_somebody_else_s_lock_is_waited_for_and_then_told(tmp_path: Path) -> None:
    path = tmp_path / "d" / "x.sqlite"
    store = Store(Database(path, exclusive=True))
    kept = make(store, 1)
    store._db.writer.execute_sql("PRAGMA busy_timeout = 200")
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        make(store, 1)
    assert store.batches.get("alice", kept) is not None
    foreign.execute("ROLLBACK")
    assert make(store, 1) != kept
    store.close()


def test_another_process_that_is_stopped_while_it_writes_holds_nobody_up(tmp_path: Path) -> None:
    store = Store(Database(tmp_path / "d" / "x.sqlite", exclusive=True))
    kept = make(store, 1)
    store._db.waits_for_processes = 0.2
    with (tmp_path / "d" / "x.sqlite.write").open("r+") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable, match="Another process"):
            make(store, 1)
        assert store.batches.get("alice", kept) is not None
    assert make(store, 1) != kept
    store.close()


def test_a_thread_that_does_not_come_to_an_end_of_writing_holds_nobody_up(tmp_path: Path) -> None:
    store = Store(Database(tmp_path / "d" / "x.sqlite", exclusive=True))
    store._db.waits_for_threads = 0.2
    done = threading.Event()

    def hold() -> None:
        with store._db.write():
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    while store._db._write_lock.acquire(blocking=False):
        store._db._write_lock.release()
    with pytest.raises(StoreUnavailable, match="busy"):
        make(store, 1)
    store.close()  # the daemon is told to stop, and does
    done.set()
    thread.join()


# A second version of the schema that takes its time: a row at a time, a hundred thousand of them.
SLOW = """
CREATE TABLE slow (number INTEGER);
INSERT INTO slow WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000)
    SELECT i FROM n;
ALTER TABLE batch ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'
"""
MIGRATE = f"""
import sys
from pathlib import Path
from slurmbatch.store.database import Database
from slurmbatch.store.migrations import MIGRATIONS
print("begun", flush=True)
Database(Path(sys.argv[1]), exclusive=True, migrations=(*MIGRATIONS, {SLOW!r})).close()
print("done", flush=True)
"""


def migrated(path: Path) -> tuple[int, bool]:
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        version = raw.execute("PRAGMA user_version").fetchone()[0]
        columns = [row[1] for row in raw.execute("PRAGMA table_info(batch)")]
    return version, "colour" in columns


@pytest.mark.parametrize("after", [0.02, 0.1, 0.3, 0.6, 1.0])
def test_killed_in_the_middle_of_a_migration_it_is_done_wholly_or_not_at_all(
    tmp_path: Path, after: float
) -> None:
    path = tmp_path / "d" / "x.sqlite"
    store = Store(Database(path, exclusive=True))
    kept = make(store, 1000, per_array=1000)
    store.close()
    process = subprocess.Popen([sys.executable, "-c", MIGRATE, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert migrated(path) in ((len(MIGRATIONS), False), (len(MIGRATIONS) + 1, True))
    again = Database(path, exclusive=True, migrations=(*MIGRATIONS, SLOW))
    assert Store(again).batches.get("alice", kept) is not None
    again.close()
    assert migrated(path) == (len(MIGRATIONS) + 1, True)
    backup = path.with_name(f"{path.name}.schema-{len(MIGRATIONS)}")
    assert migrated(backup) == (len(MIGRATIONS), False)
    assert backup.stat().st_mode & 0o077 == 0


def test_a_migration_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "d" / "x.sqlite"
    Database(path, exclusive=True).close()
    broken = (*MIGRATIONS, "CREATE TABLE new (x); CREATE TABLE batch (x)")
    with pytest.raises(StoreUnavailable, match="already exists"):
        Database(path, exclusive=True, migrations=broken)
    assert migrated(path) == (len(MIGRATIONS), False)
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT count(*) FROM sqlite_master WHERE name = 'new'").fetchone() == (
            0,
        )
    Database(path, exclusive=True).close()


def test_an_administrator_s_command_does_not_migrate_under_a_daemon(tmp_path: Path) -> None:
    path = tmp_path / "d" / "x.sqlite"
    Database(path, exclusive=True).close()
    with pytest.raises(StoreUnavailable, match="restart the daemon"):
        Database(path, exclusive=False, migrations=(*MIGRATIONS, "CREATE TABLE new (x)"))


WRITE = """
import sys
from pathlib import Path
from slurmbatch.model import ApiKey
from slurmbatch.store import open_store
store = open_store(Path(sys.argv[1]), exclusive=True)
number = 0
while True:
    store.keys.add_key(ApiKey(f"k{number}", "bob", b"h", 1.0))
    print(number, flush=True)
    number += 1
"""


def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    """Also in the middle of a checkpoint, which comes about every thousand pages."""
    path = tmp_path / "d" / "x.sqlite"
    for seconds in (0.4, 0.9, 1.6):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        for old in path.parent.iterdir():
            old.unlink()
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE, str(path)], stdout=subprocess.PIPE, text=True
        )
        time.sleep(seconds)
        process.kill()
        out, _ = process.communicate()
        told = [int(line) for line in out.splitlines() if line.isdigit()]
        store = Store(Database(path, exclusive=True))
        found = {key.key_id for key in store.keys.list_keys()}
        assert {f"k{number}" for number in told} <= found
        assert store._db.sql("PRAGMA integrity_check") == [("ok",)]
        store.keys.add_key(ApiKey("after", "bob", b"h", 1.0))
        store.close()
