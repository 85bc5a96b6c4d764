"""What the submitter's steps have in common: what rows mean, what time means, how it is told."""

from __future__ import annotations

from collections.abc import Sequence

from slurmbatch.journal import get
from slurmbatch.model import ArraySpec, JobReport
from slurmbatch.states import ENDS

_log = get("submitter")


def of(rows: Sequence[JobReport], slurm_job_id: int | None) -> list[JobReport]:
    return [row for row in rows if row.array_job_id == slurm_job_id]


def lives(row: JobReport) -> bool:
    return row.state not in ENDS


def is_held(rows: Sequence[JobReport]) -> bool:
    """Whether all of it is as we submit it: held, so that nothing of it has run."""
    return all(row.state == "PENDING" and row.reason == "JobHeldUser" for row in rows)


def is_past(since: float | None, seconds: float, now: float) -> bool:
    """Whether so much time has gone by; also if the clock was set back behind `since`."""
    return since is None or not 0 <= now - since < seconds


def is_ahead(at: float, now: float, most: float) -> bool:
    """Whether the time is still to come; not if it is further off than it was ever set, because
    then the clock was set back."""
    return 0 < at - now <= most


def say(sentence: str, array: ArraySpec, **fields: object) -> None:
    _log.info(sentence, batch_id=array.batch_id, array=array.ordinal, user=array.user_id,
              tag=array.tag, n_jobs=array.n_tasks, request_id=array.request_id,
              **fields)  # fmt: skip
