"""What slurmbatch talks about, as frozen values. Times are seconds since the epoch (UTC).

Memory is MiB per job, `cpu` is CPUs per job, time limits are minutes: Slurm's own units.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from slurmbatch.limits import ToolLimits

ArgValue = str | int | float | bool

# The most that Slurm takes as it is meant. More it cuts off without a word: 4294967297 CPUs become
# one, and a time limit that does not fit, in seconds and rounded up to a whole minute, into 31 bits
# becomes a minute, or none at all.
MAX_CPU = 65_533
MAX_MEMORY = 2**31 - 1
MAX_TIME_LIMIT = (2**31 - 60) // 60
MAX_GPUS = 65_535
# Of retries: how often a job may be run at most, and how many times more it may ask for at once.
MAX_ATTEMPTS = 20
MAX_FACTOR = 100
MAX_PARALLEL = 2**31 - 1


class Status(StrEnum):
    """The documented vocabulary, in the order in which a job moves through it."""

    SUBMITTED = "SUBMITTED"
    PENDING = "PENDING"
    RUNNABLE = "RUNNABLE"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        return self in (Status.SUCCEEDED, Status.FAILED)


class ArrayState(StrEnum):
    """How far the hand-over of one Slurm job array has come.

    BLOCKED: on our disk only, and not to be handed over yet; its gate says what it waits for.
    INTENT: on our disk only, or of unknown fate. HELD: Slurm has it, held, under a known id.
    RELEASING: we are about to let it go, or have. QUEUED: seen not held. DONE: every task ended.
    REFUSED: Slurm will not have it.
    """

    BLOCKED = "BLOCKED"
    INTENT = "INTENT"
    HELD = "HELD"
    RELEASING = "RELEASING"
    QUEUED = "QUEUED"
    DONE = "DONE"
    REFUSED = "REFUSED"


class Gate(StrEnum):
    """What a blocked array waits for. CANARY: the success of the first jobs of its batch. PARENTS:
    the batches that its own depends on. THROTTLE: other arrays of its batch."""

    CANARY = "canary"
    PARENTS = "parents"
    THROTTLE = "throttle"


class Scope(StrEnum):
    """What credentials are good for. READ: to look. SUBMIT: to change something of one's own.
    ADMIN: what administrators may do beside that."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"


USUAL_SCOPES = frozenset((Scope.READ, Scope.SUBMIT))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `credential` names the key or the token's issuer, for logs; it is no secret.

    `scopes`: what they may do with it. `key_id`: of the API key, if it is one, which stops to work
    at `expires_at`. `remote`: the address that the request came from. `once`: the
    credential is used up with this.
    """

    user_id: str
    credential: str
    scopes: frozenset[Scope] = USUAL_SCOPES
    key_id: str = ""
    expires_at: float | None = None
    remote: str = field(default="", compare=False)
    once: bool = field(default=False, compare=False)

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class Act:
    """What the audit trail keeps: who did what to what, from where, with which credential.

    `what`: its kind, such as `batch.cancel`. `target`: the id of what it was done to; `owner`:
    whose that is.
    """

    at: float
    user_id: str
    what: str
    target: str = ""
    owner: str = ""
    outcome: Literal["done", "refused"] = "done"
    credential: str = ""
    remote: str = ""
    request_id: str = ""
    detail: str = ""


def act_of(caller: Caller, at: float, what: str, target: str = "", **more: Any) -> Act:
    """What a caller does, to what is their own unless it is said."""
    told = {"owner": caller.user_id, "credential": caller.credential, "remote": caller.remote}
    return Act(at, caller.user_id, what, target, **{**told, **more})


@dataclass(frozen=True, slots=True)
class Outage:
    """That something we depend on, or a thread of ours, failed. `ended` None: it does so still."""

    source: str
    began: float
    ended: float | None
    error: str


@dataclass(frozen=True, slots=True)
class Busy:
    """What one user has of batches that have not ended, and their jobs by status."""

    user_id: str
    batches: int
    counts: Mapping[Status, int]

    @property
    def live(self) -> int:
        ended = self.counts[Status.SUCCEEDED] + self.counts[Status.FAILED]
        return sum(self.counts.values()) - ended


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole service at one look. `intents` are arrays that wait to be handed over, the oldest
    of them made at `oldest_intent`; `looks` the seconds that each look at Slurm of the last minute
    has taken. Users with the most live jobs, outages and acts of the newest come first."""

    at: float
    began: float
    intents: int
    intent_jobs: int
    oldest_intent: float | None
    batches: int
    counts: Mapping[Status, int]
    looks: Sequence[float]
    users: Sequence[Busy]
    outages: Sequence[Outage]
    acts: Sequence[Act]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: never the secret, only its SHA-256.

    `made_with`: the id of the key that it was made with, and with which it is revoked.
    """

    key_id: str
    user_id: str
    secret_hash: bytes
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    name: str = ""
    scopes: frozenset[Scope] = USUAL_SCOPES
    used_at: float | None = None
    made_with: str = ""

    def state(self, now: float) -> Literal["active", "expired", "revoked"]:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as it was asked for. None: as it comes to whoever asks."""

    name: str = ""
    scopes: frozenset[Scope] | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Hardware:
    filesystems: tuple[str, ...]
    cpu: int
    memory: int


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """The options of sbatch that a batch may choose. Empty or None: Slurm's own default."""

    time_limit: int | None = None
    partition: str = ""
    account: str = ""
    qos: str = ""
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Filesystem:
    """A filesystem that jobs may need, and what that means to Slurm. `groups`: for the members of
    these Unix groups alone; None: for all."""

    id: str
    path: str
    description: str = ""
    feature: str = ""
    licence: str = ""
    groups: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """A declared argument of a tool; it reaches the tool as the environment variable `name`."""

    name: str
    type: Literal["string", "integer", "number", "boolean"]
    description: str = ""
    required: bool = False
    default: ArgValue | None = None
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None
    pattern: str = ""
    choices: tuple[ArgValue, ...] = ()


@dataclass(frozen=True, slots=True)
class HardwareLimits:
    """A tool's own default hardware (None: the batch must say) and the most it may ask for."""

    cpu: int | None = None
    memory: int | None = None
    filesystems: tuple[str, ...] = ()
    max_cpu: int | None = None
    max_memory: int | None = None


@dataclass(frozen=True, slots=True)
class SlurmLimits:
    """A tool's default Slurm options and what a batch may choose instead.

    An empty tuple allows nothing but the default; `("*",)` allows anything.
    """

    default: SlurmOptions = field(default_factory=SlurmOptions)
    partitions: tuple[str, ...] = ("*",)
    accounts: tuple[str, ...] = ("*",)
    qos: tuple[str, ...] = ("*",)
    max_time_limit: int | None = None
    max_gpus: int = 0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Which failed jobs are run again by themselves.

    `max_attempts`: the runs of a job that count, at most. `node_failures`: one whose node failed,
    or that was preempted, is run again, which does not count. With the factors one that ran out of
    memory or time gets so many times what it had, up to the maxima (None: Slurm's).
    """

    max_attempts: int = 1
    node_failures: bool = False
    memory_factor: float | None = None
    time_factor: float | None = None
    max_memory: int | None = None
    max_time_limit: int | None = None

    @property
    def does_anything(self) -> bool:
        return self.node_failures or self.max_attempts > 1


@dataclass(frozen=True, slots=True)
class NewRetryPolicy:
    """The same as it was asked for; None: as the tool has it."""

    max_attempts: int | None = None
    node_failures: bool | None = None
    memory_factor: float | None = None
    time_factor: float | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """What can be run. `script` is its text, or else `path` a program on the nodes. `groups`: by
    the members of these Unix groups alone; None: by all."""

    id: str
    description: str
    script: str = ""
    path: str = ""
    parameters: tuple[Parameter, ...] = ()
    hardware: HardwareLimits = field(default_factory=HardwareLimits)
    slurm: SlurmLimits = field(default_factory=SlurmLimits)
    requeue: bool = False
    retry: RetryPolicy = RetryPolicy()
    groups: tuple[str, ...] | None = None
    limits: ToolLimits = field(default_factory=ToolLimits)

    def parameter(self, name: str) -> Parameter | None:
        return next((p for p in self.parameters if p.name == name), None)


class DependencyType(StrEnum):
    """What a batch waits for. AFTEROK: that all jobs of the other one have succeeded; AFTERANY:
    that they have ended; AFTERCORR: each job, that the one at its own place there has succeeded."""

    AFTEROK = "afterok"
    AFTERANY = "afterany"
    AFTERCORR = "aftercorr"


@dataclass(frozen=True, slots=True)
class Dependency:
    """On another batch of the same user; `pointer`: where it stands in the body that asks."""

    batch_id: str
    type: DependencyType = DependencyType.AFTEROK
    pointer: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch as it was asked for: shapes are right, meanings are not checked yet.

    `None` stands for a field that was not given, or whose shape was wrong (then `Fault`s with its
    pointer exist already).
    """

    tool_id: str | None
    name: str = ""
    fixed_args: Mapping[str, ArgValue] = field(default_factory=dict)
    variable_args: Collection[Mapping[str, ArgValue]] = ()
    filesystems: tuple[str, ...] | None = None
    cpu: int | None = None
    memory: int | None = None
    time_limit: int | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    gpus: int | None = None
    canary: int | None = None
    depends_on: tuple[Dependency, ...] = ()
    notify_url: str | None = None
    notify_on: tuple[str, ...] | None = None
    retry: NewRetryPolicy = NewRetryPolicy()
    max_parallel: int | None = None
    args_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Retry:
    """What of a batch is to be run again, and with what.

    No `reasons`: failed in whatever way. `indices` None: all. Factors of 1: as it was.
    """

    reasons: frozenset[str] = frozenset()
    indices: frozenset[int] | None = None
    memory_factor: float = 1.0
    time_factor: float = 1.0
    exclude_failed_nodes: bool = False
    exclude_nodes: tuple[str, ...] = ()


EVENTS = ("finished", "first_failure")


@dataclass(frozen=True, slots=True)
class Notify:
    """Where to tell of a batch, and of which events. `host` is the address without its path."""

    url: str
    host: str
    on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is to be told: the event, and the batch as it is now."""

    delivery_id: str
    event: str
    occurred_at: float
    tries: int
    url: str
    host: str
    batch_id: str
    user_id: str
    tool_id: str
    name: str
    n_jobs: int
    cancelled: bool
    counts: Mapping[Status, int]


class DeliveryState(StrEnum):
    """What has become of a notification."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Notification:
    """One that was made, for its batch's owner: `last_at` and `last_error` are of the last try,
    `next_at` is when it is tried again."""

    event: str
    host: str
    state: DeliveryState
    attempts: int
    last_error: str
    occurred_at: float
    last_at: float | None
    next_at: float | None


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
    retry: RetryPolicy = RetryPolicy()
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
class Page:
    """Which of somebody's batches, newest first: so many at most (None: all), those older than
    `after` (a batch id), with a job of the status, of the tool, of the name."""

    limit: int | None = None
    after: str | None = None
    status: Status | None = None
    tool_id: str | None = None
    name: str | None = None


ALL_BATCHES = Page()


@dataclass(frozen=True, slots=True)
class Brief:
    """All jobs of a batch in the order of their indices, as little as there is to be told of each.

    `statuses` has a digit for each, its place in `Status`; the times are whole seconds after the
    batch was made, -1 where there is none.
    """

    statuses: bytes
    started: array[int]
    stopped: array[int]


@dataclass(frozen=True, slots=True)
class SlurmFacts:
    """What a cluster says of itself; asked at the start and now and then."""

    version: str
    max_array_size: int
    max_job_count: int
    min_job_age: int
    boot_time: str
    cluster: str = ""
