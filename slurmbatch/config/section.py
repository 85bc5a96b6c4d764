"""The base of every table in the settings: closed, strict, frozen, and telling all its mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

Complaint = tuple[str, str]
"""The key inside of its table, and what was found and expected."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_EXPECTED = {
    "model_type": "a table",
    "tuple_type": "an array",
    "path_type": "a path as text",
    "string_type": "text in quotes",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
}


class Section(BaseModel):
    """One table of a settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    exactly_one: ClassVar[tuple[str, ...]] = ()
    """Of these keys one must be there, and only one."""

    unique: ClassVar[Mapping[str, str]] = {}
    """Arrays of tables, and the key in which no two of them may agree."""

    samples: ClassVar[tuple[Mapping[str, object], ...]] = ()
    """Of a table that may be repeated: examples for the sample file."""

    def incoherent(self) -> Iterator[Complaint]:
        """What is wrong between values that are right one by one."""
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _tell_everything(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        # A plain "after" validator would stay silent as long as any field below is wrong.
        mistakes = list(cls._between_keys(data)) if isinstance(data, dict) else []
        try:
            made = handler(data)
        except ValidationError as error:
            details = error.errors(include_url=False)
            mistakes += [_mistake(each["loc"], cls._words(each)) for each in details]
            raise ValidationError.from_exception_data(cls.__name__, mistakes) from None
        mistakes += [_mistake((key,), text) for key, text in made.incoherent()]
        if mistakes:
            raise ValidationError.from_exception_data(cls.__name__, mistakes)
        return made

    @classmethod
    def _between_keys(cls, data: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        given = [key for key in cls.exactly_one if key in data]
        if cls.exactly_one and len(given) != 1:
            found = " and ".join(given) or ("none" if len(cls.exactly_one) > 2 else "neither")
            wanted = " or ".join(cls.exactly_one)
            yield _mistake((wanted,), f"found {found}, expected exactly one of them")
        for array, key in cls.unique.items():
            yield from _repeated(data.get(array), array, key)

    @classmethod
    def _words(cls, error: ErrorDetails) -> str:
        kind, message = error["type"], error["msg"]
        if kind == "mistake":
            return message
        if kind == "extra_forbidden":
            return f"found an unknown key, expected one of {', '.join(cls.model_fields)}"
        if kind == "missing":
            description = cls.model_fields[str(error["loc"][0])].description or "a value"
            return f"found nothing, but it is required: {description}"
        if kind == "value_error":
            return f"found {shown(error['input'])}, expected {error['ctx']['error']}"
        wanted = _EXPECTED.get(kind) or re.sub(r"^\w+ should ", "it to ", message)
        return f"found {shown(error['input'])}, expected {wanted}"


def shown(value: object) -> str:
    """A value as a settings file would have it, cut short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(str(value) if isinstance(value, Path) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def mistakes_of(error: ValidationError) -> Iterator[Complaint]:
    """Each mistake with its full key, such as `filesystems[0].path`."""
    for each in error.errors(include_url=False):
        yield dotted(each["loc"]), each["msg"]


def dotted(location: tuple[int | str, ...]) -> str:
    """`("filesystems", 0, "path")` as `filesystems[0].path`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".") or "the whole file"


def _mistake(location: tuple[int | str, ...], text: str) -> InitErrorDetails:
    kind = PydanticCustomError("mistake", "{text}", {"text": text})
    return InitErrorDetails(type=kind, loc=location, input=None)


def _repeated(tables: object, array: str, key: str) -> Iterator[InitErrorDetails]:
    seen: list[object] = []
    for index, table in enumerate(tables if isinstance(tables, list) else []):
        value = table.get(key) if isinstance(table, dict) else None
        if value is not None and value in seen:
            text = f"found {shown(value)} a second time, expected each {key} only once"
            yield _mistake((array, index, key), text)
        seen.append(value)


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("an absolute path")
    return _plain(path)


def _plain(path: Path) -> Path:
    if _CONTROL.search(str(path)):
        raise ValueError("a path without control characters")
    return path


def _log_directory(path: Path) -> Path:
    if re.search(r"[%\\]", str(path)):
        raise ValueError("a path without % and backslash, which Slurm would expand")
    return path


AnyPath = Annotated[Path, Field(strict=False), AfterValidator(_plain)]
AbsolutePath = Annotated[Path, Field(strict=False), AfterValidator(_absolute)]
LogPath = Annotated[AbsolutePath, AfterValidator(_log_directory)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]
_Group = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._@ -]{0,127}$")]
Groups = Annotated[tuple[_Group, ...], Field(strict=False, min_length=1)]
