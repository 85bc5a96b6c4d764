"""Wakes the submitter, and carries its word on a new batch back to the requests that wait for it.

Beside the bell lies what spares the submitter work, and requests their waiting: see `drafts` and
`precedents`.

Waiting is bounded in time and in number: requests that wait hold a server thread each.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from slurmbatch.drafts import Drafts
from slurmbatch.precedents import Precedents


@dataclass(eq=False)
class Word:
    """What the submitter says of a batch, once: Slurm's own words of refusal, or nothing.

    Whoever waits for it hears the same: what the first to stop waiting has heard is what holds,
    and the submitter is told whether it came in time.
    """

    _refusal: str = ""
    _is_closed: bool = False
    _said: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, seconds: float) -> str:
        """The refusal; empty where there is none, or none within so many seconds."""
        self._said.wait(seconds)
        with self._lock:
            self._is_closed = True
            return self._refusal

    def say(self, refusal: str) -> bool:
        """False where nobody will hear it any more, or something else was said before."""
        with self._lock:
            if self._is_closed or self._said.is_set():
                return False
            self._refusal = refusal
            self._said.set()
            return True


class Doorbell:
    def __init__(self, most_waiting: int = 4) -> None:
        self._bell = threading.Event()
        self._lock = threading.Lock()
        self._words: dict[str, Word] = {}
        self._waiting: list[Word] = []
        self._most = most_waiting
        self.drafts = Drafts()
        self.precedents = Precedents()

    def ring(self) -> None:
        self._bell.set()

    def wait(self, seconds: float) -> None:
        """Until somebody rings, or the time is up."""
        self._bell.wait(seconds)
        self._bell.clear()

    @contextmanager
    def expect(self, batch_id: str) -> Iterator[Word | None]:
        """The word on a new batch, to wait for; None where enough others wait already."""
        word = Word()
        with self._lock:
            has_room = self._enter(word)
            if has_room:
                self._words[batch_id] = word
        try:
            yield word if has_room else None
        finally:
            with self._lock:
                self._words.pop(batch_id, None)
                self._leave(word)

    def is_expected(self, batch_id: str) -> bool:
        """Whether somebody waits for the word on a batch."""
        with self._lock:
            return batch_id in self._words

    @contextmanager
    def overhear(self, batch_id: str) -> Iterator[Word | None]:
        """The word that somebody else waits for; None where nobody does, or there is no room."""
        with self._lock:
            word = self._words.get(batch_id)
            if word is not None and not self._enter(word):
                word = None
        try:
            yield word
        finally:
            if word is not None:
                with self._lock:
                    self._leave(word)

    def tell(self, batch_id: str, refusal: str = "") -> bool:
        """Whether somebody hears it."""
        with self._lock:
            word = self._words.get(batch_id)
        return word is not None and word.say(refusal)

    def _enter(self, word: Word) -> bool:
        if len(self._waiting) >= self._most:
            return False
        self._waiting.append(word)
        return True

    def _leave(self, word: Word) -> None:
        with suppress(ValueError):
            self._waiting.remove(word)
