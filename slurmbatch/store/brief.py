"""All jobs of a batch in brief, read in portions: some ten bytes a job are kept of it."""

from __future__ import annotations

from array import array

from slurmbatch.model import Brief
from slurmbatch.store.database import Database

_JOBS_A_READ = 20_000
_ROWS = (
    "SELECT j.idx, j.status, coalesce(max(0, CAST(j.start_time - b.created_at AS INTEGER)), -1),"
    " coalesce(max(0, CAST(j.stop_time - b.created_at AS INTEGER)), -1)"
    " FROM batch b JOIN job j ON j.batch = b.pk"
    " WHERE b.batch_id = ?1 AND b.user_id = ?2 AND b.deleted_at IS NULL AND j.idx > ?3"
    " ORDER BY j.idx LIMIT ?4"
)


def read(database: Database, user_id: str, batch_id: str) -> Brief:
    """Of no job where there is no such batch."""
    statuses, started, stopped = bytearray(), array("l"), array("l")
    last, more = -1, True
    while more:
        rows = database.sql(_ROWS, (batch_id, user_id, last, _JOBS_A_READ))
        statuses.extend(48 + row[1] for row in rows)  # the digit, in ASCII
        started.extend(row[2] for row in rows)
        stopped.extend(row[3] for row in rows)
        more = len(rows) == _JOBS_A_READ
        last = rows[-1][0] if rows else last
    return Brief(bytes(statuses), started, stopped)
