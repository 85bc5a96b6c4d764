"""What a batch says of its jobs as a whole, in words and numbers."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmbatch import summary
from slurmbatch.model import Hardware, Status
from slurmbatch.summary import Bucket, Facts, Group

BAD, WAITS = Status.FAILED, Status.RUNNABLE
EXIT_1 = "EXIT: ended with exit code 1 (FAILED)"


def facts(**changes: Any) -> Facts:
    return Facts(**{"batch_id": "b", "n_jobs": 40, "hardware": Hardware((), 4, 1000),
                    "time_limit": 30, **changes})  # fmt: skip


def spread(*values: float) -> list[Bucket]:
    return [Bucket(1, each) for each in sorted(values)]


TEXTS = [
    (Group(BAD, EXIT_1, 37, "n12", 37, 1, 5),
     "37 of 40 jobs failed on n12: ended with exit code 1 (FAILED)"),
    (Group(BAD, EXIT_1, 37, "n12", 30, 3, 5),
     "37 of 40 jobs failed: ended with exit code 1 (FAILED); 30 of them on n12"),
    (Group(BAD, EXIT_1, 37, "n12", 10, 9, 5),
     "37 of 40 jobs failed: ended with exit code 1 (FAILED)"),
    (Group(BAD, "NODE: its node failed while it ran: n12 (NODE_FAIL)", 2, "n12", 2, 1, 5),
     "2 of 40 jobs failed: its node failed while it ran: n12 (NODE_FAIL)"),
    (Group(BAD, "CANCELLED: cancelled by request", 1, "", 1, 1, 5),
     "1 of 40 jobs failed: cancelled by request"),
    (Group(WAITS, "CAPACITY: waits for its turn: jobs of higher priority come first (Priority)", 3),
     "3 of 40 jobs wait: each waits for its turn: jobs of higher priority come first (Priority)"),
    (Group(Status.SUBMITTED, "LIMIT: wait", 1), "1 of 40 jobs waits: wait"),
    (Group(BAD, "a reason of no class", 1), "1 of 40 jobs failed: a reason of no class"),
]  # fmt: skip


@pytest.mark.parametrize(("group", "text"), TEXTS)
def test_a_reason_in_words(group: Group, text: str) -> None:
    assert summary.told(40, group) == text


def test_of_one_job() -> None:
    assert summary.told(1, Group(BAD, EXIT_1, 1)).startswith("1 of 1 job failed: ended")


def test_reasons_name_an_example_and_the_node_of_all() -> None:
    groups = (Group(BAD, EXIT_1, 3, "n1", 3, 1, 7), Group(BAD, "SIGNAL: x", 2, "n1", 1, 2, 9),
              Group(WAITS, "LIMIT: y", 1))  # fmt: skip
    said = summary.document(facts(groups=groups))["reasons"]
    assert [each["job_id"] for each in said] == ["b-7", "b-9", ""]
    assert [each["node"] for each in said] == ["n1", "", ""]
    assert [each["n_jobs"] for each in said] == [3, 2, 1]


# --- asked and used -------------------------------------------------------------------------------


def test_nothing_is_known_at_first() -> None:
    said = summary.document(facts())
    none = {"p50": None, "p95": None, "max": None}
    assert said == {
        "reasons": [],
        "usage": {
            "n_jobs": 0,
            "memory": {"asked": 1000, **none},
            "cpu": {"asked": 4, **none},
            "time": {"asked": 1800, **none},
            "suggestions": [],
        },
        "expected_end": None,
    }


def test_percentiles_are_of_values_that_there_were() -> None:
    usage = summary.document(facts(spreads={"memory": spread(*range(1, 101))}))["usage"]
    assert usage["memory"] == {"asked": 1000, "p50": 50, "p95": 95, "max": 100}
    usage = summary.document(facts(spreads={"memory": spread(7)}))["usage"]
    assert usage["memory"] == {"asked": 1000, "p50": 7, "p95": 7, "max": 7}


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=200))
def test_counted_together_they_are_right_to_two_percent(values: list[float]) -> None:
    together: dict[int, Bucket] = {}
    for value in values:
        old = together.get(summary.bucket(value), Bucket(0, 0.0))
        together[summary.bucket(value)] = Bucket(old.n + 1, max(old.most, value))
    coarse = [together[key] for key in sorted(together)]
    usage = summary.document(facts(spreads={"memory": coarse}))["usage"]["memory"]
    exact = summary.document(facts(spreads={"memory": spread(*values)}))["usage"]["memory"]
    assert usage["max"] == exact["max"]
    for name in ("p50", "p95"):
        assert exact[name] <= usage[name] <= exact[name] * 1.021


SUGGESTIONS = [
    ({"memory": spread(100, 123)}, "At most 123 of the 1000 MiB asked for were used: 160 MiB"),
    ({"memory": spread(990)}, "Up to 990 of the 1000 MiB asked for were used: there is little"),
    ({"memory": spread(800)}, ""),
    ({"cpu": spread(0.9, 1.05)}, "At most 1.05 of the 4 CPUs asked for were busy: 1 would do."),
    ({"cpu": spread(2.4)}, "At most 2.4 of the 4 CPUs asked for were busy: 3 would do."),
    ({"cpu": spread(3.4)}, ""),
    ({"time": spread(1)}, "At most 1 second of the 30 min asked for were needed: 1 min would do"),
    ({"time": spread(60)}, "At most 60 seconds of the 30 min asked for were needed: 2 min would"),
    ({"time": spread(1700)}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("spreads", "text"), SUGGESTIONS)
def test_what_to_ask_for(spreads: dict[str, list[Bucket]], text: str) -> None:
    said = summary.document(facts(spreads=spreads))["usage"]["suggestions"]
    assert len(said) == bool(text)
    assert not said or said[0].startswith(text)


def test_without_a_time_limit_one_is_suggested() -> None:
    said = summary.document(facts(time_limit=None, spreads={"time": spread(600)}))["usage"]
    assert said["time"]["asked"] is None
    assert "one of 13 min" in said["suggestions"][0]


def test_what_was_killed_for_it_asks_for_more_and_never_for_less() -> None:
    groups = [Group(BAD, "MEMORY: used more", 2), Group(BAD, "TIMEOUT: ran longer", 1)]
    spreads = {"memory": spread(10), "time": spread(10)}
    said = summary.document(facts(groups=groups, spreads=spreads))["usage"]["suggestions"]
    assert said == [
        "2 jobs needed more memory than the 1000 MiB asked for: ask for more.",
        "1 job ran into the time limit: ask for more time.",
    ]


@given(st.floats(0, 1e7), st.integers(1, 10_000))
def test_a_suggestion_is_never_below_what_was_used(most: float, asked: int) -> None:
    asked_for = facts(hardware=Hardware((), 4, asked), spreads={"memory": spread(most)})
    for text in summary.document(asked_for)["usage"]["suggestions"]:
        if "would do" in text:
            assert most <= int(text.split(": ")[1].split()[0]) < asked


# --- the end --------------------------------------------------------------------------------------


def test_the_end_by_the_pace_so_far() -> None:
    going = facts(n_ended=10, n_running=10, n_ran=10, ran_seconds=1000.0, last_start=5000.0)
    # 20 wait for 10 places: two more turns of 100 seconds after the one that runs.
    assert summary.expected_end(going) == 5000 + 100 * 3
    assert summary.expected_end(going, now=9000.0) == 9000


@pytest.mark.parametrize(
    "changes",
    [{}, {"n_running": 5}, {"n_ended": 40, "n_ran": 40, "ran_seconds": 1.0, "last_start": 1.0},
     {"n_ended": 5, "n_ran": 5, "ran_seconds": 1.0, "last_start": 1.0}],
)  # fmt: skip
def test_no_end_is_made_up(changes: dict[str, Any]) -> None:
    """Nothing has ended yet, nothing runs, or all is over."""
    assert summary.expected_end(facts(**changes)) is None


def test_random_batches_end_after_what_runs() -> None:
    chance = random.Random(1)
    for _ in range(200):
        n_ran, running = chance.randint(1, 20), chance.randint(1, 20)
        going = facts(n_ended=n_ran, n_running=running, n_ran=n_ran, last_start=100.0,
                      ran_seconds=chance.uniform(0, 100))  # fmt: skip
        assert (summary.expected_end(going) or 0) >= 100.0
