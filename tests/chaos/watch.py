"""Looks at the API all the time, and complains of what may never be seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.actors import Actor
from tests.chaos.clients import User
from tests.chaos.ledger import NEVER, Ledger, Posted

ENDED = ("SUCCEEDED", "FAILED")
# A look at Slurm that was under way when the outage began may still be written.
UNDER_WAY = 2.0


@dataclass
class Seen:
    """What the last look at a batch showed."""

    at: float = 0.0
    era: int = 0
    finished: bool = False
    jobs: dict[int, tuple[str, str]] = field(default_factory=dict)


class Watcher(Actor):
    """`is_down(since, until)`: whether some source was down for all of that time."""

    def __init__(
        self,
        users: Mapping[str, User],
        ledger: Ledger,
        is_down: Callable[[float, float], bool],
        interval: float = 0.5,
    ) -> None:
        self._users = users
        self._ledger = ledger
        self._is_down = is_down
        self._interval = interval
        self._seen: dict[str, Seen] = {}
        self.looks = 0
        super().__init__(self._run)

    def _run(self) -> None:
        rounds = 0
        while not self._stop.wait(self._interval):
            rounds += 1
            for posted in self._ledger.all():
                if not self._stop.is_set() and posted.batch_id:
                    self._look(posted, often=rounds % 20 == 0)

    def unfinished(self) -> list[Posted]:
        """The batches that are not deleted and have jobs that have not been seen to end."""
        return [each for each in self._ledger.all()
                if each.batch_id and each.delete_asked_at == NEVER
                and not self._has_finished(each, self._seen.get(each.label, Seen()))]  # fmt: skip

    def _has_finished(self, posted: Posted, seen: Seen) -> bool:
        """Since its last retry."""
        return seen.finished and seen.era == posted.era

    def _look(self, posted: Posted, *, often: bool) -> None:
        seen = self._seen.setdefault(posted.label, Seen())
        if posted.delete_asked_at < NEVER or (self._has_finished(posted, seen) and not often):
            return
        began, era = time.time(), posted.era
        user = self._users[posted.user]
        batch = user.look(f"/batches/{posted.batch_id}")
        jobs = user.look(f"/batches/{posted.batch_id}/jobs") if batch is not None else None
        if batch is None or jobs is None or posted.delete_asked_at < NEVER:
            return
        if era % 2 or era != posted.era:
            return  # what has ended may go on again just now
        self.looks += 1
        if (batch.status_code, jobs.status_code) != (200, 200):
            self._ledger.complain(
                f"{posted.label}: {batch.status_code} {jobs.status_code} for {posted.batch_id}"
            )
            return
        # Without a retry in between an end is one for good.
        self._check(posted, seen, era == seen.era, batch.json()[0], jobs.json())
        seen.at, seen.era = began, era

    def _check(
        self, posted: Posted, seen: Seen, for_good: bool, batch: dict[str, Any], jobs: list[Any]
    ) -> None:
        counts = batch["submitted_jobs"]
        if sum(counts.values()) != batch["n_jobs"] or len(jobs) != len(posted.codes):
            self._ledger.complain(f"{posted.label}: {counts} and {len(jobs)} jobs do not add up")
        for job in jobs:
            self._check_job(posted, seen, for_good, job)
        if for_good and seen.finished and not batch["finished_at"]:
            self._ledger.complain(f"{posted.label}: had ended, and goes on")
        seen.finished = bool(batch["finished_at"])

    def _check_job(self, posted: Posted, seen: Seen, for_good: bool, job: dict[str, Any]) -> None:
        index, new = job["index"], (job["status"], job["reason"])
        old = seen.jobs.get(index, ("", ""))
        if for_good and old[0] in ENDED and new != old:
            self._ledger.complain(f"{posted.label}-{index}: was {old} and became {new}")
        # Ours; with Slurm's own word in brackets it is what a part that lives has shown.
        is_opinion = new[1].startswith("LOST: Slurm no longer") or "before it started" in new[1]
        if new != old and is_opinion and self._is_down(seen.at - UNDER_WAY, time.time()):
            self._ledger.complain(f"{posted.label}-{index}: became {new} in an outage")
        seen.jobs[index] = new
