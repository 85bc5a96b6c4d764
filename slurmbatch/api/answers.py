"""What the answers look like: the documented fields in the documented order, then our own.

These shapes are the source of the OpenAPI document, and mypy holds `views` to them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from slurmbatch.model import ArgValue, DependencyType, Status

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


class ParameterView(TypedDict):
    """A parameter that a tool declares. null or an empty value: no such limit."""

    name: str
    type: Literal["string", "integer", "number", "boolean"]
    description: str
    required: bool
    default: ArgValue | None
    minimum: float | None
    maximum: float | None
    max_length: int | None
    pattern: str
    choices: list[ArgValue]


class ToolHardware(TypedDict):
    """The hardware that a batch gets if it does not say, and the most that it may ask for."""

    filesystems: list[str]
    cpu: int | None
    memory: int | None
    max_cpu: int | None
    max_memory: int | None


class ToolSlurm(TypedDict):
    """The Slurm options of a batch that does not say, and what it may choose; "*" is anything."""

    default: SlurmView
    partitions: list[str]
    accounts: list[str]
    qos: list[str]
    max_time_limit: int | None
    max_gpus: int


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


class ToolView(TypedDict):
    """What can be run."""

    id: str
    description: str
    parameters: list[ParameterView]
    hardware: ToolHardware
    slurm: ToolSlurm
    retry: RetryPolicyView


class FilesystemView(TypedDict):
    """What may stand in hardware.filesystems."""

    id: str
    path: str
    description: str


class KeyView(TypedDict):
    """An API key of yours, without its secret."""

    key_id: str
    name: str
    scopes: Annotated[list[str], Field(description="Some of read, submit and admin.")]
    created_at: str
    expires_at: str
    last_used_at: Annotated[str, Field(description="As of a minute ago.")]
    revoked_at: str
    current: Annotated[bool, Field(description="Whether it is the one that asks.")]


class NewKeyView(KeyView):
    """A new one, with all of it: that is shown this once."""

    key: Annotated[str, Field(description="What to send in the Authorization header.")]


class IntentsView(TypedDict):
    """Job arrays that wait to be handed to Slurm."""

    arrays: int
    jobs: int
    oldest_age_seconds: Annotated[int | None, Field(description="null: none waits.")]


class LooksView(TypedDict):
    """How often Slurm was asked what lives, and how long it took."""

    last_minute: Annotated[int, Field(description="Looks that ended in the last 60 seconds.")]
    mean_seconds: Annotated[float | None, Field(description="null: there were none.")]
    longest_seconds: float | None


class BusyView(TypedDict):
    """What a user has of batches that have not ended."""

    user: str
    live_jobs: Annotated[int, Field(description="That have not ended themselves.")]
    live_batches: int
    submitted_jobs: Counts


class OutageView(TypedDict):
    """That something which the service depends on, or a thread of its own, failed."""

    source: Annotated[str, Field(description="slurmctld, slurmdbd, or one of our threads.")]
    began_at: Time
    ended_at: Annotated[Time, Field(description="Empty while it goes on.")]
    error: str


class ActView(TypedDict):
    """A row of the audit trail."""

    at: Time
    user: str
    what: str
    target: str
    owner: str
    outcome: Literal["done", "refused"]
    credential: str
    remote: str
    request_id: str
    detail: str


class ServiceView(TypedDict):
    """The whole service at one look."""

    at: Time
    began_at: Annotated[Time, Field(description="When it was started: outages are kept since.")]
    intents: IntentsView
    live_batches: int
    submitted_jobs: Annotated[Counts, Field(description="Of batches that have not ended.")]
    looks: LooksView
    users: Annotated[list[BusyView], Field(description="With most live jobs; 10 at most.")]
    outages: Annotated[list[OutageView], Field(description="The newest first; 50 at most.")]
    audit: Annotated[list[ActView], Field(description="The newest first; 50 at most.")]


class FaultView(TypedDict):
    """One mistake in a body: where, and what was expected."""

    pointer: Annotated[str, Field(description="A JSON pointer (RFC 6901) to the field.")]
    detail: str


class _Problem(TypedDict):
    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str


class LimitView(TypedDict):
    """A limit that is reached: its name, how much it allows, is in use, and was wanted beside."""

    limit: str
    most: int
    used: int
    wanted: int


class ProblemView(_Problem, total=False):
    """RFC 9457. `errors` names every mistake of a body that is not acceptable, `limits` each limit
    that is reached."""

    errors: list[FaultView]
    limits: list[LimitView]


Report = Annotated[dict[str, Any], Field(description="How the parts of the service are.")]
