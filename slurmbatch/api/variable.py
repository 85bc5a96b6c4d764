"""The shape of arguments, and of the long array of them that a batch may have.

Checked by hand: with pydantic an array full of mistakes would cost many times its size in memory
before the first could be told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from slurmbatch.columns import Alike, Columns, columns, fit_64_bits, is_plain, types
from slurmbatch.errors import Fault, Invalid
from slurmbatch.model import ArgValue
from slurmbatch.spool import Spool, compact

MAX_FAULTS = 100
NO_TEXT = "Expected text without the character U+0000 and without lone surrogates."
# Up to here elements are kept as they are; of more, only in a file.
_IN_MEMORY, _CHARACTERS_IN_MEMORY = 2000, 256 * 1024


class VariableArgs:
    """The elements as they come: what is right of them, in `rows`, and what is not.

    `make_spool`: where they go when they are many; None: nowhere. `most`: how many there may be.
    """

    def __init__(
        self, make_spool: Callable[[], Spool] | None = None, most: int | None = None
    ) -> None:
        self.rows: list[Mapping[str, ArgValue]] | Spool = []
        self.faults: list[Fault] = []
        self._make_spool, self._most = make_spool, most
        self._count = self._size = self.bytes = 0

    def append(self, element: Any, size: int = 0) -> None:
        """`size`: of its text."""
        if self._count == self._most:
            raise Invalid(
                [Fault("/variable_args", f"Expected at most {self._most} jobs in one batch.")]
            )
        self._count += 1
        # With so many mistakes none of it is fit for the next check.
        if len(self.faults) < MAX_FAULTS:
            self._keep(element, size)

    def extend(self, elements: list[Any], size: int) -> bool:
        """All there are, at once, where they are few and right at the first glance; `size`: of the
        text of each. False: they are to be taken one by one."""
        count = len(elements)
        few = count <= _IN_MEMORY and count * size <= _CHARACTERS_IN_MEMORY
        allowed = self._most is None or count <= self._most
        found = _plain_columns(elements) if few and allowed and not self._count else None
        if found is None:
            return False
        self.rows, self._count = Alike(elements, found), count
        self._size = self.bytes = count * size
        return True

    def close(self) -> None:
        if isinstance(self.rows, Spool):
            self.rows.close()

    def _keep(self, element: Any, size: int) -> None:
        if not (plain := _is_plain(element)):
            pointer = f"/variable_args/{self._count - 1}"
            faults = list(islice(argument_faults(element, pointer), MAX_FAULTS - len(self.faults)))
            self.faults += faults
            element = good_arguments(element, pointer, {fault.pointer for fault in faults})
        self._size += size
        # Of text that is not ASCII there are more bytes; where nobody has told, they are counted.
        self.bytes += size if plain and size else len(compact(element).encode(errors="replace"))
        many = len(self.rows) >= _IN_MEMORY or self._size > _CHARACTERS_IN_MEMORY
        if many and self._make_spool is not None and isinstance(self.rows, list):
            spool = self._make_spool()
            for each in self.rows:
                spool.append(each)
            self.rows = spool
        self.rows.append(element)


def _plain_columns(elements: list[Any]) -> Columns | None:
    """None where they have other names than others, or one is not right at the first glance."""
    found = columns(elements) if types(elements) == {dict} else None
    if found is None or not is_plain("".join(found)):
        return None
    return found if all(map(_is_plain_column, found.values())) else None


def _is_plain_column(column: Sequence[Any]) -> bool:
    if (there := types(column)) == {str}:
        return is_plain("".join(column))
    return there.issubset(_NUMBERS) and fit_64_bits(column)


def _is_plain(element: object) -> bool:
    """Whether it is right at the first glance, as nearly all are."""
    if type(element) is not dict:
        return False
    for name, value in element.items():
        if type(value) is str:
            if not is_plain(value):
                return False
        elif type(value) not in _NUMBERS:
            return False
        if not is_plain(name):
            return False
    return True


_NUMBERS = (int, float, bool)


def good_arguments(value: object, pointer: str, wrong: Collection[str]) -> Mapping[str, ArgValue]:
    """Those without a fault, if it is an object at all."""
    if not isinstance(value, dict):
        return {}
    if not wrong:
        return value
    return {name: each for name, each in value.items() if f"{pointer}/{escaped(name)}" not in wrong}


def argument_faults(value: object, pointer: str) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield Fault(pointer, f"Expected an object, not {kind(value)}.")
        return
    for name, each in value.items():
        if isinstance(each, str):
            if not _is_text(each):
                yield Fault(f"{pointer}/{escaped(name)}", NO_TEXT)
        elif not isinstance(each, int | float):
            detail = f"Expected a string, a number, true or false, not {kind(each)}."
            yield Fault(f"{pointer}/{escaped(name)}", detail)
        if not _is_text(name):
            yield Fault(f"{pointer}/{escaped(name)}", f"In its name: {NO_TEXT}")


def _is_text(value: str) -> bool:
    """Neither NUL, which no environment variable can hold, nor half of a surrogate pair."""
    if "\0" in value:
        return False
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def kind(value: object) -> str:
    """A value in a sentence: small ones themselves, others by their kind."""
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    return "a string" if isinstance(value, str) else f"an {_ARRAY_OR_OBJECT[type(value)]}"


_ARRAY_OR_OBJECT: dict[type, str] = {list: "array", dict: "object"}


def escaped(part: str) -> str:
    """A name inside of a JSON pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")
