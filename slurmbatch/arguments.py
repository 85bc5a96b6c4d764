"""Checks the arguments of a batch against the parameters that its tool declares."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from slurmbatch.columns import INT64, columns, fit_64_bits, is_plain, types
from slurmbatch.errors import Fault
from slurmbatch.model import ArgValue, Parameter, Tool

MAX_VALUE_BYTES = 100_000
"""Of one value: the kernel takes no environment string of 128 KiB or more."""

# Bytes at most: of a character, and of a number (repr of a float has 24).
_UTF8, _NUMBER = 4, 32
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "a string"),
    "integer": ((int,), "an integer"),
    "number": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
}


class Checked(NamedTuple):
    """The outcome: arguments of each job beyond the fixed ones, faults, and the fixed ones.

    `variable` has one element a job (so one even where none was given); `fixed` holds the tool's
    defaults, overridden by the fixed arguments. A job's arguments are the two merged.
    """

    variable: Collection[Mapping[str, ArgValue]]
    faults: list[Fault]
    fixed: dict[str, ArgValue]


def check(
    tool: Tool,
    fixed: Mapping[str, ArgValue],
    variable: Collection[Mapping[str, ArgValue]],
    max_bytes: int,
    max_faults: int = 50,
) -> Checked:
    """Check all arguments at once; of many faults the first `max_faults` are told."""
    checkers = {each.name: _Checker(each) for each in tool.parameters}
    faults = _Faults(", ".join(checkers) or "none", max_faults)
    _check_values(fixed, "/fixed_args", checkers, faults)
    under = {each.name: each.default for each in tool.parameters if each.default is not None}
    merged: dict[str, ArgValue] = {**under, **fixed}
    needed = [each.name for each in tool.parameters if each.required and each.name not in fixed]
    sizes = {name: _size(value) for name, value in merged.items()}
    total = sum(sizes.values())
    jobs: Collection[Mapping[str, ArgValue]] = variable if len(variable) else [{}]
    if not faults.kept and _are_right(jobs, checkers, needed, max_bytes - total):
        return Checked(jobs, [], merged)
    for index, job in enumerate(jobs):
        size = total
        for name, value in job.items():
            size += _size(value) - sizes.get(name, 0)
        if size <= max_bytes and _is_right(job, checkers, needed):
            continue
        pointer = f"/variable_args/{index}" if jobs is variable else "/fixed_args"
        _check_values(job, pointer, checkers, faults)
        for name in needed:
            if name not in job:
                faults.add(f"{pointer}/{_escaped(name)}", "This argument is required.")
        if size > max_bytes:
            faults.add(pointer, f"Expected at most {max_bytes} bytes of arguments, not {size}.")
    return Checked(jobs, faults.told(), merged)


def _are_right(
    jobs: Collection[Mapping[str, ArgValue]], checkers: Mapping[str, _Checker],
    needed: Collection[str], room: int,
) -> bool:  # fmt: skip
    """Whether there is nothing to be told of any of them, as far as can be seen at one glance."""
    found = columns(jobs) if isinstance(jobs, list) else None
    if found is None or not all(name in found for name in needed):
        return False
    for name, column in found.items():
        checker = checkers.get(name)
        if checker is None or not checker.passes(column):
            return False
        room -= _longest(column)
    return room >= 0


def _longest(column: Sequence[ArgValue]) -> int:
    """As many bytes as a tool sees of one of these values, or more."""
    if types(column) == {str}:
        return _UTF8 * max(map(len, column))  # type: ignore[arg-type]
    return _NUMBER


def _is_right(
    job: Mapping[str, ArgValue], checkers: Mapping[str, _Checker], needed: Collection[str]
) -> bool:
    """Whether there is nothing to be told of it, as of nearly all."""
    for name, value in job.items():
        checker = checkers.get(name)
        if checker is None or checker(value):
            return False
    return not needed or all(name in job for name in needed)


def environment(tool: Tool, merged: Mapping[str, ArgValue]) -> dict[str, str]:
    """The declared arguments among `merged` as environment variables."""
    names = {each.name for each in tool.parameters}
    return {name: as_text(value) for name, value in merged.items() if name in names}


def as_text(value: ArgValue) -> str:
    """A value as a tool sees it: `true` or `false`, decimal digits, or the text itself."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def problem(parameter: Parameter, value: object) -> str:
    """What would have been expected of a value for this parameter; empty if it is right."""
    return _Checker(parameter)(value)


@dataclass
class _Faults:
    known: str
    most: int
    kept: list[Fault] = field(default_factory=list)
    more: int = 0

    def add(self, pointer: str, detail: str) -> None:
        if len(self.kept) < self.most:
            self.kept.append(Fault(pointer, detail))
        else:
            self.more += 1

    def told(self) -> list[Fault]:
        if self.more:
            noun = "fault" if self.more == 1 else "faults"
            return [*self.kept, Fault("", f"There are {self.more} more {noun} like these.")]
        return self.kept


def _check_values(
    values: Mapping[str, ArgValue], pointer: str, checkers: Mapping[str, _Checker], faults: _Faults
) -> None:
    for name, value in values.items():
        checker = checkers.get(name)
        if checker is None:
            detail = f"The tool has no such parameter; it has: {faults.known}."
            faults.add(f"{pointer}/{_escaped(name)}", detail)
            continue
        wrong = checker(value)
        if wrong:
            faults.add(f"{pointer}/{_escaped(name)}", f"{wrong[0].upper()}{wrong[1:]}.")


class _Check(NamedTuple):
    """One check of values whose type is right: what is wrong with one of them, and whether nothing
    is with any of many; False there may also mean that it takes a look at each."""

    one: Callable[[Any], str]
    all: Callable[[Sequence[Any]], bool]


class _Checker:
    """All checks of one parameter: they may have to be made 100,000 times."""

    def __init__(self, parameter: Parameter) -> None:
        self._types, self._noun = _TYPES[parameter.type]
        self._checks = tuple(_checks(parameter))
        self._further = tuple(each.one for each in self._checks)

    def __call__(self, value: object) -> str:
        # Of these very types: a boolean is an int to Python, but not to the tool's author.
        if type(value) not in self._types:
            return f"expected {self._noun}"
        for check_one in self._further:
            wrong = check_one(value)
            if wrong:
                return wrong
        return ""

    def passes(self, column: Sequence[object]) -> bool:
        right = types(column).issubset(self._types)
        return right and all(each.all(column) for each in self._checks)


def _checks(parameter: Parameter) -> Iterator[_Check]:
    least, most, longest = parameter.minimum, parameter.maximum, parameter.max_length
    if parameter.type == "string":
        yield _Check(_unfit_text, _are_fit_texts)
    elif parameter.type != "boolean":
        yield _Check(_unfit_number, _are_fit_numbers)
    if least is not None:
        fits = _not_below(least)
        yield _Check(_expect(f"at least {least}", fits), lambda column: fits(min(column)))
    if most is not None:
        under = _not_above(most)
        yield _Check(_expect(f"at most {most}", under), lambda column: under(max(column)))
    if longest is not None:
        short = _not_above(longest)
        yield _Check(
            _expect(f"at most {longest} characters", lambda value: short(len(value))),
            lambda column: short(max(map(len, column))),
        )
    if parameter.pattern:
        matches = re.compile(parameter.pattern).fullmatch
        yield _each(_expect(f"text that matches {parameter.pattern}", matches))
    if parameter.choices:
        listed = ", ".join(as_text(each) for each in parameter.choices)
        yield _each(_expect(f"one of {listed}", parameter.choices.__contains__))


def _each(one: Callable[[Any], str]) -> _Check:
    return _Check(one, lambda column: not any(map(one, set(column))))


def _expect(wanted: str, fits: Callable[..., object]) -> Callable[..., str]:
    wrong = f"expected {wanted}"
    return lambda value: "" if fits(value) else wrong


def _not_below(limit: float) -> Callable[[float], bool]:
    return lambda value: value >= limit


def _not_above(limit: float) -> Callable[[float], bool]:
    return lambda value: value <= limit


def _unfit_text(value: str) -> str:
    if "\0" in value:
        return "expected text without NUL characters"
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "expected valid Unicode, not half of a surrogate pair"
    return f"expected at most {MAX_VALUE_BYTES} bytes" if _size(value) > MAX_VALUE_BYTES else ""


def _are_fit_texts(column: Sequence[str]) -> bool:
    return is_plain("".join(column)) and max(map(len, column)) <= MAX_VALUE_BYTES


def _unfit_number(value: float) -> str:
    if type(value) is float:
        return "" if math.isfinite(value) else "expected a finite number"
    return "" if value in INT64 else "expected an integer of at most 64 bits"


def _are_fit_numbers(column: Sequence[float]) -> bool:
    return fit_64_bits(column) and all(map(math.isfinite, column))


def _size(value: ArgValue) -> int:
    """Bytes of a value as a tool sees it; what is no proper value has none."""
    if type(value) is int:
        return len(str(value)) if value in INT64 else 0
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode(errors="surrogatepass"))
    if isinstance(value, int) and not isinstance(value, bool) and value not in INT64:
        return 0
    return len(as_text(value)) if isinstance(value, int | float) else 0


def _escaped(name: str) -> str:
    """A name inside of a JSON pointer (RFC 6901), fit to be sent as UTF-8."""
    return name.replace("~", "~0").replace("/", "~1").encode(errors="replace").decode()
