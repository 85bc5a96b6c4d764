"""Opens the gates of batches that may be handed over now, and ends what never may.

All is decided from what is in the store, and each step can be repeated, so a crash between any two
costs nothing: a gate stays due until all is done. Slurm is not asked.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from slurmbatch.doorbell import Doorbell
from slurmbatch.errors import SlurmbatchError
from slurmbatch.journal import get
from slurmbatch.model import ArrayState, DependencyType, Gate, JobChange, Status
from slurmbatch.store import Blocked, Decided, Due, Parent, Store, new_tag
from slurmbatch.store.rows import THROTTLE_WAITS
from slurmbatch.submitter.handover import CANCELLED_EARLY
from slurmbatch.submitter.verdicts import Verdict, of_canaries, of_counterpart, of_parent, together

_log = get("submitter")
OPENED = "ACCEPTED: what it waited for is there, it waits to be handed to Slurm"
# Arrays, and jobs, of one batch in one tick; so a batch of a million jobs holds nobody up for long.
PORTION = 50
PORTION_OF_JOBS = 20_000
# Seconds in one tick for all batches: a thousand of them may wait for the same one.
BUDGET = 0.5
# Jobs that are let go one by one go in arrays of at least such a part of the batch, or after such
# a time, in seconds: an array for each would be a burden for Slurm.
SHARE = 16
GATHER = 10.0
# A look at the jobs of a large batch takes its time: so many times as long it rests.
REST = 10


@dataclass
class Gates:
    """What it keeps in memory only saves time; all else is in the store."""

    store: Store
    doorbell: Doorbell
    elapsed: Callable[[], float] = time.monotonic
    _goes_on_after: int = 0
    _faulty: set[int] = field(default_factory=set)
    _ready_since: dict[int, float] = field(default_factory=dict)
    _rests_until: dict[int, float] = field(default_factory=dict)

    def look(self, now: float) -> None:
        """At those that are due, in the order in which their batches came: what ends at one of them
        counts at the next. What takes too long goes on in the next tick, after the hand-over."""
        began, last = self.elapsed(), self._goes_on_after
        while (due := self.store.gates.due(after=last)) is not None:
            last = due.pk
            self._guarded(due, now)
            if self.elapsed() - began > BUDGET:
                self.doorbell.ring()
                break
        self._goes_on_after = 0 if due is None else last

    def _guarded(self, due: Due, now: float) -> None:
        try:
            self._look(due, now)
        except SlurmbatchError:
            raise
        except Exception:
            if due.pk not in self._faulty:
                self._faulty.add(due.pk)
                _log.exception("a bug keeps a batch back, the others go on", batch_id=due.batch_id)

    def _look(self, due: Due, now: float) -> None:
        if due.max_parallel is not None:
            self.store.throttles.widen(due.pk)
        unmet = self._unmet(due)
        done = [self._group(due, each, unmet, now) for each in self.store.gates.blocked(due.pk)]
        if all(done):
            for memory in (self._ready_since, self._rests_until):
                memory.pop(due.pk, None)
            self.store.gates.settle(due)

    def _unmet(self, due: Due) -> list[Parent]:
        """The dependencies that are not fulfilled. Those that are now are kept as such."""
        unmet = []
        for parent in self.store.gates.parents(due.pk):
            if parent.is_met:
                continue
            if of_parent(parent) == Verdict():
                self.store.gates.met(due.pk, parent.ordinal)
            else:
                unmet.append(parent)
        return unmet

    def _group(self, due: Due, blocked: Blocked, unmet: Sequence[Parent], now: float) -> bool:
        """Whether all is done for the arrays that wait for the same."""
        if blocked.cancel:
            return self._end(due, blocked, CANCELLED_EARLY, now)
        parents = unmet if Gate.PARENTS in blocked.gates else ()
        whole = [of_parent(each) for each in parents]
        if Gate.CANARY in blocked.gates:
            whole.append(of_canaries(self.store.gates.canaries(due.pk)))
        verdict = together(whole)
        if verdict.fails:
            return self._end(due, blocked, verdict.fails, now)
        if not verdict.waits:
            return self._open(due, blocked)
        self.store.gates.keep(due.pk, blocked, verdict.waits)
        self.doorbell.tell(due.batch_id)
        singly = [each for each in parents if each.type is DependencyType.AFTERCORR]
        n_waits = sum(bool(each.waits) for each in whole)
        return not singly or self._one_by_one(due, blocked, now, n_waits == len(singly))

    # --- all of it ------------------------------------------------------------------------------

    def _end(self, due: Due, blocked: Blocked, reason: str, now: float) -> bool:
        arrays = self.store.gates.arrays(due.pk, blocked, PORTION)
        for array in arrays:
            self.store.arrays.end_all(array, ArrayState.DONE, reason, now)
        self.doorbell.tell(due.batch_id)
        self._say("arrays end without having run", due, n_arrays=len(arrays), reason=reason)
        return len(arrays) < PORTION

    def _open(self, due: Due, blocked: Blocked) -> bool:
        arrays = self.store.gates.arrays(due.pk, blocked, PORTION)
        n_opened = 0
        for array in arrays:
            tasks = sorted(self.store.arrays.unfinished(array)) if self._has_room(due) else []
            if not tasks or not self._let_go(array, tasks):
                # Whatever makes room is due again.
                self.store.gates.keep(due.pk, blocked, THROTTLE_WAITS)
                break
            n_opened += 1
        if n_opened:
            self._say("arrays may be handed over now", due, n_arrays=n_opened)
        return n_opened < PORTION

    def _has_room(self, due: Due) -> bool:
        return due.max_parallel is None or self.store.throttles.has_room(due.pk)

    def _let_go(self, array: int, tasks: Sequence[int]) -> bool:
        """These jobs of an array. Numbers of tasks have no gaps, so a part of it is a new one.
        False where its batch's throttle has no room."""
        return self.store.gates.open(array, tasks, new_tag(self.store.instance), OPENED)

    # --- job by job -----------------------------------------------------------------------------

    def _one_by_one(self, due: Due, blocked: Blocked, now: float, may_open: bool) -> bool:
        began = self.elapsed()
        if began < self._rests_until.get(due.pk, began):
            return False
        decided = self.store.gates.decided(due.pk, blocked, PORTION_OF_JOBS)
        self._end_some(due, [each for each in decided if each.fails], now)
        ready = [each for each in decided if not each.fails]
        waits = bool(ready) and may_open and not self._is_enough(due, len(ready), began)
        if ready and may_open and not waits:
            self._open_some(due, ready)
        self._rests_until[due.pk] = self.elapsed() + REST * (self.elapsed() - began)
        return not waits and len(decided) < PORTION_OF_JOBS

    def _is_enough(self, due: Due, n_ready: int, elapsed: float) -> bool:
        since = self._ready_since.setdefault(due.pk, elapsed)
        if n_ready * SHARE < due.n_jobs and elapsed - since < GATHER:
            return False
        del self._ready_since[due.pk]
        return True

    def _open_some(self, due: Due, ready: Sequence[Decided]) -> None:
        arrays = defaultdict(list)
        for each in ready:
            arrays[each.array].append(each.task)
        opened = [tasks for array, tasks in arrays.items() if self._let_go(array, tasks)]
        if opened:
            self._say("jobs that were blocked may be handed over", due,
                      n_jobs=sum(map(len, opened)), n_arrays=len(opened))  # fmt: skip

    def _end_some(self, due: Due, failing: Sequence[Decided], now: float) -> None:
        changes = defaultdict(list)
        for each in failing:
            reason = of_counterpart(each)
            change = JobChange(each.task, Status.FAILED, reason, stop_time=now)
            changes[each.array].append(change)
        self.store.arrays.apply(changes, now)
        if failing:
            self._say("jobs that were blocked have ended", due, n_jobs=len(failing))

    def _say(self, sentence: str, due: Due, **fields: object) -> None:
        _log.info(sentence, batch_id=due.batch_id, user=due.user_id, request_id=due.request_id,
                  **fields)  # fmt: skip
