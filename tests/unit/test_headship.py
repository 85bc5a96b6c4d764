"""Of several daemons on copies of one database only the one that took over last may act."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from slurmbatch import headship
from slurmbatch.cli import main
from slurmbatch.errors import Superseded
from slurmbatch.headship import Headship, path_of
from slurmbatch.slurm.guarded import ACTS, guarded
from slurmbatch.slurm.observed import CALLS
from slurmbatch.store import Store, open_store, upkeep

QUESTIONS = {"facts", "estimate", "find", "find_ended", "live", "ended", "usage"}


class Killed(BaseException):
    """The daemon is killed here."""


class Head:
    """A head node with a database of its own, and the directory for logs that all of them see."""

    def __init__(self, root: Path, name: str) -> None:
        self.name, self.logs = name, root / "logs"
        self.directory = root / name
        self.database = self.directory / "x.sqlite"
        self.logs.mkdir(exist_ok=True)

    def copied_to(self, other: Head) -> None:
        shutil.copytree(self.directory, other.directory)

    def store(self) -> Store:
        return open_store(self.database, exclusive=True)

    def starts(self, after: Callable[[str, str], None] | None = None) -> Headship:
        with closing(self.store()) as store:
            return self._taken(store, after or (lambda *_: None))

    def _taken(self, store: Store, after: Callable[[str, str], None]) -> Headship:
        def remember(key: str, value: str) -> None:
            after(key, "before")
            store.remember(key, value)
            after(key, "after")

        made = Headship(self.logs, store.instance, store.recall, remember, lambda: self.name)
        made.take()
        return made

    def mark(self) -> Path:
        with closing(self.store()) as store:
            return path_of(self.logs, store.instance)

    def admin(self, *arguments: str) -> str:
        (self.directory / "tools.d").mkdir(exist_ok=True)
        file = self.directory / "slurmbatch.toml"
        file.write_text(f'[store]\npath = "{self.database}"\n[jobs]\nlog_dir = "{self.logs}"\n')
        done = CliRunner().invoke(main, ["admin", *arguments, "--config", str(file)])
        assert done.exit_code == 0, done.output
        return done.output


@pytest.fixture
def first(tmp_path: Path) -> Head:
    return Head(tmp_path, "first")


@pytest.fixture
def second(tmp_path: Path) -> Head:
    return Head(tmp_path, "second")


def test_the_same_one_again_and_again(first: Head) -> None:
    for _ in range(3):
        held = first.starts()
        held.check()
        held.tick(0.0)
    assert json.loads(first.mark().read_text())["host"] == "first"
    assert len(list(first.logs.iterdir())) == 1


def test_whoever_is_started_from_a_copy_takes_over(
    first: Head, second: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    was = first.starts()
    first.copied_to(second)
    held = second.starts()
    held.check()
    for _ in range(3):
        with pytest.raises(Superseded, match="second has taken over, at 20"):
            was.check()
        was.tick(0.0)
    assert was.lost is not None
    # It says so, once.
    assert capsys.readouterr().err.count("another daemon has taken over") == 1
    with pytest.raises(Superseded, match=r"second has taken over.*admin take-over"):
        first.starts()
    second.starts().check()


def test_nor_is_one_let_in_whose_copy_is_older_than_the_last_start(
    first: Head, second: Head
) -> None:
    first.starts()
    first.copied_to(second)
    held = first.starts()
    with pytest.raises(Superseded):
        second.starts()
    held.check()
    # Until somebody says so.
    assert "takes over" in second.admin("take-over", "--yes")
    assert "service.take-over" in second.admin("audit")
    held.check()
    second.starts().check()
    with pytest.raises(Superseded):
        held.check()
    second.starts()


def test_a_backup_that_is_put_back_is_the_head(first: Head, second: Head) -> None:
    first.starts()
    copy = first.directory / "copy"
    first.admin("backup", str(copy))
    first.starts()
    first.admin("restore", "--yes", str(copy))
    held = first.starts()
    held.check()
    # Nobody else is let in by that.
    second.directory.mkdir(mode=0o700)
    shutil.copy(copy, second.database)
    with pytest.raises(Superseded):
        second.starts()


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("at", range(4))
def test_killed_in_the_middle_it_is_let_in_again(
    first: Head, second: Head, at: int, forced: bool
) -> None:
    first.starts()
    first.copied_to(second)
    if forced:
        first.starts()
        second.admin("take-over", "--yes")
    met: list[str] = []

    def killed(_key: str, when: str) -> None:
        met.append(when)
        if len(met) - 1 == at:
            raise Killed

    with pytest.raises(Killed):
        second.starts(killed)
    second.starts().check()
    with pytest.raises(Superseded):
        first.starts()


def test_what_cannot_be_read_is_no_verdict(first: Head) -> None:
    held = first.starts()
    mark = first.mark()
    kept = mark.read_text()
    for nonsense in ("", "{}", "[]", "\0" * 9000):
        mark.write_text(nonsense)
        held.check()
        held.tick(0.0)
        # But nothing is begun on it.
        with pytest.raises(OSError, match="no mark of a head"):
            first.starts()
    mark.write_text(kept)
    first.starts()


def test_a_mark_that_somebody_has_removed_is_put_back(first: Head, second: Head) -> None:
    held = first.starts()
    first.copied_to(second)
    mark = first.mark()
    kept = json.loads(mark.read_text())
    mark.unlink()
    held.check()
    held.tick(0.0)
    assert json.loads(mark.read_text()) == kept
    second.starts()
    held.tick(0.0)
    assert held.lost is not None
    assert json.loads(mark.read_text())["host"] == "second"


def test_other_databases_are_others_concern(tmp_path: Path, first: Head) -> None:
    held = first.starts()
    Head(tmp_path, "another").starts()
    held.check()


def test_every_call_that_changes_something_asks_first() -> None:
    assert QUESTIONS | ACTS == CALLS
    assert not QUESTIONS & ACTS

    class Slurm:
        def __getattr__(self, name: str) -> Callable[..., str]:
            return lambda: name

    def superseded() -> None:
        raise Superseded

    slurm = guarded(Slurm(), superseded)  # type: ignore[arg-type]
    for name in QUESTIONS:
        assert getattr(slurm, name)() == name
    for name in ACTS:
        with pytest.raises(Superseded):
            getattr(slurm, name)()
        assert getattr(guarded(Slurm(), lambda: None), name)() == name  # type: ignore[arg-type]


def test_a_restored_database_knows_that_it_takes_over(first: Head) -> None:
    first.starts()
    copy = first.directory / "copy"
    upkeep.back_up(first.database, copy)
    upkeep.restore(first.database, copy)
    with closing(first.store()) as store:
        assert store.recall(headship.KEY) == headship.TAKES_OVER
    assert upkeep.examine(first.database, thoroughly=True) == []
