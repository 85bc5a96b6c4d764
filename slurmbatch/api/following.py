"""A log that is sent while it grows, until its job has ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from slurmbatch.api.gzipping import Growing
from slurmbatch.errors import SlurmbatchError, Unavailable
from slurmbatch.logs import JobLog, open_log
from slurmbatch.web import Cut, Pause, Wait, may_go_on
from slurmbatch.web.waiting import FILES

CHUNK = 64 * 1024
# A connection that has been silent for a minute is closed by many a proxy.
BEAT_EVERY = 15.0


@dataclass(frozen=True, slots=True)
class Follower:
    """Who follows: on which request, and where the log is found and whether its job has ended."""

    environ: dict[str, Any]
    who: str
    look: Callable[[], tuple[JobLog, bool]]


class Followed:
    """The bytes [at, end) of a log, as they come. With nothing new to send it pauses.

    As gzip it sends a block with nothing in it now and then, which plain text has no room for. What
    is read is opened anew each time: so NFS tells what another machine has written, and nothing
    stays open meanwhile. A job that runs anew, and so prints to another file, or to an emptied one,
    is followed there from its first byte.
    """

    def __init__(self, follower: Follower, at: int, end: int, *, packed: bool) -> None:
        self._follower = follower
        self._log, _ = follower.look()
        self._at = at
        self._end = end
        self._gzip = Growing() if packed else None
        self._spoke_at = time.monotonic()
        self._is_done = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._is_done:
            raise StopIteration
        # Whether it has ended, first: what it has printed last is then in what is read next.
        log, has_ended = self._look()
        data = self._read(log)
        if data:
            return self._say(self._gzip.part(data) if self._gzip else data)
        if has_ended or self._at >= self._end:
            return self._finish()
        return self._beat_or_pause()

    def _look(self) -> tuple[JobLog, bool]:
        try:
            return self._follower.look()
        except SlurmbatchError as error:  # it is deleted, say; what was sent is no whole log
            raise Cut from error

    def _read(self, log: JobLog) -> bytes:
        if log != self._log:
            self._log, self._at = log, 0
        try:
            opened = open_log(log)
        except Unavailable:
            return b""
        except SlurmbatchError as error:
            raise Cut from error
        if opened is None:
            return b""
        with opened:
            if opened.size < self._at:
                self._at = 0
            data = opened.read_at(self._at, min(CHUNK, self._end - self._at))
        self._at += len(data)
        return data

    def _finish(self) -> bytes:
        self._is_done = True
        if self._gzip is None:
            raise StopIteration
        return self._gzip.end()

    def _say(self, data: bytes) -> bytes:
        self._spoke_at = time.monotonic()
        return data

    def _beat_or_pause(self) -> bytes:
        beats_at = self._spoke_at + BEAT_EVERY if self._gzip else math.inf
        if self._gzip and time.monotonic() >= beats_at:
            return self._say(self._gzip.part(b"") + Growing.BEAT)
        if not may_go_on(self._follower.environ):
            raise Cut
        raise Pause(Wait(self._follower.who, self._has_more, beats_at, FILES))

    def _has_more(self) -> bool:
        log, has_ended = self._follower.look()
        return has_ended or log != self._log or self._size(log) != self._at

    def _size(self, log: JobLog) -> int:
        try:
            opened = open_log(log)
        except Unavailable:
            return self._at
        if opened is None:
            return 0 if self._at else self._at
        with opened:
            return opened.size

    def close(self) -> None:
        self._is_done = True
