"""What jobs used: asked of accounting once they have ended, in ticks that have a question left.

Accounting has it some seconds after the end. Nothing waits for it, so the questions for what lives
and for how it ended go first, but not for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

from slurmbatch.journal import get
from slurmbatch.poller.sources import Sources, Usage
from slurmbatch.store import Store
from slurmbatch.store.usage import Due, Used

_log = get("poller")
# How many tasks fit well into one question; how often one is asked that is not full; and after how
# long without an answer it comes before the others. Seconds.
TASKS_A_QUESTION = 1000
EVERY = 4.0
STARVED_AFTER = 60.0
# A task that accounting does not have yet is asked for again, until so long after its end.
AGAIN_AFTER = 15.0
UNTIL = 600.0


@dataclass
class Usages:
    store: Store
    sources: Sources
    _asked_at: float = 0.0
    _answered_at: float | None = None
    _is_full: bool = False
    _due: tuple[Due, ...] = ()
    _faulty: bool = False

    def is_due(self, now: float) -> bool:
        return bool(self._due) or self.store.usage.is_due(now)

    def is_starved(self, now: float) -> bool:
        """Whether others have had all questions for long, while something was due."""
        return self._answered_at is not None and now - self._answered_at >= STARVED_AFTER

    def look(self, now: float) -> None:
        """Asks, or takes the answer to what was asked; at most one question, if one is left."""
        self._answered_at = now if self._answered_at is None else self._answered_at
        if not self._due:
            if not self._is_full and 0 <= now - self._asked_at < EVERY:
                return
            self._due = self.store.usage.due(now, TASKS_A_QUESTION)
        if not self._due:
            self._answered_at = now
            return
        usage = self.sources.usage(frozenset(each.task for each in self._due), now)
        if usage is not None:
            self._answered_at = self._asked_at = now
            self._is_full = len(self._due) == TASKS_A_QUESTION
            due, self._due = self._due, ()
            self._keep(due, usage, now)

    def _keep(self, due: tuple[Due, ...], usage: Usage, now: float) -> None:
        if usage.told is None:
            self._is_full = False
            self._tell(usage.error)
            self.store.usage.put_off(due, now + STARVED_AFTER)
            return
        self._faulty = False
        # By the name too: Slurm uses ids again.
        told = {((each.array_job_id, each.task), each.tag): each for each in usage.told
                if each.complete}  # fmt: skip
        used = [Used(each, told[each.task, each.tag].max_rss, told[each.task, each.tag].cpu_time)
                for each in due if (each.task, each.tag) in told]  # fmt: skip
        rest = [each for each in due if (each.task, each.tag) not in told]
        over = [Used(each, None, None) for each in rest if not 0 <= now - each.ended_at < UNTIL]
        self.store.usage.keep([*used, *over], now)
        self.store.usage.put_off(
            [each for each in rest if 0 <= now - each.ended_at < UNTIL], now + AGAIN_AFTER
        )

    def _tell(self, error: str) -> None:
        if not self._faulty:
            _log.warning("accounting does not tell what jobs used, it is asked again", error=error)
        self._faulty = True
