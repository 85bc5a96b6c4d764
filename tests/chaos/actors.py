"""What goes on beside all else in a run."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Actor:
    """Does things again and again, each in a thread of its own, until it is told to `_stop`."""

    def __init__(self, *deeds: Callable[[], None]) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=deed) for deed in deeds]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Returns once the last deed has ended."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
