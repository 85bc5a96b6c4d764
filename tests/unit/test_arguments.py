"""Arguments against a tool's parameters."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmbatch.arguments import MAX_VALUE_BYTES, as_text, check, environment
from slurmbatch.errors import Fault
from slurmbatch.model import ArgValue, Parameter, Tool

TOOL = Tool(
    "sweep",
    "A tool",
    parameters=(
        Parameter("seed", "integer", required=True, minimum=0, maximum=100),
        Parameter("scale", "number", default=1.5, minimum=-1),
        Parameter("name", "string", max_length=5, pattern="[a-zé]+"),
        Parameter("fast", "boolean"),
        Parameter("mode", "string", choices=("slow", "quick")),
        Parameter("text", "string"),
        Parameter("big", "integer"),
        Parameter("a~b/c", "integer"),
    ),
)


def faults(
    fixed: Mapping[str, Any], *variable: Mapping[str, Any], max_bytes: int = 500_000
) -> list[tuple[str, str]]:
    found = check(TOOL, fixed, variable, max_bytes).faults
    return [(each.pointer, each.detail) for each in found]


def fault(value: object, name: str) -> str:
    """What is said of one value, for a job that is right otherwise."""
    ((pointer, detail),) = faults({"seed": 1}, {name: value})
    assert pointer == f"/variable_args/0/{name}"
    return detail


def test_a_job_for_each_element_over_the_fixed_ones_and_the_defaults() -> None:
    fixed = {"seed": 1, "fast": True}
    checked = check(TOOL, fixed, [{"seed": 2}, {}, {"scale": 3}], 1000)
    assert checked.faults == []
    assert checked.variable == [{"seed": 2}, {}, {"scale": 3}]
    assert checked.fixed == {"scale": 1.5, "seed": 1, "fast": True}


def test_no_variable_arguments_are_one_job() -> None:
    assert check(TOOL, {"seed": 1}, [], 1000).variable == [{}]


def test_what_is_given_is_looked_at_and_not_copied() -> None:
    class Many(Collection[dict[str, ArgValue]]):
        """A million of them would not be in memory."""

        def __len__(self) -> int:
            return 3

        def __iter__(self) -> Iterator[dict[str, ArgValue]]:
            return ({"seed": n} for n in range(3))

        def __contains__(self, value: object) -> bool:
            raise AssertionError("looked for")

    many = Many()
    assert check(TOOL, {}, many, 1000).variable is many


def test_a_required_argument_may_stand_on_either_side() -> None:
    assert faults({}) == [("/fixed_args/seed", "This argument is required.")]
    assert faults({}, {"seed": 1}, {}) == [("/variable_args/1/seed", "This argument is required.")]
    assert faults({"seed": 1}, {}) == []


def test_an_unknown_argument_is_told_the_known_ones() -> None:
    known = "The tool has no such parameter; it has: seed, scale, name, fast, mode, text, big, "
    assert faults({"seed": 1, "sede": 2}) == [("/fixed_args/sede", f"{known}a~b/c.")]


def test_names_are_escaped_in_pointers() -> None:
    pointers = [pointer for pointer, _ in faults({"seed": 1}, {"a~b/c": "x", "\ud800/": 1})]
    assert pointers == ["/variable_args/0/a~0b~1c", "/variable_args/0/?~1"]


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("big", True, "Expected an integer."),
        ("big", 1.0, "Expected an integer."),
        ("big", "1", "Expected an integer."),
        ("big", None, "Expected an integer."),
        ("big", [1], "Expected an integer."),
        ("big", 2**63, "Expected an integer of at most 64 bits."),
        ("big", -(2**63) - 1, "Expected an integer of at most 64 bits."),
        pytest.param("big", 10**5000, "Expected an integer of at most 64 bits.", id="huge"),
        ("seed", -1, "Expected at least 0."),
        ("seed", 101, "Expected at most 100."),
        ("scale", False, "Expected a number."),
        ("scale", "1.5", "Expected a number."),
        ("scale", float("nan"), "Expected a finite number."),
        ("scale", float("inf"), "Expected a finite number."),
        ("scale", 2**64, "Expected an integer of at most 64 bits."),
        ("scale", -1.5, "Expected at least -1."),
        ("fast", 1, "Expected true or false."),
        ("fast", "true", "Expected true or false."),
        ("name", 5, "Expected a string."),
        ("name", "abcdef", "Expected at most 5 characters."),
        ("name", "ab1", "Expected text that matches [a-zé]+."),
        ("name", "ab\n", "Expected text that matches [a-zé]+."),
        ("mode", "", "Expected one of slow, quick."),
        ("text", "a\0b", "Expected text without NUL characters."),
        ("text", "a\ud800", "Expected valid Unicode, not half of a surrogate pair."),
        ("text", "a" * (MAX_VALUE_BYTES + 1), "Expected at most 100000 bytes."),
        ("text", "é" * (MAX_VALUE_BYTES // 2 + 1), "Expected at most 100000 bytes."),
    ],
)
def test_a_wrong_value(name: str, value: object, detail: str) -> None:
    assert fault(value, name) == detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("big", 2**63 - 1),
        ("big", -(2**63)),
        ("seed", 0),
        ("seed", 100),
        ("scale", 3),
        ("scale", -0.0),
        ("fast", False),
        ("name", "ééééé"),
        ("mode", "quick"),
        ("text", "'\"$(reboot)`\n\\\x7f é 🦄"),
        ("text", "a" * MAX_VALUE_BYTES),
        ("text", ""),
    ],
)
def test_a_right_value(name: str, value: ArgValue) -> None:
    assert faults({"seed": 1}, {name: value}) == []


def test_the_bytes_of_all_values_of_one_job_count_together() -> None:
    # 1.5 by default, the seed, and the text: 3 + 1 + n bytes; what is overridden does not count.
    assert faults({"seed": 1, "text": "x" * 6}, max_bytes=10) == []
    assert faults({"seed": 1, "text": "é" * 6}, max_bytes=10) == [
        ("/fixed_args", "Expected at most 10 bytes of arguments, not 16.")
    ]
    assert faults({"seed": 1, "text": "x" * 99}, {"text": "y"}, {}, max_bytes=10) == [
        ("/variable_args/1", "Expected at most 10 bytes of arguments, not 103.")
    ]


def test_of_many_faults_the_first_are_told_and_the_rest_are_counted() -> None:
    found = check(TOOL, {}, [{"sede": 1}] * 100_000, 1000, max_faults=3).faults
    assert [each.pointer for each in found] == [
        "/variable_args/0/sede",
        "/variable_args/0/seed",
        "/variable_args/1/sede",
        "",
    ]
    assert found[-1] == Fault("", "There are 199997 more faults like these.")


def test_values_become_text() -> None:
    merged: dict[str, ArgValue] = {
        "seed": 7, "scale": 1e-7, "fast": True, "text": "a b", "gone": "x",
    }  # fmt: skip
    assert environment(TOOL, merged) == {
        "seed": "7",
        "scale": "1e-07",
        "fast": "true",
        "text": "a b",
    }
    assert as_text(False) == "false"


def test_100_000_jobs_are_checked_in_a_moment(benchmark: Any) -> None:
    variable = [{"seed": i % 100, "scale": i / 2, "name": "abc"} for i in range(100_000)]
    checked = benchmark.pedantic(check, args=(TOOL, {}, variable, 1000), rounds=1)
    assert len(checked.variable) == 100_000
    assert checked.faults == []


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ARGUMENTS = st.dictionaries(
    st.sampled_from([each.name for each in TOOL.parameters]) | st.text(max_size=4), ANYTHING
)


@given(fixed=ARGUMENTS, variable=st.lists(ARGUMENTS, max_size=5))
def test_whatever_comes_is_told_or_can_be_run(
    fixed: Mapping[str, Any], variable: Sequence[Mapping[str, Any]]
) -> None:
    checked = check(TOOL, fixed, variable, 1000, max_faults=100)
    # After the first hundred comes a last one, which says how many more there are.
    for each in checked.faults[:100]:
        assert each.pointer.startswith(("/fixed_args", "/variable_args/"))
        each.pointer.encode()
    if checked.faults:
        return
    for job in checked.variable:
        variables = environment(TOOL, {**checked.fixed, **job})
        assert "seed" in variables
        assert set(variables) == set(checked.fixed) | set(job)
        assert not any("\0" in text for text in variables.values())
        assert len("".join(variables.values()).encode()) <= 1000


@given(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_as_text(number: float) -> None:
    assert type(number)(as_text(number)) == number
