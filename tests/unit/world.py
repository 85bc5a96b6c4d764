"""The hand-over and the poll on a real store and a Slurm in memory, moved on by hand."""

from __future__ import annotations

import copy
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from slurmbatch.batches import Batches, Rules
from slurmbatch.batches.resolve import Offer
from slurmbatch.batches.trial import Trials
from slurmbatch.claims import Claims
from slurmbatch.cli import main
from slurmbatch.doorbell import Doorbell
from slurmbatch.health import Health
from slurmbatch.model import (
    Batch,
    Caller,
    Filesystem,
    HardwareLimits,
    Job,
    NewBatch,
    Parameter,
    SlurmLimits,
    SlurmOptions,
    Status,
    Tool,
)
from slurmbatch.poller import Poller
from slurmbatch.poller.sources import QUESTIONS_A_TICK, Sources
from slurmbatch.store import Store, open_store
from slurmbatch.store.database import Database
from slurmbatch.submitter import Submitter, Terms
from slurmbatch.targets import AllowedHost
from tests.fakes.slurm import FakeSlurm

ALICE, BOB = Caller("alice", "test"), Caller("bob", "test")
GRACE = 60.0
TOOL = Tool(
    "t", "", script="#!/bin/sh\ntrue\n", parameters=(Parameter("n", "integer"),),
    hardware=HardwareLimits(cpu=1, memory=64, max_memory=1000),
    slurm=SlurmLimits(SlurmOptions(time_limit=5), max_time_limit=60),
)  # fmt: skip
AGAIN = replace(TOOL, id="again", slurm=SlurmLimits(), requeue=True)
_TASK = re.compile(r"^(\d+)\) i=(\d+);", re.MULTILINE)
_BATCH = re.compile(r"^b=(\S+)$", re.MULTILINE)


MORTAL = ("arrays", "graves", "batches", "gates", "retries", "queue", "throttles", "slurm")


class Killed(BaseException):
    """The daemon is killed here."""


class Mortal:
    """Stands before an object; the daemon is killed at one of the calls to it, or `only` to some of
    its methods, counted."""

    def __init__(self, inner: Any, fate: Fate, only: Collection[str] = ()) -> None:
        self._inner, self._fate, self._only = inner, fate, only

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value) or name.startswith("_") or (self._only and name not in self._only):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._fate.meet()
            answer = value(*args, **kwargs)
            self._fate.meet()
            return answer

        return call


class Fate:
    """Kills at the n-th meeting; None: never. `deeds`: what somebody else does at which meeting."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.met = at, 0
        self.deeds: dict[int, Callable[[], object]] = {}

    def meet(self) -> None:
        self.met += 1
        if deed := self.deeds.pop(self.met - 1, None):
            deed()
        if self.met - 1 == self.at:
            raise Killed


def _put_database(path: Path) -> None:
    """A new one, as a daemon would make it: there are thousands of worlds, and to make it takes as
    long as what happens in many of them."""
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    path.write_bytes(_new_database())


@cache
def _new_database() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state" / "x.sqlite"
        Database(path, exclusive=True).close()
        return path.read_bytes()


class World:
    def __init__(self, directory: Path, *, claims: bool = False, array_size: int | None = None,
                 fate: Fate | None = None, max_script_bytes: int = 262_144,
                 mortal: Collection[str] = MORTAL,
                 only: Collection[str] = ()) -> None:  # fmt: skip
        self.mortal, self.only = mortal, only
        self.directory, self.array_size = directory, array_size
        self.max_script_bytes = max_script_bytes
        self.slurm = FakeSlurm()
        self.fate = fate or Fate()
        self.claims = Claims(directory / "claims") if claims else None
        for name in ("claims", "logs"):
            (directory / name).mkdir()
        _put_database(directory / "state" / "x.sqlite")
        self.runs: Counter[tuple[str, int]] = Counter()
        self.stepped = 0.0
        self.start()

    def start(self) -> None:
        """A daemon that knows nothing but what is in the store."""
        self.store = open_store(self.directory / "state" / "x.sqlite", exclusive=True)
        self.health, self.doorbell = Health(), Doorbell()
        store = _mortal_store(self.store, self.fate, self.mortal, self.only)
        is_mortal = "slurm" in self.mortal
        slurm = Mortal(self.slurm, self.fate, self.only) if is_mortal else self.slurm
        terms = Terms(
            tools={"t": TOOL, "again": AGAIN},
            filesystems={"scratch": Filesystem("scratch", "/scratch", feature="scratch")},
            log_dir=self.directory / "logs", work_dir=self.directory, claims=self.claims,
            absence_grace=GRACE,
        )  # fmt: skip
        self.submitter = Submitter(
            store, slurm, terms, self.doorbell, self.health, clock=lambda: self.slurm.now,
            elapsed=lambda: self.slurm.now - self.stepped,
            newest_at_start=self.store.arrays.newest(),
        )  # fmt: skip
        self.poller = Poller(
            store,
            Sources(store, slurm, self.health, self.doorbell,
                    clock=lambda: self.slurm.now - self.stepped),
            self.doorbell,
            self.submitter.end_stray, self.directory / "logs", self.claims, GRACE,
            lambda: self.slurm.now - self.stepped,
        )  # fmt: skip
        hosts = (AllowedHost("hooks.example.org"),)
        offer = Offer(terms.tools, terms.filesystems, 10_000, 65536, hosts)
        rules = Rules(
            self.directory / "logs", self.directory, self.max_script_bytes, self.array_size,
            submit_wait=0.0, claims_dir=self.claims.root if self.claims else None,
        )  # fmt: skip
        self.batches = Batches(
            store,
            offer,
            rules,
            self.doorbell,
            self.health,
            clock=lambda: self.slurm.now,
            trials=Trials(slurm, self.health, self.directory / "logs", self.directory),
        )

    def restart(self) -> None:
        self.store.close()
        self.start()

    def post(self, n_jobs: int = 3, *, caller: Caller = ALICE, tool: str = "t",
             key: str | None = None, **more: Any) -> str:  # fmt: skip
        new = NewBatch(tool, variable_args=tuple({"n": n} for n in range(n_jobs)), **more)
        batch, _ = self.batches.submit(caller, new, idempotency_key=key, body_hash=b"h")
        return batch.batch_id

    def tick(self, seconds: float = 1.0) -> None:
        now = self.slurm.advance(seconds)
        self.submitter.tick(now)
        asked = self.asked()
        self.poller.tick(now)
        assert self.asked() <= asked + QUESTIONS_A_TICK
        self.health.ok("poller", now)

    def asked(self) -> int:
        """How many questions the poller has asked."""
        return sum(self.slurm.calls[each] for each in ("live", "ended", "facts", "usage"))

    def step_clock(self, seconds: float) -> None:
        """Somebody sets the clock; no time goes by."""
        self.slurm.now += seconds
        self.stepped += seconds

    def work(self) -> None:
        """Slurm runs all that may run, to its end. Counts each run of each job."""
        for array in list(self.slurm.arrays):
            if array.held:
                continue
            for number, task in list(array.tasks.items()):
                if task.state == "PENDING":
                    self.slurm.finish(array.job_id, number)
                    self.claimed(array.request.tag, number)
                    self.ran(array.request.script, number)

    def claimed(self, tag: str, number: int) -> None:
        """What a job that is fenced leaves of a good end."""
        if self.claims is not None and (self.claims.root / tag).is_dir():
            place = self.claims.root / tag / str(number)
            place.mkdir(exist_ok=True)
            (place / "code").write_text("0\n")

    def ran(self, script: str, number: int) -> None:
        indices = {int(task): int(index) for task, index in _TASK.findall(script)}
        batch_id = _BATCH.search(script)
        assert batch_id is not None
        self.runs[batch_id[1], indices[number]] += 1

    def until_ended(self, *batch_ids: str, caller: Caller = ALICE, rounds: int = 400) -> None:
        for _ in range(rounds):
            if all(self.batch(each, caller).finished_at for each in batch_ids):
                return
            self.tick()
            self.work()
        raise AssertionError([self.batch(each, caller) for each in batch_ids])

    def until_ended_however_often_killed(
        self, batch_id: str, turn: Callable[[], object], rounds: int = 90
    ) -> None:
        """Takes turns until the batch has ended; killed in one, the daemon is started again."""
        for _ in range(rounds):
            if self.batch(batch_id).finished_at:
                return
            with suppress(Killed):
                turn()
                continue
            self.restart()

    def admin(self, *arguments: str) -> Result:
        """`slurmbatch admin`, on this database."""
        (self.directory / "tools.d").mkdir(exist_ok=True)
        file = self.directory / "slurmbatch.toml"
        file.write_text(
            f'[store]\npath = "{self.directory}/state/x.sqlite"\n'
            f'[jobs]\nlog_dir = "{self.directory}/logs"\n'
        )
        return CliRunner().invoke(main, ["admin", *arguments, "--config", str(file)])

    def batch(self, batch_id: str, caller: Caller = ALICE) -> Batch:
        found = self.store.batches.get(caller.user_id, batch_id)
        assert found is not None
        return found

    def counts(self, batch_id: str, caller: Caller = ALICE) -> Mapping[Status, int]:
        return {status: n for status, n in self.batch(batch_id, caller).counts.items() if n}

    def job(self, batch_id: str, index: int = 0) -> Job:
        found = self.store.batches.job("alice", batch_id, index)
        assert found is not None
        return found


def _mortal_store(
    store: Store, fate: Fate, mortal: Collection[str], only: Collection[str]
) -> Store:
    """The same store with some of its subjects mortal."""
    made = copy.copy(store)
    for name in {*MORTAL} & {*mortal} - {"slurm"}:
        setattr(made, name, Mortal(getattr(store, name), fate, only))
    return made
