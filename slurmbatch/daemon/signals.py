"""Signals as something to wait for."""

from __future__ import annotations

import os
import select
import signal


class Signals:
    """SIGTERM, SIGINT and SIGHUP as something to wait for; nothing is done inside of a handler."""

    def __enter__(self) -> Signals:
        self._read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._write = write
        self._wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        self._old = {number: signal.signal(number, lambda *_: None) for number in wanted}
        return self

    def wait(self, seconds: float) -> frozenset[int]:
        """Those that have come, if any."""
        ready, _, _ = select.select([self._read], [], [], seconds)
        return frozenset(os.read(self._read, 64)) & self._old.keys() if ready else frozenset()

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)
