"""What may be asked for: tools and filesystems."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from slurmbatch.api.answers.parts import RetryPolicyView, SlurmView
from slurmbatch.model import ArgValue


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
