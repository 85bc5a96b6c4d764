"""Whether there is room for more of somebody's, under their limits and those of the tool.

Asked in the transaction that makes what needs the room, so that no two requests get the same room.
What is deleted, and may run still, takes room until it is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import peewee

from slurmbatch.errors import Fault, Invalid, OverLimit, Reached
from slurmbatch.limits import Bound
from slurmbatch.model import Status
from slurmbatch.store.rows import CODE

RETRY_AFTER = 30
_ENDED = " - ".join(f"n_status_{CODE[each]}" for each in (Status.SUCCEEDED, Status.FAILED))
_COUNTS = {
    "jobs": f"coalesce(sum(n_jobs - {_ENDED}), 0)",
    "batches": "count(*)",
    "bytes": "coalesce(sum(args_bytes), 0)",
}
_WORDS = {
    "jobs": "{most} jobs that have not ended",
    "batches": "{most} batches that have not ended",
    "bytes": "{most} bytes of arguments in batches that are not deleted",
}
_FIELDS = {"jobs": "/variable_args", "batches": "", "bytes": "/variable_args"}


def of_batch(n_jobs: int, args_bytes: int) -> Mapping[str, int]:
    """What a new batch wants."""
    return {"jobs": n_jobs, "batches": 1, "bytes": args_bytes}


def require(
    db: peewee.SqliteDatabase,
    bounds: Sequence[Bound],
    wanted: Mapping[str, int],
    *,
    is_new: bool = True,
) -> None:
    """Raises OverLimit where so many more do not fit now, Invalid where a new batch never will."""
    never = [each for each in bounds if wanted.get(each.what, 0) > each.most]
    if never and is_new:
        raise Invalid([
            Fault(_FIELDS[each.what], f"{_allowed(each)}; this one alone has {wanted[each.what]}.")
            for each in never
        ])  # fmt: skip
    used = [(each, _used(db, each)) for each in bounds if wanted.get(each.what)]
    full = [(each, n) for each, n in used if n + wanted[each.what] > each.most]
    if full:
        said = " ".join(
            f"{_allowed(each)}; {n} are in use, and this one needs {wanted[each.what]}."
            for each, n in full
        )
        reached = [Reached(each.name, each.most, n, wanted[each.what]) for each, n in full]
        raise OverLimit(reached, RETRY_AFTER, said)


def _allowed(bound: Bound) -> str:
    whose = "You may have" if bound.user_id else "All users together may have"
    tool = f" of the tool {bound.tool_id}" if bound.tool_id else ""
    return f"{whose} at most {_WORDS[bound.what].format(most=bound.most)}{tool}"


def _used(db: peewee.SqliteDatabase, bound: Bound) -> int:
    terms = ["args_bytes > 0" if bound.what == "bytes" else "finished_at IS NULL"]
    values: list[str] = []
    for column, value in (("user_id", bound.user_id), ("tool_id", bound.tool_id)):
        if value is not None:
            terms.append(f"{column} = ?")
            values.append(value)
    sql = f"SELECT {_COUNTS[bound.what]} FROM batch WHERE {' AND '.join(terms)}"
    return int(db.execute_sql(sql, values).fetchone()[0])
