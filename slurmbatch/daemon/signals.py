"""Signals as something to wait for."""

from __future__ import annotations

import os
import select
import signal


class Signals:
    """SIGTERM and SIGINT as something to wait for, with nothing done inside of a handler."""

    def __enter__(self) -> Signals:
        self._read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._write = write
        self._wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        wanted = (signal.SIGTERM, signal.SIGINT)
        self._old = {number: signal.signal(number, lambda *_: None) for number in wanted}
        return self

    def wait(self, seconds: float) -> bool:
        """True if one has come."""
        ready, _, _ = select.select([self._read], [], [], seconds)
        if not ready:
            return False
        numbers = os.read(self._read, 64)
        return any(number in self._old for number in numbers)

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)
