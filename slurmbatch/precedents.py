"""What Slurm has accepted a short while ago.

Of a new batch of the like its word is known, and an answer need not wait for it. This only saves
time: the batch is handed over all the same, and what is not here is waited for, as after a restart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from slurmbatch.model import Hardware, SlurmOptions

MOST_KEPT = 1024


class Like(NamedTuple):
    """What Slurm's word on an array depends on. `size`: a power of two that it is smaller than."""

    user_id: str
    uid: int | None
    tool_id: str
    hardware: Hardware
    slurm: SlurmOptions
    size: int


def like(
    user_id: str, uid: int | None, tool_id: str, hardware: Hardware, slurm: SlurmOptions,
    n_tasks: int,
) -> Like:  # fmt: skip
    return Like(user_id, uid, tool_id, hardware, slurm, n_tasks.bit_length())


class Precedents:
    """From any thread. `elapsed` gives seconds that no clock's setting moves."""

    def __init__(self, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._accepted_at: dict[Like, float] = {}

    def accepted(self, what: Like) -> None:
        """The one that was accepted longest ago makes room."""
        with self._lock:
            self._accepted_at.pop(what, None)
            self._accepted_at[what] = self._elapsed()
            if len(self._accepted_at) > MOST_KEPT:
                del self._accepted_at[next(iter(self._accepted_at))]

    def refused(self, what: Like) -> None:
        with self._lock:
            self._accepted_at.pop(what, None)

    def forget(self) -> None:
        """The same names may stand for something else now."""
        with self._lock:
            self._accepted_at.clear()

    def has(self, what: Like, seconds: float) -> bool:
        """Whether the like was accepted, and not refused since, in so many seconds."""
        with self._lock:
            at = self._accepted_at.get(what)
        return at is not None and self._elapsed() - at < seconds
