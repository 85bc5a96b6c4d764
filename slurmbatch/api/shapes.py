"""The shape of a new batch: what is a string, what a number. What it means is checked elsewhere.

All mistakes are told at once, so the parts whose shape is right go on to the next check even when
others are wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema
from typing_extensions import TypedDict

from slurmbatch.api import dependencies
from slurmbatch.api.variable import (
    MAX_FAULTS,
    NO_TEXT,
    VariableArgs,
    argument_faults,
    escaped,
    good_arguments,
    kind,
)
from slurmbatch.errors import Fault
from slurmbatch.model import (
    MAX_ATTEMPTS,
    MAX_CPU,
    MAX_FACTOR,
    MAX_GPUS,
    MAX_MEMORY,
    MAX_PARALLEL,
    MAX_TIME_LIMIT,
    NewBatch,
    NewRetryPolicy,
)
from slurmbatch.spool import compact
from slurmbatch.targets import MAX_URL

CLOSED = ConfigDict(strict=True, extra="forbid")

NO_CONTROLS = r"^[^\x00-\x1f\x7f-\x9f]*$"
# A name, or several in Slurm's short form: n[1-3,7].
NODES = r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[0-9]+([,-][0-9]+)*\][A-Za-z0-9._-]*)?$"
Text = Annotated[str, Field(max_length=200, pattern=NO_CONTROLS)]
_ARGUMENTS = {
    "type": "object",
    "additionalProperties": {"type": ["string", "integer", "number", "boolean"]},
}
# Checked by hand below: with pydantic a large array full of mistakes would cost many times its size
# in memory before the first could be told.
Arguments = Annotated[Any, WithJsonSchema(_ARGUMENTS)]


class NewHardware(TypedDict):
    """What each job needs."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    filesystems: NotRequired[
        Annotated[
            list[Text],
            Field(max_length=64, description="Ids of filesystems, as GET /filesystems has them."),
        ]
    ]
    cpu: NotRequired[
        Annotated[
            int,
            Field(
                ge=1,
                le=MAX_CPU,
                description="CPUs per job. Needed unless the tool has a default.",
            ),
        ]
    ]
    memory: NotRequired[
        Annotated[
            int,
            Field(
                ge=1,
                le=MAX_MEMORY,
                description="MiB per job. Needed unless the tool has a default.",
            ),
        ]
    ]


class NewSlurmOptions(TypedDict):
    """What Slurm is asked for; whatever is left out is as the tool or Slurm has it."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    time_limit: NotRequired[Annotated[int, Field(ge=1, le=MAX_TIME_LIMIT, description="Minutes.")]]
    partition: NotRequired[Text]
    account: NotRequired[Text]
    qos: NotRequired[Text]
    gpus: NotRequired[Annotated[int, Field(ge=0, le=MAX_GPUS, description="GPUs per job.")]]


class NewNotify(TypedDict):
    """Whom to tell how the batch fares; only where the administrator has switched that on."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    url: Annotated[
        str, Field(max_length=MAX_URL, description="Where to POST to: of a host that is allowed.")
    ]
    on: NotRequired[
        Annotated[
            list[Literal["finished", "first_failure"]],
            Field(min_length=1, max_length=2, description="What to tell of; finished by default."),
        ]
    ]


_Factor = Annotated[float, Field(gt=1, le=MAX_FACTOR, allow_inf_nan=False)]


class NewRetryPolicyBody(TypedDict):
    """Which failed jobs are run again by themselves; what is left out is as the tool has it."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    max_attempts: NotRequired[
        Annotated[
            int,
            Field(
                ge=1,
                le=MAX_ATTEMPTS,
                description="How often a job is run at most for want of memory or time.",
            ),
        ]
    ]
    node_failures: NotRequired[
        Annotated[
            bool,
            Field(description="Those whose node failed, or that were preempted; does not count."),
        ]
    ]
    memory_factor: NotRequired[
        Annotated[
            _Factor, Field(description="So many times the memory, for those that ran out of it.")
        ]
    ]
    time_factor: NotRequired[
        Annotated[
            _Factor, Field(description="So many times the time limit, for those that ran into it.")
        ]
    ]


class NewBatchBody(TypedDict):
    """A batch to be made."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    tool_id: Annotated[Text, Field(description="What to run: an id from GET /tools.")]
    name: NotRequired[Annotated[Text, Field(description="A name for people to know it by.")]]
    fixed_args: NotRequired[
        Annotated[Arguments, Field(description="Arguments that all jobs have.")]
    ]
    variable_args: NotRequired[
        Annotated[
            Any,
            WithJsonSchema({"type": "array", "items": _ARGUMENTS}),
            Field(description="One job per element, in this order; none or [] is one job."),
        ]
    ]
    hardware: NotRequired[NewHardware]
    slurm: NotRequired[NewSlurmOptions]
    canary: NotRequired[
        Annotated[
            int,
            Field(
                ge=1,
                description="So many jobs go first, and the others when all of these succeeded.",
            ),
        ]
    ]
    max_parallel: NotRequired[
        Annotated[
            int,
            Field(ge=1, le=MAX_PARALLEL, description="So many of its jobs run at once at most."),
        ]
    ]
    depends_on: NotRequired[
        Annotated[
            Any,
            WithJsonSchema(dependencies.SCHEMA),
            Field(description="Your batches that this one waits for; an id means afterok."),
        ]
    ]
    notify: NotRequired[NewNotify]
    retry: NotRequired[NewRetryPolicyBody]


NEW_BATCH = TypeAdapter(NewBatchBody)
_FIELDS: dict[str, tuple[str, ...]] = {
    "": tuple(NewBatchBody.__annotations__),
    "/hardware": tuple(NewHardware.__annotations__),
    "/slurm": tuple(NewSlurmOptions.__annotations__),
    "/notify": tuple(NewNotify.__annotations__),
    "/retry": tuple(NewRetryPolicyBody.__annotations__),
}


_LISTS = ("/hardware/filesystems", "/notify/on")


def read_batch(value: object) -> tuple[NewBatch, list[Fault]]:
    """The batch as far as its shape is right, and a fault for each part of it that is not."""
    faults = shape_faults(NEW_BATCH, _FIELDS, value)
    body = value if isinstance(value, dict) else {}
    fixed = list(islice(_fixed_faults(body), MAX_FAULTS))
    variable = _variable(body)
    parents, wrong_parents = dependencies.read(body.get("depends_on", []))
    faults += fixed + variable.faults + wrong_parents
    wrong = {fault.pointer for fault in faults}
    if len(variable.faults) == MAX_FAULTS:
        # There may be more that were not looked at: none of it is fit for the next check.
        wrong.add("/variable_args")
        faults.append(Fault("/variable_args", "There may be more mistakes: these are the first."))

    def pick(*path: str) -> Any:
        return _pick(body, path, wrong)

    filesystems, events = pick("hardware", "filesystems"), pick("notify", "on")
    return NewBatch(
        tool_id=pick("tool_id"),
        name=pick("name") or "",
        fixed_args=good_arguments(pick("fixed_args"), "/fixed_args", wrong),
        variable_args=[] if "/variable_args" in wrong else variable.rows,
        args_bytes=variable.bytes + _bytes_of(pick("fixed_args")),
        filesystems=None if filesystems is None else tuple(filesystems),
        cpu=pick("hardware", "cpu"),
        memory=pick("hardware", "memory"),
        time_limit=pick("slurm", "time_limit"),
        partition=pick("slurm", "partition"),
        account=pick("slurm", "account"),
        qos=pick("slurm", "qos"),
        gpus=pick("slurm", "gpus"),
        canary=pick("canary"),
        depends_on=tuple(parents),
        notify_url=pick("notify", "url"),
        notify_on=None if events is None else tuple(events),
        retry=NewRetryPolicy(
            max_attempts=pick("retry", "max_attempts"),
            node_failures=pick("retry", "node_failures"),
            memory_factor=pick("retry", "memory_factor"),
            time_factor=pick("retry", "time_factor"),
        ),
        max_parallel=pick("max_parallel"),
    ), faults


def _pick(body: Mapping[str, Any], path: tuple[str, ...], wrong: set[str]) -> Any:
    """A part of the body, or None if it is not there, or it or something in or around it is wrong.

    Arguments are the exception: of those the good ones among the wrong are still wanted.
    """
    value: Any = body
    pointer = ""
    for name in path:
        pointer += f"/{name}"
        if not isinstance(value, Mapping) or pointer in wrong:
            return None
        value = value.get(name)
    below = f"{pointer}/"
    if pointer in _LISTS and any(each.startswith(below) for each in wrong):
        return None
    return value


def shape_faults(
    shape: TypeAdapter[Any], fields: Mapping[str, tuple[str, ...]], value: object
) -> list[Fault]:
    """The first mistakes in a body; `fields`: what there is, by the pointer to where it is."""
    try:
        shape.validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False)
        return [_fault(_pointer(each["loc"]), each, fields) for each in found[:MAX_FAULTS]]
    return []


def _fixed_faults(body: Mapping[str, Any]) -> Iterator[Fault]:
    if "fixed_args" in body:
        yield from argument_faults(body["fixed_args"], "/fixed_args")


def _bytes_of(value: Any) -> int:
    return len(compact(value).encode(errors="replace")) if isinstance(value, dict) else 0


def _variable(body: Mapping[str, Any]) -> VariableArgs:
    """With the faults of each element, or the one of what is no array."""
    value = body.get("variable_args", [])
    if isinstance(value, VariableArgs):
        return value
    variable = VariableArgs()
    if isinstance(value, list):
        for each in value:
            variable.append(each)
    else:
        variable.faults.append(
            Fault("/variable_args", f"Expected an array of objects, not {kind(value)}.")
        )
    return variable


def _fault(pointer: str, found: Mapping[str, Any], fields: Mapping[str, tuple[str, ...]]) -> Fault:
    parent = pointer.rpartition("/")[0]
    context = {**found.get("ctx", {}), "is": kind(found["input"])}
    if found["type"] == "extra_forbidden":
        there = ", ".join(fields.get(parent, ()))
        return Fault(pointer, f"There is no such field here; there are: {there}.")
    detail = _DETAILS.get(found["type"])
    return Fault(pointer, detail(context) if detail else f"Not acceptable: {found['msg']}.")


_DETAILS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "This field is required.",
    "string_type": lambda c: f"Expected a string, not {c['is']}.",
    "string_unicode": lambda _: NO_TEXT,
    "string_too_long": lambda c: f"Expected at most {c['max_length']} characters.",
    "string_pattern_mismatch": lambda c: _PATTERNS[c["pattern"]],
    "float_type": lambda c: f"Expected a number, not {c['is']}.",
    "bool_type": lambda c: f"Expected true or false, not {c['is']}.",
    "int_type": lambda c: f"Expected a whole number, not {c['is']}.",
    "greater_than_equal": lambda c: f"Expected at least {_plain(c['ge'])}, not {c['is']}.",
    "greater_than": lambda c: f"Expected more than {_plain(c['gt'])}, not {c['is']}.",
    "less_than_equal": lambda c: f"Expected at most {_plain(c['le'])}, not {c['is']}.",
    "list_type": lambda c: f"Expected an array, not {c['is']}.",
    "dict_type": lambda c: f"Expected an object, not {c['is']}.",
    "too_short": lambda c: f"Expected at least {c['min_length']} element.",
    "literal_error": lambda c: f"Expected one of {c['expected']}, not {c['is']}.",
    "too_long": lambda c: f"Expected at most {c['max_length']} elements.",
}


def _plain(number: float) -> str:
    """100, also of 100.0."""
    return str(int(number) if number == int(number) else number)


_PATTERNS: dict[str, str] = {
    NO_CONTROLS: "Expected text without control characters.",
    NODES: "Expected the name of a node, or a list such as n[1-3,7].",
}


def _pointer(location: tuple[str | int, ...]) -> str:
    return "".join(f"/{escaped(str(part))}" for part in location)
