"""Whose turn it is: for each user in order, and of each no more than a few arrays in a tick.

So a batch of a thousand arrays keeps nobody else waiting, and one that has to wait costs one look
at its first array, not a thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from slurmbatch.doorbell import Doorbell
from slurmbatch.model import ArraySpec, ArrayState
from slurmbatch.store import Store
from slurmbatch.store.queue import Waiting

BEHIND = "WAITING: its turn comes after an earlier batch of the same user, which waits itself"
BEHIND_A_PART = "WAITING: its turn comes after an earlier part of its batch, which waits itself"
ARRAYS_A_TURN = 8
# Of those that are cancelled: they are no more than looked up, if that.
ENDED_A_TICK = 20


@dataclass
class _User:
    left: int = ARRAYS_A_TURN
    is_blocked: bool = False


@dataclass
class Turns:
    """`step` does what is next for an array; `is_due`: whether it is tried at all now."""

    store: Store
    doorbell: Doorbell
    step: Callable[[int, float], None]
    is_due: Callable[[ArraySpec, float], bool]
    # The batches that say already why they wait; only saves time.
    _told: set[int] = field(default_factory=set)

    def tick(self, now: float) -> None:
        self._end(now)
        users: dict[str, _User] = {}
        waiting: set[int] = set()
        for batch in self.store.queue.batches():
            user = users.setdefault(batch.user_id, _User())
            if user.is_blocked:
                self._let_wait(batch, BEHIND, waiting)
            elif user.left:
                self._some_of(batch, user, now, waiting)
        self._told &= waiting
        if any(user.left == 0 and not user.is_blocked for user in users.values()):
            self.doorbell.ring()

    def _end(self, now: float) -> None:
        cancelled = self.store.queue.cancelled(ENDED_A_TICK)
        for array in cancelled:
            self.step(array.pk, now)
        if len(cancelled) == ENDED_A_TICK and not self._is_intent(cancelled[-1]):
            self.doorbell.ring()

    def _some_of(self, batch: Waiting, user: _User, now: float, waiting: set[int]) -> None:
        for array in self.store.queue.first(batch.pk, user.left):
            if self.is_due(array, now):
                user.left -= 1
                self.step(array.pk, now)
                user.is_blocked = self._is_intent(array)
            else:
                user.is_blocked = True
            if user.is_blocked:
                self._let_wait(batch, BEHIND_A_PART, waiting)
                return

    def _let_wait(self, batch: Waiting, why: str, waiting: set[int]) -> None:
        waiting.add(batch.pk)
        if batch.pk not in self._told:
            self.store.queue.let_wait(batch.pk, why)
            self._told.add(batch.pk)
        self.doorbell.tell(batch.batch_id)

    def _is_intent(self, array: ArraySpec) -> bool:
        fresh = self.store.arrays.get(array.pk)
        return fresh is not None and fresh.state is ArrayState.INTENT
