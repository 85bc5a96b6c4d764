"""Claims: how a job makes sure that it does not run twice, and how we learn that it has run.

slurmctld writes its state every few seconds. Killed in between, it forgets what has started or
ended since, and starts it again. So, where a directory that all nodes share is configured, the job
script first makes a directory there (mkdir(2) succeeds once), and writes its exit code into it at
the end. Started again by Slurm, it finds its claim taken, and does not run again, whatever number
Slurm gives to that run: such a job is submitted with --no-requeue, so nobody can have asked for
it, but a slurmctld that was killed requeues all the same what slurmd will not launch twice.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from slurmbatch import acl
from slurmbatch.logs import JobLog, last_bytes

KEPT = 30 * 86400.0
_UNFENCED = "unfenced"


@dataclass(frozen=True, slots=True)
class Claim:
    """What is known of one run: whether it began, its exit code if it ended, and whether Slurm
    started it again while its end was unknown (it was not run then). `ended_at`: when it noted its
    code, in seconds since the epoch by the clock of the directory. `fenced`: it would have made a
    claim, had it begun; a tool that is safe to run again makes none."""

    started: bool
    code: int | None = None
    again: bool = False
    ended_at: float | None = field(default=None, compare=False)
    fenced: bool = True


@dataclass(frozen=True, slots=True)
class Board:
    """The claims of one array. `names`: what its directory held when it was read. `uid`: whose jobs
    they are of."""

    root: Path
    tag: str
    names: frozenset[str]
    uid: int

    @property
    def fenced(self) -> bool:
        return _UNFENCED not in self.names

    def started(self, task: int) -> bool:
        """Whether the task had made its claim then."""
        name = str(task)  # as the job script names it
        return name in self.names and not (self.root / self.tag / name).is_symlink()

    def look(self, task: int) -> Claim:
        """The claim of a task's run, as it is now if it was there then."""
        if not self.started(task):
            return Claim(started=False, fenced=self.fenced)
        place = self.root / self.tag / str(task)
        code = self._code(place.name)
        ended_at = None if code is None else _modified_at(place / "code")
        # Not Path.exists(), which raises where its owner lets nobody in.
        again = os.path.exists(place / "again")  # noqa: PTH110
        return Claim(True, code, again, ended_at)

    def _code(self, name: str) -> int | None:
        text = last_bytes(JobLog(self.root, (self.tag, name, "code"), self.uid), 16)
        return int(text) if re.fullmatch(rb"\d{1,3}\n", text) else None


@dataclass(frozen=True, slots=True)
class Claims:
    """Below `root`, for each array a directory with its tag's name."""

    root: Path

    def prepare(self, tag: str, *, fenced: bool = True, uid: int | None = None) -> None:
        """Makes the directory of an array, for jobs of this account (None: the service's own) and
        nobody else. Raises OSError."""
        (self.root / tag).mkdir(mode=0o700, exist_ok=True)
        if uid is not None:
            acl.grant(self.root / tag, uid, acl.ALL, inherited_by=os.getuid())
        if not fenced:
            (self.root / tag / _UNFENCED).touch()

    def board(self, tag: str, uid: int | None = None) -> Board | None:
        """What the jobs of an array have claimed by now; None if that cannot be looked at."""
        try:
            names = frozenset(each.name for each in (self.root / tag).iterdir())
        except OSError:
            return None
        return Board(self.root, tag, names, os.getuid() if uid is None else uid)

    def look(self, tag: str, task: int, uid: int | None = None) -> Claim | None:
        """The claim of one task's run; None if the directory cannot be looked at just now."""
        board = self.board(tag, uid)
        return board.look(task) if board is not None else None

    def is_there(self) -> bool:
        """Whether the directory of all claims can be looked at just now."""
        try:
            next(self.root.iterdir(), None)
        except OSError:
            return False
        return True

    def fence(self, tag: str, task: int) -> bool:
        """Takes the claim of a task that never started, so that it never will; False where it has
        started meanwhile, or nobody can tell.

        A symbolic link to nothing: made or not made in one step, in the way of the job's mkdir,
        and told from a job's own claim.
        """
        place = self.root / tag / str(task)
        try:
            place.symlink_to("submitted-again")
        except FileExistsError:
            return place.is_symlink()
        except OSError:
            return False
        return True

    def sweep(self, now: float, is_live: Callable[[str], bool]) -> int:
        """Removes what is older than `KEPT` and belongs to no living array; gives how many."""
        old: list[str] = []
        with suppress(OSError):
            ours = self.root.glob("sb-*")
            old = [each.name for each in ours if now - each.stat().st_mtime > KEPT]
        gone = [name for name in old if not is_live(name)]
        for name in gone:
            shutil.rmtree(self.root / name, ignore_errors=True)
        return len(gone)


def _modified_at(path: Path) -> float | None:
    try:
        return path.lstat().st_mtime
    except OSError:
        return None
