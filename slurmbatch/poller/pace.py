"""How long to wait until the next look at Slurm: pure.

Often while something of ours is about to change, seldom while nothing does, and never so that Slurm
is busy with us. A slurmctld that limits the rate of requests needs no word of its own here: its
clients then wait and try again by themselves, so the question takes long, or it fails.
"""

from __future__ import annotations

from dataclasses import dataclass

GROWTH, ON_FAILURE = 1.5, 2.0
# A look that took a second is followed by ten without one.
REST = 10.0
# For how many looks after a change another one is expected.
LIVELY = 3


@dataclass
class Pace:
    """Seconds until the next look, from `least` to `most`.

    `floor`: how many of them nobody's impatience shortens.
    """

    least: float = 1.0
    most: float = 15.0

    def __post_init__(self) -> None:
        self._seconds = self.floor = self.least
        self._calm = 0

    def after(self, *, soon: bool, took: float, failed: bool) -> float:
        """After a look that took so long. `soon`: something is about to change, or just has."""
        self._calm = 0 if soon or failed else self._calm + 1
        rest = self._within(REST * took)
        if failed:
            self._seconds = self.floor = self._within(max(rest, self._seconds * ON_FAILURE))
        else:
            wanted = self.least if self._calm < LIVELY else self._seconds * GROWTH
            self._seconds, self.floor = self._within(max(rest, wanted)), rest
        return self._seconds

    def _within(self, seconds: float) -> float:
        return min(self.most, max(self.least, seconds))
