"""Rows <-> model. What is stored as JSON is stored compact, in UTF-8."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

from slurmbatch.model import (
    ArgValue,
    ArraySpec,
    ArrayState,
    Batch,
    Dependency,
    DependencyType,
    Hardware,
    Job,
    KnownJob,
    RetryPolicy,
    SlurmOptions,
    Status,
)
from slurmbatch.spool import compact as dumps
from slurmbatch.store.models import ArrayRow, BatchRow, JobRow

STATUSES = tuple(Status)
CODE = {status: code for code, status in enumerate(STATUSES)}
FIRST_END = CODE[Status.SUCCEEDED]

BATCH_COUNTS = tuple(getattr(BatchRow, f"n_status_{code}") for code in range(len(STATUSES)))
BATCH_COLUMNS = (
    BatchRow.batch_id,
    BatchRow.user_id,
    BatchRow.tool_id,
    BatchRow.name,
    BatchRow.n_jobs,
    BatchRow.filesystems,
    BatchRow.cpu,
    BatchRow.memory,
    BatchRow.slurm,
    BatchRow.created_at,
    BatchRow.version,
    BatchRow.n_submitted,
    BatchRow.cancelled_at,
    BatchRow.finished_at,
    BatchRow.canary,
    BatchRow.summary,
    BatchRow.depends_on,
    BatchRow.retry,
    BatchRow.max_parallel,
    *BATCH_COUNTS,
)
# Seconds in each status that is no end.
SPENT = tuple(getattr(JobRow, f"spent_{code}") for code in range(FIRST_END))
JOB_COLUMNS = (
    JobRow.idx,
    JobRow.args,
    JobRow.status,
    JobRow.reason,
    JobRow.start_time,
    JobRow.stop_time,
    JobRow.exit_code,
    JobRow.signal,
    JobRow.slurm_state,
    JobRow.node_list,
    JobRow.restarts,
    JobRow.task,
    JobRow.earlier,
    ArrayRow.slurm_job_id,
    ArrayRow.waiting,
    ArrayRow.memory,
    ArrayRow.time_limit,
)
# What is only told of one job that is asked for: a list may be of a million.
DETAIL_COLUMNS = (
    JobRow.never_runs,
    JobRow.expected_start,
    ArrayRow.expected_start,
    JobRow.max_rss,
    JobRow.cpu_time,
    JobRow.status_since,
    *SPENT,
)
ARRAY_COLUMNS = (
    ArrayRow.pk,
    BatchRow.batch_id,
    BatchRow.user_id,
    BatchRow.tool_id,
    ArrayRow.ordinal,
    ArrayRow.generation,
    ArrayRow.tag,
    ArrayRow.n_tasks,
    ArrayRow.state,
    ArrayRow.created_at,
    ArrayRow.slurm_job_id,
    ArrayRow.submitted_at,
    ArrayRow.tries,
    ArrayRow.tried_at,
    ArrayRow.next_try_at,
    ArrayRow.waiting,
    ArrayRow.released_at,
    ArrayRow.released_boot,
    ArrayRow.expected_start,
    BatchRow.request_id,
    BatchRow.filesystems,
    BatchRow.cpu,
    BatchRow.memory,
    BatchRow.slurm,
    ArrayRow.cancelled_at,
    BatchRow.deleted_at,
    ArrayRow.memory,
    ArrayRow.time_limit,
    ArrayRow.exclude,
    ArrayRow.throttle,
    BatchRow.uid,
)
PARENTS_WAIT = "DEPENDENCY: waits for other batches"
THROTTLE_WAITS = "TIME: waits for other jobs of its batch, of which so many may run at once"
CANARY_WAITS = "CANARY: waits for the first jobs of its batch, all of which have to succeed"
AGAIN = "ACCEPTED: will be run again, waits to be handed to Slurm"
# What holds for all that is cut off an array, too.
TERMS = "cancelled_at, memory, time_limit, exclude"
ACCEPTED = "ACCEPTED: safe on disk, waits to be handed to Slurm"
HANDED_OVER = "ACCEPTED: handed to Slurm, which has not looked at it yet"


def names(columns: Iterable[Any], tables: Mapping[Any, str]) -> str:
    """The columns as SQL has them, each with its table's short name."""
    return ", ".join(f"{tables[each.model]}.{each.column_name}" for each in columns)


def slurm_json(options: SlurmOptions) -> str:
    return dumps(asdict(options))


def dependencies_json(dependencies: Iterable[Dependency]) -> str:
    return dumps([[each.batch_id, each.type] for each in dependencies])


def policy_json(policy: RetryPolicy) -> str:
    """Empty where nothing is ever tried again."""
    return dumps(asdict(policy)) if policy.does_anything else ""


@lru_cache(maxsize=1024)
def policy_of(text: str) -> RetryPolicy:
    return RetryPolicy(**json.loads(text)) if text else RetryPolicy()


def batch_of(row: tuple[Any, ...]) -> Batch:
    """A row of BATCH_COLUMNS."""
    (batch_id, user_id, tool_id, name, n_jobs, filesystems, cpu, memory, slurm, created_at,
     version, n_submitted, cancelled_at, finished_at, canary, summary, depends_on, retry,
     max_parallel, *counts) = row  # fmt: skip
    return Batch(
        batch_id=batch_id,
        user_id=user_id,
        tool_id=tool_id,
        name=name,
        n_jobs=n_jobs,
        hardware=_hardware(filesystems, cpu, memory),
        slurm=_options(slurm),
        created_at=created_at,
        version=version,
        n_submitted=n_submitted,
        counts=dict(zip(STATUSES, counts, strict=True)),
        cancelled_at=cancelled_at,
        finished_at=finished_at,
        canary=canary,
        summary=summary,
        depends_on=_dependencies(depends_on),
        retry=policy_of(retry),
        max_parallel=max_parallel,
    )


# Without what json.loads does beside it, for each of a million jobs.
_object = json.JSONDecoder().raw_decode


def job_of(row: tuple[Any, ...], batch: Batch, fixed: Mapping[str, ArgValue]) -> Job:
    """A row of JOB_COLUMNS."""
    (index, args, code, reason, start, stop, exit_code, signal, slurm_state, nodes, restarts,
     task, earlier, slurm_job_id, waiting, memory, time_limit) = row  # fmt: skip
    status, attempt = STATUSES[code], earlier + restarts + 1
    if status in (Status.SUBMITTED, Status.PENDING) and not reason:
        if status is Status.SUBMITTED:
            waiting = waiting or (AGAIN if attempt > 1 else ACCEPTED)
        reason = HANDED_OVER if slurm_job_id else waiting
    return Job(
        batch_id=batch.batch_id,
        index=index,
        args={**fixed, **_object(args)[0]},
        hardware=replace(batch.hardware, memory=memory) if memory else batch.hardware,
        status=status,
        reason=reason,
        create_time=batch.created_at,
        start_time=start,
        stop_time=stop,
        exit_code=exit_code,
        signal=signal,
        slurm_job_id=f"{slurm_job_id}_{task}" if slurm_job_id else "",
        slurm_state=slurm_state,
        node_list=nodes,
        attempt=attempt,
        time_limit=time_limit or batch.slurm.time_limit,
    )


def detailed(job: Job, row: tuple[Any, ...]) -> Job:
    """The job with a row of DETAIL_COLUMNS."""
    never_runs, expected, expected_of_array, max_rss, cpu_time, since, *spent = row
    waits = job.status in (Status.PENDING, Status.RUNNABLE)
    return replace(
        job,
        never_runs=bool(never_runs),
        expected_start=(expected or expected_of_array) if waits else None,
        max_rss=max_rss,
        cpu_time=cpu_time,
        spent=dict(zip(STATUSES, spent, strict=False)),
        status_since=job.create_time if since is None else since,
    )


def array_of(row: tuple[Any, ...]) -> ArraySpec:
    """A row of ARRAY_COLUMNS."""
    (*plain, state, created_at, slurm_job_id, submitted_at, tries, tried_at, next_try_at, waiting,
     released_at, released_boot, expected_start, request_id, filesystems, cpu, memory, slurm,
     cancelled_at, deleted_at, own_memory, own_time, exclude, throttle, uid) = row  # fmt: skip
    pk, batch_id, user_id, tool_id, ordinal, generation, tag, n_tasks = plain
    return ArraySpec(
        pk=pk,
        batch_id=batch_id,
        user_id=user_id,
        tool_id=tool_id,
        ordinal=ordinal,
        generation=generation,
        tag=tag,
        n_tasks=n_tasks,
        state=ArrayState(state),
        hardware=_hardware(filesystems, cpu, own_memory or memory),
        slurm=_options(slurm, own_time),
        created_at=created_at,
        slurm_job_id=slurm_job_id,
        submitted_at=submitted_at,
        tries=tries,
        tried_at=tried_at,
        next_try_at=next_try_at,
        waiting=waiting,
        released_at=released_at,
        released_boot=released_boot,
        cancel=cancelled_at is not None or deleted_at is not None,
        request_id=request_id,
        exclude=exclude,
        throttle=throttle,
        expected_start=expected_start,
        uid=uid,
    )


def known_job_of(row: tuple[Any, ...]) -> KnownJob:
    task, code, *rest = row
    return KnownJob(task, STATUSES[code], *rest)


@lru_cache(maxsize=1024)
def _hardware(filesystems: str, cpu: int, memory: int) -> Hardware:
    return Hardware(tuple(json.loads(filesystems)), cpu, memory)


@lru_cache(maxsize=1024)
def _dependencies(text: str) -> tuple[Dependency, ...]:
    return tuple(Dependency(batch_id, DependencyType(kind)) for batch_id, kind in json.loads(text))


@lru_cache(maxsize=1024)
def _options(slurm: str, own_time: int | None = None) -> SlurmOptions:
    options = SlurmOptions(**json.loads(slurm))
    return options if own_time is None else replace(options, time_limit=own_time)
