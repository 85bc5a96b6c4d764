"""The whole service but for the processes, for those who mean no good: the real application with
real credentials on a real database, the shipped tools, and a Slurm in memory.

Two people have batches on it. What `Site.state` gives is all of it that can be changed.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path

from slurmbatch.api import create_app
from slurmbatch.batches import Batches, Rules
from slurmbatch.batches.resolve import Offer
from slurmbatch.batches.trial import Trials
from slurmbatch.config import load
from slurmbatch.identity import Identity, new_key
from slurmbatch.identity.keyring import Keyring
from slurmbatch.model import USUAL_SCOPES, Caller, NewBatch, Scope
from slurmbatch.submitter import Terms
from slurmbatch.targets import AllowedHost
from tests.api.fakes import FakeReadiness
from tests.unit.world import World

ETC = Path(__file__).parents[3] / "etc"
MAX_BODY = 64 * 1024
MARK = "nobody-else-may-read-this"
"""Stands in all that the victim has written: its name, its arguments, its log."""

OWN_MARK = "what-its-owner-has-written"
OWNER, VICTIM, ADMIN = "anna", "victor", "root-anna"
_VOLATILE = ("-wal", "-shm")


class Site:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.world = World(directory)
        self.store = self.world.store
        offered = load(ETC / "slurmbatch.toml")
        filesystems = {each.id: each for each in offered.filesystems}
        self.offer = Offer(offered.tools, filesystems, 1000, 65_536, (AllowedHost("a.example"),))
        self.world.submitter.adopt(
            Terms(self.offer.tools, filesystems, directory / "logs", directory)
        )
        rules = Rules(directory / "logs", directory, 262_144, None, submit_wait=0.0)
        self.batches = Batches(
            self.store, self.offer, rules, self.world.doorbell, self.world.health,
            clock=lambda: self.world.slurm.now,
            trials=Trials(self.world.slurm, self.world.health, directory / "logs", directory),
        )  # fmt: skip
        self.app = create_app(
            self.batches,
            Identity(self.store.keys, is_admin=lambda user_id: user_id == ADMIN),
            FakeReadiness(),
            keyring=Keyring(self.store.keys, days=365),
            max_body_bytes=MAX_BODY,
            draining=lambda: False,
        )
        self.keys = {
            OWNER: self.key(OWNER),
            VICTIM: self.key(VICTIM),
            "expired": self.key(OWNER, time.time() - 1),
            "revoked": self.key(OWNER),
            "admin": self.key(ADMIN, scopes=frozenset(Scope)),
            "admin's usual": self.key(ADMIN),
            "reader": self.key(OWNER, scopes=frozenset((Scope.READ,))),
        }
        self.store.keys.revoke_key(id_of(self.keys["revoked"]), time.time())
        self.own = self.new_batch(OWNER, OWN_MARK)
        self.theirs = self.new_batch(VICTIM, MARK)

    def key(
        self,
        user_id: str,
        expires_at: float | None = None,
        scopes: frozenset[Scope] = USUAL_SCOPES,
    ) -> str:
        kept, secret = new_key(user_id, expires_at, time.time(), name=user_id, scopes=scopes)
        self.store.keys.add_key(kept)
        return secret

    def new_batch(self, user_id: str, text: str) -> str:
        """A batch of two jobs that have run, the second with trouble; both have a log."""
        new = NewBatch(
            "probe", name=text, fixed_args={"print": text}, variable_args=({"sleep": 0}, {}),
            cpu=1, memory=64,
        )  # fmt: skip
        caller = Caller(user_id, "test")
        made, _ = self.batches.submit(caller, new, body_hash=b"h")
        self._run(user_id, made.batch_id)
        for index in (0, 1):
            log, has_ended = self.batches.log_of(caller, made.batch_id, f"{made.batch_id}-{index}")
            assert has_ended
            log.root.joinpath(*log.parts).write_text(f"{text}\n")
        return made.batch_id

    def _run(self, user_id: str, batch_id: str) -> None:
        for _ in range(100):
            found = self.store.batches.get(user_id, batch_id)
            assert found is not None
            if found.finished_at:
                return
            self.world.tick()
            for array in self.world.slurm.arrays:
                last = max(array.tasks)
                for number, task in array.tasks.items():
                    if not array.held and task.end is None:
                        state, code = ("FAILED", 3) if number == last else ("COMPLETED", 0)
                        self.world.slurm.finish(array.job_id, number, state=state, code=code)
        raise AssertionError(batch_id)

    @property
    def path(self) -> Path:
        return self.directory / "state" / "x.sqlite"

    def state(self) -> tuple[list[str], Mapping[str, tuple[int, int, int]]]:
        """Every row of the database, and every file."""
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            return list(database.iterdump()), self.files()

    def files(self) -> Mapping[str, tuple[int, int, int]]:
        """Every file with its inode, mode and size."""
        found = {}
        for parent, directories, names in os.walk(self.directory):
            for name in (*directories, *names):
                if not name.endswith(_VOLATILE):
                    told = os.lstat(Path(parent, name))
                    found[str(Path(parent, name))] = (told.st_ino, told.st_mode, told.st_size)
        return found

    def names(self) -> dict[str, str]:
        """What placeholders of requests stand for here."""
        key = self.keys[OWNER]
        return {
            "own": self.own, "theirs": self.theirs, "THEIRS": self.theirs.upper(), "key": key,
            "expired": self.keys["expired"], "revoked": self.keys["revoked"],
            "half": key[: len(key) // 2], "their-key": id_of(self.keys[VICTIM]),
        }  # fmt: skip

    def renew(self) -> None:
        """Has the owner's batch there, and all that runs at its end, whatever they did to it."""
        found = self.store.batches.get(OWNER, self.own)
        if found is None:
            self.own = self.new_batch(OWNER, OWN_MARK)
        elif not found.finished_at:
            self._run(OWNER, self.own)

    def close(self) -> None:
        self.store.close()


def id_of(key: str) -> str:
    return key.split("_")[1]
