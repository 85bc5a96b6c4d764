"""The steps of one array on its way to Slurm: an intent, held, released. See docs/handover.md."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from slurmbatch.doorbell import Doorbell
from slurmbatch.errors import (
    AccountingUnreachable,
    AccountRefused,
    AccountsUnreachable,
    SlurmAmbiguous,
    SlurmBusy,
    SlurmRefused,
)
from slurmbatch.health import Health
from slurmbatch.journal import get
from slurmbatch.model import ArraySpec, ArrayState, JobReport
from slurmbatch.precedents import Like, like
from slurmbatch.slurm import quirks
from slurmbatch.slurm.port import SlurmPort
from slurmbatch.states import ENDS
from slurmbatch.store import Store, tag_like
from slurmbatch.store.throttle import in_words
from slurmbatch.submitter.common import is_held, is_past, lives, of, say
from slurmbatch.submitter.room import Room
from slurmbatch.submitter.terms import Terms

_log = get("submitter")
CANCELLED_EARLY = "CANCELLED: cancelled by request, before it was handed to Slurm"
NOT_OFFERED = "REFUSED: its tool, or a filesystem that it asks for, is no longer offered here"
ANSWERS_BEFORE_REFUSAL = 3
CUT_IS_TRIED_AFTER = 2.0


class EndStray(Protocol):
    """Ends something under a name of ours that is held, and so has not run."""

    def __call__(self, slurm_job_id: int, tag: str) -> None: ...


@dataclass
class HandOver:
    """What it keeps in memory only saves time; all else is in the store.

    `newest_at_start`: the last array that an earlier process, or a backup, has left. Of an intent
    from those times more may have come than the store knows. `look` asks the poller to look soon.
    `left_alone`: batches of which nothing more is to be handed over in this tick.
    """

    store: Store
    slurm: SlurmPort
    terms: Terms
    doorbell: Doorbell
    health: Health
    end_stray: EndStray
    newest_at_start: int = 0
    clock: Callable[[], float] = time.time
    elapsed: Callable[[], float] = time.monotonic
    look: Callable[[], None] = lambda: None
    left_alone: set[str] = field(default_factory=set)
    _doubt: dict[int, float] = field(default_factory=dict)
    _absent: dict[int, float] = field(default_factory=dict)
    _released: dict[int, float] = field(default_factory=dict)
    _answered: dict[int, tuple[str, int]] = field(default_factory=dict)
    _looked_up: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.room = Room(self.store.queue.in_slurm)

    def forget_absence(self) -> None:
        """Slurm could not be asked: what was absent before that need not be."""
        self._absent.clear()

    def step(self, array: ArraySpec, now: float) -> None:
        if array.state is ArrayState.INTENT:
            self._intent(array, now)
        elif array.state is ArrayState.HELD:
            self._held(array, now)
        elif (
            array.state is ArrayState.RELEASING
            and not array.cancel
            and is_past(array.released_at, self.terms.repeat, now)
        ):
            self._release_again(array, now)

    def _intent(self, array: ArraySpec, now: float) -> None:
        inherited = array.pk <= self.newest_at_start and array.pk not in self._looked_up
        if array.tries or inherited:
            found = self._look_up(array)
            if found is not None:
                self._accepted(array, found, now)
                return
            self._looked_up.add(array.pk)
        if array.tries:
            # What was under way may still arrive, also after slurmctld has come back.
            back = self.health.source("slurmctld").back_at
            since = max(array.tried_at or 0.0, self._doubt.get(array.pk, 0.0), back)
            if not is_past(since, self.terms.settle, now):
                return
            self._doubt.pop(array.pk, None)
        if array.cancel:
            self.store.arrays.end_all(array.pk, ArrayState.DONE, CANCELLED_EARLY, now)
            say("array cancelled before its hand-over", array)
            return
        self._submit(array, now)

    def _look_up(self, array: ArraySpec) -> int | None:
        """The id of what bears the array's name: the lowest one, but one that is not held before
        all others. Raises SlurmUnreachable where it could not be told."""
        rows = self.slurm.find(array.tag, array.uid) or self._find_ended(array)
        ids = {row.array_job_id for row in rows}
        free = {each for each in ids if not is_held(of(rows, each))}
        return min(free or ids, default=None)

    def _find_ended(self, array: ArraySpec) -> list[JobReport]:
        if self.health.is_down("slurmdbd"):  # the poller finds out when it is back
            raise AccountingUnreachable(self.health.source("slurmdbd").error)
        return self.slurm.find_ended(array.tag, array.uid)

    def _submit(self, array: ArraySpec, now: float) -> None:
        try:
            request = self.terms.request(array, self.store, self.doorbell.drafts)
        except AccountsUnreachable as error:
            self.wait(array, f"WAITING: {error.detail}", now)
            return
        except AccountRefused as refusal:
            self._refuse(array, f"REFUSED: {refusal.detail}", now)
            return
        if request is None:
            self._refuse(array, NOT_OFFERED, now)
            return
        if self._is_cut(array, int(self.store.recall("max_array_size") or 0) - 1):
            return
        try:
            self.terms.make_directories(array)
        except OSError as error:
            why = f"WAITING: its directory cannot be made ({error.filename}: {error.strerror})"
            self.wait(array, why, now)
            return
        if not self.store.arrays.trying(array.pk, now):
            return
        try:
            submission = self.slurm.submit(request)
        except SlurmRefused as refusal:
            # The limit may be another one since it was last asked for.
            too_large = quirks.TOO_LARGE in refusal.detail
            if not too_large or not self._is_cut(array, self.slurm.facts().max_array_size - 1):
                self._refused(array, refusal.detail, now)
        except SlurmBusy as busy:
            self._busy(array, busy, now)
        except SlurmAmbiguous as doubt:
            self._in_doubt(array, doubt, now)
        else:
            self.doorbell.precedents.accepted(_like(array))
            told = in_words(request.throttle, self.store.recall("boot_time") or "")
            self._accepted(array, submission.slurm_job_id, now, told)

    def _busy(self, array: ArraySpec, busy: SlurmBusy, now: float) -> None:
        self._answered.pop(array.pk, None)
        keep = self.room.piece(array)
        seconds = CUT_IS_TRIED_AFTER if self._is_cut(array, keep) else None
        self.wait(array, f"LIMIT: waits for room in Slurm ({busy.detail})", now, seconds)

    def _is_cut(self, array: ArraySpec, keep: int) -> bool:
        """Whether it had to be cut so that so many of its jobs are left; the next tick goes on."""
        if not 0 < keep < array.n_tasks or not self.store.arrays.cut(
            array.pk, keep, tag_like(array.tag)
        ):
            return False
        say("array cut, the rest of it follows", array, keeps=keep)
        self.doorbell.ring()
        return True

    def _in_doubt(self, array: ArraySpec, doubt: SlurmAmbiguous, now: float) -> None:
        words, times = self._answered.pop(array.pk, ("", 0))
        if doubt.answered:
            times = times + 1 if words == doubt.detail else 1
            if times >= ANSWERS_BEFORE_REFUSAL:
                # The same error again and again, and each time nothing was there: it is a refusal.
                self._refused(array, doubt.detail, now)
                return
            self._answered[array.pk] = doubt.detail, times
        # Looked up in the next tick already; submitted again only when it has settled.
        self._doubt[array.pk] = self.clock()
        why = f"WAITING: Slurm's answer is not clear yet ({doubt.detail})"
        self.wait(array, why, now, seconds=0.0)

    def _accepted(self, array: ArraySpec, slurm_job_id: int, now: float, told: str = "") -> None:
        self._answered.pop(array.pk, None)
        self.room.accepted(array)
        self.store.arrays.accepted(array.pk, slurm_job_id, now, told)
        self.doorbell.tell(array.batch_id)
        say("array handed to Slurm, held", array, slurm_job=slurm_job_id)
        fresh = self.store.arrays.get(array.pk)
        if fresh is not None and fresh.state is ArrayState.HELD:
            self._held(fresh, now)

    def _refused(self, array: ArraySpec, words: str, now: float) -> None:
        self._refuse(array, f"REFUSED: Slurm refused it: {words}", now, words)

    def _refuse(self, array: ArraySpec, reason: str, now: float, words: str = "") -> None:
        self._answered.pop(array.pk, None)
        self.doorbell.precedents.refused(_like(array))
        self.store.arrays.end_all(array.pk, ArrayState.REFUSED, reason, now)
        say("array refused", array, reason=reason)
        if self.doorbell.tell(array.batch_id, words or reason.partition(": ")[2]):
            # The request takes the batch back, so nothing more of it is to be handed over.
            self.left_alone.add(array.batch_id)

    def wait(self, array: ArraySpec, why: str, now: float, seconds: float | None = None) -> None:
        if seconds is None:
            seconds = min(2.0 * 2 ** min(array.tries, 10), self.terms.longest_backoff)
        self.store.arrays.waits(array.pk, why, now + seconds)
        say("array waits", array, why=why, seconds=seconds)
        self.doorbell.tell(array.batch_id)

    # --- releasing ------------------------------------------------------------------------------

    def _held(self, array: ArraySpec, now: float) -> None:
        rows = self.slurm.find(array.tag, array.uid)
        for slurm_job_id in sorted({row.array_job_id for row in rows} - {array.slurm_job_id}):
            if is_held(of(rows, slurm_job_id)):
                self.end_stray(slurm_job_id, array.tag)
            elif any(map(lives, of(rows, slurm_job_id))):
                # Only a database of yesterday does not know of its release. It goes on as ours,
                # and what we have submitted since is the duplicate.
                _log.warning("another submission of an array runs already, and is taken for it",
                             batch_id=array.batch_id, slurm_job=slurm_job_id, tag=array.tag,
                             instead_of=array.slurm_job_id)  # fmt: skip
                self.store.arrays.adopt(array.pk, slurm_job_id)
                return
        ours = of(rows, array.slurm_job_id)
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
        self.look()
        say("array released", array, slurm_job=fresh.slurm_job_id)

    def _release_again(self, array: ArraySpec, now: float) -> None:
        """The poller has not seen it free for a while. Looked at first: Slurm may have lost it,
        and given its id to another."""
        if not is_past(self._released.get(array.pk), self.terms.repeat, now):
            return
        self._released[array.pk] = now
        rows = of(self.slurm.find(array.tag, array.uid), array.slurm_job_id)
        if array.slurm_job_id is not None and any(row.reason == "JobHeldUser" for row in rows):
            self.slurm.release(array.slurm_job_id)
            self.look()
            say("array released again", array, slurm_job=array.slurm_job_id)

    def _missing(self, array: ArraySpec, now: float) -> None:
        """Held by us, and slurmctld does not show it: if it has lost it, it is submitted anew."""
        since = self._absent.setdefault(array.pk, self.elapsed())
        if self.elapsed() - since < self.terms.absence_grace:
            return
        told = of(self._find_ended(array), array.slurm_job_id)
        del self._absent[array.pk]
        if told and all(row.state in ENDS for row in told):
            return  # the poller tells its end
        if array.released_at is not None:
            # A restarted slurmctld had forgotten the release, and now the array: that one may have
            # run. The poller finds out what became of it.
            self.store.arrays.queued(array.pk, array.released_boot)
        elif array.cancel:
            self.store.arrays.end_all(array.pk, ArrayState.DONE, CANCELLED_EARLY, now)
        else:
            self.store.arrays.submit_again(array.pk, tag_like(array.tag), now)
            say("array lost by Slurm before it ran, will be submitted again", array)


def _like(array: ArraySpec) -> Like:
    return like(array.user_id, array.uid, array.tool_id, array.hardware, array.slurm,
                array.n_tasks)  # fmt: skip
