"""Lanes of threads, so that those who only look never wait behind those who take their time.

Short reads (one row of the database) have one thread: more would only contend for the interpreter's
lock, and be slower together. Lists of jobs and logs, which may be of any length, have lanes of
their own, where they take turns; a log may lie on a filesystem that hangs, so lists don't wait for
logs either. Whatever is left, such as a new batch that waits for Slurm's word, has the threads of
the settings.
"""

from __future__ import annotations

import re
import threading
import time
from typing import Any

from waitress.task import ThreadedTaskDispatcher

# Threads of each lane; REST has as many as the settings say.
SHORT, JOBS, LOGS, REST = "short", "jobs", "logs", "rest"
THREADS = {SHORT: 1, JOBS: 2, LOGS: 4}
_LANES = (
    # One indexed read: health, one batch, one job, what is offered. Not /readyz, which waits for
    # its turn to write.
    (SHORT, re.compile(
        r"/(?:healthz|openapi\.json|ui/[^/]*|tools(?:/[^/]+)?|filesystems"
        r"|batches/[^/]+(?:/jobs/[^/]+|/notifications)?)"
    )),
    (JOBS, re.compile(r"/batches/[^/]+/(?:jobs|statuses)")),
    (LOGS, re.compile(r"/batches/[^/]+/(?:jobs/[^/]+/log|reasons)|/logs/[^/]+")),
)  # fmt: skip


def lane_of(method: str, path: str) -> str:
    """The lane that answers this request."""
    if method in ("GET", "HEAD"):
        for name, pattern in _LANES:
            if pattern.fullmatch(path):
                return name
    return REST


class Waits:
    """How many requests have found no thread free, and how many at once at most in one lane.

    It stands where waitress has a logger, and is told of each of them in the logger's way.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.waited = 0
        self.depth = 0
        self.aside = 0  # answers that wait for something to happen, and have no need of a thread

    def warning(self, _text: str, depth: int) -> None:
        with self._lock:
            self.waited += 1
            self.depth = max(self.depth, depth)


class Lanes:
    """A dispatcher, as waitress needs one, of several that have threads of their own."""

    def __init__(self, threads: int, waits: Waits) -> None:
        counts = {**THREADS, REST: threads}
        self._lanes = {name: _Lane(count, waits) for name, count in counts.items()}

    def add_task(self, task: Any) -> None:
        self._lane(task).add_task(task)

    def probe(self, done: threading.Event) -> None:
        """Has the thread for short reads set this, when its turn comes."""
        self._lanes[SHORT].add_task(_Probe(done))  # type: ignore[arg-type]

    def resume(self, task: Any) -> None:
        """Puts a task that has had a turn at the end of its lane."""
        self._lane(task).resume(task)

    def others_wait(self, task: Any) -> bool:
        """Whether somebody else has need of the thread that this task has."""
        return bool(self._lane(task).queue)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        """All lanes; see waitress."""
        ends = time.monotonic() + timeout
        for lane in self._lanes.values():
            lane.set_thread_count(0)
        done = [
            bool(lane.shutdown(cancel_pending, max(0.1, ends - time.monotonic())))  # type: ignore[arg-type]
            for lane in self._lanes.values()
        ]
        return all(done)

    def _lane(self, task: Any) -> _Lane:
        request = task.requests[0]
        # A request that could not be parsed has neither.
        method, path = getattr(request, "command", ""), getattr(request, "path", "")
        return self._lanes[REST if _asks_munge(request) else lane_of(method, path)]


def _asks_munge(request: Any) -> bool:
    """munge is asked by a command, which takes its time."""
    headers = getattr(request, "headers", {})
    return bool(headers.get("AUTHORIZATION", "")[:6].lower() == "munge ")


class _Lane(ThreadedTaskDispatcher):
    def __init__(self, threads: int, waits: Waits) -> None:
        super().__init__()
        self.queue_logger: Any = waits
        self.set_thread_count(threads)

    def resume(self, task: Any) -> None:
        with self.lock:
            self.queue.append(task)
            self.queue_cv.notify()


class _Probe:
    """A task, as a lane needs one, that is no request."""

    def __init__(self, done: threading.Event) -> None:
        self._done = done

    def service(self) -> None:
        self._done.set()

    def cancel(self) -> None:
        """Its thread ends: there is no life in it any more to be told of."""
