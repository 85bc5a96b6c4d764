"""The rows of a new batch, of its arrays and of its jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import peewee

from slurmbatch.model import ArgValue, ArrayState, Batch, Gate, Status
from slurmbatch.spool import Spool
from slurmbatch.spool import compact as dumps
from slurmbatch.store import holding
from slurmbatch.store.rows import (
    CANARY_WAITS,
    CODE,
    PARENTS_WAIT,
    THROTTLE_WAITS,
    dependencies_json,
    policy_json,
    slurm_json,
)

JOBS_A_STATEMENT = 1_000


@dataclass(frozen=True, slots=True)
class NewArray:
    """An intent to be: its tag and how many of the batch's jobs, in their order, it takes.

    `gates`: it is kept back until all of them are open. `throttle`: its share of its batch's.
    """

    tag: str
    n_tasks: int
    gates: tuple[Gate, ...] = ()
    throttle: int | None = None


def insert_batch(
    db: peewee.SqliteDatabase,
    batch: Batch,
    fixed: Mapping[str, ArgValue],
    request_id: str,
    n_blocked: int,
    args_bytes: int,
    uid: int | None,
) -> int:
    return _insert(
        db,
        "batch",
        batch_id=batch.batch_id,
        user_id=batch.user_id,
        tool_id=batch.tool_id,
        name=batch.name,
        n_jobs=batch.n_jobs,
        filesystems=dumps(batch.hardware.filesystems),
        cpu=batch.hardware.cpu,
        memory=batch.hardware.memory,
        slurm=slurm_json(batch.slurm),
        fixed_args=dumps(fixed),
        request_id=request_id,
        created_at=batch.created_at,
        n_status_0=batch.n_jobs - n_blocked,
        n_status_1=n_blocked,
        canary=batch.canary,
        depends_on=dependencies_json(batch.depends_on),
        retry=policy_json(batch.retry),
        max_parallel=batch.max_parallel,
        args_bytes=args_bytes,
        uid=uid,
    )


def _insert(db: peewee.SqliteDatabase, table: str, **values: object) -> int:
    """In plain SQL: each new batch takes several, and peewee as long for each as SQLite for all."""
    marks = ", ".join("?" * len(values))
    text = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"
    return int(db.execute_sql(text, tuple(values.values())).lastrowid)


def in_portions(
    arguments: Iterable[Mapping[str, ArgValue]],
) -> Callable[[int], tuple[int, str]]:
    """Gives the next so many, or as many as there are: how many those are, and they as JSON."""
    if isinstance(arguments, Spool):
        texts = arguments.texts()

        def of_texts(count: int) -> tuple[int, str]:
            portion = list(islice(texts, count))
            return len(portion), f"[{','.join(portion)}]"

        return of_texts
    values = iter(arguments)

    def of_values(count: int) -> tuple[int, str]:
        portion = list(islice(values, count))
        return len(portion), dumps(portion)

    return of_values


def insert_array(
    db: peewee.SqliteDatabase, batch_pk: int, ordinal: int, array: NewArray, now: float
) -> int:
    return _insert(
        db,
        "array",
        batch=batch_pk,
        ordinal=ordinal,
        tag=array.tag,
        n_tasks=array.n_tasks,
        n_unfinished=array.n_tasks,
        state=ArrayState.BLOCKED if array.gates else ArrayState.INTENT,
        gate=holding.words(array.gates),
        waiting=_first_word(array.gates),
        throttle=array.throttle,
        created_at=now,
    )


def _first_word(kept: tuple[Gate, ...]) -> str:
    """What blocked jobs show until somebody has looked at their gates."""
    if Gate.PARENTS in kept:
        return PARENTS_WAIT
    if Gate.CANARY in kept:
        return CANARY_WAITS
    return THROTTLE_WAITS if kept else ""


def new_jobs(
    batch_pk: int,
    arrays: Iterable[tuple[int, NewArray]],
    portion: Callable[[int], tuple[int, str]],
    size: int,
) -> Iterator[tuple[int | str, ...]]:
    """All jobs in their order, `size` at a time, as `insert_jobs` takes them."""
    first = 0
    for array_pk, array in arrays:
        status = CODE[Status.PENDING if array.gates else Status.SUBMITTED]
        left = array.n_tasks
        while left:
            count, text = portion(min(size, left))
            if not count:
                return
            yield batch_pk, first, array_pk, array.n_tasks - left + 1, status, text
            first, left = first + count, left - count


# SQLite takes a list of them apart in half the time in which Python hands over so many rows, and
# lets go of the interpreter's lock for it.
_NEW_JOBS = (
    "INSERT INTO job (batch, idx, array, task, status, args)"
    " SELECT ?1, ?2 + key, ?3, ?4 + key, ?5, value FROM json_each(?6)"
)


def insert_jobs(db: peewee.SqliteDatabase, jobs: Iterable[tuple[int | str, ...]]) -> None:
    for portion in jobs:
        db.execute_sql(_NEW_JOBS, portion)
