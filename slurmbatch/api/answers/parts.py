"""What several answers have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from slurmbatch.model import ArgValue

Time = Annotated[
    str, Field(description='RFC 3339 in UTC, such as 2026-11-23T14:03:07Z; "" while there is none.')
]


Arguments = dict[str, ArgValue]


class ListedHardware(TypedDict):
    filesystems: list[str]
    cpu: int
    memory: Annotated[int, Field(description="MiB per job.")]


class HardwareView(TypedDict):
    filesystems: list[str]
    memory: Annotated[int, Field(description="MiB per job.")]
    cpu: int


class SlurmView(TypedDict):
    time_limit: Annotated[int | None, Field(description="Minutes; null: Slurm's own default.")]
    partition: str
    account: str
    qos: str
    gpus: int


class Counts(TypedDict):
    """How many jobs of the batch have each status; they add up to n_jobs."""

    SUBMITTED: int
    PENDING: int
    RUNNABLE: int
    STARTING: int
    RUNNING: int
    SUCCEEDED: int
    FAILED: int


class RetryPolicyView(TypedDict):
    """Which failed jobs are run again by themselves. A factor of null: none that ended so."""

    max_attempts: int
    node_failures: bool
    memory_factor: float | None
    time_factor: float | None
