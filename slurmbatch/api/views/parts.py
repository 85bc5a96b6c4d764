"""What several answers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from slurmbatch.api.answers import Counts, HardwareView, RetryPolicyView, SlurmView
from slurmbatch.model import Batch, Job, RetryPolicy, SlurmOptions, Status


def moment(at: float | None) -> str:
    return "" if at is None else _moment(int(at))


# The same few seconds again and again: strftime is what costs most of such an answer.
@lru_cache(maxsize=4096)
def _moment(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)


def hardware(of: Batch | Job) -> HardwareView:
    return {
        "filesystems": list(of.hardware.filesystems),
        "memory": of.hardware.memory,
        "cpu": of.hardware.cpu,
    }


def slurm(options: SlurmOptions) -> SlurmView:
    return {
        "time_limit": options.time_limit,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "gpus": options.gpus,
    }


def retry(policy: RetryPolicy) -> RetryPolicyView:
    return {
        "max_attempts": policy.max_attempts,
        "node_failures": policy.node_failures,
        "memory_factor": policy.memory_factor,
        "time_factor": policy.time_factor,
    }


def counts(batch: Batch) -> Counts:
    return by_status(batch.counts)


def by_status(counts: Mapping[Status, int]) -> Counts:
    return {
        "SUBMITTED": counts.get(Status.SUBMITTED, 0),
        "PENDING": counts.get(Status.PENDING, 0),
        "RUNNABLE": counts.get(Status.RUNNABLE, 0),
        "STARTING": counts.get(Status.STARTING, 0),
        "RUNNING": counts.get(Status.RUNNING, 0),
        "SUCCEEDED": counts.get(Status.SUCCEEDED, 0),
        "FAILED": counts.get(Status.FAILED, 0),
    }
