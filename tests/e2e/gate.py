"""A job that runs for as long as its test wants, however slow the machine is."""

from __future__ import annotations

import os
import time
from pathlib import Path

PATIENCE = 120.0


class Gate:
    """A job of the tool `probe` whose `trace` it is, runs until it is opened, and no shorter."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    def __str__(self) -> str:
        return str(self.path)

    def open(self) -> None:
        """Reads what the job waits to write."""
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        deadline = time.monotonic() + PATIENCE
        try:
            while not self._has_come(reader):
                assert time.monotonic() < deadline, "no job has come to the gate"
                time.sleep(0.1)
        finally:
            os.close(reader)

    @staticmethod
    def _has_come(reader: int) -> bool:
        try:
            return bool(os.read(reader, 100))
        except BlockingIOError:  # it is there, and has not written yet
            return False
