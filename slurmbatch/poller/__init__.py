"""Looks at Slurm, writes what changed, publishes health.

Two questions a tick at most, whatever the number of batches: what lives, and either when slurmctld
was started, or what accounting knows, which is only asked when slurmctld no longer shows something
that has not ended for us. A failed question changes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from slurmbatch.claims import Claim, Claims
from slurmbatch.doorbell import Doorbell
from slurmbatch.errors import SlurmbatchError
from slurmbatch.journal import get
from slurmbatch.model import ArraySpec, ArrayState, JobChange, JobReport, KnownJob
from slurmbatch.poller import changed, digest
from slurmbatch.poller.digest import Memory, Situation
from slurmbatch.poller.evidence import Evidence
from slurmbatch.poller.losses import Gone, Losses
from slurmbatch.poller.pace import Pace
from slurmbatch.poller.sources import Accounting, Rows, Sources
from slurmbatch.poller.strays import EndStray, Strays
from slurmbatch.poller.usage import Usages
from slurmbatch.states import ENDS
from slurmbatch.store import Store

_log = get("poller")
HANDED_OVER = (ArrayState.HELD, ArrayState.RELEASING, ArrayState.QUEUED)
_ON_THEIR_WAY = (ArrayState.HELD, ArrayState.RELEASING)
IDLE_LOOK_EVERY = 30.0
Changes = list[JobChange]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """One array in one tick: what slurmctld shows (None: it could not be asked), what has not
    ended, and which is which."""

    rows: Sequence[JobReport] | None
    unfinished: Mapping[int, KnownJob]
    seen: Mapping[int, JobReport]

    @property
    def missing(self) -> dict[int, KnownJob]:
        return {task: job for task, job in self.unfinished.items() if task not in self.seen}


@dataclass
class Poller:
    """One thread's work. What it keeps in memory only saves time; all else is in the store."""

    store: Store
    sources: Sources
    doorbell: Doorbell
    end_stray: EndStray
    log_dir: Path
    claims: Claims | None = None
    absence_grace: float = 60.0
    clock: Callable[[], float] = time.monotonic
    pace: Pace = field(default_factory=Pace)
    _memories: dict[int, Memory] = field(default_factory=dict)
    _looked_at: float = 0.0
    _has_changed: bool = False
    _faulty: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._strays = Strays(self.store, self.end_stray)
        self._losses = Losses(self.store, self.doorbell, self.claims)
        self._usages = Usages(self.store, self.sources)
        self._evidence = Evidence(self.log_dir, self.claims)

    def tick(self, now: float) -> float:
        """Gives the seconds until the next one is wanted."""
        arrays = self.store.arrays.in_state(*HANDED_OVER)
        if self._is_idle(arrays, now):
            return self.pace.after(soon=False, took=0.0, failed=False)
        self._looked_at, self._has_changed = now, False
        answered = self._look_at_all(arrays, now)
        return self.pace.after(
            soon=self._is_lively(arrays), took=self.sources.took, failed=not answered
        )

    def _look_at_all(self, arrays: Sequence[ArraySpec], now: float) -> bool:
        """Whether slurmctld has answered."""
        self.sources.begin()
        # Before the look, so that what is seen is never put down to a later slurmctld.
        if self.sources.was_started_again(now):
            self._forget()
        live = self.sources.live(now)
        known = {array.pk for array in arrays}
        self._memories = {pk: each for pk, each in self._memories.items() if pk in known}
        looks = self._looks(arrays, live)
        self._evidence.forget()
        self._by_slurmctld(self._afresh(arrays), looks, now)
        if self._usages.is_starved(now):
            self._usages.look(now)
        accounting = self.sources.ended(_to_ask(arrays, looks), now)
        if accounting is not None:
            self._evidence.forget()
            self._by_accounting(self._afresh(arrays), looks, accounting, now)
        if live is not None:
            self._strays.look(arrays, live, now)
        self._usages.look(now)
        return live is not None

    def _is_lively(self, arrays: Sequence[ArraySpec]) -> bool:
        """Whether something of ours has changed just now, or is about to."""
        about_to = any(each.cancel or each.state in _ON_THEIR_WAY for each in arrays)
        return (
            about_to or self._has_changed
            or not all(memory.settled for memory in self._memories.values())
        )  # fmt: skip

    def _is_idle(self, arrays: Sequence[ArraySpec], now: float) -> bool:
        down = any(map(self.sources.health.is_down, ("slurmctld", "slurmdbd")))
        if arrays or down or self._usages.is_due(now):
            return False
        return 0 <= now - self._looked_at < IDLE_LOOK_EVERY

    def _forget(self) -> None:
        for memory in self._memories.values():
            memory.seen = None
            memory.absent.clear()

    def _afresh(self, arrays: Sequence[ArraySpec]) -> list[ArraySpec]:
        """With the tombstones that have come meanwhile: whatever Slurm has just shown of a
        cancellation of ours, its tombstone is older than that."""
        cancelled = self.store.arrays.cancelled()
        return [replace(array, cancel=array.pk in cancelled) for array in arrays]

    # --- what slurmctld shows -------------------------------------------------------------------

    def _looks(self, arrays: Sequence[ArraySpec], live: Rows | None) -> dict[int, Look | None]:
        return {array.pk: self._guarded(array, self._look, live) for array in arrays}

    def _look(self, array: ArraySpec, live: Rows | None) -> Look | None:
        """The unfinished jobs beside what slurmctld shows of them; None: as in the last tick."""
        rows = _ours(array, live)
        memory = self._memories.setdefault(array.pk, Memory())
        if live is None:
            memory.doubtful.clear()
        # Not by a hash: rows that are the very same as before are compared in no time.
        shown = (array.state, array.cancel, rows)
        if live is not None and shown == memory.seen and memory.settled:
            return None
        memory.seen = shown if live is not None else None
        unfinished = self.store.arrays.unfinished(array.pk)
        seen = digest.by_task(rows, unfinished)
        memory.missing = len(seen) < len(unfinished)
        return Look(None if live is None else rows, unfinished, seen)

    def _by_slurmctld(
        self, arrays: Sequence[ArraySpec], looks: Mapping[int, Look | None], now: float
    ) -> None:
        changes: dict[int, Changes] = {}
        for array in arrays:
            look = looks[array.pk]
            if look is not None and look.rows:
                changes[array.pk] = self._guarded(array, self._shown, look, now) or []
        self._expect(arrays, looks)
        self._write(arrays, changes, now)

    def _expect(self, arrays: Sequence[ArraySpec], looks: Mapping[int, Look | None]) -> None:
        """Keeps when Slurm expects to start the tasks that share a row."""
        told = {
            array.pk: digest.expected_start(look.rows)
            for array in arrays
            if (look := looks[array.pk]) is not None and look.rows is not None
        }
        new = {each.pk: told[each.pk] for each in arrays
               if each.pk in told and told[each.pk] != each.expected_start}  # fmt: skip
        if new:
            self.store.arrays.expect(new)

    def _shown(self, array: ArraySpec, look: Look, now: float) -> Changes:
        memory, situation = self._memories[array.pk], self._situation(array, now)
        self._note_release(array, look.rows or ())
        rows = look.rows or ()
        changes, untrue = self._believed(array, rows, look.seen, look.unfinished, situation)
        for task in look.seen.keys() - {job.task for job in untrue}:
            memory.absent.pop(task, None)
        return changes + self._untrue(array, untrue, situation)

    def _believed(
        self, array: ArraySpec, rows: Sequence[JobReport], seen: Mapping[int, JobReport],
        jobs: Mapping[int, KnownJob], situation: Situation,
    ) -> tuple[Changes, list[KnownJob]]:  # fmt: skip
        """What the rows of those `seen` change, and the jobs whose rows may be of another job's
        end; `rows`: all of the array."""
        memory = self._memories[array.pk]
        swept = self._swept(array, rows)

        def booted() -> str | None:
            return self.sources.boot_time(situation.now)

        changes, untrue = [], []
        for task, row in seen.items():
            if self._is_untrue(array, task, row, situation.now, swept):
                untrue.append(jobs[task])
                continue
            if swept(row) and digest.had_begun(row, jobs[task], situation, booted):
                change = digest.cut_off(row, jobs[task], situation, memory)
            else:
                change = digest.change(row, jobs[task], situation, memory)
            if change is not None:
                changes.append(change)
        return changes, untrue

    def _swept(self, array: ArraySpec, rows: Sequence[JobReport]) -> Callable[[JobReport], bool]:
        """Whether a task was cancelled along with one that slurmd would not launch, which only
        claims can tell."""
        if self.claims is None or array.cancel or all(row.state != "CANCELLED" for row in rows):
            return lambda _: False
        refused = digest.not_launched(rows, partial(self._evidence.has_run, array))
        return lambda row: digest.swept_along(row, refused)

    def _untrue(self, array: ArraySpec, jobs: Iterable[KnownJob], situation: Situation) -> Changes:
        memory = self._memories[array.pk]
        gone = [job for job in jobs if digest.is_gone(job, situation, memory)]
        if not gone or self.sources.boot_time(situation.now) is None:
            return []
        return self._losses.lost(array, gone, situation, memory)

    def _is_untrue(
        self, array: ArraySpec, task: int, row: JobReport, now: float,
        swept: Callable[[JobReport], bool],
    ) -> bool:  # fmt: skip
        """Whether Slurm has the end of this task from another job, so that it has not run; also
        while that cannot be told."""
        if swept(row) and self.sources.boot_time(now) is None:
            return True
        return digest.may_be_untrue(
            row, ours=array.cancel, fenced=self.claims is not None,
            has_run=lambda: self._evidence.has_run(array, task, row),
            booted=lambda: self.sources.boot_time(now), swept=swept,
        )  # fmt: skip

    def _note_release(self, array: ArraySpec, rows: Sequence[JobReport]) -> None:
        """Sees that a release took effect, or that a restarted slurmctld has forgotten it."""
        alive = [row for row in rows if row.state not in ENDS]
        if not rows or array.state is ArrayState.HELD:
            return
        boot = self.store.recall("boot_time") or ""
        # All of it: a single task may be held by its owner, which is no business of ours.
        held = all(row.state == "PENDING" and row.reason == "JobHeldUser" for row in rows)
        if not held and array.state is ArrayState.RELEASING:
            self.store.arrays.queued(array.pk, boot)
            self._memories[array.pk].seen = None
        elif held and array.state is ArrayState.QUEUED and boot != array.released_boot:
            _log.warning("a release was forgotten by slurmctld and is repeated",
                         batch_id=array.batch_id, slurm_job=array.slurm_job_id)  # fmt: skip
            self.store.arrays.held_again(array.pk)
            self.doorbell.ring()
        elif alive and not held and boot != array.released_boot:
            # The slurmctld that was started since knows of the release: what it holds, or does
            # not have, from now on is not for that start.
            self.store.arrays.queued(array.pk, boot)

    # --- what accounting says of the rest -------------------------------------------------------

    def _by_accounting(
        self, arrays: Sequence[ArraySpec], looks: Mapping[int, Look | None],
        accounting: Accounting, now: float,
    ) -> None:  # fmt: skip
        changes: dict[int, Changes] = {}
        for array in arrays:
            look = looks[array.pk]
            if look is None or not look.missing or array.slurm_job_id not in accounting.asked:
                continue
            if accounting.rows is None:
                self._memories.setdefault(array.pk, Memory()).absent.clear()
                continue
            rows = _ours(array, accounting.rows)
            changes[array.pk] = self._guarded(array, self._told, look, rows, now) or []
        self._write(arrays, changes, now)

    def _told(self, array: ArraySpec, look: Look, rows: Sequence[JobReport], now: float) -> Changes:
        memory = self._memories.setdefault(array.pk, Memory())
        situation = self._situation(array, now)
        missing = look.missing
        seen = digest.by_task(rows, missing)
        telling = {task: row for task, row in seen.items()
                   if row.state in ENDS or look.rows is None}  # fmt: skip
        changes, untrue = self._believed(array, rows, telling, missing, situation)
        for task in telling.keys() - {job.task for job in untrue}:
            memory.absent.pop(task, None)
        changes += self._untrue(array, untrue, situation)
        # An array that slurmctld does not show, and that has not ended in accounting, may be lost.
        is_over = bool(rows) and all(row.state in ENDS for row in rows)
        gone = []
        for task in missing.keys() - telling.keys():
            if look.rows is None or (array.state is ArrayState.HELD and not is_over):
                memory.absent.pop(task, None)
            elif digest.is_gone(missing[task], situation, memory):
                gone.append(Gone(missing[task], seen.get(task)))
        if gone:
            boot = self.sources.boot_time(now)
            changes += self._losses.give_up(array, gone, situation, memory, boot,
                                            unknown=not look.rows and not is_over)  # fmt: skip
        return changes

    # --- what both need -------------------------------------------------------------------------

    def _guarded(self, array: ArraySpec, act: Callable[..., T], *args: object) -> T | None:
        """Something done for one array, whose trouble is no other array's."""
        try:
            return act(array, *args)
        except SlurmbatchError:
            raise
        except Exception:
            self._memories.pop(array.pk, None)
            if array.pk not in self._faulty:
                self._faulty.add(array.pk)
                _log.exception("a bug keeps an array from being looked at, the others go on",
                               batch_id=array.batch_id, slurm_job=array.slurm_job_id)  # fmt: skip
            return None

    def _situation(self, array: ArraySpec, now: float) -> Situation:
        def ran_out(task: int) -> bool:
            return self._evidence.ran_out_of_memory(array, task)

        def claim(job: KnownJob) -> Claim | None:
            return self._evidence.claim(array, job.task)

        return Situation(array, now, self.clock(), self.absence_grace, os.getuid(), ran_out, claim,
                         self._unknown)  # fmt: skip

    def _unknown(self, report: JobReport) -> None:
        words = f"{report.state} {sorted(report.flags)}"
        self._strays.tell_once(words, "unknown state of Slurm's, the last known status stands",
                               state=report.state)  # fmt: skip

    def _write(
        self, arrays: Sequence[ArraySpec], changes: Mapping[int, Changes], now: float
    ) -> None:
        changes = {pk: each for pk, each in changes.items() if each}
        try:
            applied = self.store.arrays.apply(changes, now)
        except SlurmbatchError:
            # What was seen is not written, so it must be looked at again.
            self._memories.clear()
            raise
        self._has_changed = self._has_changed or applied.jobs > 0
        if applied.jobs:
            changed.tell(arrays, changes)
        if applied.again:
            _log.info("jobs will be run again, by their policy", n_jobs=applied.again)
            self.doorbell.ring()
        for batch_id, user_id, failed, request_id in applied.finished:
            _log.info("batch ended", batch_id=batch_id, user=user_id, n_failed=failed,
                      request_id=request_id)  # fmt: skip


def _to_ask(arrays: Sequence[ArraySpec], looks: Mapping[int, Look | None]) -> set[int]:
    """The ids that accounting has to be asked about."""
    ids = set()
    for array in arrays:
        look = looks[array.pk]
        if look is not None and look.missing and array.slurm_job_id is not None:
            ids.add(array.slurm_job_id)
    return ids


def _ours(array: ArraySpec, view: Rows | None) -> list[JobReport]:
    """The rows of the array: by its tag *and* its id, since Slurm uses ids again."""
    rows = (view or {}).get(array.tag, ())
    return [row for row in rows if row.array_job_id == array.slurm_job_id]
