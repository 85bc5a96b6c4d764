"""Wakes the submitter, and carries its word on a new batch back to the request that waits for it.

Waiting is bounded in time and in number: requests that wait hold a server thread each.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Word:
    """What the submitter says of a batch: `refusal` is Slurm's own words, or empty."""

    refusal: str = ""
    _said: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float) -> bool:
        return self._said.wait(seconds)

    def say(self, refusal: str) -> None:
        self.refusal = refusal
        self._said.set()


class Doorbell:
    def __init__(self, most_waiting: int = 4) -> None:
        self._bell = threading.Event()
        self._lock = threading.Lock()
        self._expected: dict[str, Word] = {}
        self._most = most_waiting

    def ring(self) -> None:
        self._bell.set()

    def wait(self, seconds: float) -> None:
        """Until somebody rings, or the time is up."""
        self._bell.wait(seconds)
        self._bell.clear()

    @contextmanager
    def expect(self, batch_id: str) -> Iterator[Word | None]:
        """The word on a batch to wait for; None where enough others wait already."""
        word = Word()
        with self._lock:
            room = len(self._expected) < self._most
            if room:
                self._expected[batch_id] = word
        try:
            yield word if room else None
        finally:
            with self._lock:
                self._expected.pop(batch_id, None)

    def tell(self, batch_id: str, refusal: str = "") -> None:
        with self._lock:
            word = self._expected.get(batch_id)
        if word is not None:
            word.say(refusal)
