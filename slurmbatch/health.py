"""What the working threads last saw, published for /readyz and the logs."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace

from slurmbatch.model import Outage

# Of those that are over. They are kept in memory, and so since the start only.
OUTAGES_KEPT = 50
# More than there are in a minute: one a second, and some that are asked for at once.
_LOOKS_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Source:
    """One thing that we depend on. Times are epoch seconds; `down_since` None: it answers.

    `back_at` is when it last came back from an outage, 0 if there was none.
    """

    ok_at: float | None = None
    back_at: float = 0.0
    down_since: float | None = None
    error: str = ""


_UNKNOWN = Source()


def late_after(interval: float) -> float:
    """After how many seconds a loop of this interval that has not come round is late: the longest
    of its ticks may wait for Slurm to time out."""
    return 30.0 + 3 * interval


class Health:
    """Thread-safe. Sources: `slurmctld`, `slurmdbd`, `poller`, `submitter`, `database`.

    `looks`: how often slurmctld was asked what lives; only the poller counts.
    """

    looks: int = 0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sources: dict[str, Source] = {}
        self._beats: dict[str, float] = {}
        self._over: deque[Outage] = deque(maxlen=OUTAGES_KEPT)
        self._looked: deque[tuple[float, float]] = deque(maxlen=_LOOKS_KEPT)
        self.began = time.time()

    def ok(self, name: str, now: float) -> float | None:
        """Notes that the source answers; gives how long it was down if it just came back."""
        with self._lock:
            old = self._sources.get(name, Source())
            if old.down_since is None:
                self._sources[name] = replace(old, ok_at=now)
                return None
            self._sources[name] = Source(ok_at=now, back_at=now)
            self._over.append(Outage(name, old.down_since, now, old.error))
            return now - old.down_since

    def failed(self, name: str, now: float, error: str) -> bool:
        """Notes a failure; True if it is the first of an outage."""
        with self._lock:
            old = self._sources.get(name, Source())
            first = old.down_since is None
            self._sources[name] = replace(old, down_since=now if first else old.down_since,
                                          error=error)  # fmt: skip
            return first

    def source(self, name: str) -> Source:
        # Without the lock, which is for writers: a dict's get is one step, a Source is frozen.
        return self._sources.get(name, _UNKNOWN)

    def is_down(self, name: str) -> bool:
        return self.source(name).down_since is not None

    def outages(self) -> list[Outage]:
        """Those that go on, and the last ones that are over; the newest first."""
        with self._lock:
            now = [
                Outage(name, each.down_since, None, each.error)
                for name, each in self._sources.items()
                if each.down_since is not None
            ]
            found = [*now, *self._over]
        return sorted(found, key=lambda each: each.began, reverse=True)

    # --- what is asked of Slurm -----------------------------------------------------------------

    def looked(self, seconds: float) -> None:
        """Notes that a look is over, and how long it took, whether it was answered or not."""
        with self._lock:
            self._looked.append((time.monotonic(), seconds))

    def last_looks(self, within: float = 60.0) -> list[float]:
        """How many seconds each took that was over within the last so many."""
        since = time.monotonic() - within
        with self._lock:
            return [seconds for at, seconds in self._looked if at >= since]

    # --- signs of life, also while everything fails ---------------------------------------------

    def beat(self, name: str, *, begins: bool = False) -> None:
        """Notes that this thread gets on; one that has never begun is nobody's business."""
        if begins or name in self._beats:
            self._beats[name] = time.monotonic()

    def silence(self, name: str) -> float:
        """For how many seconds nothing was heard of this thread."""
        return time.monotonic() - self._beats.get(name, 0.0)
