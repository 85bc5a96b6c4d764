"""The shape of a new batch: what is a string, what a number. What it means is checked elsewhere.

All mistakes are told at once, so the parts whose shape is right go on to the next check even when
others are wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema
from typing_extensions import TypedDict

from slurmbatch.errors import Fault
from slurmbatch.model import (
    MAX_CPU,
    MAX_GPUS,
    MAX_MEMORY,
    MAX_TIME_LIMIT,
    ArgValue,
    NewBatch,
)

MAX_FAULTS = 100
_CLOSED = ConfigDict(strict=True, extra="forbid")

Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
_ARGUMENTS = {
    "type": "object",
    "additionalProperties": {"type": ["string", "integer", "number", "boolean"]},
}
# Checked by hand below: with pydantic a large array full of mistakes would cost many times its size
# in memory before the first could be told.
Arguments = Annotated[Any, WithJsonSchema(_ARGUMENTS)]


class NewHardware(TypedDict):
    """What each job needs."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

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

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

    time_limit: NotRequired[Annotated[int, Field(ge=1, le=MAX_TIME_LIMIT, description="Minutes.")]]
    partition: NotRequired[Text]
    account: NotRequired[Text]
    qos: NotRequired[Text]
    gpus: NotRequired[Annotated[int, Field(ge=0, le=MAX_GPUS, description="GPUs per job.")]]


class NewBatchBody(TypedDict):
    """A batch to be made."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]

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


NEW_BATCH = TypeAdapter(NewBatchBody)
_FIELDS: dict[str, tuple[str, ...]] = {
    "": tuple(NewBatchBody.__annotations__),
    "/hardware": tuple(NewHardware.__annotations__),
    "/slurm": tuple(NewSlurmOptions.__annotations__),
}


def read_batch(value: object) -> tuple[NewBatch, list[Fault]]:
    """The batch as far as its shape is right, and a fault for each part of it that is not."""
    faults = _shape_faults(value)
    body = value if isinstance(value, dict) else {}
    fixed = list(islice(_fixed_faults(body), MAX_FAULTS))
    variable = list(islice(_variable_faults(body), MAX_FAULTS))
    faults += fixed + variable
    wrong = {fault.pointer for fault in faults}
    if len(variable) == MAX_FAULTS:
        # There may be more that were not looked at: none of it is fit for the next check.
        wrong.add("/variable_args")
        faults.append(Fault("/variable_args", "There may be more mistakes: these are the first."))

    def pick(*path: str) -> Any:
        return _pick(body, path, wrong)

    filesystems = pick("hardware", "filesystems")
    return NewBatch(
        tool_id=pick("tool_id"),
        name=pick("name") or "",
        fixed_args=_good_arguments(pick("fixed_args"), "/fixed_args", wrong),
        variable_args=[
            _good_arguments(each, f"/variable_args/{index}", wrong)
            for index, each in enumerate(pick("variable_args") or ())
        ],
        filesystems=None if filesystems is None else tuple(filesystems),
        cpu=pick("hardware", "cpu"),
        memory=pick("hardware", "memory"),
        time_limit=pick("slurm", "time_limit"),
        partition=pick("slurm", "partition"),
        account=pick("slurm", "account"),
        qos=pick("slurm", "qos"),
        gpus=pick("slurm", "gpus"),
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
    if pointer == "/hardware/filesystems" and any(each.startswith(below) for each in wrong):
        return None
    return value


def _good_arguments(value: object, pointer: str, wrong: set[str]) -> Mapping[str, ArgValue]:
    if not isinstance(value, dict):
        return {}
    if not wrong:
        return value
    return {
        name: each for name, each in value.items() if f"{pointer}/{_escaped(name)}" not in wrong
    }


def _shape_faults(value: object) -> list[Fault]:
    try:
        NEW_BATCH.validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False)
        return [_fault(_pointer(each["loc"]), each) for each in found[:MAX_FAULTS]]
    return []


def _fixed_faults(body: Mapping[str, Any]) -> Iterator[Fault]:
    if "fixed_args" in body:
        yield from _argument_faults(body["fixed_args"], "/fixed_args")


def _variable_faults(body: Mapping[str, Any]) -> Iterator[Fault]:
    variable = body.get("variable_args", [])
    if not isinstance(variable, list):
        yield Fault("/variable_args", f"Expected an array of objects, not {_kind(variable)}.")
        return
    for index, each in enumerate(variable):
        yield from _argument_faults(each, f"/variable_args/{index}")


def _argument_faults(value: object, pointer: str) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield Fault(pointer, f"Expected an object, not {_kind(value)}.")
        return
    for name, each in value.items():
        if isinstance(each, str):
            if not _is_text(each):
                yield Fault(f"{pointer}/{_escaped(name)}", _NO_TEXT)
        elif not isinstance(each, int | float):
            detail = f"Expected a string, a number, true or false, not {_kind(each)}."
            yield Fault(f"{pointer}/{_escaped(name)}", detail)
        if not _is_text(name):
            yield Fault(f"{pointer}/{_escaped(name)}", f"In its name: {_NO_TEXT}")


def _is_text(value: str) -> bool:
    """Neither NUL, which no environment variable can hold, nor half of a surrogate pair."""
    if "\0" in value:
        return False
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


_NO_TEXT = "Expected text without the character U+0000 and without lone surrogates."


def _fault(pointer: str, found: Mapping[str, Any]) -> Fault:
    parent = pointer.rpartition("/")[0]
    context = {**found.get("ctx", {}), "is": _kind(found["input"])}
    if found["type"] == "extra_forbidden":
        there = ", ".join(_FIELDS.get(parent, ()))
        return Fault(pointer, f"There is no such field here; there are: {there}.")
    detail = _DETAILS.get(found["type"])
    return Fault(pointer, detail(context) if detail else f"Not acceptable: {found['msg']}.")


_DETAILS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "This field is required.",
    "string_type": lambda c: f"Expected a string, not {c['is']}.",
    "string_unicode": lambda _: _NO_TEXT,
    "string_too_long": lambda c: f"Expected at most {c['max_length']} characters.",
    "string_pattern_mismatch": lambda _: "Expected text without control characters.",
    "int_type": lambda c: f"Expected a whole number, not {c['is']}.",
    "greater_than_equal": lambda c: f"Expected at least {c['ge']}, not {c['is']}.",
    "less_than_equal": lambda c: f"Expected at most {c['le']}, not {c['is']}.",
    "list_type": lambda c: f"Expected an array, not {c['is']}.",
    "dict_type": lambda c: f"Expected an object, not {c['is']}.",
    "too_long": lambda c: f"Expected at most {c['max_length']} elements.",
}


def _kind(value: object) -> str:
    """A value in a sentence: small ones themselves, others by their kind."""
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    return "a string" if isinstance(value, str) else f"an {_ARRAY_OR_OBJECT[type(value)]}"


_ARRAY_OR_OBJECT: dict[type, str] = {list: "array", dict: "object"}


def _pointer(location: tuple[str | int, ...]) -> str:
    return "".join(f"/{_escaped(str(part))}" for part in location)


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
