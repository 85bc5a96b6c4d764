"""Figures of the whole database, for metrics: from small indexes, never from the jobs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slurmbatch.model import Busy, Status
from slurmbatch.store.database import Database
from slurmbatch.store.rows import STATUSES

_SUMS = ", ".join(f"total(n_status_{code})" for code in range(len(STATUSES)))


@dataclass(frozen=True, slots=True)
class Open:
    """The arrays in one state that has not ended: how many, their jobs, since when the oldest."""

    arrays: int
    jobs: int
    oldest: float


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes: the file, its write-ahead log, and what is free in it."""

    file: int
    log: int
    free: int


class Figures:
    def __init__(self, database: Database) -> None:
        self._db = database
        rows = self._db.sql("SELECT max(finished_at) FROM batch WHERE finished_at IS NOT NULL")
        self._counted_to = float(rows[0][0] or 0.0)
        self._ended = dict.fromkeys((Status.SUCCEEDED, Status.FAILED), 0)
        self._batches_ended = 0

    def arrays(self) -> dict[str, Open]:
        """By state, for those that have not ended."""
        rows = self._db.sql(
            "SELECT state, count(*), total(n_unfinished), min(created_at) FROM array"
            " INDEXED BY array_open WHERE state NOT IN ('DONE', 'REFUSED') GROUP BY state"
        )
        return {state: Open(int(n), int(jobs), oldest) for state, n, jobs, oldest in rows}

    def batches(self) -> tuple[int, dict[Status, int]]:
        """How many have not ended, and their jobs by status."""
        row = self._db.sql(
            f"SELECT count(*), {_SUMS} FROM batch INDEXED BY batch_open WHERE finished_at IS NULL"
        )[0]
        return int(row[0]), {each: int(n) for each, n in zip(STATUSES, row[1:], strict=True)}

    def users(self) -> list[Busy]:
        """The same by user, those with the most live jobs first. What is deleted counts until it
        has ended: it may run still."""
        rows = self._db.sql(
            f"SELECT user_id, count(*), {_SUMS} FROM batch INDEXED BY batch_open"
            " WHERE finished_at IS NULL GROUP BY user_id"
        )
        found = [
            Busy(user_id, int(n), {each: int(of) for each, of in zip(STATUSES, sums, strict=True)})
            for user_id, n, *sums in rows
        ]
        return sorted(found, key=lambda each: (-each.live, each.user_id))

    def ended(self) -> tuple[int, dict[Status, int]]:
        """Batches that have ended since this object was made, and their jobs by how they did.
        Reads only those that have since the last call."""
        row = self._db.sql(
            "SELECT max(finished_at), count(*), total(n_status_5), total(n_status_6) FROM batch"
            " INDEXED BY batch_finished WHERE finished_at > ?", (self._counted_to,)
        )[0]  # fmt: skip
        if row[1]:
            self._counted_to = float(row[0])
            self._batches_ended += int(row[1])
            self._ended[Status.SUCCEEDED] += int(row[2])
            self._ended[Status.FAILED] += int(row[3])
        return self._batches_ended, dict(self._ended)

    def waiting_to_go(self) -> int:
        """Deleted batches whose records are there yet."""
        rows = self._db.sql("SELECT count(*) FROM batch WHERE deleted_at IS NOT NULL")
        return int(rows[0][0])

    def notifications(self) -> int:
        """How many have not arrived yet."""
        return int(self._db.sql("SELECT count(*) FROM outbox WHERE state = 'pending'")[0][0])

    def sizes(self) -> Sizes:
        free = self._db.sql("PRAGMA freelist_count")[0][0] * self._db.sql("PRAGMA page_size")[0][0]
        path = self._db.path
        return Sizes(_size(path), _size(path.with_name(path.name + "-wal")), int(free))


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
