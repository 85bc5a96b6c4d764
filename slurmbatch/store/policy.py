"""What a retry policy makes of an end, in the transaction in which the end itself is written.

So a job that is to be run again is never seen failed in between, and a crash neither loses the
retry nor makes a second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import peewee

from slurmbatch.model import MAX_MEMORY, MAX_TIME_LIMIT, RetryPolicy
from slurmbatch.store.again import Piece, Terms, Tries, grown, put_back
from slurmbatch.store.ids import tag_like
from slurmbatch.store.rows import FIRST_END, STATUSES, policy_of

# Runs that do not count, of one job: a node that fails again and again is not tried for ever.
FREE_AT_MOST = 10
_FAILED = len(STATUSES) - 1
# The end of a node, and no end that the job itself has noted meanwhile.
_WITH_ITS_NODE = frozenset(
    {("NODE", "NODE_FAIL"), ("NODE", "BOOT_FAIL"), ("PREEMPTED", "PREEMPTED")}
)
_MAY_BE_DUE = f"""
SELECT job.batch, job.idx, job.counted, job.free, substr(c.reason, 1, instr(c.reason, ':') - 1),
    c.slurm_state, a.pk, a.tag, a.memory, a.time_limit, a.exclude, b.memory,
    json_extract(b.slurm, '$.time_limit'), b.retry
FROM temp.change c JOIN job ON job.array = c.array AND job.task = c.task
    JOIN array a ON a.pk = job.array JOIN batch b ON b.pk = job.batch
WHERE c.status = {_FAILED} AND job.status < {FIRST_END} AND b.retry != ''
    AND a.cancelled_at IS NULL AND b.deleted_at IS NULL ORDER BY job.batch, a.pk, job.idx
"""


class Ended(NamedTuple):
    """A job that ends in failure, and with what it ran."""

    batch: int
    job: int
    counted: int
    free: int
    kind: str
    slurm_state: str
    array: int
    tag: str
    memory: int | None
    time_limit: int | None
    exclude: str
    batch_memory: int
    batch_time_limit: int | None
    policy: str


class Again(NamedTuple):
    """What is to be run again of one batch: its new arrays, and what has been tried so far."""

    batch: int
    pieces: Sequence[Piece]
    tries: dict[int, Tries]

    @property
    def n_jobs(self) -> int:
        return len(self.tries)


def due(db: peewee.SqliteDatabase) -> list[Again]:
    """Within a transaction, before the changes are applied: what is run again of what they end."""
    groups: dict[tuple[int, int, str, Terms], list[int]] = {}
    tries: dict[int, dict[int, Tries]] = {}
    for row in db.execute_sql(_MAY_BE_DUE):
        ended = Ended(*row)
        found = decide(policy_of(ended.policy), ended)
        if found is not None:
            terms, tries.setdefault(ended.batch, {})[ended.job] = found
            key = (ended.batch, ended.array, ended.tag, terms)
            groups.setdefault(key, []).append(ended.job)
    # Of one array at most as many as it had, so their script is no longer than its was.
    return [
        Again(batch, [Piece(tag_like(tag), terms, jobs)
                      for (of, _, tag, terms), jobs in groups.items() if of == batch], counts)
        for batch, counts in tries.items()
    ]  # fmt: skip


def apply(db: peewee.SqliteDatabase, again: Sequence[Again], now: float) -> int:
    """After the changes are applied and counted: the jobs become intents again; gives how many."""
    return sum(
        put_back(db, each.batch, each.pieces, now, each.tries, is_counted=False) for each in again
    )


def decide(policy: RetryPolicy, ended: Ended) -> tuple[Terms, Tries] | None:
    """With what it runs again; None: it has failed."""
    memory, time_limit = ended.memory, ended.time_limit
    if (ended.kind, ended.slurm_state) in _WITH_ITS_NODE:
        if not policy.node_failures or ended.free >= FREE_AT_MOST:
            return None
        return Terms(memory, time_limit, ended.exclude), Tries(ended.counted, ended.free + 1)
    if ended.counted + 1 >= policy.max_attempts:
        return None
    if ended.kind == "MEMORY" and policy.memory_factor:
        cap = policy.max_memory or MAX_MEMORY
        memory = grown(memory, ended.batch_memory, policy.memory_factor, cap)
    elif ended.kind == "TIMEOUT" and policy.time_factor:
        cap = policy.max_time_limit or MAX_TIME_LIMIT
        time_limit = grown(time_limit, ended.batch_time_limit, policy.time_factor, cap)
    if (memory, time_limit) == (ended.memory, ended.time_limit):
        return None  # with no more than it had it would only end so again
    return Terms(memory, time_limit, ended.exclude), Tries(ended.counted + 1, ended.free)
