"""A job that runs for as long as its test wants, however slow the machine is."""

from __future__ import annotations

import os
from pathlib import Path

from tests.e2e.alone import wait_until

PATIENCE = 120.0


class Gate:
    """A job of the tool `probe` whose `trace` it is, runs until it is opened, and no shorter."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def args(self) -> dict[str, str]:
        """Of a job that comes to it."""
        return {"print": "x", "trace": str(self)}

    def open(self) -> None:
        """Reads what the job waits to write."""
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            wait_until(lambda: self._has_come(reader), PATIENCE)
        finally:
            os.close(reader)

    @staticmethod
    def _has_come(reader: int) -> bool:
        try:
            return bool(os.read(reader, 100))
        except BlockingIOError:  # it is there, and has not written yet
            return False
