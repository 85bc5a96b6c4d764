"""The tasks of job scripts, as a new batch was measured by, for the hand-over that follows at once.

To make them anew from the database takes as long as sbatch does. They only save that: whatever is
not here, or no longer fits, is made from what is written down, as it is after a restart.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from slurmbatch.model import Tool

# Characters of all that is kept, in how many pieces. What is larger takes long anyway.
MOST_CHARACTERS, MOST_DRAFTS = 1024 * 1024, 16


@dataclass(frozen=True, slots=True)
class _Draft:
    tool: Tool
    tasks: Sequence[str]
    size: int


class Drafts:
    """By the name of the array; each is given once. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, _Draft] = {}

    def keep(self, tag: str, tool: Tool, tasks: Sequence[str]) -> None:
        """The oldest ones make room."""
        draft = _Draft(tool, tasks, sum(map(len, tasks)))
        with self._lock:
            self._kept[tag] = draft
            while self._is_too_much():
                del self._kept[next(iter(self._kept))]

    def take(self, tag: str, tool: Tool, n_tasks: int) -> Sequence[str] | None:
        """None where there are none, or they are for another tool (the settings were read anew) or
        for another number of tasks (the array was cut)."""
        with self._lock:
            draft = self._kept.pop(tag, None)
        if draft is None or draft.tool != tool or len(draft.tasks) != n_tasks:
            return None
        return draft.tasks

    def _is_too_much(self) -> bool:
        size = sum(each.size for each in self._kept.values())
        return len(self._kept) > MOST_DRAFTS or size > MOST_CHARACTERS


class Copy:
    """Hands tasks on as they are, and keeps them, unless they become too many."""

    def __init__(self, tasks: Iterable[str]) -> None:
        self._tasks = tasks
        self._size = 0
        self._kept: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for text in self._tasks:
            self._size += len(text)
            if self._size <= MOST_CHARACTERS:
                self._kept.append(text)
            yield text

    @property
    def kept(self) -> Sequence[str]:
        """All of them, once all have been handed on; none, where they were too many."""
        return self._kept if self._size <= MOST_CHARACTERS else ()
