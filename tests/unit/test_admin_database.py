"""`slurmbatch admin backup, restore, check, migrate, purge`, and how long batches are kept."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from slurmbatch.store import open_store
from slurmbatch.store.migrations import MIGRATIONS
from slurmbatch.submitter import Terms

from .world import ALICE, TOOL, World


def test_there_and_back(world: World) -> None:
    copy = world.directory / "copy"
    first = world.post(2)
    made = world.admin("backup", str(copy))
    assert made.exit_code == 0, made.output
    assert "checked" in made.stderr
    second = world.post(2)
    again = world.admin("backup", str(copy))
    assert again.exit_code == 1
    assert "is there already" in again.stderr
    running = world.admin("restore", "--yes", str(copy))
    assert running.exit_code == 1
    assert "held by another slurmbatch daemon" in running.stderr
    world.store.close()
    back = world.admin("restore", "--yes", str(copy))
    assert back.exit_code == 0, back.output
    assert ".before-" in back.stderr
    world.start()
    assert world.store.batches.get("alice", first) is not None
    assert world.store.batches.get("alice", second) is None
    # And it goes on as if nothing had been.
    world.until_ended(first)
    assert set(world.runs.values()) == {1}


def test_nothing_is_restored_without_a_yes(world: World) -> None:
    copy = world.directory / "copy"
    world.admin("backup", str(copy))
    first = world.post()
    world.store.close()
    assert world.admin("restore", str(copy)).exit_code == 1
    world.start()
    assert world.store.batches.get("alice", first) is not None


def test_what_is_wrong_is_told(world: World) -> None:
    world.post()
    assert "is sound" in world.admin("check").stdout
    with world.store._db.write() as db:
        db.execute_sql("UPDATE batch SET n_status_3 = 5")
    wrong = world.admin("check")
    assert wrong.exit_code == 1
    assert "counters of batches" in wrong.stdout
    copy = world.directory / "copy"
    assert world.admin("backup", str(copy)).exit_code == 0
    assert world.admin("check", str(copy)).exit_code == 1
    assert world.admin("check", str(world.directory / "nothing")).exit_code == 1


def test_a_database_is_brought_up_to_date_while_no_daemon_runs(world: World) -> None:
    path = world.directory / "state" / "x.sqlite"
    assert world.admin("migrate").exit_code == 1
    world.store.close()
    assert f"has schema {len(MIGRATIONS)} already" in world.admin("migrate").stdout
    for each in path.parent.glob("x.sqlite*"):
        each.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(MIGRATIONS[0])
        connection.execute("PRAGMA user_version = 1")
    path.chmod(0o600)
    done = world.admin("migrate")
    assert f"from schema 1 to {len(MIGRATIONS)}" in done.stdout
    assert (path.parent / "x.sqlite.schema-1").exists()
    with closing(open_store(path, exclusive=False)) as store:
        assert store._db.sql("PRAGMA auto_vacuum") == [(2,)]


def test_what_has_ended_long_ago_is_purged(world: World) -> None:
    old, unfinished = world.post(2), world.post(1)
    world.until_ended(old)
    with world.store._db.write() as db:
        db.execute_sql("UPDATE batch SET finished_at = 1 WHERE batch_id = ?", (old,))
    assert world.admin("purge", "--older-than", "30", "--dry-run").stdout.startswith("1 ")
    assert world.admin("purge", "--older-than", "30", "--user", "bob").stdout.startswith("0 ")
    assert world.batches.get(ALICE, old).batch_id == old
    assert world.admin("purge", "--older-than", "30").stdout.startswith("1 ")
    world.tick()
    assert not (world.directory / "logs" / old).exists()
    assert world.store._db.sql("SELECT batch_id FROM batch") == [(unfinished,)]


@pytest.mark.parametrize(("keep_days", "is_kept"), [(None, True), (3, True), (2, False)])
def test_batches_are_kept_for_as_long_as_the_settings_say(
    world: World, keep_days: int | None, is_kept: bool
) -> None:
    world.submitter.adopt(
        Terms({"t": TOOL}, {}, world.directory / "logs", world.directory, keep_days=keep_days)
    )
    batch_id = world.post(1)
    world.until_ended(batch_id)
    world.tick(2.5 * 86400)
    world.tick()
    gone = world.store._db.sql("SELECT 1 FROM batch WHERE batch_id = ?", (batch_id,)) == []
    assert gone is not is_kept
