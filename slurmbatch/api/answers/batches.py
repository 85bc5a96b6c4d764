"""Batches."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from slurmbatch.api.answers.parts import (
    Counts,
    HardwareView,
    ListedHardware,
    RetryPolicyView,
    SlurmView,
    Time,
)
from slurmbatch.model import DependencyType, Status


class ListedBatch(TypedDict):
    """A batch in a list."""

    batch_id: str
    tool_id: str
    n_jobs: int
    hardware: ListedHardware
    name: str
    created_at: Time
    finished_at: Time
    cancelled: bool
    slurm: SlurmView
    stale_since: Time
    submitted_jobs: Counts
    canary: Annotated[int, Field(description="So many jobs go before all others; 0: none.")]
    retry: RetryPolicyView
    user: Annotated[str, Field(description="Whose it is.")]


class ReasonView(TypedDict):
    """Why some of the jobs of a batch wait or have failed."""

    text: Annotated[str, Field(description="All of it, in words.")]
    status: Status
    reason: Annotated[str, Field(description="As it stands with each of these jobs.")]
    n_jobs: int
    node: Annotated[str, Field(description='Where all of them failed; "": not on one node.')]
    job_id: Annotated[str, Field(description="One of those that failed.")]


class ReasonWithLog(ReasonView):
    """The same, and what that job printed last."""

    log: Annotated[str, Field(description="Up to 20 lines.")]


class NotificationView(TypedDict):
    """What somebody was to be told of a batch, and whether it has arrived."""

    event: Annotated[str, Field(description="finished, or first_failure.")]
    host: Annotated[str, Field(description="Where to: scheme, host and port.")]
    state: Annotated[str, Field(description="pending, delivered, or given_up.")]
    attempts: int
    last_error: Annotated[str, Field(description="What came of the last try, unless it arrived.")]
    occurred_at: Annotated[Time, Field(description="When there was something to tell.")]
    last_at: Annotated[Time, Field(description="Of the last try.")]
    next_at: Annotated[Time, Field(description="When it is tried again.")]


class SpreadView(TypedDict):
    """What was asked for, and what jobs used: half of them, 95 of 100, and all at most so much."""

    asked: float | None
    p50: float | None
    p95: float | None
    max: float | None


class UsageView(TypedDict):
    """What the jobs that succeeded used, as far as accounting has told."""

    n_jobs: int
    memory: Annotated[SpreadView, Field(description="MiB.")]
    cpu: Annotated[SpreadView, Field(description="CPUs that were busy, on average.")]
    time: Annotated[SpreadView, Field(description="Seconds.")]
    suggestions: Annotated[list[str], Field(description="What to ask for, in words.")]


class Summary(TypedDict):
    """What a batch says of its jobs as a whole."""

    reasons: Annotated[list[ReasonView], Field(description="Most frequent first, 10 at most.")]
    usage: UsageView
    expected_end: Time


class DependencyView(TypedDict):
    """A batch that this one depends on."""

    batch_id: str
    type: DependencyType


class BatchView(TypedDict):
    """A batch."""

    batch_id: str
    tool_id: str
    n_jobs: int
    hardware: HardwareView
    n_submitted: Annotated[int, Field(description="How many jobs Slurm has accepted.")]
    submitted_jobs: Counts
    name: str
    created_at: Time
    finished_at: Time
    cancelled: bool
    slurm: SlurmView
    stale_since: Time
    version: Annotated[str, Field(description="Another one whenever something here changes.")]
    canary: Annotated[int, Field(description="So many jobs go before all others; 0: none.")]
    reasons: Annotated[list[ReasonView], Field(description="Most frequent first, 10 at most.")]
    usage: UsageView
    expected_end: Annotated[
        Time, Field(description="If what waits takes as long as what has ended did.")
    ]
    depends_on: list[DependencyView]
    retry: RetryPolicyView
    max_parallel: Annotated[
        int | None, Field(description="So many jobs run at once at most; null: no limit.")
    ]
    user: Annotated[str, Field(description="Whose it is.")]


class TrialView(TypedDict):
    """What a batch would be: a dry run, of which nothing is kept."""

    tool_id: str
    n_jobs: int
    hardware: HardwareView
    name: str
    slurm: SlurmView
    canary: int
    depends_on: list[DependencyView]
    retry: RetryPolicyView
    max_parallel: int | None
    n_arrays: Annotated[int, Field(description="Into how many job arrays it would be split.")]
    expected_start: Annotated[
        Time,
        Field(description="When Slurm would start the first jobs, if nothing held them back here."),
    ]
    expected_nodes: Annotated[str, Field(description="And where.")]
    reason: Annotated[str, Field(description="Why Slurm would not take it now; mostly empty.")]
