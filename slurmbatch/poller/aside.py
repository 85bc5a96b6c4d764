"""A question that is asked in a thread of its own, so that nobody has to wait for the answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Question(Generic[T]):
    """Asks at once. The thread is a daemon's: an answer that never comes keeps nothing alive."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._answer: T | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="accounting", daemon=True)
        self._thread.start()

    def is_answered(self, within: float) -> bool:
        """Waits for it so many seconds at most."""
        self._thread.join(within)
        return not self._thread.is_alive()

    def answer(self) -> T:
        """What came back; raises what was raised. Only once it is answered."""
        if self._error is not None:
            raise self._error
        assert self._answer is not None  # noqa: S101
        return self._answer

    def _run(self) -> None:
        try:
            self._answer = self._ask()
        except Exception as error:
            self._error = error
