"""What the client makes of sweeps, quantities and times, and how it tells of progress."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pandas
import pytest

from slurmbatch.client.connection import is_private
from slurmbatch.client.frames import frame
from slurmbatch.client.pace import WINDOW, Pace, duration
from slurmbatch.client.progress import Progress, in_notebook
from slurmbatch.client.quantities import mebibytes, minutes
from slurmbatch.client.resources import BatchFields
from slurmbatch.client.sweep import rows
from tests.fakes.web_service import batch, job


class Number:
    """As numpy and pandas have them."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def item(self) -> Any:
        return self.value


class TestSweep:
    def test_of_several_parameters_is_their_product(self) -> None:
        assert rows({"a": [1, 2], "b": ("x", "y")}) == [
            {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"},
        ]  # fmt: skip

    def test_is_taken_row_by_row(self) -> None:
        assert rows({"a": n} for n in range(2)) == [{"a": 0}, {"a": 1}]

    def test_is_none_at_all(self) -> None:
        assert rows(None) == rows([]) == []

    def test_holds_plain_values(self) -> None:
        assert rows({"a": [Number(1)]}) == [{"a": 1}]
        assert rows([{"a": Number(float("nan")), "b": None, "c": 0}]) == [{"c": 0}]

    def test_is_a_table(self) -> None:
        class Table:
            def to_dict(self, orient: str) -> list[dict[str, Any]]:
                assert orient == "records"
                return [{"a": Number(1)}]

        assert rows(Table()) == [{"a": 1}]

    @pytest.mark.parametrize("values", ["12", 5])
    def test_wants_lists_of_values(self, values: Any) -> None:
        with pytest.raises(TypeError, match=r"sweep\['a'\]: expected the values as a list"):
            rows({"a": values})

    def test_of_no_values_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="leaves no jobs"):
            rows({"a": [], "b": [1]})


class TestFrame:
    def test_has_a_row_for_each_job_and_a_column_for_each_argument(self) -> None:
        made = frame([job(0, seed=1, rate=0.5), job(2, "RUNNING", seed=2, status="mine")])
        assert list(made.index) == [0, 2]
        assert list(made["seed"]) == [1, 2]
        assert made["rate"][0] == 0.5
        assert pandas.isna(made["rate"][2])
        assert list(made["status"]) == ["SUCCEEDED", "RUNNING"]
        assert made["args.status"][2] == "mine"
        assert (made["stop_time"] - made["start_time"])[0] == timedelta(seconds=2)
        assert pandas.isna(made["stop_time"][2])

    def test_of_no_jobs_is_empty(self) -> None:
        assert frame([]).empty

    def test_is_a_sweep_too(self) -> None:
        table = pandas.DataFrame({"seed": [1, 2], "rate": [0.5, None], "name": ["a", "b"]})
        made = rows(table)
        assert made == [{"seed": 1, "rate": 0.5, "name": "a"}, {"seed": 2, "name": "b"}]
        assert json.dumps(made)
        assert rows({"seed": table["seed"]}) == [{"seed": 1}, {"seed": 2}]


@pytest.mark.parametrize(
    ("url", "expected"),
    [("https://x.example.org", True), ("http://127.0.0.1:80", True), ("http://[::1]", True),
     ("http://localhost/a", True), ("http://x.example.org", False), ("http://10.0.0.1", False)],
)  # fmt: skip
def test_whom_a_key_may_be_sent_to_without_a_word(url: str, expected: bool) -> None:
    assert is_private(url) == expected


class TestQuantities:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("4G", 4096), ("4GiB", 4096), ("4gb", 4096), ("1.5G", 1536), ("500M", 500),
            ("256", 256), (256, 256), ("1T", 1_048_576), ("1K", 1), ("1025K", 2), ("0.1M", 1),
        ],
    )  # fmt: skip
    def test_memory(self, text: str | int, expected: int) -> None:
        assert mebibytes(text) == expected

    @pytest.mark.parametrize("text", ["", "G", "4X", "-1G", "4 G G", "1e3"])
    def test_no_memory(self, text: str) -> None:
        with pytest.raises(ValueError, match="expected memory such as 4G"):
            mebibytes(text)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("1h", 60), ("90m", 90), ("1d12h", 2160), ("1h 30m", 90), ("90", 90), (90, 90),
            ("30s", 1), ("90s", 2), ("1.5h", 90), ("02:30:00", 150), ("00:00:01", 1),
            ("1-12:00:00", 2160), ("1-12:00", 2160), (timedelta(hours=1), 60),
            (timedelta(seconds=61), 2),
        ],
    )  # fmt: skip
    def test_times(self, text: Any, expected: int) -> None:
        assert minutes(text) == expected

    @pytest.mark.parametrize("text", ["", "h", "1w", "-5", "1h?", "2:3:4"])
    def test_no_times(self, text: str) -> None:
        with pytest.raises(ValueError, match="expected a time such as 1h"):
            minutes(text)

    def test_of_hours_and_minutes_or_minutes_and_seconds(self) -> None:
        with pytest.raises(ValueError, match="which could be either"):
            minutes("02:30")


class TestPace:
    def test_nothing_is_known_at_first(self) -> None:
        pace = Pace()
        assert (pace.rate, pace.left(10)) == (0.0, None)
        pace.add(0, 0)
        assert (pace.rate, pace.left(10)) == (0.0, None)

    def test_tells_when_it_may_be_through(self) -> None:
        pace = Pace()
        for second in range(11):
            pace.add(second, 2 * second)
        assert pace.rate == 2.0
        assert pace.left(100) == 40.0
        assert pace.left(20) == 0.0

    def test_forgets_how_it_began(self) -> None:
        pace = Pace()
        pace.add(0, 0)
        for second in range(1000, 1000 + int(2 * WINDOW)):
            pace.add(second, second - 1000)
        assert pace.rate == pytest.approx(1.0)

    def test_begins_anew_where_jobs_are_put_back(self) -> None:
        pace = Pace()
        for second, ended in enumerate((0, 10, 5)):
            pace.add(second, ended)
        assert pace.rate == 0.0

    @pytest.mark.parametrize(
        ("seconds", "expected"),
        [(0.4, "0 s"), (59.4, "59 s"), (200, "3m 20s"), (7500, "2h 05m"), (273_600, "3d 4h")],
    )
    def test_durations(self, seconds: float, expected: str) -> None:
        assert duration(seconds) == expected


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestProgress:
    def draw(self, stream: io.StringIO, *states: dict[str, Any]) -> str:
        clock = iter(range(100))
        with Progress(stream, clock=lambda: float(next(clock))) as progress:
            for each in states:
                progress.show(BatchFields(each))
        return stream.getvalue()

    def test_is_one_line_on_a_terminal(self) -> None:
        states = (batch(RUNNING=4), batch(RUNNING=3, FAILED=1), batch(SUCCEEDED=3, FAILED=1))
        first, second, third = self.draw(Terminal(), *states).split("\r")[1:]
        assert first == f"[{'.' * 24}] 0/4 ended, 4 running"
        assert second == f"[{'#' * 6}{'.' * 18}] 1/4 ended, 3 running, 1 failed, 1.0/s, 3 s left"
        assert third == f"[{'#' * 24}] 4/4 ended, 1 failed".ljust(len(second)) + "\n"

    def test_is_a_line_now_and_then_elsewhere(self) -> None:
        states = [batch(RUNNING=30 - n, SUCCEEDED=n) for n in range(31)]
        lines = self.draw(io.StringIO(), *states).splitlines()
        ended = [line.split("] ")[1].split("/")[0] for line in lines]
        assert ended == ["0", "10", "20", "30"]
        assert "\r" not in "".join(lines)

    def test_knows_a_notebook(self) -> None:
        stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
        assert in_notebook(stream)
        assert not in_notebook(io.StringIO())
        assert self.draw(stream, batch(RUNNING=1)).startswith("\r")
