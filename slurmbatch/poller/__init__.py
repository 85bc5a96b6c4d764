"""Looks at Slurm, writes what changed, publishes health.

One question to slurmctld a tick, whatever the number of batches, and one to accounting, only when
slurmctld no longer shows something that has not ended for us. A failed question changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from slurmbatch.claims import Claim, Claims
from slurmbatch.doorbell import Doorbell
from slurmbatch.errors import SlurmbatchError, SlurmUnreachable
from slurmbatch.journal import get
from slurmbatch.logs import JobLog, is_there, last_bytes
from slurmbatch.model import ArraySpec, ArrayState, JobChange, JobReport, KnownJob
from slurmbatch.places import log_parts
from slurmbatch.poller import digest
from slurmbatch.poller.digest import Memory, Situation
from slurmbatch.poller.sources import Sources
from slurmbatch.states import ENDS
from slurmbatch.store import Store

_log = get("poller")
HANDED_OVER = (ArrayState.HELD, ArrayState.RELEASING, ArrayState.QUEUED)
# What slurmstepd writes into a job's log when it kills it for its memory.
_OUT_OF_MEMORY = re.compile(
    rb"slurmstepd[^\n]*: error: [^\n]*(?:[Ee]xceeded [^\n]*memory limit|oom[-_ ]kill|OOM)"
)
IDLE_LOOK_EVERY = 30.0


@dataclass(frozen=True, slots=True)
class Views:
    """What the sources said in this tick; None: could not be asked, which says nothing."""

    live: Mapping[str, Sequence[JobReport]] | None
    ended: Mapping[str, Sequence[JobReport]] | None


@dataclass(frozen=True, slots=True)
class Look:
    """One array in one tick: what slurmctld shows, what has not ended, and which is which."""

    rows: Sequence[JobReport]
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
    end_stray: Callable[[int, str], None]
    log_dir: Path
    claims: Claims | None = None
    absence_grace: float = 60.0
    clock: Callable[[], float] = time.monotonic
    _memories: dict[int, Memory] = field(default_factory=dict)
    _looked_at: float = 0.0
    _told: set[str] = field(default_factory=set)

    def tick(self, now: float) -> None:
        arrays = self.store.arrays.in_state(*HANDED_OVER)
        idle = not arrays and not self.sources.health.is_down("slurmctld")
        if idle and 0 <= now - self._looked_at < IDLE_LOOK_EVERY:
            return
        self._looked_at = now
        live = self.sources.live(now)
        if live is not None:
            self._check_boot(now)
        known = {array.pk for array in arrays}
        self._memories = {pk: each for pk, each in self._memories.items() if pk in known}
        looks = {array.pk: self._look(array, live) for array in arrays}
        views = Views(live, self.sources.ended(_to_ask(arrays, looks), now))
        # Whatever Slurm has shown of a cancellation of ours, its tombstone is older than that; but
        # it may be younger than the list above.
        cancelled = self.store.arrays.cancelled()
        arrays = [replace(array, cancel=array.pk in cancelled) for array in arrays]
        changes = {array.pk: self._digest(array, views, looks[array.pk], now) for array in arrays}
        self._write({pk: each for pk, each in changes.items() if each}, now)
        if live is not None:
            self._look_for_strays(arrays, live)

    def _check_boot(self, now: float, *, afresh: bool = False) -> None:
        if self.sources.was_started_again(now, afresh=afresh):
            for memory in self._memories.values():
                memory.signature = 0
                memory.absent.clear()

    # --- one array ------------------------------------------------------------------------------

    def _look(
        self, array: ArraySpec, live: Mapping[str, Sequence[JobReport]] | None
    ) -> Look | None:
        """The unfinished jobs beside what slurmctld shows of them; None: as in the last tick."""
        rows = _ours(array, live)
        memory = self._memories.setdefault(array.pk, Memory())
        signature = hash((array.state, array.cancel, tuple(rows)))
        if live is not None and signature == memory.signature and memory.settled:
            return None
        memory.signature = signature if live is not None else 0
        unfinished = self.store.arrays.unfinished(array.pk)
        seen = digest.by_task(rows, unfinished)
        memory.missing = len(seen) < len(unfinished)
        return Look(rows, unfinished, seen)

    def _digest(
        self, array: ArraySpec, views: Views, look: Look | None, now: float
    ) -> list[JobChange]:
        if look is None:
            return []
        memory, situation = self._memories[array.pk], self._situation(array, now)
        self._note_release(array, look.rows)
        untrue = {task for task, row in look.seen.items() if self._is_untrue(array, task, row, now)}
        changes = [digest.change(row, look.unfinished[task], situation, memory)
                   for task, row in look.seen.items() if task not in untrue]  # fmt: skip
        for task in look.seen.keys() - untrue:
            memory.absent.pop(task, None)
        changes += self._by_accounting(array, views, look.missing, situation)
        jobs = (look.unfinished[task] for task in untrue)
        gone = [job for job in jobs if digest.is_gone(job, situation, memory)]
        changes += self._lost(array, gone, situation)
        return [each for each in changes if each is not None]

    def _is_untrue(self, array: ArraySpec, task: int, row: JobReport, now: float) -> bool:
        """Whether Slurm has the end of this task from another job, so that it has not run."""

        def launched() -> bool:
            parts = log_parts(array.batch_id, array.ordinal, array.generation, task)
            return is_there(self._log(parts))

        def booted() -> str:
            self._check_boot(now, afresh=True)
            return self.store.recall("boot_time") or ""

        return digest.may_be_untrue(row, launched, booted)

    def _by_accounting(
        self, array: ArraySpec, views: Views, missing: dict[int, KnownJob], situation: Situation
    ) -> list[JobChange | None]:
        """What accounting says of the jobs that slurmctld does not show, or that they are gone."""
        memory = self._memories[array.pk]
        if views.ended is None:
            memory.absent.clear()
            return []
        rows = _ours(array, views.ended)
        seen = digest.by_task(rows, missing)
        changes: list[JobChange | None] = []
        gone: list[KnownJob] = []
        for task, job in missing.items():
            row = seen.get(task)
            if row is not None and self._is_untrue(array, task, row, situation.now):
                if digest.is_gone(job, situation, memory):
                    changes += self._lost(array, [job], situation)
            elif row is not None and (row.state in ENDS or views.live is None):
                changes.append(digest.change(row, job, situation, memory))
            elif views.live is None or array.state is ArrayState.HELD:
                memory.absent.pop(task, None)
            elif digest.is_gone(job, situation, memory):
                gone.append(job)
        # An array that slurmctld does not show, and that has not ended in accounting, may be lost.
        in_accounting = bool(rows) and all(row.state in ENDS for row in rows)
        unknown = not _ours(array, views.live) and not in_accounting
        return changes + (self._give_up(array, gone, situation, unknown=unknown) if gone else [])

    def _give_up(
        self, array: ArraySpec, gone: Sequence[KnownJob], situation: Situation, *, unknown: bool
    ) -> list[JobChange | None]:
        """The ends of jobs that are gone: lost, or cancelled where Slurm keeps no record of it."""
        # Only a slurmctld that was started again since the release can have lost it; otherwise
        # somebody has cancelled what was still pending, of which Slurm keeps no record.
        self._check_boot(situation.now, afresh=True)
        if not unknown or self.store.recall("boot_time") == array.released_boot:
            for job in gone:
                self._memories[array.pk].absent.pop(job.task, None)
            return [digest.cancelled_elsewhere(job, situation) for job in gone]
        return self._lost(array, gone, situation)

    def _lost(
        self, array: ArraySpec, gone: Sequence[KnownJob], situation: Situation
    ) -> list[JobChange | None]:
        """The ends of jobs that Slurm has lost; those that never started are submitted again."""
        for job in gone:
            self._memories[array.pk].absent.pop(job.task, None)
        ends = {job.task: digest.lost(job, situation) for job in gone}
        again = [task for task, end in ends.items() if end is None]
        if again:
            tag = array.tag.rsplit("-", 1)[0] + f"-{secrets.token_hex(12)}"
            self.store.arrays.submit_part_again(array.pk, again, tag, situation.now)
            self.doorbell.ring()
            _log.warning("jobs lost by Slurm before they started, will be submitted again",
                         batch_id=array.batch_id, n_jobs=len(again), tag=tag)  # fmt: skip
        return list(ends.values())

    def _note_release(self, array: ArraySpec, rows: Sequence[JobReport]) -> None:
        """Sees that a release took effect, or that a restarted slurmctld has forgotten it."""
        if not rows or array.state is ArrayState.HELD:
            return
        # All of it: a single task may be held by its owner, which is no business of ours.
        held = all(row.state == "PENDING" and row.reason == "JobHeldUser" for row in rows)
        if not held and array.state is ArrayState.RELEASING:
            self.store.arrays.queued(array.pk, self.store.recall("boot_time") or "")
            self._memories[array.pk].signature = 0
        elif held and array.state is ArrayState.QUEUED:
            boot = self.store.recall("boot_time")
            if boot != array.released_boot:
                _log.warning("a release was forgotten by slurmctld and is repeated",
                             batch_id=array.batch_id, slurm_job=array.slurm_job_id)  # fmt: skip
                self.store.arrays.held_again(array.pk)
                self.doorbell.ring()

    def _situation(self, array: ArraySpec, now: float) -> Situation:
        def ran_out(task: int) -> bool:
            parts = log_parts(array.batch_id, array.ordinal, array.generation, task)
            return bool(_OUT_OF_MEMORY.search(last_bytes(self._log(parts), 4096)))

        def claim(job: KnownJob) -> Claim | None:
            claims = self.claims
            return claims.look(array.tag, job.task) if claims else None

        return Situation(array, now, self.clock(), self.absence_grace, os.getuid(), ran_out, claim,
                         self._unknown)  # fmt: skip

    def _log(self, parts: tuple[str, ...]) -> JobLog:
        return JobLog(self.log_dir, parts, os.getuid())

    def _unknown(self, report: JobReport) -> None:
        self._tell_once(f"{report.state} {sorted(report.flags)}", "unknown state of Slurm's, the "
                        "last known status stands", state=report.state)  # fmt: skip

    # --- what comes of it -----------------------------------------------------------------------

    def _write(self, changes: Mapping[int, list[JobChange]], now: float) -> None:
        try:
            applied = self.store.arrays.apply(changes, now)
        except SlurmbatchError:
            # What was seen is not written, so it must be looked at again.
            self._memories.clear()
            raise
        if applied.jobs:
            _log.info("jobs changed", n_jobs=applied.jobs, n_arrays=len(changes))
        for batch_id, user_id, failed in applied.finished:
            _log.info("batch ended", batch_id=batch_id, user=user_id, n_failed=failed)

    def _look_for_strays(
        self, arrays: Sequence[ArraySpec], live: Mapping[str, Sequence[JobReport]]
    ) -> None:
        """Ends held duplicates of ours, and tells of jobs of ours that the store does not know."""
        prefix = f"sb-{self.store.instance}-"
        ids = {array.tag: array.slurm_job_id for array in arrays}
        for tag, rows in live.items():
            if not tag.startswith(prefix) or tag in self._told:
                continue
            for row in rows:
                if row.state in ENDS or ids.get(tag) == row.array_job_id:
                    continue
                held = row.reason == "JobHeldUser"
                if held and (tag in ids or self.store.arrays.is_over(tag)):
                    with contextlib.suppress(SlurmUnreachable):
                        self.end_stray(row.array_job_id, tag)
                elif tag not in ids and not self.store.arrays.is_known(tag):
                    self._tell_once(tag, "a job in Slurm bears our name, but the database does not "
                                    "know it; it is left alone", slurm_job=row.array_job_id,
                                    tag=tag)  # fmt: skip

    def _tell_once(self, what: str, sentence: str, **fields: object) -> None:
        if what not in self._told:
            self._told.add(what)
            _log.warning(sentence, **fields)


def _to_ask(arrays: Sequence[ArraySpec], looks: Mapping[int, Look | None]) -> set[int]:
    """The ids that accounting has to be asked about."""
    ids = set()
    for array in arrays:
        look = looks[array.pk]
        if look is not None and look.missing and array.slurm_job_id is not None:
            ids.add(array.slurm_job_id)
    return ids


def _ours(array: ArraySpec, view: Mapping[str, Sequence[JobReport]] | None) -> list[JobReport]:
    """The rows of the array: by its tag *and* its id, since Slurm uses ids again."""
    rows = (view or {}).get(array.tag, ())
    return [row for row in rows if row.array_job_id == array.slurm_job_id]
