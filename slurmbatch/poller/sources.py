"""Asks slurmctld and accounting, notes outages, and keeps what the cluster says of itself.

At most two questions a tick, whatever there is to ask. The one for what lives is always asked; a
tick that asks slurmctld for its settings, too, leaves accounting to the next one, and the other way
round.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from slurmbatch.doorbell import Doorbell
from slurmbatch.errors import SlurmUnreachable
from slurmbatch.health import Health
from slurmbatch.journal import get
from slurmbatch.model import JobReport, JobUsage
from slurmbatch.poller.aside import Question
from slurmbatch.slurm.port import SlurmPort
from slurmbatch.store import Store

_log = get("poller")
FACTS_EVERY = 60.0
QUESTIONS_A_TICK = 2
# What fits well into one command, and what slurmdbd finds in a moment.
IDS_A_QUESTION = 5000
# Seconds. What a job used is nothing to wait for.
WAITS_FOR_USAGE = 0.2
# Of whom names are; asked of the database only once for each.
OWNERS_KEPT = 20_000
Rows = Mapping[str, Sequence[JobReport]]


@dataclass(frozen=True, slots=True)
class Accounting:
    """What accounting said of these arrays, by tag; `rows` None: it could not be asked."""

    asked: frozenset[int] = frozenset()
    rows: Rows | None = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """What accounting said of the use of these tasks; `told` None: it could not be asked."""

    asked: frozenset[tuple[int, int]]
    told: Sequence[JobUsage] | None
    error: str = ""


@dataclass
class Sources:
    """The two sources of what is known of jobs. An answer of None: could not be asked.

    `patience`: how many seconds a tick waits for accounting. What takes longer is picked up by a
    later tick, so that slurmctld's news never wait for slurmdbd. None: as long as it takes.
    `took`: how many seconds slurmctld has taken for the last look.
    """

    store: Store
    slurm: SlurmPort
    health: Health
    doorbell: Doorbell
    patience: float | None = None
    clock: Callable[[], float] = time.monotonic
    took: float = 0.0
    _facts_at: float = 0.0
    _asked_at: float = 0.0
    _boot_time: str | None = None
    _question: tuple[frozenset[int], Question[list[JobReport]]] | None = None
    _asked: int = 0
    _owes_accounting: bool = False
    _last_id: int = 0
    _use: tuple[frozenset[tuple[int, int]], Question[list[JobUsage]]] | None = None
    _told: Accounting | None = None
    _kept: Accounting | None = None
    _whose: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """A tick begins, with all of its questions."""
        self._asked, self._told = 0, None

    def live(self, now: float) -> Rows | None:
        """What slurmctld shows, by tag."""
        began = self.clock()
        self.health.looks += 1
        try:
            rows = self.slurm.live()
        except SlurmUnreachable as error:
            self._slurmctld_failed(error, now)
            return None
        finally:
            self.took = self.clock() - began
            self.health.looked(self.took)
            # pyslurm does not tell all of it, so squeue may have been asked as well.
            self._asked += 2 if getattr(self.slurm, "looked_twice", False) else 1
        down = self.health.ok("slurmctld", now)
        if down is not None:
            _log.info("Slurm answers again", down_seconds=round(down, 1))
            self._facts_at = 0.0
            self.doorbell.ring()
        return _by_tag(self._theirs(rows))

    def _theirs(self, rows: Sequence[JobReport]) -> Sequence[JobReport]:
        """Without jobs of others that only bear a name of ours, where answers may have some. (22.05
        has told root of accounting's for a job that had just ended.)"""
        if not getattr(self.slurm, "sees_others", False):
            return rows
        for tag in {row.tag for row in rows} - self._whose.keys():
            uid = self.store.graves.whose(tag)
            self._whose[tag] = os.getuid() if uid is None else uid
        theirs = [
            row for row in rows
            if row.uid in (None, self._whose[row.tag])
            or (row.source == "accounting" and row.uid == 0)
        ]  # fmt: skip
        if len(self._whose) > OWNERS_KEPT:
            self._whose.clear()
        return theirs

    def ended(self, ids: set[int], now: float) -> Accounting | None:
        """What accounting says of these arrays, as many as it is asked about at once, or of those
        that an earlier tick has asked about; None: it has not answered yet, or is not asked in
        this tick. Without ids nothing is asked, unless to hear whether it is back."""
        if self._kept is None:
            self._told = self._ask_accounting(ids, now)
        else:
            self._told, self._kept = self._kept, None
        return self._told

    def _ask_accounting(self, ids: set[int], now: float) -> Accounting | None:
        self._owes_accounting = False
        if self._question is None:
            if not ids and not self.health.is_down("slurmdbd"):
                return Accounting()
            if self._asked >= QUESTIONS_A_TICK:
                self._owes_accounting = True
                return None
        try:
            answer = self._answer(ids or {1})
        except SlurmUnreachable as error:
            if self.health.failed("slurmdbd", now, error.detail):
                _log.warning("Slurm's accounting does not answer, ends may be late",
                             error=error.detail)  # fmt: skip
            return Accounting(frozenset(ids), None)
        if answer is None:
            return None
        down = self.health.ok("slurmdbd", now)
        if down is not None:
            _log.info("Slurm's accounting answers again", down_seconds=round(down, 1))
            self.doorbell.ring()
        return Accounting(answer[0], _by_tag(self._theirs(answer[1])))

    def _answer(self, ids: set[int]) -> tuple[frozenset[int], list[JobReport]] | None:
        if self._question is None:
            chosen = self._next(ids)
            self._asked += 1
            if self.patience is None:
                return chosen, self.slurm.ended(chosen)
            self._question = chosen, Question(lambda: self.slurm.ended(chosen))
        assert self.patience is not None  # noqa: S101
        asked, question = self._question
        if not question.is_answered(self.patience):
            return None
        self._question = None
        return asked, question.answer()

    def usage(self, tasks: frozenset[tuple[int, int]], now: float) -> Usage | None:
        """What accounting has of the use of these tasks, or of those that an earlier tick has asked
        about; None: no answer yet, or no question left in this tick."""
        try:
            return self._used(tasks)
        except SlurmUnreachable as error:
            # Whether accounting is down is for the other question to find out.
            (asked, _), self._use = self._use or (tasks, None), None
            return Usage(asked, None, error.detail)

    def _used(self, tasks: frozenset[tuple[int, int]]) -> Usage | None:
        if self._use is None:
            if not tasks or self._asked >= QUESTIONS_A_TICK or self.health.is_down("slurmdbd"):
                return None
            self._asked += 1
            if self.patience is None:
                return Usage(tasks, self.slurm.usage(tasks))
            self._use = tasks, Question(lambda: self.slurm.usage(tasks))
        asked, question = self._use
        if not question.is_answered(WAITS_FOR_USAGE):
            return None
        told, self._use = question.answer(), None
        return Usage(asked, told)

    def _next(self, ids: set[int]) -> frozenset[int]:
        """As many as one question may have, going on where the last one ended."""
        if len(ids) <= IDS_A_QUESTION:
            return frozenset(ids)
        chosen = sorted(ids, key=lambda each: (each <= self._last_id, each))[:IDS_A_QUESTION]
        self._last_id = chosen[-1]
        return frozenset(chosen)

    def was_started_again(self, now: float) -> bool:
        """Whether slurmctld was started since it was last asked, which it is once a minute."""
        if self.health.is_down("slurmctld") or self._owes_accounting:
            return False
        if 0 <= now - self._facts_at < FACTS_EVERY:
            return False
        return self._ask_facts(now)

    def boot_time(self, now: float) -> str | None:
        """When slurmctld was started, asked afresh once in a tick; None: could not be asked, or
        not in this tick. The next one can, with what accounting has told in this one."""
        if now != self._asked_at:
            if self._asked + self._owes_accounting >= QUESTIONS_A_TICK:
                self._kept = self._told or self._kept
                return None
            self._ask_facts(now)
        return self._boot_time

    def _ask_facts(self, now: float) -> bool:
        self._asked_at, self._boot_time = now, None
        self._asked += 1
        try:
            facts = self.slurm.facts()
        except SlurmUnreachable as error:
            self._slurmctld_failed(error, now)
            return False
        self._facts_at, self._boot_time = now, facts.boot_time
        self.store.remember("max_array_size", str(facts.max_array_size))
        if facts.boot_time == self.store.recall("boot_time"):
            return False
        self.store.remember("boot_time", facts.boot_time)
        _log.info("slurmctld was started, every job is looked at again",
                  boot_time=facts.boot_time, version=facts.version)  # fmt: skip
        return True

    def _slurmctld_failed(self, error: SlurmUnreachable, now: float) -> None:
        if self.health.failed("slurmctld", now, error.detail):
            _log.warning("Slurm does not answer, statuses stay as they are", error=error.detail)


def _by_tag(rows: Sequence[JobReport]) -> dict[str, list[JobReport]]:
    tags: dict[str, list[JobReport]] = defaultdict(list)
    for row in rows:
        tags[row.tag].append(row)
    return tags
