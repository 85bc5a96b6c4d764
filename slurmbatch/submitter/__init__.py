"""Hands over what waits, releases what is handed over, ends what is cancelled.

The protocol, whose every step can be repeated after a crash between any two (see docs):
an *intent* is written down before sbatch is run; sbatch submits it *held*, under a name that nobody
can guess, so that a submission of unknown fate can be looked up by that name and a duplicate never
runs; the intent and its id are on the disk before it is *released*.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field

from slurmbatch.doorbell import Doorbell
from slurmbatch.errors import AccountingUnreachable, SlurmbatchError, SlurmUnreachable
from slurmbatch.health import Health
from slurmbatch.journal import get
from slurmbatch.logs import remove_batch
from slurmbatch.model import ArraySpec, ArrayState
from slurmbatch.slurm.port import SlurmPort
from slurmbatch.store import Store
from slurmbatch.submitter.common import is_ahead, is_past, lives, say
from slurmbatch.submitter.gates import Gates
from slurmbatch.submitter.handover import HandOver
from slurmbatch.submitter.terms import Terms
from slurmbatch.submitter.throttles import Throttles
from slurmbatch.submitter.turns import Turns

__all__ = ["Submitter", "Terms"]

_log = get("submitter")
UNSURE = (
    "WAITING: whether an earlier try has arrived cannot be told until Slurm's accounting answers"
)
OUR_FAULT = "WAITING: an internal error keeps it back; the log of slurmbatch says more"
OPEN = (ArrayState.INTENT, ArrayState.HELD, ArrayState.RELEASING, ArrayState.QUEUED)
TOMBSTONES_KEPT = 30 * 86400.0


@dataclass
class Submitter:
    """One thread's work. What it keeps in memory only saves time; all else is in the store.

    For the fields see `HandOver`.
    """

    store: Store
    slurm: SlurmPort
    terms: InitVar[Terms]
    doorbell: Doorbell
    health: Health
    newest_at_start: int = 0
    clock: Callable[[], float] = time.time
    elapsed: Callable[[], float] = time.monotonic
    look: Callable[[], None] = lambda: None
    _cancel_sent: dict[int, float] = field(default_factory=dict)
    _faulty: set[int] = field(default_factory=set)
    _swept_at: float = 0.0

    def __post_init__(self, terms: Terms) -> None:
        self.handover = HandOver(
            self.store, self.slurm, terms, self.doorbell, self.health, self.end_stray,
            self.newest_at_start, self.clock, self.elapsed, self.look,
        )  # fmt: skip
        self._gates = Gates(self.store, self.doorbell, self.elapsed)
        self._turns = Turns(self.store, self.doorbell, self._guarded, self._is_due)
        self._throttles = Throttles(self.store, self.slurm, terms.repeat, self.look)
        self._adopted = terms

    def adopt(self, terms: Terms) -> None:
        """From the next round on, with other tools, say. From any thread."""
        self._adopted = terms

    def tick(self, now: float) -> None:
        if self.handover.terms is not self._adopted:
            self.handover.terms = self._adopted
            self.doorbell.precedents.forget()
        self._gates.look(now)
        # The poller finds out when Slurm is back, and rings.
        if not self.health.is_down("slurmctld"):
            try:
                self._hand_over(now)
                self._throttles.tick(now)
                self._end_cancelled(now)
            except SlurmUnreachable as error:
                self.handover.forget_absence()
                if self.health.failed("slurmctld", now, error.detail):
                    _log.warning("Slurm does not answer, what waits is kept", error=error.detail)
        for batch_id in self.store.graves.purge(now):
            remove_batch(self.handover.terms.log_dir, batch_id)
            _log.info("records of a deleted batch removed", batch_id=batch_id)
        self.store.upkeep.give_back()
        if is_past(self._swept_at, 3600, now):
            self._swept_at = now
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        self.store.graves.forget_tombstones(now - TOMBSTONES_KEPT)
        self._expire(now)
        if self.handover.terms.claims is not None:
            live = {each.tag for each in self.store.arrays.in_state(*OPEN)}
            self.handover.terms.claims.sweep(now, live.__contains__)

    def _expire(self, now: float) -> None:
        days = self.handover.terms.keep_days
        count = 0 if days is None else self.store.upkeep.expire(now - days * 86400.0)
        if count:
            _log.info("batches that ended long ago are removed", n_batches=count, keep_days=days)

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
        self.handover.left_alone.clear()
        for array in self.store.arrays.in_state(ArrayState.HELD, ArrayState.RELEASING):
            if array.cancel or not self._is_put_off(array, now):
                self._guarded(array.pk, now)
        self._turns.tick(now)

    def _is_put_off(self, array: ArraySpec, now: float) -> bool:
        return is_ahead(array.next_try_at, now, self.handover.terms.longest_backoff)

    def _is_due(self, array: ArraySpec, now: float) -> bool:
        if not self._is_put_off(array, now):
            return True
        # Before it has settled, it would only be looked up.
        settled = is_past(array.tried_at, self.handover.terms.settle, now)
        return settled and self.handover.room.has_come(array)

    def _guarded(self, pk: int, now: float) -> None:
        """A step of one array, whose trouble is no other array's."""
        # Read again: it may have been cancelled, or taken back, since the list was made.
        array = self.store.arrays.get(pk)
        if array is None or array.batch_id in self.handover.left_alone:
            return
        try:
            self.handover.step(array, now)
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
            self.handover.wait(array, OUR_FAULT, now, seconds=self.handover.terms.longest_backoff)

    # --- ending ---------------------------------------------------------------------------------

    def _end_cancelled(self, now: float) -> None:
        handed_over = (ArrayState.HELD, ArrayState.RELEASING, ArrayState.QUEUED)
        cancelled = [each for each in self.store.arrays.in_state(*handed_over) if each.cancel]
        for array in cancelled:
            if is_past(self._cancel_sent.get(array.pk), self.handover.terms.repeat, now):
                self._cancel(array, now)
        alive = {array.pk for array in cancelled}
        self._cancel_sent = {pk: at for pk, at in self._cancel_sent.items() if pk in alive}

    def _cancel(self, array: ArraySpec, now: float) -> None:
        # By the tag, so that an id that Slurm has given to somebody else since is left alone.
        rows = self.slurm.find(array.tag, array.uid)
        for slurm_job_id in {row.array_job_id for row in rows if lives(row)}:
            self.slurm.cancel(slurm_job_id)
            self.look()
            say("array cancelled", array, slurm_job=slurm_job_id)
        self._cancel_sent[array.pk] = now
