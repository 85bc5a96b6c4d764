"""Batches."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from slurmbatch import summary
from slurmbatch.api.answers import (
    BatchView,
    DependencyView,
    ListedBatch,
    NotificationView,
    ReasonView,
    Summary,
    TrialView,
)
from slurmbatch.api.views import parts
from slurmbatch.api.views.parts import moment
from slurmbatch.model import Batch, Notification, Trial
from slurmbatch.summary import Facts


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
        "slurm": parts.slurm(batch.slurm),
        "stale_since": moment(batch.stale_since),
        "submitted_jobs": parts.counts(batch),
        "canary": batch.canary,
        "retry": parts.retry(batch.retry),
        "user": batch.user_id,
    }


def batch(batch: Batch) -> BatchView:
    return {
        "batch_id": batch.batch_id,
        "tool_id": batch.tool_id,
        "n_jobs": batch.n_jobs,
        "hardware": parts.hardware(batch),
        "n_submitted": batch.n_submitted,
        "submitted_jobs": parts.counts(batch),
        "name": batch.name,
        "created_at": moment(batch.created_at),
        "finished_at": moment(batch.finished_at),
        "cancelled": batch.cancelled_at is not None,
        "slurm": parts.slurm(batch.slurm),
        "stale_since": moment(batch.stale_since),
        "version": batch.etag,
        "canary": batch.canary,
        **_summary(batch),
        "depends_on": _dependencies(batch),
        "retry": parts.retry(batch.retry),
        "max_parallel": batch.max_parallel,
        "user": batch.user_id,
    }


def trial(trial: Trial) -> TrialView:
    batch = trial.batch
    return {
        "tool_id": batch.tool_id,
        "n_jobs": batch.n_jobs,
        "hardware": parts.hardware(batch),
        "name": batch.name,
        "slurm": parts.slurm(batch.slurm),
        "canary": batch.canary,
        "depends_on": _dependencies(batch),
        "retry": parts.retry(batch.retry),
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
