"""Arrays on their way to Slurm, and what Slurm says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slurmbatch.model.offers import Hardware, SlurmOptions
from slurmbatch.model.words import ArrayState, Status


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One Slurm job array of a batch: tasks 1..n_tasks, run under the unguessable name `tag`.

    `tries` counts the sbatch calls begun for this tag; `waiting` says in words why the hand-over
    waits; `released_boot` is slurmctld's boot time as it was known at the release; `cancel` is the
    tombstone: nothing of it shall run any more. `hardware`, `slurm` and `exclude` (nodes that it is
    not to run on) are its own, which a retry may have made others than the batch's. `throttle` is
    how many of its jobs may run at once, None: all. `uid`: as whom they run, None: the service.
    """

    pk: int
    batch_id: str
    user_id: str
    tool_id: str
    ordinal: int
    generation: int
    tag: str
    n_tasks: int
    state: ArrayState
    hardware: Hardware
    slurm: SlurmOptions
    created_at: float
    slurm_job_id: int | None = None
    submitted_at: float | None = None
    tries: int = 0
    tried_at: float | None = None
    next_try_at: float = 0.0
    waiting: str = ""
    released_at: float | None = None
    released_boot: str = ""
    cancel: bool = False
    request_id: str = ""
    exclude: str = ""
    throttle: int | None = None
    expected_start: float | None = None
    uid: int | None = None


@dataclass(frozen=True, slots=True)
class KnownJob:
    """What we last knew of one array task; `reason` and `slurm_state` as they are stored."""

    task: int
    status: Status
    reason: str
    slurm_state: str
    start_time: float | None
    restarts: int
    expected_start: float | None = None


@dataclass(frozen=True, slots=True)
class JobChange:
    """A new state of one array task. An ended job changes only with `reopen` (a requeue)."""

    task: int
    status: Status
    reason: str
    slurm_state: str = ""
    start_time: float | None = None
    stop_time: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    node_list: str = ""
    restarts: int = 0
    reopen: bool = False
    never_runs: bool = False
    expected_start: float | None = None


@dataclass(frozen=True, slots=True)
class JobReport:
    """What Slurm says of one array task, or of a range of tasks that have not started.

    `state` is the one word that the text output collapses to, `flags` whatever else is known
    (binary or JSON sources). `tasks` holds inclusive ranges of task numbers. Fields that a source
    does not have are None or empty.
    """

    array_job_id: int
    tasks: tuple[tuple[int, int], ...]
    is_range: bool
    state: str
    source: Literal["live", "accounting"]
    flags: frozenset[str] = frozenset()
    reason: str = ""
    tag: str = ""
    uid: int | None = None
    submit_time: float | None = None
    eligible_time: float | None = None
    start_time: float | None = None
    end_time: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    node_list: str = ""
    restarts: int | None = None
    priority: int | None = None
    time_limit: int | None = None
    cancelled_by: int | None = None


@dataclass(frozen=True, slots=True)
class JobUsage:
    """What one array task used, of all its steps: the most memory that one had, in MiB, and the
    seconds of CPU time of all. None: not measured. `tag` is the name that it ran under, and
    `complete` says that no step of it goes on."""

    array_job_id: int
    task: int
    tag: str
    max_rss: float | None
    cpu_time: float | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Submission:
    """Slurm's answer to an accepted sbatch."""

    slurm_job_id: int


@dataclass(frozen=True, slots=True)
class SlurmFacts:
    """What a cluster says of itself; asked at the start and now and then."""

    version: str
    max_array_size: int
    max_job_count: int
    min_job_age: int
    boot_time: str
    cluster: str = ""
