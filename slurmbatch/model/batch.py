"""A batch and its jobs, as they are shown."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from slurmbatch.model.offers import Hardware, RetryPolicy, SlurmOptions
from slurmbatch.model.wishes import Dependency
from slurmbatch.model.words import ArgValue, Status


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it is kept. `counts` has all seven statuses and adds up to `n_jobs`; `summary` is
    what it says of its jobs as a whole (`slurmbatch.summary`), in JSON.

    `canary`: so many of its jobs, the first ones, go before the others, which wait until all of
    those have succeeded; 0: none.

    `stale_since`: since when what is shown may be out of date, because Slurm cannot be asked.
    """

    batch_id: str
    user_id: str
    tool_id: str
    name: str
    n_jobs: int
    hardware: Hardware
    slurm: SlurmOptions
    created_at: float
    version: int
    n_submitted: int
    counts: Mapping[Status, int]
    cancelled_at: float | None = None
    finished_at: float | None = None
    stale_since: float | None = None
    canary: int = 0
    summary: str = ""
    depends_on: tuple[Dependency, ...] = ()
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    max_parallel: int | None = None

    @property
    def etag(self) -> str:
        """Changes with whatever is shown of the batch."""
        return etag(self.version, self.stale_since)


def etag(version: int, stale_since: float | None) -> str:
    return f"{version}" if stale_since is None else f"{version}-{int(stale_since)}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """An earlier run of a job, before a retry or before Slurm put it back into its queue; numbered
    from 1."""

    attempt: int
    reason: str
    slurm_state: str
    start_time: float | None
    stop_time: float | None
    exit_code: int | None
    signal: int | None
    node_list: str
    slurm_job_id: str = ""
    max_rss: float | None = None
    cpu_time: float | None = None
    memory: int = 0
    time_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a batch: one array task in Slurm. Times are None until they are known.

    `attempt` numbers its runs from 1. What follows it is there where the one job was asked for:
    `attempts` are the earlier runs, `max_rss` is MiB and `cpu_time` seconds, `spent` the seconds in
    each status up to `status_since`, when it came to the one that it has now; `as_of` is the time
    for which all of it is told.
    """

    batch_id: str
    index: int
    args: Mapping[str, ArgValue]
    hardware: Hardware
    status: Status
    reason: str
    create_time: float
    start_time: float | None = None
    stop_time: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    slurm_job_id: str = ""
    slurm_state: str = ""
    node_list: str = ""
    attempt: int = 1
    attempts: tuple[Attempt, ...] = ()
    never_runs: bool = False
    expected_start: float | None = None
    max_rss: float | None = None
    cpu_time: float | None = None
    spent: Mapping[Status, float] = field(default_factory=dict)
    status_since: float | None = None
    as_of: float | None = None
    time_limit: int | None = None

    @property
    def job_id(self) -> str:
        return job_id(self.batch_id, self.index)

    @property
    def elapsed(self) -> float | None:
        """Seconds since it started, or from its start to its end; None if it has not started."""
        until = self.as_of if self.stop_time is None else self.stop_time
        if self.start_time is None or until is None:
            return None
        return max(0.0, until - self.start_time)

    @property
    def time_in_status(self) -> dict[Status, float]:
        """Seconds in each status that is no end, the one that it has now up to `as_of`."""
        spent = {status: self.spent.get(status, 0.0) for status in Status if not status.ended}
        if self.status in spent and self.as_of is not None and self.status_since is not None:
            spent[self.status] += max(0.0, self.as_of - self.status_since)
        return spent

    @property
    def log_id(self) -> str:
        return log_id(self.batch_id, self.index)


def job_id(batch_id: str, index: int) -> str:
    return f"{batch_id}-{index}"


def log_id(batch_id: str, index: int) -> str:
    return f"{batch_id}-{index}.log"


def parse_job_id(text: str) -> tuple[str, int] | None:
    """The batch id and the index in a job id; None if it is none (no zero-padded twins)."""
    batch_id, dash, digits = text.rpartition("-")
    if not dash or not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        return None
    index = int(digits)
    return (batch_id, index) if str(index) == digits else None


def parse_log_id(text: str) -> tuple[str, int] | None:
    """The batch id and the index in a log id; None if it is none."""
    return parse_job_id(text.removesuffix(".log")) if text.endswith(".log") else None


@dataclass(frozen=True, slots=True)
class Estimate:
    """When and where Slurm would start something; None and "": it does not say."""

    start: float | None = None
    nodes: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a batch would be that has not been made. `reason`: why Slurm would not take it now."""

    batch: Batch
    n_arrays: int
    estimate: Estimate
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Brief:
    """All jobs of a batch in the order of their indices, as little as there is to be told of each.

    `statuses` has a digit for each, its place in `Status`; the times are whole seconds after the
    batch was made, -1 where there is none.
    """

    statuses: bytes
    started: array[int]
    stopped: array[int]
