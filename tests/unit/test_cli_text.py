"""What the commands read from a command line, and how they write to a terminal."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from rich.console import Console

from slurmbatch.cli import terminal
from slurmbatch.cli.board import Board, rate
from slurmbatch.cli.values import Mistakes, Values, crossed, spread, typed
from slurmbatch.client import Batch, Parameter
from tests.fakes.web_service import batch, reason


def parameter(kind: str) -> Parameter:
    return cast(Parameter, {"name": "x", "type": kind})


class TestTyped:
    @pytest.mark.parametrize(
        ("kind", "text", "expected"),
        [
            ("integer", "5", 5), ("integer", "1e6", 1_000_000), ("integer", "-3", -3),
            ("integer", "2.0", 2), ("integer", "9007199254740993", 2**53 + 1),
            ("number", "0.1", 0.1), ("number", "5", 5), ("number", "1e-3", 0.001),
            ("boolean", "Yes", True), ("boolean", "0", False),
            ("string", "5", "5"), ("string", "", ""), ("string", " a ", " a "),
        ],
    )  # fmt: skip
    def test_as_the_tool_declares_it(self, kind: str, text: str, expected: Any) -> None:
        found = typed(parameter(kind), text)
        assert found == expected
        assert type(found) is type(expected)

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            ("integer", "1.5"), ("integer", ""), ("integer", "x"), ("number", "nan"),
            ("number", "inf"), ("number", "1e999"), ("boolean", "2"), ("boolean", ""),
        ],
    )  # fmt: skip
    def test_or_not_at_all(self, kind: str, text: str) -> None:
        with pytest.raises(ValueError, match=r"^expected "):
            typed(parameter(kind), text)


class TestSpread:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("1..4", "1 2 3 4"), ("4..1", "4 3 2 1"), ("0..1:0.25", "0.00 0.25 0.50 0.75 1.00"),
            ("0..1:0.3", "0.0 0.3 0.6 0.9"), ("1..10:4", "1 5 9"), ("-2..2:2", "-2 0 2"),
            ("a,b", "a b"), ("1..3,10,20..30:5", "1 2 3 10 20 25 30"),
            ("1e3..2e3:5e2", "1000 1500 2000"),
            ('"a,b",c', "a,b c"), ("1...3", "1...3"), ("a..b", "a..b"), ("x", "x"), ("7..7", "7"),
        ],
    )  # fmt: skip
    def test_ranges_and_lists(self, text: str, expected: str) -> None:
        assert spread(text) == expected.split()

    def test_ten_tenths_are_one(self) -> None:
        assert len(spread("0..1:0.1")) == 11

    def test_an_empty_value_is_a_value(self) -> None:
        assert spread("a,,b") == ["a", "", "b"]

    @pytest.mark.parametrize("text", ["", "1..5:0", "1..5:-1", "5..1:1", "1..1e12"])
    def test_what_leads_nowhere(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"expected|lead nowhere"):
            spread(text)

    def test_too_many_combinations_are_not_made(self) -> None:
        axis: list[dict[str, Any]] = [{}] * 10_000
        with pytest.raises(Mistakes, match="expected at most 10000000 jobs, not 100000000"):
            crossed([axis, axis])


class TestFiles:
    def rows(self, text: str, name: str = "x.csv") -> tuple[list[Any], list[str]]:
        values = Values("tool", [{**parameter("integer"), "name": n} for n in "ab"])
        found = values.rows(io.StringIO(text, newline=""), name)
        return found, values.mistakes

    def test_of_columns(self) -> None:
        expected = [{"a": 1, "b": 2}, {"a": 3}]
        assert self.rows("a,b\n1,2\n\n3,\n") == (expected, [])
        assert self.rows("a\tb\n1\t2\n3\t\n", "x.tsv") == (expected, [])
        assert self.rows('{"a": 1, "b": 2}\n\n{"a": 3}\n', "x.ndjson") == (expected, [])

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "x.csv: there are no rows in it"),
            ("a,b\n", "x.csv: there are no rows in it"),
            ("a,a\n1,2\n", "x.csv: a column is there twice"),
            ("a,b\n1\n", "x.csv, line 2: expected 2 cells, not 1"),
            ("a,c\n1,2\n1,3\n", "x.csv: tool has no parameter 'c'; it has: a, b"),
            ("a\nx\n", "x.csv, line 2, a: expected a number, not 'x'"),
            ('a\n"1\n', "x.csv: unexpected end of data"),
        ],
    )
    def test_with_mistakes(self, text: str, told: str) -> None:
        assert told in self.rows(text)[1]

    def test_very_many_mistakes_are_cut_short(self) -> None:
        values = Values("tool", [parameter("integer")])
        values.swept([f"n{number}=1" for number in range(50)])
        with pytest.raises(Mistakes) as caught:
            values.check()
        assert len(caught.value.mistakes) == 21
        assert caught.value.mistakes[-1] == "and 30 more"


class TestHarmless:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("plain\ttext\n", "plain\ttext\n"), ("\x1b[31mred\x1b[0m", "red"),
            ("\x1b]0;title\x07x", "x"), ("\x1b]8;;http://x\x1b\\y", "y"), ("\x1bP1$r\x1b\\z", "z"),
            ("\x9b2Jx", "x"), ("10%\r20%\r\n", "10%\n20%\n"), ("a\x00b\x08c\x7f", "abc"),
            ("\u202eabc\u2066", "abc"), ("\x1bcreset", "reset"), ("\x1b(0q", "q"), ("a\x1b", "a"),
            ("é 漢 🎉", "é 漢 🎉"), ("\x1b[31", "31"),
        ],
    )  # fmt: skip
    def test_is_what_is_left(self, text: str, expected: str) -> None:
        assert terminal.harmless(text) == expected

    def test_in_a_line(self) -> None:
        assert terminal.in_a_line(" a\n\tb\x1b[2J ") == "a b"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestLogWriter:
    def test_joins_what_came_in_pieces(self) -> None:
        stream = Terminal()
        writer = terminal.LogWriter(stream)
        whole = "caf\u00e9 \x1b[31mred\x1b[0m\r\nend\r50%\x1b".encode()
        for place in range(len(whole)):
            writer.write(whole[place : place + 1])
        writer.write(b"\xc3", final=True)
        assert stream.getvalue() == "café red\nend\n50%\ufffd"

    def test_leaves_bytes_as_they_are_elsewhere(self) -> None:
        raw = io.BytesIO()
        writer = terminal.LogWriter(io.TextIOWrapper(raw))
        writer.write(b"\x1b[31m\xff\r", final=True)
        assert raw.getvalue() == b"\x1b[31m\xff\r"


class TestTables:
    def draw(self, *rows: tuple[str, ...], wrap: bool = False, width: int = 30) -> list[str]:
        stream = Terminal()
        with redirect_stdout(stream), pytest.MonkeyPatch.context() as patch:
            patch.setenv("COLUMNS", str(width))
            terminal.print_table(("A", "STATUS", "TEXT"), rows, wrap=wrap)
        return stream.getvalue().splitlines()

    def test_fit_the_terminal(self) -> None:
        lines = self.draw(("one", "FAILED", "far more text than fits"), ("漢字", "RUNNING", "x"))
        plain = [terminal.harmless(line) for line in lines]
        assert plain == [
            "A     STATUS   TEXT",
            "one   FAILED   far more text …",
            "漢字  RUNNING  x",
        ]
        assert "\x1b[31mFAILED\x1b[0m" in lines[1]

    def test_wrap_what_has_to_be_read(self) -> None:
        lines = self.draw(("one", "x", "far more text than fits"), wrap=True, width=24)
        assert lines == ["A    STATUS  TEXT", "one  x       far more", *[
            "             text than", "             fits",
        ]]  # fmt: skip

    def test_are_whole_elsewhere(self) -> None:
        stream = io.StringIO()
        with redirect_stdout(stream):
            terminal.print_table(("A", "B"), [("FAILED", "x" * 500)])
            terminal.print_fields({"a": "b" * 500, "long": ""})
        assert stream.getvalue().splitlines() == ["A       B", f"FAILED  {'x' * 500}",
                                                  f"a  {'b' * 500}"]  # fmt: skip


class TestBoard:
    def drawn(self, board: Board) -> list[str]:
        console = Console(width=80, file=io.StringIO(), highlight=False)
        console.print(board.draw(console))
        assert isinstance(console.file, io.StringIO)
        return [line.rstrip() for line in console.file.getvalue().splitlines()]

    def test_tells_how_it_goes(self) -> None:
        nobody: Any = None
        now = iter(range(100))
        board = Board(Batch(nobody, batch(RUNNING=10)), clock=lambda: float(next(now)))
        board.show(Batch(nobody, batch(RUNNING=10)))
        later = batch(RUNNING=6, SUCCEEDED=3, FAILED=1, name="a\x1b[31m name")
        later["reasons"] = [reason("1 of 10 jobs failed:\r code 3")]
        board.show(Batch(nobody, later))
        board.trouble = "no answer; trying again"
        lines = self.drawn(board)
        assert lines[0] == "b1  probe  a name"
        assert lines[5].startswith("RUNNING   ████████████████████████......")
        assert lines[6].split()[-1] == "3"
        assert lines[8].startswith("4 of 10 ended, 4.0 jobs/s, about 2 s left (")
        assert lines[9:] == ["1 of 10 jobs failed: code 3", "no answer; trying again"]

    def test_tells_what_the_service_expects_where_nothing_has_ended(self) -> None:
        nobody: Any = None
        end = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
        lines = self.drawn(Board(Batch(nobody, {**batch(RUNNING=2), "expected_end": end})))
        assert re.match(r"0 of 2 ended, about (3h 00m|2h 59m) left", lines[8])

    def test_no_single_job_looks_like_none(self) -> None:
        nobody: Any = None
        lines = self.drawn(Board(Batch(nobody, batch(RUNNING=9999, FAILED=1))))
        assert lines[7].startswith("FAILED    █.")

    @pytest.mark.parametrize(
        ("of", "told"), [(2.0, "2.0 jobs/s"), (0.5, "30.0 jobs/min"), (0.001, "3.6 jobs/h")]
    )
    def test_rates(self, of: float, told: str) -> None:
        assert rate(of) == told
