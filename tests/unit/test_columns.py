"""What is found out by the column is what is found out job by job."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slurmbatch import arguments, script
from slurmbatch.api.body import parse_long
from slurmbatch.api.variable import VariableArgs
from slurmbatch.columns import columns
from slurmbatch.errors import Invalid, Malformed
from slurmbatch.model import Parameter, Tool

TOOL = Tool("t", "", script="#!/bin/sh\ntrue\n", parameters=(
    Parameter("text", "string", max_length=8), Parameter("word", "string", pattern="[a-z]*"),
    Parameter("whole", "integer", minimum=-5, maximum=2**40), Parameter("real", "number"),
    Parameter("flag", "boolean"), Parameter("one", "integer", choices=(1, 2)),
    Parameter("needed", "string", required=True),
))  # fmt: skip
NAMES = [each.name for each in TOOL.parameters]

TEXTS = st.text("ab '\"\\\r\n$é\0\ud800", max_size=10)
VALUES = st.one_of(
    TEXTS, st.integers(), st.integers(-9, 9), st.floats(), st.booleans(), st.just(2**63)
)


@st.composite
def sweeps(draw: st.DrawFn, values: st.SearchStrategy[Any] = VALUES) -> list[dict[str, Any]]:
    """Mostly jobs with the same names, and mostly with values of one type under each."""
    names = draw(st.lists(st.sampled_from([*NAMES, "un known", "\0"]), unique=True, max_size=4))
    if draw(st.booleans()):
        names = [*names, "needed"] if "needed" not in names else names
    kinds = [draw(st.sampled_from([values, TEXTS, st.integers(-9, 9), st.floats(0, 1)]))
             for _ in names]  # fmt: skip
    rows = [dict(zip(names, map(draw, kinds), strict=True)) for _ in range(draw(st.integers(0, 4)))]
    if draw(st.booleans()) and rows:
        rows.append(dict(reversed(rows[0].items())))
    return rows


@given(sweeps())
def test_columns_are_the_rows_in_another_order(rows: list[dict[str, Any]]) -> None:
    found = columns(rows)
    alike = bool(rows) and all(list(row) == list(rows[0]) for row in rows)
    assert (found is not None) == alike
    if found is not None:
        again = [
            dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)
        ]
        assert repr(again or [{} for _ in rows]) == repr(rows)


@given(sweeps(), st.sampled_from([0, 10, 64, 10_000]))
def test_the_same_faults_are_found(rows: list[dict[str, Any]], room: int) -> None:
    # Only lists are looked at by the column.
    one_by_one = arguments.check(TOOL, {}, tuple(rows), room)
    assert arguments.check(TOOL, {}, rows, room).faults == one_by_one.faults


@pytest.mark.parametrize("rows", [
    [{"needed": "x", "real": 1e300}], [{"needed": "x", "real": 7}], [{"needed": "é" * 30}],
    [{"needed": "x" * 100_000}],
])  # fmt: skip
def test_what_is_right_though_not_at_one_glance(rows: list[dict[str, Any]]) -> None:
    assert arguments.check(TOOL, {}, rows, 200_000).faults == []


@given(sweeps(st.one_of(TEXTS, st.integers(), st.floats(), st.booleans())))
def test_the_same_tasks_are_made(rows: list[dict[str, Any]]) -> None:
    one_by_one = list(script.tasks_for(TOOL, enumerate(rows)))
    assert script.tasks_of(TOOL, rows) == one_by_one


@given(sweeps(), st.integers(1, 5), st.sampled_from([700, 800, 1000, 10_000]))
def test_the_same_arrays_are_made(rows: list[dict[str, Any]], most: int, max_bytes: int) -> None:
    setting = script.setting_for(TOOL, "0" * 26, {}, [], None)
    rows = [{k: v for k, v in row.items() if "\ud800" not in str(v)} for row in rows]
    tasks = script.tasks_of(TOOL, rows)

    def split(given_tasks: Any) -> Any:
        try:
            return list(
                script.split(TOOL, setting, given_tasks, max_tasks=most, max_bytes=max_bytes)
            )
        except ValueError as error:
            return str(error)

    assert split(tasks) == split(iter(tasks))


@given(sweeps(), st.integers(0, 4))
def test_the_same_is_taken_of_a_body(rows: list[dict[str, Any]], most: int) -> None:
    at_once, one_by_one = VariableArgs(most=most), VariableArgs(most=most)
    if not at_once.extend(rows, 20):
        return
    for row in rows:
        one_by_one.append(row, 20)
    assert repr(at_once.rows) == repr(one_by_one.rows)
    assert (at_once.faults, at_once.bytes) == ([], one_by_one.bytes)
    assert one_by_one.faults == []


@pytest.mark.parametrize("rows", [
    [{}], [{"a": 1}], [{"a": "x", "b": 1.5}, {"a": "y", "b": True}], [{"a": 1}] * 2000,
])  # fmt: skip
def test_most_is_taken_at_once(rows: list[dict[str, Any]]) -> None:
    assert VariableArgs(most=2000).extend(rows, 20)


@pytest.mark.parametrize("rows", [
    [], [1], [[]], [{"a": 1}, 2], [{"a": None}], [{"a": []}], [{"a": {}}], [{"a": "é"}],
    [{"a": "\0"}], [{"é": 1}], [{"a": 1}, {"b": 1}], [{"a": 1}, {"a": "x"}], [{"a": 1}] * 2001,
])  # fmt: skip
def test_what_is_out_of_the_ordinary_is_not(rows: list[Any]) -> None:
    taken = VariableArgs()
    assert not taken.extend(rows, 20)
    assert (len(taken.rows), taken.bytes) == (0, 0)


_KEYS = st.sampled_from(['"a"', '"b"', '":"', '"a\\u0041"', '"é"', '"\\u0000"', '""'])
_TOKENS = st.sampled_from([
    "1", "-0", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1" * 30,
    "1.5", "1e300", "1e999", "NaN", "-Infinity", "true", "null", "[1]", '{"c": 1}', '{"c":{}}',
    '"x"', '":"', '":":', '"a\\"b"', '"\\ud800"', '"\\u0000"', '"é"', '" :"', '""', "", "01",
])  # fmt: skip
_COLONS, _COMMAS = (
    st.sampled_from([":", ": ", " : ", "\n:", ""]),
    st.sampled_from([",", ", ", " , "]),
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Arrays as JSON, of objects that mostly are alike; some with mistakes, twins among them."""
    keys = draw(st.lists(_KEYS, max_size=3))
    rows = []
    for _ in range(draw(st.integers(0, 3))):
        own = keys if draw(st.integers(0, 4)) else draw(st.lists(_KEYS, max_size=3))
        colon = draw(_COLONS) if not draw(st.integers(0, 3)) else ": "
        rows.append("{" + draw(_COMMAS).join(f"{key}{colon}{draw(_TOKENS)}" for key in own) + "}")
    return "[" + draw(_COMMAS).join([*rows, *draw(st.lists(_TOKENS, max_size=1))]) + "]"


@given(texts())
@example('[{"a":1,"a":2}]')
@example('[{"a":1,"a":2},{"a":":"}]')
@example('[{"a":1,"a" :2},{"a":":"}]')
@example('[{"a":1,"a":2},{"a" :1}]')
def test_the_same_comes_of_every_text(text: str) -> None:
    def read(*, at_once: bool) -> Any:
        taken, portions = VariableArgs(most=3), iter([f'{{"v": {text}}}'.encode(), b""])
        if not at_once:
            taken.extend = lambda *_: False  # type: ignore[method-assign]
        try:
            value = parse_long(lambda: next(portions), "v", taken)
        except (Malformed, Invalid) as error:
            return type(error), str(error), getattr(error, "faults", None)
        assert value == {"v": taken}
        return list(taken.rows), taken.faults, taken.bytes

    assert repr(read(at_once=True)) == repr(read(at_once=False))
