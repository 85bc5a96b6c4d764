"""What is asked for: a new batch, a retry, a page of a list."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from slurmbatch.model.words import ArgValue, Status


@dataclass(frozen=True, slots=True)
class NewRetryPolicy:
    """The same as it was asked for; None: as the tool has it."""

    max_attempts: int | None = None
    node_failures: bool | None = None
    memory_factor: float | None = None
    time_factor: float | None = None


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
class Page:
    """Which of somebody's batches, newest first: so many at most (None: all), those older than
    `after` (a batch id), with a job of the status, of the tool, of the name."""

    limit: int | None = None
    after: str | None = None
    status: Status | None = None
    tool_id: str | None = None
    name: str | None = None


ALL_BATCHES = Page()
