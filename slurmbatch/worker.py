"""A thread that does one thing again and again: `tick(now)` does it, the loop only waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from slurmbatch.errors import SlurmbatchError
from slurmbatch.health import Health
from slurmbatch.journal import get

_log = get("worker")


class Worker:
    """Runs `tick` until stopped. A tick that fails is logged once and tried again; none is fatal.

    A tick may return how many seconds to wait for the next one, else it is `interval`. `wait`
    sleeps for the given seconds or less; it must return soon after `wake`. `pause`: how many of the
    seconds nothing but the end shortens. `seen` is told of each round: how long it took, and
    whether it failed.
    """

    def __init__(
        self,
        name: str,
        tick: Callable[[float], object],
        interval: float,
        health: Health,
        wait: Callable[[float], None] | None = None,
        wake: Callable[[], None] | None = None,
        pause: Callable[[], float] | None = None,
        seen: Callable[[str, float, bool], None] | None = None,
    ) -> None:
        self.name = name
        self._tick = tick
        self._interval = interval
        self._health = health
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._wake = wake or (lambda: None)
        self._seen = seen or (lambda *_: None)
        self._pause = pause or (lambda: 0.0)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._health.beat(self.name, begins=True)
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def stop(self, timeout: float) -> bool:
        """Asks it to end after its present tick; False if it has not within the time."""
        self._stop.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(timeout)
        return not self.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._rest(self.run_once(time.time()))

    def _rest(self, seconds: float) -> None:
        pause = min(seconds, self._pause())
        if not self._stop.wait(pause) and pause < seconds:
            self._wait(seconds - pause)

    def run_once(self, now: float) -> float:
        """One tick; gives how many seconds to wait after it."""
        self._health.beat(self.name)
        began = time.monotonic()
        wanted = self._round(now)
        self._seen(self.name, time.monotonic() - began, self._health.is_down(self.name))
        return self._interval if wanted is None else wanted

    def _round(self, now: float) -> float | None:
        try:
            wanted = self._tick(now)
        except SlurmbatchError as error:
            if self._health.failed(self.name, now, error.detail):
                _log.error("work has stopped, will be tried again", worker=self.name,
                           error=error.detail)  # fmt: skip
        except Exception as error:
            if self._health.failed(self.name, now, repr(error)):
                _log.exception("a bug has stopped the work, it will be tried again",
                               worker=self.name)  # fmt: skip
        else:
            down = self._health.ok(self.name, now)
            if down is not None:
                _log.info("work goes on", worker=self.name, stopped_seconds=round(down, 1))
            if isinstance(wanted, int | float):
                return wanted
        return None
