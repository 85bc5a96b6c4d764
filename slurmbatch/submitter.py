"""Hands over what waits, releases what is handed over, ends what is cancelled.

The protocol, whose every step can be repeated after a crash between any two (see docs):
an *intent* is on the disk before sbatch is run; sbatch submits it *held*, under a name that nobody
can guess, so that a submission of unknown fate can be looked up by that name and a duplicate never
runs; its id is on the disk before it is *released*.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slurmbatch import script
from slurmbatch.claims import Claims
from slurmbatch.doorbell import Doorbell
from slurmbatch.errors import SlurmAmbiguous, SlurmBusy, SlurmRefused, SlurmUnreachable
from slurmbatch.health import Health
from slurmbatch.journal import get
from slurmbatch.logs import remove_batch
from slurmbatch.model import ArraySpec, ArrayState, Filesystem, JobReport, Tool
from slurmbatch.places import array_parts, log_pattern
from slurmbatch.slurm.port import SlurmPort, SubmitRequest
from slurmbatch.states import ENDS
from slurmbatch.store import Store

_log = get("submitter")
CANCELLED_EARLY = "CANCELLED: cancelled by request, before it was handed to Slurm"
ANSWERS_BEFORE_REFUSAL = 3
OPEN = (ArrayState.INTENT, ArrayState.HELD, ArrayState.RELEASING, ArrayState.QUEUED)
TOMBSTONES_KEPT = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What arrays are submitted with, and how patient we are. Times are seconds.

    `settle`: how long a submission of unknown fate may still turn up in Slurm. `repeat`: after it
    a release or a cancellation that shows no effect is repeated.
    """

    tools: Mapping[str, Tool]
    filesystems: Mapping[str, Filesystem]
    log_dir: Path
    work_dir: Path
    claims: Claims | None = None
    absence_grace: float = 60.0
    settle: float = 10.0
    repeat: float = 10.0
    longest_backoff: float = 120.0


@dataclass
class Submitter:
    """One thread's work. What it keeps in memory only saves time; all else is in the store."""

    store: Store
    slurm: SlurmPort
    terms: Terms
    doorbell: Doorbell
    health: Health
    clock: Callable[[], float] = time.time
    elapsed: Callable[[], float] = time.monotonic
    _doubt: dict[int, float] = field(default_factory=dict)
    _absent: dict[int, float] = field(default_factory=dict)
    _released: dict[int, float] = field(default_factory=dict)
    _cancel_sent: dict[int, float] = field(default_factory=dict)
    _swept_at: float = 0.0

    def tick(self, now: float) -> None:
        # The poller finds out when Slurm is back, and rings.
        if not self.health.is_down("slurmctld"):
            try:
                self._hand_over(now)
                self._end_cancelled(now)
            except SlurmUnreachable as error:
                if self.health.failed("slurmctld", now, error.detail):
                    _log.warning("Slurm does not answer, what waits is kept", error=error.detail)
        for batch_id in self.store.arrays.purge(now):
            remove_batch(self.terms.log_dir, batch_id)
            _log.info("records of a deleted batch removed", batch_id=batch_id)
        if self._is_past(self._swept_at, 3600, now):
            self._swept_at = now
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        self.store.arrays.forget_tombstones(now - TOMBSTONES_KEPT)
        if self.terms.claims is not None:
            live = {each.tag for each in self.store.arrays.in_state(*OPEN)}
            self.terms.claims.sweep(now, live.__contains__)

    def end_stray(self, slurm_job_id: int, tag: str) -> None:
        """A second submission of an array, or one that a killed slurmctld has brought back: held,
        so it has not run and never shall."""
        _log.warning("duplicate submission ended, it never ran", slurm_job=slurm_job_id, tag=tag)
        self.slurm.cancel(slurm_job_id)

    # --- handing over ---------------------------------------------------------------------------

    def _hand_over(self, now: float) -> None:
        waiting_users: set[str] = set()
        open_states = (ArrayState.INTENT, ArrayState.HELD, ArrayState.RELEASING)
        for array in self.store.arrays.in_state(*open_states):
            # In order for each user: what came later does not overtake what has to wait.
            if array.state is ArrayState.INTENT and array.user_id in waiting_users:
                self.doorbell.tell(array.batch_id)
                continue
            if _is_ahead(array.next_try_at, now, self.terms.longest_backoff) and not array.cancel:
                waiting_users.add(array.user_id)
                continue
            self._step(array, now)
            if self._state(array) is ArrayState.INTENT:
                waiting_users.add(array.user_id)

    def _state(self, array: ArraySpec) -> ArrayState | None:
        fresh = self.store.arrays.get(array.pk)
        return fresh.state if fresh else None

    def _step(self, array: ArraySpec, now: float) -> None:
        if array.state is ArrayState.INTENT:
            self._intent(array, now)
        elif array.state is ArrayState.HELD:
            self._held(array, now)
        elif not array.cancel and self._is_past(array.released_at, self.terms.repeat, now):
            self._release_again(array, now)

    def _intent(self, array: ArraySpec, now: float) -> None:
        if array.tries:
            found = self._living_or_ended(array)
            if found is not None:
                self._accepted(array, found, now)
                return
            # What was under way may still arrive, also after slurmctld has come back.
            back = self.health.source("slurmctld").back_at
            since = max(array.tried_at or 0.0, self._doubt.get(array.pk, 0.0), back)
            if not self._is_past(since, self.terms.settle, now):
                return
            self._doubt.pop(array.pk, None)
        if array.cancel:
            self.store.arrays.end_all(array.pk, ArrayState.DONE, CANCELLED_EARLY, now)
            self._say("array cancelled before its hand-over", array)
            return
        self._submit(array, now)

    def _living_or_ended(self, array: ArraySpec) -> int | None:
        """The lowest id under the array's tag. Raises SlurmUnreachable if it could not be asked."""
        ids = {row.array_job_id for row in self.slurm.find(array.tag)}
        return min(ids) if ids else None

    def _submit(self, array: ArraySpec, now: float) -> None:
        request = self._request(array)
        if request is None:
            self._refuse(array, "its tool or a filesystem is no longer offered here", now)
            return
        try:
            self._make_directories(array)
        except OSError as error:
            why = f"WAITING: its directory cannot be made ({error.filename}: {error.strerror})"
            self._wait(array, why, now)
            return
        self.store.arrays.trying(array.pk, now)
        try:
            submission = self.slurm.submit(request)
        except SlurmRefused as refusal:
            self._refuse(array, refusal.detail, now)
        except SlurmBusy as busy:
            self._wait(array, f"LIMIT: waits for room in Slurm ({busy.detail})", now)
        except SlurmAmbiguous as doubt:
            if doubt.answered and array.tries >= ANSWERS_BEFORE_REFUSAL - 1:
                # The same error again and again, and each time nothing was there: it is a refusal.
                self._refuse(array, doubt.detail, now)
                return
            # Looked up in the next tick already; submitted again only when it has settled.
            self._doubt[array.pk] = self.clock()
            why = f"WAITING: Slurm's answer is not clear yet ({doubt.detail})"
            self._wait(array, why, now, seconds=0.0)
        else:
            self._accepted(array, submission.slurm_job_id, now)

    def _accepted(self, array: ArraySpec, slurm_job_id: int, now: float) -> None:
        self.store.arrays.accepted(array.pk, slurm_job_id, now)
        self.doorbell.tell(array.batch_id)
        self._say("array handed to Slurm, held", array, slurm_job=slurm_job_id)
        fresh = self.store.arrays.get(array.pk)
        if fresh is not None:
            self._held(fresh, now)

    def _refuse(self, array: ArraySpec, words: str, now: float) -> None:
        self.store.arrays.end_all(
            array.pk, ArrayState.REFUSED, f"REFUSED: Slurm refused it: {words}", now
        )
        self._say("array refused by Slurm", array, refusal=words)
        self.doorbell.tell(array.batch_id, words)

    def _wait(self, array: ArraySpec, why: str, now: float, seconds: float | None = None) -> None:
        if seconds is None:
            seconds = min(2.0 * 2 ** min(array.tries, 10), self.terms.longest_backoff)
        self.store.arrays.waits(array.pk, why, now + seconds)
        self._say("array waits", array, why=why, seconds=seconds)
        self.doorbell.tell(array.batch_id)

    # --- releasing ------------------------------------------------------------------------------

    def _held(self, array: ArraySpec, now: float) -> None:
        rows = self.slurm.find(array.tag)
        for slurm_job_id in {row.array_job_id for row in rows} - {array.slurm_job_id}:
            self.end_stray(slurm_job_id, array.tag)
        ours = [row for row in rows if row.array_job_id == array.slurm_job_id]
        if not ours:
            self._missing(array, now)
        elif array.cancel or all(row.state in ENDS for row in ours):
            return
        else:
            self._absent.pop(array.pk, None)
            self._release(array, now)

    def _release(self, array: ArraySpec, now: float) -> None:
        fresh = self.store.arrays.get(array.pk)
        if fresh is None or fresh.cancel or fresh.slurm_job_id is None:
            return
        self.store.arrays.releasing(array.pk, self.store.recall("boot_time") or "", now)
        self.slurm.release(fresh.slurm_job_id)
        self._say("array released", array, slurm_job=fresh.slurm_job_id)

    def _release_again(self, array: ArraySpec, now: float) -> None:
        """The poller has not seen it free for a while. Looked at first: Slurm may have lost it,
        and given its id to another."""
        if not self._is_past(self._released.get(array.pk), self.terms.repeat, now):
            return
        self._released[array.pk] = now
        rows = [row for row in self.slurm.find(array.tag) if row.array_job_id == array.slurm_job_id]
        if array.slurm_job_id is not None and any(row.reason == "JobHeldUser" for row in rows):
            self.slurm.release(array.slurm_job_id)
            self._say("array released again", array, slurm_job=array.slurm_job_id)

    def _missing(self, array: ArraySpec, now: float) -> None:
        """Held by us, so it has not run; if Slurm has lost it, it is submitted anew."""
        since = self._absent.setdefault(array.pk, self.elapsed())
        if self.elapsed() - since < self.terms.absence_grace:
            return
        del self._absent[array.pk]
        if array.cancel:
            self.store.arrays.end_all(array.pk, ArrayState.DONE, CANCELLED_EARLY, now)
            return
        tag = array.tag.rsplit("-", 1)[0] + f"-{secrets.token_hex(12)}"
        self.store.arrays.submit_again(array.pk, tag, now)
        self._say("array lost by Slurm before it ran, will be submitted again", array)

    # --- ending ---------------------------------------------------------------------------------

    def _end_cancelled(self, now: float) -> None:
        handed_over = (ArrayState.HELD, ArrayState.RELEASING, ArrayState.QUEUED)
        cancelled = [each for each in self.store.arrays.in_state(*handed_over) if each.cancel]
        for array in cancelled:
            if self._is_past(self._cancel_sent.get(array.pk), self.terms.repeat, now):
                self._cancel(array, now)
        alive = {array.pk for array in cancelled}
        self._cancel_sent = {pk: at for pk, at in self._cancel_sent.items() if pk in alive}

    def _cancel(self, array: ArraySpec, now: float) -> None:
        # By the tag, so that an id that Slurm has given to somebody else since is left alone.
        rows = self.slurm.find(array.tag)
        for slurm_job_id in {row.array_job_id for row in rows if _lives(row)}:
            self.slurm.cancel(slurm_job_id)
            self._say("array cancelled", array, slurm_job=slurm_job_id)
        self._cancel_sent[array.pk] = now

    # --- what is submitted ----------------------------------------------------------------------

    def _request(self, array: ArraySpec) -> SubmitRequest | None:
        terms, names = self.terms, array.hardware.filesystems
        tool = terms.tools.get(array.tool_id)
        if tool is None or any(name not in terms.filesystems for name in names):
            return None
        filesystems = [terms.filesystems[name] for name in names]
        fixed, own = self.store.arrays.arguments(array.pk)
        # A tool that is safe to run again needs no fence.
        claims = terms.claims.root / array.tag if terms.claims and not tool.requeue else None
        setting = script.setting_for(
            tool, array.batch_id, fixed, filesystems, terms.work_dir, claims
        )
        tasks = [script.task_for(tool, index, args) for index, args in own]
        return SubmitRequest(
            tag=array.tag,
            script=script.render(tool, setting, tasks),
            n_tasks=array.n_tasks,
            cpu=array.hardware.cpu,
            memory=array.hardware.memory,
            output=log_pattern(terms.log_dir, array.batch_id, array.ordinal, array.generation),
            work_dir=terms.work_dir,
            options=array.slurm,
            features=tuple(each.feature for each in filesystems if each.feature),
            licences=tuple(each.licence for each in filesystems if each.licence),
            requeue=tool.requeue,
            comment=f"slurmbatch batch={array.batch_id} user={array.user_id}",
        )

    @staticmethod
    def _is_past(since: float | None, seconds: float, now: float) -> bool:
        """Whether so much time has gone by; also if the clock was set back behind `since`."""
        return since is None or not 0 <= now - since < seconds

    def _make_directories(self, array: ArraySpec) -> None:
        if self.terms.claims is not None:
            self.terms.claims.prepare(array.tag)
        directory = self.terms.log_dir
        for part in array_parts(array.batch_id, array.ordinal, array.generation):
            directory = directory / part
            directory.mkdir(mode=0o700, exist_ok=True)

    def _say(self, sentence: str, array: ArraySpec, **fields: object) -> None:
        _log.info(sentence, batch_id=array.batch_id, array=array.ordinal, user=array.user_id,
                  tag=array.tag, n_jobs=array.n_tasks, request_id=array.request_id,
                  **fields)  # fmt: skip


def _is_ahead(at: float, now: float, most: float) -> bool:
    """Whether the time is still to come; not if it is further off than it was ever set, because
    then the clock was set back."""
    return 0 < at - now <= most


def _lives(row: JobReport) -> bool:
    return row.state not in ENDS
