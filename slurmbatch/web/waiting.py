"""Answers that wait for something to happen, with no thread of theirs: one thread looks for all.

An answer that has nothing to say yet raises a `Pause`. It is put aside with what it waits for, and
is gone on with when that has come, or its time is up. What the database tells and what lies in
files have a thread each to look for it, since a filesystem may hang.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from slurmbatch.journal import get
from slurmbatch.web.lanes import Waits

_log = get("web")
_KEY = "slurmbatch.waiting"
DATABASE, FILES = "database", "files"
# How often each kind is looked for at least: also what no commit tells of, such as an outage.
_EVERY = {DATABASE: 1.0, FILES: 0.5}
# Looking never takes more than a part of the time, and never comes in quicker succession.
_RESTS = 10
_LEAST_REST = 0.05


class Cut(Exception):
    """Ends an answer before its end, in a way that its reader can tell from the end."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Until something has come, or until a moment of the monotonic clock.

    `has_come` is asked in another thread; it may take its time only where `kind` is FILES. If it
    fails, it counts as come: going on with the answer tells why.
    """

    who: str
    has_come: Callable[[], bool]
    until: float
    kind: str = DATABASE


class Pause(BaseException):
    """Leaves an answer in the middle, or before its beginning: it will be asked for again. Not an
    Exception, which would be taken for a failure. Without a `Wait`: soon."""

    def __init__(self, wait: Wait | None = None) -> None:
        self.wait = wait


class Sleeper(Protocol):
    """Whose answer waits."""

    def wake(self) -> None: ...


class Waiting:
    """All answers that wait. Each caller may have so many of them."""

    def __init__(self, most_each: int, waits: Waits) -> None:
        self._most_each = most_each
        self._waits = waits
        self._lock = threading.Lock()
        self._by_caller: Counter[str] = Counter()
        self._kinds = {kind: _Kind(kind, every, self) for kind, every in _EVERY.items()}
        self.is_closed = False

    def start(self) -> None:
        for each in self._kinds.values():
            threading.Thread(target=each.run, name=f"waiting-{each.name}", daemon=True).start()

    def ring(self) -> None:
        """Something was written to the database."""
        for each in self._kinds.values():
            each.ring()

    def has_room(self, who: str) -> bool:
        """Whether one more answer of this caller's may wait."""
        with self._lock:
            return not self.is_closed and self._by_caller[who] < self._most_each

    def park(self, sleeper: Sleeper, wait: Wait) -> bool:
        """False if it must not wait any more."""
        with self._lock:
            if self.is_closed:
                return False
            self._by_caller[wait.who] += 1
            self._waits.aside += 1
        self._kinds[wait.kind].add(sleeper, wait)
        return True

    def leave(self, sleeper: Sleeper) -> None:
        """Called once for whatever was parked, when it is gone on with or its client has gone."""
        for each in self._kinds.values():
            each.remove(sleeper)

    def close(self) -> None:
        """Wakes all, and lets nobody wait any more."""
        with self._lock:
            self.is_closed = True
        for each in self._kinds.values():
            each.close()

    def forget(self, who: str) -> None:
        with self._lock:
            self._waits.aside -= 1
            self._by_caller[who] -= 1
            if self._by_caller[who] <= 0:
                del self._by_caller[who]


class _Kind:
    """What one thread looks for."""

    def __init__(self, name: str, every: float, all_of_them: Waiting) -> None:
        self.name = name
        self._every = every
        self._all = all_of_them
        self._lock = threading.Lock()
        self._parked: dict[Sleeper, Wait] = {}
        self._bell = threading.Event()
        self._closing = threading.Event()

    def add(self, sleeper: Sleeper, wait: Wait) -> None:
        with self._lock:
            self._parked[sleeper] = wait
        # It may have come in the meantime, and so may the end of the service.
        self._bell.set()
        if self._closing.is_set():
            sleeper.wake()

    def remove(self, sleeper: Sleeper) -> None:
        with self._lock:
            wait = self._parked.pop(sleeper, None)
        if wait is not None:
            self._all.forget(wait.who)

    def ring(self) -> None:
        if self._parked:
            self._bell.set()

    def close(self) -> None:
        self._closing.set()
        self._bell.set()
        for sleeper in self._snapshot():
            sleeper.wake()

    def run(self) -> None:
        while not self._closing.is_set():
            self._bell.wait(self._patience())
            self._bell.clear()
            begun = time.monotonic()
            try:
                self._look()
            except Exception:  # or nobody who waits would ever be told anything any more
                _log.exception("looking for what answers wait for has failed", kind=self.name)
            took = time.monotonic() - begun
            self._closing.wait(max(_LEAST_REST, _RESTS * took))

    def _look(self) -> None:
        for sleeper, wait in self._snapshot().items():
            if time.monotonic() >= wait.until or _has_come(wait):
                sleeper.wake()

    def _patience(self) -> float | None:
        ends = [wait.until for wait in self._snapshot().values()]
        if not ends:
            return None
        return max(0.0, min(self._every, min(ends) - time.monotonic()))

    def _snapshot(self) -> dict[Sleeper, Wait]:
        with self._lock:
            return dict(self._parked)


def _has_come(wait: Wait) -> bool:
    try:
        return wait.has_come()
    except Exception as error:
        _log.debug("what an answer waits for cannot be looked at", error=str(error))
        return True


def put(environ: dict[str, Any], waiting: Waiting) -> None:
    environ[_KEY] = waiting


def may_wait(environ: dict[str, Any], who: str) -> bool:
    """Whether the answer to this request may pause; no server but ours can do that."""
    waiting: Waiting | None = environ.get(_KEY)
    return waiting is not None and waiting.has_room(who)


def may_go_on(environ: dict[str, Any]) -> bool:
    """Whether an answer that has paused before may do so again, though others came meanwhile."""
    waiting: Waiting | None = environ.get(_KEY)
    return waiting is not None and not waiting.is_closed
