"""A copy, putting one back, a migration: killed at any statement, file or moment in between, there
is the whole of it or nothing, and the same again goes through."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.store import open_store, upkeep
from slurmbatch.store.migrations import MIGRATIONS

from .test_store import make

# How many of the moments are tried; and how often SQLite says that it is still at it.
_TRIED = 40
_STEPS = 2000
_FILES = ("open", "os.rename", "os.remove", "os.chmod", "os.truncate", "shutil.copyfile")


class Moments:
    """Counts what happens in this process, and kills it at one of these."""

    def __init__(self, at: int | None, place: Path) -> None:
        self.at, self.met, self._place = at, 0, str(place)

    def meet(self, *_: Any) -> int:
        self.met += 1
        if self.met == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def watch(self) -> None:
        sys.addaudithook(self._heard)
        connect = sqlite3.connect

        def watched(*args: Any, **options: Any) -> sqlite3.Connection:
            made: sqlite3.Connection = connect(*args, **options)
            made.set_trace_callback(self.meet)
            made.set_progress_handler(self.meet, _STEPS)
            return made

        sqlite3.connect = sqlite3.dbapi2.connect = watched  # type: ignore[assignment]

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _FILES and self._place in str(args):  # and not what Python imports meanwhile
            self.meet()


def in_a_process(work: Callable[[], object], at: int | None, place: Path) -> int:
    """Does it in a process that is killed at this moment; gives how many there were, 0 if so."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads: the child does no more than this
        child = os.fork()
    if child == 0:
        code = 1
        try:
            moments = Moments(at, place)
            moments.watch()
            work()
            os.write(writer, str(moments.met).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as said:
        met = said.read()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or (os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0)
    return 0 if killed else int(met)


def moments_of(
    work: Callable[[], object], set_up: Callable[[], object], place: Path
) -> Iterator[int]:
    """Everything is as it was before at each of them; afterwards it was killed there."""
    set_up()
    count = in_a_process(work, None, place)
    assert count > 5
    step = max(1, count // _TRIED)
    killed = 0
    for at in range(1, count + 1, step):
        set_up()
        killed += in_a_process(work, at, place) == 0
        yield at
    # What is timed (SQLite's steps) may come out a little otherwise the next time.
    assert killed >= count // step * 0.5


def ids(path: Path) -> set[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return {row[0] for row in connection.execute("SELECT batch_id FROM batch")}


def emptied(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    for each in directory.iterdir():
        each.unlink()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_a_copy_is_there_whole_or_not_at_all(tmp_path: Path, place: Path) -> None:
    path, copy = place / "x.sqlite", tmp_path / "copy"
    with closing(open_store(path, exclusive=True)) as store:
        made = {make(store, 300), make(store, 5)}

        def set_up() -> None:
            copy.unlink(missing_ok=True)

        seen = set()
        for at in moments_of(lambda: upkeep.back_up(path, copy), set_up, tmp_path):
            seen.add(copy.exists())
            if copy.exists():
                assert upkeep.examine(copy, thoroughly=True) == [], at
                assert ids(copy) == made
            else:
                upkeep.back_up(path, copy)
        assert seen == {False, True}
        assert [each.name for each in tmp_path.iterdir() if "partial" in each.name] == []
        assert upkeep.examine(path, thoroughly=True) == []


def test_one_that_is_put_back_is_there_whole_or_what_was_before(
    tmp_path: Path, place: Path
) -> None:
    path, copy = place / "x.sqlite", tmp_path / "copy"
    with closing(open_store(path, exclusive=True)) as store:
        old = {make(store, 300)}
        upkeep.back_up(path, copy)
        for n_jobs in (200, 1, 1):
            make(store, n_jobs)
        new = {each.batch_id for each in store.batches.list("alice")}
    before = {each.name: each.read_bytes() for each in place.iterdir()}

    def set_up() -> None:
        emptied(place)
        for name, content in before.items():
            (place / name).write_bytes(content)
            (place / name).chmod(0o600)

    seen = set()
    for at in moments_of(lambda: upkeep.restore(path, copy), set_up, tmp_path):
        for kept in place.glob("x.sqlite.before-*Z"):
            assert ids(kept) == new, at
        with closing(open_store(path, exclusive=True)) as store:
            found = frozenset(each.batch_id for each in store.batches.list("alice"))
        assert found in (old, new), at
        seen.add(found)
        assert upkeep.examine(path, thoroughly=True) == []
        upkeep.restore(path, copy)
        assert ids(path) == old
        assert list(place.glob("*.partial*")) == []
    assert seen == {frozenset(old), frozenset(new)}


def test_a_migration_goes_on_where_it_was(tmp_path: Path, place: Path) -> None:
    path = place / "x.sqlite"
    place.mkdir(mode=0o700)
    # The first schema, with a row in it that has to come through.
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(MIGRATIONS[0])
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO meta VALUES ('instance', 'abcdefghjk')")
        connection.commit()
    first = path.read_bytes()

    def set_up() -> None:
        emptied(place)
        path.write_bytes(first)
        path.chmod(0o600)

    def migrate() -> None:
        with closing(open_store(path, exclusive=True)) as store:
            store.upkeep.compact()

    seen = set()
    for at in moments_of(migrate, set_up, tmp_path):
        version, known = upkeep.schema_of(path)
        assert 1 <= version <= known
        seen.add(version)
        kept = path.with_name("x.sqlite.schema-1")
        if kept.exists():
            assert upkeep.schema_of(kept)[0] == 1
            assert upkeep.examine(kept, thoroughly=True) == [], at
        with closing(open_store(path, exclusive=True)) as store:
            assert store.instance == "abcdefghjk"
            batch_id = make(store, 3)
        assert upkeep.schema_of(path) == (known, known)
        assert upkeep.examine(path, thoroughly=True) == []
        assert ids(path) == {batch_id}
    assert {1, len(MIGRATIONS)} <= seen
    assert len(seen) > 5
