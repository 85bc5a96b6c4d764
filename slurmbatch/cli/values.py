"""From what stands on a command line, or in a file, to the arguments of jobs."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Any, TextIO

from slurmbatch.client.shapes import ArgValue, Parameter

MAX_VALUES = 10_000_000
_TRUE = frozenset(("true", "yes", "on", "1"))
_FALSE = frozenset(("false", "no", "off", "0"))
_NUMBER = r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::({_NUMBER}))?")
_MAX_MISTAKES = 20

Row = dict[str, ArgValue]


class Mistakes(Exception):
    """All that is wrong with what was given."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        more = len(mistakes) - _MAX_MISTAKES
        self.mistakes = [*mistakes[:_MAX_MISTAKES], *([f"and {more} more"] if more > 0 else [])]
        super().__init__("; ".join(self.mistakes))


class Values:
    """Reads values as the parameters of a tool declare them; keeps every mistake."""

    def __init__(self, tool_id: str, parameters: Iterable[Parameter]) -> None:
        self._tool_id = tool_id
        self._parameters = {each["name"]: each for each in parameters}
        self._given: dict[str, str] = {}
        self.mistakes: list[str] = []

    def fixed(self, texts: Iterable[str]) -> Row:
        """`name=value` each."""
        found = {}
        for name, text in self._pairs(texts, "-a"):
            found.update(self._read(name, text, f"-a {name}"))
        return found

    def swept(self, texts: Iterable[str]) -> list[Row]:
        """`name=values` each; all combinations, the last parameter changing fastest."""
        axes: list[list[Row]] = []
        for name, text in self._pairs(texts, "--sweep"):
            try:
                parts = spread(text)
            except ValueError as error:
                self.mistakes.append(f"--sweep {name}: {error}")
                continue
            axes.append([self._read(name, part, f"--sweep {name}") for part in parts])
        return crossed(axes) if axes and not self.mistakes else []

    def rows(self, file: TextIO, name: str) -> list[Row]:
        """A CSV file with the parameters' names on top, or an object of JSON on each line."""
        is_json = name.endswith((".jsonl", ".ndjson"))
        try:
            found = list(self._of_json(file, name) if is_json else self._of_csv(file, name))
        except (csv.Error, UnicodeDecodeError) as error:
            self.mistakes.append(f"{name}: {error}")
            return []
        for each in sorted({column for row in found for column in row}):
            if self._is_known(each, name):
                self._once(each, name)
        if not found and not self.mistakes:
            self.mistakes.append(f"{name}: there are no rows in it")
        return found

    def check(self) -> None:
        if self.mistakes:
            raise Mistakes(self.mistakes)

    def _pairs(self, texts: Iterable[str], option: str) -> Iterator[tuple[str, str]]:
        for text in texts:
            name, equals, rest = text.partition("=")
            where = f"{option} {name}"
            if not equals or not name:
                self.mistakes.append(f"{option} {text}: expected name=value")
            elif self._is_known(name, where) and self._once(name, where):
                yield name, rest

    def _is_known(self, name: str, where: str) -> bool:
        if name not in self._parameters:
            known = ", ".join(self._parameters) or "none"
            self.mistakes.append(
                f"{where}: {self._tool_id} has no parameter {name!r}; it has: {known}"
            )
        return name in self._parameters

    def _once(self, name: str, where: str) -> bool:
        before = self._given.setdefault(name, where)
        is_first = before is where
        if not is_first:
            self.mistakes.append(f"{where}: {name} is given twice, here and by {before}")
        return is_first

    def _read(self, name: str, text: str, where: str) -> Row:
        try:
            return {name: typed(self._parameters[name], text)}
        except ValueError as error:
            self.mistakes.append(f"{where}: {error}")
            return {}

    def _of_csv(self, file: TextIO, name: str) -> Iterator[Row]:
        """An empty cell leaves the parameter out."""
        dialect = "excel-tab" if name.endswith(".tsv") else "excel"
        lines = csv.reader(file, dialect, strict=True)
        head = next(lines, [])
        if len(set(head)) < len(head):
            self.mistakes.append(f"{name}: a column is there twice")
        for cells in lines:
            where = f"{name}, line {lines.line_num}"
            if not cells:
                continue
            if len(cells) != len(head):
                self.mistakes.append(f"{where}: expected {len(head)} cells, not {len(cells)}")
                continue
            yield self._row(zip(head, cells, strict=True), where)

    def _row(self, cells: Iterable[tuple[str, str]], where: str) -> Row:
        row: Row = {}
        for column, cell in cells:
            # A column that is no parameter is told of once, not on each line.
            known = column in self._parameters
            row.update(self._read(column, cell, f"{where}, {column}") if known and cell else {})
            if not known:
                row[column] = cell
        return row

    def _of_json(self, file: TextIO, name: str) -> Iterator[Row]:
        """Values have their types already; the service checks them."""
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                self.mistakes.append(f"{name}, line {number}: no JSON: {error}")
                continue
            if isinstance(row, dict):
                yield row
            else:
                self.mistakes.append(f"{name}, line {number}: expected an object")


def typed(parameter: Parameter, text: str) -> ArgValue:
    """A value of the type that the parameter has; 1e6 is a whole number too."""
    kind = parameter["type"]
    if kind == "string":
        return text
    if kind == "boolean":
        return _boolean(text)
    number = _number(text)
    if kind == "integer" and number != int(number):
        raise ValueError(f"expected a whole number, not {text!r}")
    is_whole = kind == "integer" or re.fullmatch(r"[+-]?\d+", text.strip())
    return int(number) if is_whole else float(number)


def spread(text: str) -> list[str]:
    """The values of a sweep: a,b,c; 1..100; 0..1:0.1; or several of these. As in CSV, quotes keep a
    comma inside of a value.
    """
    (parts,) = csv.reader([text], strict=True) if text else [[]]
    values: list[str] = []
    for part in parts:
        found = _RANGE.fullmatch(part.strip())
        values += _range(found) if found else [part]
    if not values:
        raise ValueError("expected values, such as 1..100 or a,b,c")
    return values


def crossed(axes: Sequence[Sequence[Mapping[str, Any]]]) -> list[Row]:
    """All combinations of one row of each."""
    count = math.prod(map(len, axes))
    if count > MAX_VALUES:
        raise Mistakes([f"expected at most {MAX_VALUES} jobs, not {count}"])
    return [{k: v for row in rows for k, v in row.items()} for rows in product(*axes)]


def _range(found: re.Match[str]) -> list[str]:
    """Both ends are in it, if the steps lead there. Decimals, so that 0.1 is a tenth."""
    first, last = Decimal(found[1]), Decimal(found[2])
    step = Decimal(found[3]) if found[3] else Decimal(1 if first <= last else -1)
    if step == 0 or (last - first) * step < 0:
        raise ValueError(f"{found[0]}: steps of {step} lead nowhere")
    count = int((last - first) / step) + 1
    if count > MAX_VALUES:
        raise ValueError(f"{found[0]}: expected at most {MAX_VALUES} values, not {count}")
    return [f"{first + step * number:f}" for number in range(count)]


def _boolean(text: str) -> bool:
    given = text.strip().lower()
    if given not in _TRUE | _FALSE:
        raise ValueError(f"expected true or false, not {text!r}")
    return given in _TRUE


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or math.isinf(float(number)):
        raise ValueError(f"expected a number, not {text!r}")
    return number
