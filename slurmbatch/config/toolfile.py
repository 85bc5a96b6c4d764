"""A tool's file in `tools.d`: each key with its type, limits, default and description."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PlainValidator

from slurmbatch import model
from slurmbatch.arguments import problem
from slurmbatch.config.section import Complaint, Groups, Section, Texts, shown
from slurmbatch.limits import ToolLimits

MAX_SCRIPT_BYTES = 128 * 1024

_SLURM_WORD = r"^([A-Za-z0-9_][A-Za-z0-9_.+@-]*)?$"
_RESERVED = re.compile(
    r"(LD_|DYLD_|BASH|PYTHON|PERL|SLURM_|SBATCH_|SPANK_|SLURMBATCH_|LC_|TZ).*"
    r"|ENV|IFS|PATH|HOME|USER|LOGNAME|SHELL|UID|EUID|PPID|SHELLOPTS|TMPDIR|CDPATH|GLOBIGNORE"
    r"|PS4|PROMPT_COMMAND|GCONV_PATH|HOSTALIASES|NLSPATH|LANG",
    re.IGNORECASE,
)


def _script(text: str) -> str:
    if not re.match(r"#!/[!-~]+([ \t]+[!-~]+)*[ \t]*(\n|\Z)", text):
        raise ValueError("a first line of #! and the interpreter's absolute path")
    if "\r" in text or "\0" in text:
        raise ValueError("a script without carriage returns and NUL characters")
    if len(text.encode()) > MAX_SCRIPT_BYTES:
        raise ValueError(f"a script of at most {MAX_SCRIPT_BYTES} bytes")
    return text


def _program(text: str) -> str:
    if not PurePosixPath(text).is_absolute() or re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("an absolute path without control characters")
    return text


def _parameter_name(name: str) -> str:
    if _RESERVED.fullmatch(name):
        raise ValueError("a name that means nothing to shells, interpreters and Slurm")
    return name


def _scalar(value: object) -> object:
    if not isinstance(value, str | int | float) or value != value:
        raise ValueError("text, a number, true or false")
    return value


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a number")
    return value


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from None
    return text


def _beyond(key: str, value: int | None, limit_key: str, limit: int | None) -> Iterator[Complaint]:
    if value is not None and limit is not None and value > limit:
        yield key, f"found {value}, expected at most {limit}, which is {limit_key}"


Scalar = Annotated[Any, PlainValidator(_scalar, json_schema_input_type=str | int | float | bool)]
Number = Annotated[float, PlainValidator(_number, json_schema_input_type=float)]
Word = Annotated[str, Field(pattern=_SLURM_WORD)]
Cpus = Annotated[int, Field(ge=1, le=model.MAX_CPU)]
Memory = Annotated[int, Field(ge=1, le=model.MAX_MEMORY)]
Factor = Annotated[float, Field(gt=1, le=model.MAX_FACTOR, allow_inf_nan=False)]
Minutes = Annotated[int, Field(ge=1, le=model.MAX_TIME_LIMIT)]


class ParameterTable(Section):
    """An argument that the tool takes, as an environment variable. Repeat the table for several."""

    name: Annotated[str, AfterValidator(_parameter_name)] = Field(
        pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$",
        description="Its name, and that of the environment variable.",
    )
    type: Literal["string", "integer", "number", "boolean"] = Field(description="What it holds.")
    description: str = Field(default="", description="For the users.")
    required: bool = Field(default=False, description="Whether each job must have it.")
    default: Scalar | None = Field(default=None, description="Its value where a job says nothing.")
    minimum: Number | None = Field(default=None, description="The least number allowed.")
    maximum: Number | None = Field(default=None, description="The greatest number allowed.")
    max_length: int | None = Field(
        default=None, ge=0, description="The most characters of a string."
    )
    pattern: Annotated[str, AfterValidator(_pattern)] = Field(
        default="", description="A regular expression (Python's) that the whole string must match."
    )
    choices: Annotated[tuple[Scalar, ...], Field(strict=False)] = Field(
        default=(), description="The only values allowed."
    )

    def incoherent(self) -> Iterator[Complaint]:
        misplaced = list(self._misplaced())
        yield from misplaced
        if self.required and self.default is not None:
            yield "default", f"found {shown(self.default)}, expected none, as it is required"
        if self._is_number and None not in (self.minimum, self.maximum):
            assert self.minimum is not None and self.maximum is not None  # noqa: S101
            if self.minimum > self.maximum:
                wanted = f"at most {self.maximum}, which is the maximum"
                yield "minimum", f"found {self.minimum}, expected {wanted}"
        if not misplaced:
            yield from self._unfit_values()

    @property
    def _is_number(self) -> bool:
        return self.type in ("integer", "number")

    def _misplaced(self) -> Iterator[Complaint]:
        for key in ("minimum", "maximum"):
            if getattr(self, key) is not None and not self._is_number:
                yield key, f"found it on a {self.type}, expected it on numbers only"
        for key in ("max_length", "pattern"):
            if getattr(self, key) not in (None, "") and self.type != "string":
                yield key, f"found it on type {self.type}, expected it on strings only"

    def _unfit_values(self) -> Iterator[Complaint]:
        each = self.model_copy(update={"choices": ()}).parameter()
        for index, choice in enumerate(self.choices):
            wrong = problem(each, choice)
            if wrong:
                yield f"choices[{index}]", f"found {shown(choice)}, {wrong}"
            elif choice in self.choices[:index]:
                yield f"choices[{index}]", f"found {shown(choice)} a second time, expected it once"
        wrong = "" if self.default is None else problem(self.parameter(), self.default)
        if wrong:
            yield "default", f"found {shown(self.default)}, {wrong}"

    def parameter(self) -> model.Parameter:
        """The same as a word of the domain."""
        return model.Parameter(**{key: getattr(self, key) for key in type(self).model_fields})


class HardwareTable(Section):
    """What a job gets where its batch says nothing, and the most that a batch may ask for."""

    cpu: Cpus | None = Field(
        default=None, description="CPUs of each job. Left out: each batch must say."
    )
    memory: Memory | None = Field(
        default=None, description="Memory in MiB. Left out: each batch must say."
    )
    filesystems: Texts = Field(default=(), description="Ids of filesystems in the settings.")
    max_cpu: Cpus | None = Field(
        default=None, description="The most CPUs of each job. Left out: Slurm decides."
    )
    max_memory: Memory | None = Field(
        default=None, description="The most MiB. Left out: Slurm decides."
    )

    def incoherent(self) -> Iterator[Complaint]:
        yield from _beyond("cpu", self.cpu, "max_cpu", self.max_cpu)
        yield from _beyond("memory", self.memory, "max_memory", self.max_memory)


class SlurmTable(Section):
    """Options for Slurm where a batch says nothing, and what a batch may choose instead.

    A list that is not there allows anything, an empty one nothing but the default.
    """

    time_limit: Minutes | None = Field(
        default=None, description="The time limit in minutes. Left out: the partition's."
    )
    partition: Word = Field(default="", description="The partition. Empty: Slurm's default.")
    account: Word = Field(default="", description="The account. Empty: Slurm's default.")
    qos: Word = Field(default="", description="The quality of service. Empty: Slurm's default.")
    gpus: int = Field(default=0, ge=0, le=model.MAX_GPUS, description="GPUs of each job.")
    partitions: Texts | None = Field(
        default=None, description="Partitions that a batch may choose."
    )
    accounts: Texts | None = Field(default=None, description="Accounts that a batch may choose.")
    qos_list: Texts | None = Field(default=None, description="Qualities of service to choose from.")
    max_time_limit: Minutes | None = Field(default=None, description="The most minutes to ask for.")
    max_gpus: int | None = Field(
        default=None,
        ge=0,
        le=model.MAX_GPUS,
        description="The most GPUs to ask for. Left out: as many as `gpus`.",
    )

    def incoherent(self) -> Iterator[Complaint]:
        yield from _beyond("time_limit", self.time_limit, "max_time_limit", self.max_time_limit)
        yield from _beyond("gpus", self.gpus, "max_gpus", self.max_gpus)

    def limits(self) -> model.SlurmLimits:
        """The same as a word of the domain."""
        default = model.SlurmOptions(
            self.time_limit, self.partition, self.account, self.qos, self.gpus
        )
        anything = ("*",)
        return model.SlurmLimits(
            default=default,
            partitions=anything if self.partitions is None else self.partitions,
            accounts=anything if self.accounts is None else self.accounts,
            qos=anything if self.qos_list is None else self.qos_list,
            max_time_limit=self.max_time_limit,
            max_gpus=self.gpus if self.max_gpus is None else self.max_gpus,
        )


class RetryTable(Section):
    """Which failed jobs are run again by themselves, where a batch does not say otherwise.

    To run a job again is to do all that it does a second time. It gets a claim of its own.
    """

    max_attempts: int = Field(
        default=1, ge=1, le=model.MAX_ATTEMPTS,
        description="How often a job is run at most for want of memory or time.",
    )  # fmt: skip
    node_failures: bool = Field(
        default=False,
        description=(
            "Whether a job whose node failed, or that was preempted, is run again; that does not "
            "count, up to ten times."
        ),
    )
    memory_factor: Factor | None = Field(
        default=None,
        description=(
            "So many times its memory for a job that ran out of it, up to `max_memory`. Left out: "
            "it is not run again."
        ),
    )
    time_factor: Factor | None = Field(
        default=None,
        description=(
            "So many times its time limit for a job that ran into it, up to `max_time_limit`. Left "
            "out: it is not run again."
        ),
    )

    def incoherent(self) -> Iterator[Complaint]:
        grows = self.memory_factor is not None or self.time_factor is not None
        if grows and self.max_attempts < 2:
            yield "max_attempts", f"found {self.max_attempts}, expected at least 2 beside a factor"
        if self.max_attempts > 1 and not grows:
            wanted = "a memory_factor or a time_factor beside it"
            yield "max_attempts", f"found {self.max_attempts}, expected {wanted}"

    def policy(self) -> model.RetryPolicy:
        """The same as a word of the domain."""
        return model.RetryPolicy(**{key: getattr(self, key) for key in type(self).model_fields})


class ToolLimitsTable(Section):
    """How much of this tool there may be at a time. What is left out, or 0, is no limit."""

    live_jobs: int | None = Field(
        default=None, ge=0, description="Its jobs that have not ended, of all users together."
    )
    live_batches: int | None = Field(
        default=None, ge=0, description="Its batches that have not ended, of all users together."
    )
    live_jobs_of_a_user: int | None = Field(
        default=None, ge=0, description="Its jobs that have not ended, of each user."
    )
    live_batches_of_a_user: int | None = Field(
        default=None, ge=0, description="Its batches that have not ended, of each user."
    )


class ToolFile(Section):
    """One tool; its id is the file's name without `.toml`."""

    exactly_one: ClassVar[tuple[str, ...]] = ("script", "path")
    unique: ClassVar = {"parameters": "name"}

    description: str = Field(min_length=1, description="What it does, for the users.")
    script: Annotated[str, AfterValidator(_script)] | None = Field(
        default=None, description="The script's text; its first line names the interpreter."
    )
    path: Annotated[str, AfterValidator(_program)] | None = Field(
        default=None, description="Or else a program on the nodes, by its absolute path."
    )
    requeue: bool = Field(
        default=False, description="Whether Slurm may run a job again when its node fails."
    )
    groups: Groups | None = Field(
        default=None,
        description=(
            "The Unix groups whose members see it and may run it. Left out: everybody. For all "
            "others it is as if it were not there."
        ),
    )
    parameters: Annotated[tuple[ParameterTable, ...], Field(strict=False)] = ()
    hardware: HardwareTable = HardwareTable()
    slurm: SlurmTable = SlurmTable()
    retry: RetryTable = RetryTable()
    limits: ToolLimitsTable = ToolLimitsTable()

    def tool(self, tool_id: str) -> model.Tool:
        """The same as a word of the domain."""
        return model.Tool(
            id=tool_id,
            description=self.description,
            script=self.script or "",
            path=self.path or "",
            parameters=tuple(each.parameter() for each in self.parameters),
            hardware=model.HardwareLimits(**dict(self.hardware)),
            slurm=self.slurm.limits(),
            requeue=self.requeue,
            retry=self.retry.policy(),
            groups=self.groups,
            limits=ToolLimits(**dict(self.limits)),
        )
