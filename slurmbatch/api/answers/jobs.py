"""Jobs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from slurmbatch.api.answers.parts import Arguments, HardwareView, Time
from slurmbatch.model import Status


class ListedJob(TypedDict):
    """A job in a list."""

    job_id: str
    log_id: str
    args: Arguments
    status: Status
    reason: str
    index: int
    create_time: Time
    start_time: Time
    stop_time: Time
    exit_code: int | None


MaxRss = Annotated[
    float | None,
    Field(description="The most memory that a step of it had, in MiB; null while it is unknown."),
]


CpuTime = Annotated[
    float | None, Field(description="Seconds of CPU time; null while it is unknown.")
]


class AttemptView(TypedDict):
    """An earlier run of a job, which was retried, or put back into its queue by Slurm."""

    attempt: int
    reason: str
    slurm_state: str
    start_time: Time
    stop_time: Time
    exit_code: int | None
    signal: int | None
    node_list: str
    slurm_job_id: str
    max_rss: MaxRss
    cpu_time: CpuTime
    memory: Annotated[int, Field(description="MiB that it had asked for.")]
    time_limit: Annotated[int | None, Field(description="Minutes; null: Slurm's own default.")]


class Times(TypedDict):
    """Seconds in each status that is no end, of all runs together."""

    SUBMITTED: int
    PENDING: int
    RUNNABLE: int
    STARTING: int
    RUNNING: int


class JobView(TypedDict):
    """A job: one task of a Slurm job array."""

    job_id: str
    log_id: str
    hardware: HardwareView
    args: Arguments
    status: Status
    reason: Annotated[str, Field(description="Why it is pending, or how it failed, in words.")]
    create_time: Time
    start_time: Time
    stop_time: Time
    batch_id: str
    index: int
    exit_code: int | None
    signal: int | None
    slurm_job_id: str
    slurm_state: Annotated[str, Field(description="The state in Slurm's own words.")]
    node_list: str
    attempt: Annotated[int, Field(description="Which run of it this is, from 1.")]
    attempts: Annotated[list[AttemptView], Field(description="The runs before this one.")]
    never_runs: Annotated[bool, Field(description="It waits and will never run as it is.")]
    expected_start: Annotated[
        Time, Field(description="When Slurm expects to start it, while it waits and Slurm says.")
    ]
    elapsed: Annotated[
        int | None, Field(description="Seconds since its start, or from its start to its end.")
    ]
    max_rss: MaxRss
    cpu_time: CpuTime
    time_in_status: Times
    time_limit: Annotated[int | None, Field(description="Minutes; null: Slurm's own default.")]


class StatusesView(TypedDict):
    """All jobs of a batch in brief, in the order of their indices."""

    batch_id: str
    n_jobs: int
    version: str
    created_at: Time
    statuses: Annotated[
        str,
        Field(description="A digit for each job: its status, 0 for SUBMITTED to 6 for FAILED."),
    ]
    started: Annotated[
        list[int],
        Field(description="Seconds from created_at to the start of each; -1: it has not started."),
    ]
    stopped: Annotated[
        list[int],
        Field(description="Seconds from created_at to the end of each; -1: it has not ended."),
    ]
