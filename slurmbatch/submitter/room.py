"""How much of what a limit of Slurm's has kept out is tried next, and when. Pure, but for a count.

There may never be room for all of it at once, so it is cut: to what has fitted before, or in
halves. Never smaller than a quarter of what is there already, or a million jobs would go in one by
one: for so much there is room as soon as a part of that has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from slurmbatch.model import ArraySpec

# An array that a limit has kept out so often is cut in halves, and at last into single jobs.
TRIES_BEFORE_CUT = 2
TRIES_BEFORE_SINGLES = 5
SMALLEST_CUT = 16
PARTS = 4


@dataclass
class Room:
    """In memory only: it saves tries. `in_slurm`: how many jobs Slurm has that have not ended."""

    in_slurm: Callable[[], int]
    _fits: dict[str, int] = field(default_factory=dict)
    _refused: dict[int, int] = field(default_factory=dict)

    def piece(self, array: ArraySpec) -> int:
        """How many jobs of an array that was just refused are to be tried next."""
        there = self._refused[array.pk] = self.in_slurm()
        keep = self._fits.get(array.user_id, array.n_tasks)
        if keep >= array.n_tasks and array.tries >= TRIES_BEFORE_CUT:
            least = 1 if array.tries >= TRIES_BEFORE_SINGLES else SMALLEST_CUT
            keep = max(least, array.n_tasks // 2)
        return min(array.n_tasks, max(keep, there // PARTS))

    def accepted(self, array: ArraySpec) -> None:
        """The next time twice as much is tried."""
        self._refused.pop(array.pk, None)
        known = self._fits.get(array.user_id)
        if array.tries >= TRIES_BEFORE_CUT or (known is not None and array.n_tasks >= known):
            self._fits[array.user_id] = 2 * array.n_tasks

    def has_come(self, array: ArraySpec) -> bool:
        """Whether so many jobs have ended since the array was refused that it fits, unless the room
        has gone to others."""
        there = self._refused.get(array.pk)
        return there is not None and self.in_slurm() + array.n_tasks <= there
