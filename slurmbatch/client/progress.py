"""One line that tells how a batch fares, while a program waits for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from slurmbatch.client.pace import Pace, duration
from slurmbatch.client.resources import BatchFields

BAR = 24
SELDOM = 10.0


class Progress:
    """A bar that is drawn over itself on a terminal and in a notebook; elsewhere, such as in the
    log of a job, a line each ten seconds at most.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self._is_live = self._stream.isatty() or in_notebook(self._stream)
        self._clock = clock
        self._pace = Pace()
        self._width = 0
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_live and self._width:
            self._stream.write("\n")

    def show(self, batch: BatchFields) -> None:
        now = self._clock()
        self._pace.add(now, batch.n_ended)
        text = line(batch, self._pace)
        if self._is_live:
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        elif now >= self._next or batch.done():
            self._stream.write(text + "\n")
            self._next = now + SELDOM
        self._stream.flush()


def line(batch: BatchFields, pace: Pace) -> str:
    ended, counts = batch.n_ended, batch.counts
    done = BAR * ended // max(batch.n_jobs, 1)
    parts = [f"{ended}/{batch.n_jobs} ended"]
    parts += [f"{counts[each]} {each.lower()}" for each in ("RUNNING", "FAILED") if counts[each]]
    left = pace.left(batch.n_jobs)
    if left:
        parts += [f"{pace.rate:.1f}/s", f"{duration(left)} left"]
    return f"[{'#' * done}{'.' * (BAR - done)}] {', '.join(parts)}"


def in_notebook(stream: TextIO) -> bool:
    """Jupyter's own stream is no terminal, but goes back on \\r all the same."""
    return type(stream).__module__.partition(".")[0] == "ipykernel"
