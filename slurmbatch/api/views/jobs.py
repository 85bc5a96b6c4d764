"""Jobs."""

from __future__ import annotations

from slurmbatch.api.answers import AttemptView, JobView, ListedJob, StatusesView, Times
from slurmbatch.api.views import parts
from slurmbatch.api.views.parts import moment
from slurmbatch.model import Attempt, Batch, Brief, Job, Status


def listed_job(job: Job) -> ListedJob:
    return {
        "job_id": job.job_id,
        "log_id": job.log_id,
        "args": dict(job.args),
        "status": job.status,
        "reason": job.reason,
        "index": job.index,
        "create_time": moment(job.create_time),
        "start_time": moment(job.start_time),
        "stop_time": moment(job.stop_time),
        "exit_code": job.exit_code,
    }


def job(job: Job) -> JobView:
    return {
        "job_id": job.job_id,
        "log_id": job.log_id,
        "hardware": parts.hardware(job),
        "args": dict(job.args),
        "status": job.status,
        "reason": job.reason,
        "create_time": moment(job.create_time),
        "start_time": moment(job.start_time),
        "stop_time": moment(job.stop_time),
        "batch_id": job.batch_id,
        "index": job.index,
        "exit_code": job.exit_code,
        "signal": job.signal,
        "slurm_job_id": job.slurm_job_id,
        "slurm_state": job.slurm_state,
        "node_list": job.node_list,
        "attempt": job.attempt,
        "attempts": [_attempt(each) for each in job.attempts],
        "never_runs": job.never_runs,
        "expected_start": moment(job.expected_start),
        "elapsed": parts.seconds(job.elapsed),
        "max_rss": job.max_rss,
        "cpu_time": job.cpu_time,
        "time_in_status": _times(job),
        "time_limit": job.time_limit,
    }


def statuses(batch: Batch, brief: Brief) -> StatusesView:
    return {
        "batch_id": batch.batch_id,
        "n_jobs": batch.n_jobs,
        "version": batch.etag,
        "created_at": moment(batch.created_at),
        "statuses": brief.statuses.decode("ascii"),
        "started": list(brief.started),
        "stopped": list(brief.stopped),
    }


def _times(job: Job) -> Times:
    spent = job.time_in_status
    return {
        "SUBMITTED": round(spent[Status.SUBMITTED]),
        "PENDING": round(spent[Status.PENDING]),
        "RUNNABLE": round(spent[Status.RUNNABLE]),
        "STARTING": round(spent[Status.STARTING]),
        "RUNNING": round(spent[Status.RUNNING]),
    }


def _attempt(attempt: Attempt) -> AttemptView:
    return {
        "attempt": attempt.attempt,
        "reason": attempt.reason,
        "slurm_state": attempt.slurm_state,
        "start_time": moment(attempt.start_time),
        "stop_time": moment(attempt.stop_time),
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
        "node_list": attempt.node_list,
        "slurm_job_id": attempt.slurm_job_id,
        "max_rss": attempt.max_rss,
        "cpu_time": attempt.cpu_time,
        "memory": attempt.memory,
        "time_limit": attempt.time_limit,
    }
