"""What the service gives: its fields, as types. It may add more of them."""

from __future__ import annotations

from typing import Any, TypedDict

ArgValue = str | int | float | bool


class Hardware(TypedDict):
    """What each job has; memory in MiB."""

    filesystems: list[str]
    cpu: int
    memory: int


class ListedBatch(TypedDict):
    """A batch in a list. Times are RFC 3339 in UTC, or empty.

    `stale_since`: Slurm cannot be asked since then, so what is shown may be out of date.
    """

    batch_id: str
    tool_id: str
    n_jobs: int
    hardware: Hardware
    name: str
    created_at: str
    finished_at: str
    cancelled: bool
    slurm: dict[str, Any]
    stale_since: str


class Batch(ListedBatch):
    """A batch. `submitted_jobs` counts its jobs by status, and adds up to `n_jobs`."""

    n_submitted: int
    submitted_jobs: dict[str, int]


class ListedJob(TypedDict):
    """A job in a list."""

    job_id: str
    log_id: str
    args: dict[str, ArgValue]
    status: str
    reason: str
    index: int
    create_time: str
    start_time: str
    stop_time: str
    exit_code: int | None


class Job(ListedJob):
    """A job."""

    hardware: Hardware
    batch_id: str
    signal: int | None
    slurm_job_id: str
    slurm_state: str
    node_list: str
    attempt: int
    attempts: list[dict[str, Any]]


class Tool(TypedDict):
    """What can be run."""

    id: str
    description: str
    parameters: list[dict[str, Any]]
    hardware: dict[str, Any]
    slurm: dict[str, Any]


class Mistake(TypedDict):
    """One mistake in what was sent: a JSON pointer to it, and what was expected."""

    pointer: str
    detail: str
