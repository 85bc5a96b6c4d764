"""What is offered: tools, filesystems, and how much of what a batch may ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from slurmbatch.limits import ToolLimits
from slurmbatch.model.words import ArgValue


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
