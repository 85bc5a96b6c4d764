"""Hands over what waits, releases what is handed over, ends what is cancelled.

The protocol, whose every step can be repeated after a crash between any two (see docs):
an *intent* is on the disk before sbatch is run; sbatch submits it *held*, under a name that nobody
can guess, so that a submission of unknown fate can be looked up by that name and a duplicate never
runs; its id is on the disk before it is *released*.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from slurmbatch.doorbell import Doorbell
from slurmbatch.errors import (
    AccountingUnreachable,
    SlurmAmbiguous,
    SlurmbatchError,
    SlurmBusy,
    SlurmRefused,
    SlurmUnreachable,
)
from slurmbatch.health import Health
from slurmbatch.journal import get
from slurmbatch.logs import remove_batch
from slurmbatch.model import ArraySpec, ArrayState, JobReport
from slurmbatch.slurm import quirks
from slurmbatch.slurm.port import SlurmPort
from slurmbatch.states import ENDS
from slurmbatch.store import Store
from slurmbatch.submitter.terms import Terms

__all__ = ["Submitter", "Terms"]

_log = get("submitter")
CANCELLED_EARLY = "CANCELLED: cancelled by request, before it was handed to Slurm"
NOT_OFFERED = "REFUSED: its tool, or a filesystem that it asks for, is no longer offered here"
BEHIND = "WAITING: its turn comes after an earlier batch of the same user, which waits itself"
UNSURE = (
    "WAITING: whether an earlier try has arrived cannot be told until Slurm's accounting answers"
)
OUR_FAULT = "WAITING: an internal error keeps it back; the log of slurmbatch says more"
ANSWERS_BEFORE_REFUSAL = 3
# An array that a limit has kept out so often is cut in halves, and at last into single jobs.
TRIES_BEFORE_CUT = 2
TRIES_BEFORE_SINGLES = 5
SMALLEST_CUT = 16
CUT_IS_TRIED_AFTER = 2.0
OPEN = (ArrayState.INTENT, ArrayState.HELD, ArrayState.RELEASING, ArrayState.QUEUED)
TOMBSTONES_KEPT = 30 * 86400.0


@dataclass
class Submitter:
    """One thread's work. What it keeps in memory only saves time; all else is in the store.

    `newest_at_start`: the last array that an earlier process, or a backup, has left. Of an intent
    from those times more may have come than the store knows. `look` asks the poller to look soon.
    """

    store: Store
    slurm: SlurmPort
    terms: Terms
    doorbell: Doorbell
    health: Health
    newest_at_start: int = 0
    clock: Callable[[], float] = time.time
    elapsed: Callable[[], float] = time.monotonic
    look: Callable[[], None] = lambda: None
    _doubt: dict[int, float] = field(default_factory=dict)
    _absent: dict[int, float] = field(default_factory=dict)
    _released: dict[int, float] = field(default_factory=dict)
    _cancel_sent: dict[int, float] = field(default_factory=dict)
    _answered: dict[int, tuple[str, int]] = field(default_factory=dict)
    _fits: dict[str, int] = field(default_factory=dict)
    _faulty: set[int] = field(default_factory=set)
    _left_alone: set[str] = field(default_factory=set)
    _looked_up: set[int] = field(default_factory=set)
    _swept_at: float = 0.0

    def tick(self, now: float) -> None:
        # The poller finds out when Slurm is back, and rings.
        if not self.health.is_down("slurmctld"):
            try:
                self._hand_over(now)
                self._end_cancelled(now)
            except SlurmUnreachable as error:
                self._absent.clear()
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

    def end_stray(self, slurm_job_id: int, tag: str, *, held: bool = True) -> None:
        """Something under a name of ours that shall not run (any more).

        Held, it is a second submission, or one that a killed slurmctld has brought back: it has
        not run and never shall. If not, it is of what was cancelled, deleted or replaced.
        """
        sentence = (
            "duplicate submission ended, it never ran" if held
            else "what slurmctld has brought back of something cancelled is ended"
        )  # fmt: skip
        _log.warning(sentence, slurm_job=slurm_job_id, tag=tag)
        self.slurm.cancel(slurm_job_id)

    # --- handing over ---------------------------------------------------------------------------

    def _hand_over(self, now: float) -> None:
        waiting_users: set[str] = set()
        self._left_alone.clear()
        open_states = (ArrayState.INTENT, ArrayState.HELD, ArrayState.RELEASING)
        arrays = self.store.arrays.in_state(*open_states)
        for array in arrays:
            # In order for each user: what came later does not overtake what has to wait.
            if array.state is ArrayState.INTENT and array.user_id in waiting_users:
                self._let_wait(array)
                continue
            if _is_ahead(array.next_try_at, now, self.terms.longest_backoff) and not array.cancel:
                waiting_users.add(array.user_id)
                continue
            self._guarded(array.pk, now)
            if self._state(array) is ArrayState.INTENT:
                waiting_users.add(array.user_id)

    def _let_wait(self, array: ArraySpec) -> None:
        if not array.waiting and not array.cancel:
            self.store.arrays.waits(array.pk, BEHIND, 0.0)
        self.doorbell.tell(array.batch_id)

    def _guarded(self, pk: int, now: float) -> None:
        """A step of one array, whose trouble is no other array's."""
        # Read again: it may have been cancelled, or taken back, since the list was made.
        array = self.store.arrays.get(pk)
        if array is None or array.batch_id in self._left_alone:
            return
        try:
            self._step(array, now)
        except AccountingUnreachable as error:
            if self.health.failed("slurmdbd", now, error.detail):
                _log.warning("Slurm's accounting does not answer, what is in doubt waits",
                             error=error.detail)  # fmt: skip
            if array.waiting != UNSURE:
                self.store.arrays.waits(pk, UNSURE, 0.0)
            self.doorbell.tell(array.batch_id)
        except SlurmbatchError:
            raise
        except Exception:
            if pk not in self._faulty:
                self._faulty.add(pk)
                _log.exception("a bug keeps an array back, the others go on",
                               batch_id=array.batch_id, tag=array.tag)  # fmt: skip
            self._wait(array, OUR_FAULT, now, seconds=self.terms.longest_backoff)

    def _state(self, array: ArraySpec) -> ArrayState | None:
        fresh = self.store.arrays.get(array.pk)
        return fresh.state if fresh else None

    def _step(self, array: ArraySpec, now: float) -> None:
        if array.state is ArrayState.INTENT:
            self._intent(array, now)
        elif array.state is ArrayState.HELD:
            self._held(array, now)
        elif (
            array.state is ArrayState.RELEASING
            and not array.cancel
            and self._is_past(array.released_at, self.terms.repeat, now)
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
            if not self._is_past(since, self.terms.settle, now):
                return
            self._doubt.pop(array.pk, None)
        if array.cancel:
            self.store.arrays.end_all(array.pk, ArrayState.DONE, CANCELLED_EARLY, now)
            self._say("array cancelled before its hand-over", array)
            return
        self._submit(array, now)

    def _look_up(self, array: ArraySpec) -> int | None:
        """The id of what bears the array's name: the lowest one, but one that is not held before
        all others. Raises SlurmUnreachable where it could not be told."""
        rows = self.slurm.find(array.tag) or self._find_ended(array.tag)
        ids = {row.array_job_id for row in rows}
        free = {each for each in ids if not _is_held(_of(rows, each))}
        return min(free or ids, default=None)

    def _find_ended(self, tag: str) -> list[JobReport]:
        if self.health.is_down("slurmdbd"):  # the poller finds out when it is back
            raise AccountingUnreachable(self.health.source("slurmdbd").error)
        return self.slurm.find_ended(tag)

    def _submit(self, array: ArraySpec, now: float) -> None:
        request = self.terms.request(array, self.store)
        if request is None:
            self._refuse(array, NOT_OFFERED, now)
            return
        if self._is_cut(array, int(self.store.recall("max_array_size") or 0) - 1):
            return
        try:
            self.terms.make_directories(array)
        except OSError as error:
            why = f"WAITING: its directory cannot be made ({error.filename}: {error.strerror})"
            self._wait(array, why, now)
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
            self._accepted(array, submission.slurm_job_id, now)

    def _busy(self, array: ArraySpec, busy: SlurmBusy, now: float) -> None:
        self._answered.pop(array.pk, None)
        # There may never be room for all of it at once. What has fitted of this user's before is
        # tried first, and then ever less.
        keep = self._fits.get(array.user_id, array.n_tasks)
        if keep >= array.n_tasks and array.tries >= TRIES_BEFORE_CUT:
            least = 1 if array.tries >= TRIES_BEFORE_SINGLES else SMALLEST_CUT
            keep = max(least, array.n_tasks // 2)
        seconds = CUT_IS_TRIED_AFTER if self._is_cut(array, keep) else None
        self._wait(array, f"LIMIT: waits for room in Slurm ({busy.detail})", now, seconds)

    def _is_cut(self, array: ArraySpec, keep: int) -> bool:
        """Whether it had to be cut so that so many of its jobs are left; the next tick goes on."""
        if not 0 < keep < array.n_tasks or not self.store.arrays.cut(array.pk, keep, _like(array)):
            return False
        self._say("array cut, the rest of it follows", array, keeps=keep)
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
        self._wait(array, why, now, seconds=0.0)

    def _accepted(self, array: ArraySpec, slurm_job_id: int, now: float) -> None:
        self._answered.pop(array.pk, None)
        if array.tries >= TRIES_BEFORE_CUT:
            self._fits[array.user_id] = array.n_tasks
        self.store.arrays.accepted(array.pk, slurm_job_id, now)
        self.doorbell.tell(array.batch_id)
        self._say("array handed to Slurm, held", array, slurm_job=slurm_job_id)
        fresh = self.store.arrays.get(array.pk)
        if fresh is not None and fresh.state is ArrayState.HELD:
            self._held(fresh, now)

    def _refused(self, array: ArraySpec, words: str, now: float) -> None:
        self._refuse(array, f"REFUSED: Slurm refused it: {words}", now, words)

    def _refuse(self, array: ArraySpec, reason: str, now: float, words: str = "") -> None:
        self._answered.pop(array.pk, None)
        self.store.arrays.end_all(array.pk, ArrayState.REFUSED, reason, now)
        self._say("array refused", array, reason=reason)
        if self.doorbell.tell(array.batch_id, words or reason.partition(": ")[2]):
            # The request takes the batch back, so nothing more of it is to be handed over.
            self._left_alone.add(array.batch_id)

    def _wait(self, array: ArraySpec, why: str, now: float, seconds: float | None = None) -> None:
        if seconds is None:
            seconds = min(2.0 * 2 ** min(array.tries, 10), self.terms.longest_backoff)
        self.store.arrays.waits(array.pk, why, now + seconds)
        self._say("array waits", array, why=why, seconds=seconds)
        self.doorbell.tell(array.batch_id)

    # --- releasing ------------------------------------------------------------------------------

    def _held(self, array: ArraySpec, now: float) -> None:
        rows = self.slurm.find(array.tag)
        for slurm_job_id in sorted({row.array_job_id for row in rows} - {array.slurm_job_id}):
            if _is_held(_of(rows, slurm_job_id)):
                self.end_stray(slurm_job_id, array.tag)
            elif any(map(_lives, _of(rows, slurm_job_id))):
                # Only a database of yesterday does not know of its release. It goes on as ours,
                # and what we have submitted since is the duplicate.
                _log.warning("another submission of an array runs already, and is taken for it",
                             batch_id=array.batch_id, slurm_job=slurm_job_id, tag=array.tag,
                             instead_of=array.slurm_job_id)  # fmt: skip
                self.store.arrays.adopt(array.pk, slurm_job_id)
                return
        ours = _of(rows, array.slurm_job_id)
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
        self._say("array released", array, slurm_job=fresh.slurm_job_id)

    def _release_again(self, array: ArraySpec, now: float) -> None:
        """The poller has not seen it free for a while. Looked at first: Slurm may have lost it,
        and given its id to another."""
        if not self._is_past(self._released.get(array.pk), self.terms.repeat, now):
            return
        self._released[array.pk] = now
        rows = _of(self.slurm.find(array.tag), array.slurm_job_id)
        if array.slurm_job_id is not None and any(row.reason == "JobHeldUser" for row in rows):
            self.slurm.release(array.slurm_job_id)
            self.look()
            self._say("array released again", array, slurm_job=array.slurm_job_id)

    def _missing(self, array: ArraySpec, now: float) -> None:
        """Held by us, and slurmctld does not show it: if it has lost it, it is submitted anew."""
        since = self._absent.setdefault(array.pk, self.elapsed())
        if self.elapsed() - since < self.terms.absence_grace:
            return
        told = _of(self._find_ended(array.tag), array.slurm_job_id)
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
            self.store.arrays.submit_again(array.pk, _like(array), now)
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
            self.look()
            self._say("array cancelled", array, slurm_job=slurm_job_id)
        self._cancel_sent[array.pk] = now

    @staticmethod
    def _is_past(since: float | None, seconds: float, now: float) -> bool:
        """Whether so much time has gone by; also if the clock was set back behind `since`."""
        return since is None or not 0 <= now - since < seconds

    def _say(self, sentence: str, array: ArraySpec, **fields: object) -> None:
        _log.info(sentence, batch_id=array.batch_id, array=array.ordinal, user=array.user_id,
                  tag=array.tag, n_jobs=array.n_tasks, request_id=array.request_id,
                  **fields)  # fmt: skip


def _like(array: ArraySpec) -> str:
    """A new name, of the same database."""
    return array.tag.rsplit("-", 1)[0] + f"-{secrets.token_hex(12)}"


def _is_ahead(at: float, now: float, most: float) -> bool:
    """Whether the time is still to come; not if it is further off than it was ever set, because
    then the clock was set back."""
    return 0 < at - now <= most


def _of(rows: Sequence[JobReport], slurm_job_id: int | None) -> list[JobReport]:
    return [row for row in rows if row.array_job_id == slurm_job_id]


def _lives(row: JobReport) -> bool:
    return row.state not in ENDS


def _is_held(rows: Sequence[JobReport]) -> bool:
    """Whether all of it is as we submit it: held, so that nothing of it has run."""
    return all(row.state == "PENDING" and row.reason == "JobHeldUser" for row in rows)
