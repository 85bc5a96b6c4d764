"""From the domain's values to the shapes of the answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from slurmbatch import summary
from slurmbatch.api.answers import (
    ActView,
    AttemptView,
    BatchView,
    BusyView,
    Counts,
    DependencyView,
    FilesystemView,
    HardwareView,
    JobView,
    KeyView,
    ListedBatch,
    ListedJob,
    NewKeyView,
    NotificationView,
    OutageView,
    ParameterView,
    ReasonView,
    RetryPolicyView,
    ServiceView,
    SlurmView,
    StatusesView,
    Summary,
    Times,
    ToolView,
    TrialView,
)
from slurmbatch.model import (
    Act,
    ApiKey,
    Attempt,
    Batch,
    Brief,
    Busy,
    Caller,
    Filesystem,
    Job,
    Notification,
    Outage,
    Overview,
    Parameter,
    RetryPolicy,
    Scope,
    SlurmOptions,
    Status,
    Tool,
    Trial,
)
from slurmbatch.summary import Facts


def moment(at: float | None) -> str:
    return "" if at is None else _moment(int(at))


# The same few seconds again and again: strftime is what costs most of such an answer.
@lru_cache(maxsize=4096)
def _moment(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def listed_batch(batch: Batch) -> ListedBatch:
    hardware = batch.hardware
    return {
        "batch_id": batch.batch_id,
        "tool_id": batch.tool_id,
        "n_jobs": batch.n_jobs,
        "hardware": {
            "filesystems": list(hardware.filesystems),
            "cpu": hardware.cpu,
            "memory": hardware.memory,
        },
        "name": batch.name,
        "created_at": moment(batch.created_at),
        "finished_at": moment(batch.finished_at),
        "cancelled": batch.cancelled_at is not None,
        "slurm": _slurm(batch.slurm),
        "stale_since": moment(batch.stale_since),
        "submitted_jobs": _counts(batch),
        "canary": batch.canary,
        "retry": _retry(batch.retry),
        "user": batch.user_id,
    }


def batch(batch: Batch) -> BatchView:
    return {
        "batch_id": batch.batch_id,
        "tool_id": batch.tool_id,
        "n_jobs": batch.n_jobs,
        "hardware": _hardware(batch),
        "n_submitted": batch.n_submitted,
        "submitted_jobs": _counts(batch),
        "name": batch.name,
        "created_at": moment(batch.created_at),
        "finished_at": moment(batch.finished_at),
        "cancelled": batch.cancelled_at is not None,
        "slurm": _slurm(batch.slurm),
        "stale_since": moment(batch.stale_since),
        "version": batch.etag,
        "canary": batch.canary,
        **_summary(batch),
        "depends_on": _dependencies(batch),
        "retry": _retry(batch.retry),
        "max_parallel": batch.max_parallel,
        "user": batch.user_id,
    }


def trial(trial: Trial) -> TrialView:
    batch = trial.batch
    return {
        "tool_id": batch.tool_id,
        "n_jobs": batch.n_jobs,
        "hardware": _hardware(batch),
        "name": batch.name,
        "slurm": _slurm(batch.slurm),
        "canary": batch.canary,
        "depends_on": _dependencies(batch),
        "retry": _retry(batch.retry),
        "max_parallel": batch.max_parallel,
        "n_arrays": trial.n_arrays,
        "expected_start": moment(trial.estimate.start),
        "expected_nodes": trial.estimate.nodes,
        "reason": trial.reason,
    }


def _dependencies(batch: Batch) -> list[DependencyView]:
    return [{"batch_id": each.batch_id, "type": each.type} for each in batch.depends_on]


def reasons(batch: Batch) -> list[ReasonView]:
    """Why its jobs wait or have failed."""
    return _summary(batch)["reasons"]


def notification(made: Notification) -> NotificationView:
    return {
        "event": made.event,
        "host": made.host,
        "state": made.state.value,
        "attempts": made.attempts,
        "last_error": made.last_error,
        "occurred_at": moment(made.occurred_at),
        "last_at": moment(made.last_at),
        "next_at": moment(made.next_at),
    }


def _summary(batch: Batch) -> Summary:
    if batch.summary:
        return _said(batch.summary)
    limit = batch.slurm.time_limit
    return _shown(summary.document(Facts(batch.batch_id, batch.n_jobs, batch.hardware, limit)))


# What many watch is taken apart once.
@lru_cache(maxsize=256)
def _said(text: str) -> Summary:
    return _shown(json.loads(text))


def _shown(said: dict[str, Any]) -> Summary:
    return {
        "reasons": said["reasons"],
        "usage": said["usage"],
        "expected_end": moment(said["expected_end"]),
    }


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
        "hardware": _hardware(job),
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
        "elapsed": _seconds(job.elapsed),
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


def _seconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)


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


def tool(tool: Tool) -> ToolView:
    hardware, slurm = tool.hardware, tool.slurm
    return {
        "id": tool.id,
        "description": tool.description,
        "parameters": [_parameter(each) for each in tool.parameters],
        "hardware": {
            "filesystems": list(hardware.filesystems),
            "cpu": hardware.cpu,
            "memory": hardware.memory,
            "max_cpu": hardware.max_cpu,
            "max_memory": hardware.max_memory,
        },
        "slurm": {
            "default": _slurm(slurm.default),
            "partitions": list(slurm.partitions),
            "accounts": list(slurm.accounts),
            "qos": list(slurm.qos),
            "max_time_limit": slurm.max_time_limit,
            "max_gpus": slurm.max_gpus,
        },
        "retry": _retry(tool.retry),
    }


def key(key: ApiKey, caller: Caller) -> KeyView:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": [str(each) for each in Scope if each in key.scopes],
        "created_at": moment(key.created_at),
        "expires_at": moment(key.expires_at),
        "last_used_at": moment(key.used_at),
        "revoked_at": moment(key.revoked_at),
        "current": key.key_id == caller.key_id,
    }


def new_key(kept: ApiKey, caller: Caller, secret: str) -> NewKeyView:
    return {**key(kept, caller), "key": secret}


def service(seen: Overview) -> ServiceView:
    oldest, looks = seen.oldest_intent, seen.looks
    age = None if oldest is None else max(0, int(seen.at - oldest))
    return {
        "at": moment(seen.at),
        "began_at": moment(seen.began),
        "intents": {"arrays": seen.intents, "jobs": seen.intent_jobs, "oldest_age_seconds": age},
        "live_batches": seen.batches,
        "submitted_jobs": _by_status(seen.counts),
        "looks": {
            "last_minute": len(looks),
            "mean_seconds": round(sum(looks) / len(looks), 3) if looks else None,
            "longest_seconds": round(max(looks), 3) if looks else None,
        },
        "users": [_busy(each) for each in seen.users],
        "outages": [_outage(each) for each in seen.outages],
        "audit": [_act(each) for each in seen.acts],
    }


def _busy(user: Busy) -> BusyView:
    return {
        "user": user.user_id,
        "live_jobs": user.live,
        "live_batches": user.batches,
        "submitted_jobs": _by_status(user.counts),
    }


def _outage(outage: Outage) -> OutageView:
    return {
        "source": outage.source,
        "began_at": moment(outage.began),
        "ended_at": moment(outage.ended),
        "error": outage.error,
    }


def _act(act: Act) -> ActView:
    return {
        "at": moment(act.at),
        "user": act.user_id,
        "what": act.what,
        "target": act.target,
        "owner": act.owner,
        "outcome": act.outcome,
        "credential": act.credential,
        "remote": act.remote,
        "request_id": act.request_id,
        "detail": act.detail,
    }


def filesystem(filesystem: Filesystem) -> FilesystemView:
    return {
        "id": filesystem.id,
        "path": filesystem.path,
        "description": filesystem.description,
    }


def _hardware(of: Batch | Job) -> HardwareView:
    return {
        "filesystems": list(of.hardware.filesystems),
        "memory": of.hardware.memory,
        "cpu": of.hardware.cpu,
    }


def _slurm(options: SlurmOptions) -> SlurmView:
    return {
        "time_limit": options.time_limit,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "gpus": options.gpus,
    }


def _retry(policy: RetryPolicy) -> RetryPolicyView:
    return {
        "max_attempts": policy.max_attempts,
        "node_failures": policy.node_failures,
        "memory_factor": policy.memory_factor,
        "time_factor": policy.time_factor,
    }


def _counts(batch: Batch) -> Counts:
    return _by_status(batch.counts)


def _by_status(counts: Mapping[Status, int]) -> Counts:
    return {
        "SUBMITTED": counts.get(Status.SUBMITTED, 0),
        "PENDING": counts.get(Status.PENDING, 0),
        "RUNNABLE": counts.get(Status.RUNNABLE, 0),
        "STARTING": counts.get(Status.STARTING, 0),
        "RUNNING": counts.get(Status.RUNNING, 0),
        "SUCCEEDED": counts.get(Status.SUCCEEDED, 0),
        "FAILED": counts.get(Status.FAILED, 0),
    }


def _parameter(parameter: Parameter) -> ParameterView:
    return {
        "name": parameter.name,
        "type": parameter.type,
        "description": parameter.description,
        "required": parameter.required,
        "default": parameter.default,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "max_length": parameter.max_length,
        "pattern": parameter.pattern,
        "choices": list(parameter.choices),
    }
