"""What Slurm printed, recorded from the real one, and what nobody should ever print."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmbatch import states
from slurmbatch.model import (
    Estimate,
    Hardware,
    JobReport,
    JobUsage,
    SlurmFacts,
    SlurmOptions,
    Status,
)
from slurmbatch.slurm import parse
from slurmbatch.states import Context, explain
from tests.record import NONCE, SITUATIONS

RECORDED = Path(__file__).parent.parent / "recorded"
VERSIONS = sorted(each.name for each in RECORDED.iterdir())
CONTEXT = Context(Hardware((), 1, 50), SlurmOptions(), service_uid=0, now=1.79e9)


def read(version: str, name: str) -> str:
    return (RECORDED / version / f"{name}.txt").read_text()


def live(text: str) -> list[JobReport]:
    return list(parse.live(text, NONCE))


def ended(text: str) -> list[JobReport]:
    return list(parse.ended(text, NONCE))


# name: (tasks, state, reason, status by slurmctld, exit code, signal), one for each row of squeue
P, R, RU, BAD, OK = (Status.PENDING, Status.RUNNABLE, Status.RUNNING, Status.FAILED,
                     Status.SUCCEEDED)  # fmt: skip
NO_ACCOUNT = "Job's account not permitted to use this partition (closed allows nobodys not demo)"
Row = tuple[tuple[tuple[int, int], ...], str, str, Status | None, int, int]
ONE = ((1, 1),)
SQUEUE: dict[str, list[Row]] = {
    "account": [(((1, 2),), "PENDING", NO_ACCOUNT, R, 0, 0)],
    "begin": [(((1, 2),), "PENDING", "BeginTime", P, 0, 0)],
    "cancelled": [(ONE, "CANCELLED", "None", BAD, 0, 15)],
    "cancelled-pending": [(((1, 10),), "CANCELLED", "JobHeldUser", BAD, 0, 0)],
    "completing": [(ONE, "COMPLETING", "None", RU, 0, 0)],
    "dependency": [(((1, 3),), "PENDING", "Dependency", P, 0, 0)],
    "exit137": [(ONE, "FAILED", "NonZeroExitCode", BAD, 137, 0)],
    "failed": [(ONE, "FAILED", "NonZeroExitCode", BAD, 3, 0)],
    "forged-name": [(((1, 2),), "PENDING", "JobHeldUser", P, 0, 0)],
    "gaps": [(((1, 1), (3, 3), (5, 499), (601, 998), (1000, 1000)), "PENDING", "JobHeldUser", P,
              0, 0)],
    "held": [(((1, 10),), "PENDING", "JobHeldUser", P, 0, 0)],
    "held-one-task": [(ONE, "PENDING", "JobHeldUser", P, 0, 0)],
    "licence": [(((2, 2),), "PENDING", "Licenses", R, 0, 0), (ONE, "RUNNING", "None", RU, 0, 0)],
    "memory": [(ONE, "FAILED", "JobLaunchFailure", BAD, 0, 9)],
    "never": [(((1, 2),), "PENDING", "DependencyNeverSatisfied", P, 0, 0)],
    "no-log": [(ONE, "FAILED", "JobLaunchFailure", BAD, 15, 53)],
    "requeue-held": [(ONE, "PENDING", "job requeued in held state", P, 0, 0)],
    "requeued": [(ONE, "PENDING", "BeginTime", P, 0, 0)],
    "running": [(((2, 2),), "RUNNING", "None", RU, 0, 0), (ONE, "RUNNING", "None", RU, 0, 0)],
    "signal": [(ONE, "FAILED", "JobLaunchFailure", BAD, 0, 9)],
    "special-exit": [(ONE, "SPECIAL_EXIT", "job requeued in held state", P, 0, 0)],
    "succeeded": [(((n, n),), "COMPLETED", "None", OK, 0, 0) for n in (3, 2, 1)],
    "suspended": [(ONE, "SUSPENDED", "None", RU, 0, 0)],
    "throttled": [(((4, 20),), "PENDING", "JobArrayTaskLimit", P, 0, 0),
                  *((((n, n),), "RUNNING", "None", RU, 0, 0) for n in (3, 2, 1))],
    "timeout": [(ONE, "TIMEOUT", "TimeLimit", BAD, 0, 15)],
    "too-long": [(((1, 2),), "PENDING", "PartitionTimeLimit", R, 0, 0)],
    "too-many-cpus": [(((1, 2),), "PENDING", "PartitionConfig", R, 0, 0)],
}  # fmt: skip
# name: (tasks, range, state, by whom, status, exit code, signal), one for each row of sacct
SacctRow = tuple[tuple[tuple[int, int], ...], bool, str, int | None, Status, int, int]
SACCT: dict[str, list[SacctRow]] = {
    "account": [(((1, 2),), True, "PENDING", None, R, 0, 0)],
    "begin": [(((1, 2),), True, "PENDING", None, P, 0, 0)],
    "cancelled": [(ONE, False, "CANCELLED", 0, BAD, 0, 0)],
    "cancelled-pending": [(((1, 10),), True, "CANCELLED", 0, BAD, 0, 0)],
    "completing": [(ONE, False, "CANCELLED", 0, BAD, 0, 0)],
    "dependency": [(((1, 3),), True, "PENDING", None, P, 0, 0)],
    "exit137": [(ONE, False, "FAILED", None, BAD, 9, 0)],
    "failed": [(ONE, False, "FAILED", None, BAD, 3, 0)],
    "gaps": [(((1, 1), (3, 3), (5, 499), (601, 998), (1000, 1000)), True, "PENDING", None, P,
              0, 0)],
    "forged-name": [(((1, 2),), True, "PENDING", None, P, 0, 0)],
    "held": [(((1, 10),), True, "PENDING", None, P, 0, 0)],
    "held-one-task": [(ONE, True, "PENDING", None, P, 0, 0)],
    "licence": [(ONE, False, "RUNNING", None, RU, 0, 0),
                (((2, 2),), False, "PENDING", None, R, 0, 0)],
    "memory": [(ONE, False, "FAILED", None, BAD, 0, 9)],
    "never": [(((1, 2),), True, "PENDING", None, P, 0, 0)],
    "no-log": [(ONE, False, "FAILED", None, BAD, 0, 53)],
    "requeue-held": [(ONE, False, "REQUEUED", None, P, 0, 0)],
    "requeued": [(ONE, False, "REQUEUED", None, P, 0, 0)],
    "running": [(((n, n),), False, "RUNNING", None, RU, 0, 0) for n in (1, 2)],
    "signal": [(ONE, False, "FAILED", None, BAD, 0, 9)],
    "special-exit": [(ONE, False, "REQUEUED", None, P, 0, 0)],
    "succeeded": [(((n, n),), False, "COMPLETED", None, OK, 0, 0) for n in (1, 2, 3)],
    "suspended": [(ONE, False, "SUSPENDED", None, RU, 0, 0)],
    "throttled": [*((((n, n),), False, "RUNNING", None, RU, 0, 0) for n in (1, 2, 3)),
                  (((4, 20),), True, "PENDING", None, P, 0, 0)],
    "timeout": [(ONE, False, "TIMEOUT", None, BAD, 0, 0)],
    "too-long": [(((1, 2),), True, "PENDING", None, R, 0, 0)],
    "too-many-cpus": [(((1, 2),), True, "PENDING", None, R, 0, 0)],
}  # fmt: skip


# What newer versions show otherwise, and what they happened to be at when they were recorded.
NEWER: dict[str, list[Row]] = {
    "account": [(((1, 2),), "PENDING", "PartitionConfig", R, 0, 0)],
    "memory": [(ONE, "FAILED", "RaisedSignal:9(Killed)", BAD, 0, 9)],
    "no-log": [(ONE, "FAILED", "RaisedSignal:53(Real-time signal 19)", BAD, 0, 53)],
    "signal": [(ONE, "FAILED", "RaisedSignal:9(Killed)", BAD, 0, 9)],
}
SQUEUE_OF: dict[str, dict[str, list[Row]]] = {
    "22.05": SQUEUE,
    "24.11": SQUEUE | NEWER | {
        "cancelled": [(ONE, "CANCELLED", "None", BAD, 143, 0)],
        "succeeded": [(((3, 3),), "COMPLETED", "None", OK, 0, 0),
                      (ONE, "COMPLETED", "None", OK, 0, 0),
                      (((2, 2),), "RUNNING", "None", RU, 0, 0)],
    },
    "26.05": SQUEUE | NEWER,
}  # fmt: skip
REQUEUED: dict[str, list[SacctRow]] = {
    name: [(ONE, False, "PENDING", None, P, 0, 0)]
    for name in ("requeued", "requeue-held", "special-exit")
}
SACCT_OF: dict[str, dict[str, list[SacctRow]]] = {
    "22.05": SACCT,
    "24.11": SACCT | REQUEUED | {
        "licence": [(ONE, False, "RUNNING", None, RU, 0, 0),
                    (((2, 2),), False, "PENDING", None, P, 0, 0)],
    },
    "26.05": SACCT | REQUEUED | {
        "exit137": [(ONE, False, "FAILED", None, BAD, 137, 0)],
        "licence": [(ONE, False, "RUNNING", None, RU, 0, 0),
                    (((2, 2),), True, "PENDING", None, R, 0, 0)],
        "too-many-cpus": [(((1, 2),), True, "PENDING", None, P, 0, 0)],
    },
}  # fmt: skip


def status(row: JobReport) -> Status | None:
    verdict = explain(row, CONTEXT)
    return verdict.status if verdict else None


def test_every_recorded_situation_is_looked_at() -> None:
    names = {each.name for each in SITUATIONS}
    assert set(SQUEUE) == set(SACCT) == names
    for version in VERSIONS:
        files = {each.stem for each in (RECORDED / version).iterdir()} - {"config"}
        kinds = {file.partition("-")[0] for file in files}
        assert kinds == {"squeue", "sacct"}
        assert {f.partition("-")[2].removesuffix("-early") for f in files} == names


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(SQUEUE))
def test_what_squeue_shows(version: str, name: str) -> None:
    rows = live(read(version, f"squeue-{name}"))
    seen = [(r.tasks, r.state, r.reason, status(r), r.exit_code, r.signal) for r in rows]
    assert seen == SQUEUE_OF[version][name]
    for row in rows:
        assert (row.source, row.uid) == ("live", 0)
        assert row.tag == (name if name != "forged-name" else "x")
        assert row.submit_time is not None and 1.7e9 < row.submit_time < 2e9
        assert row.is_range == (row.state == "PENDING" and row.tasks[0] != row.tasks[-1][::-1])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(SACCT))
def test_what_sacct_shows(version: str, name: str) -> None:
    rows = ended(read(version, f"sacct-{name}"))
    # When it was recorded: what waits for a time, or was requeued, waits longer.
    now = replace(CONTEXT, now=max(row.submit_time or 0 for row in rows) + 30)
    verdicts = [explain(row, now) for row in rows]
    seen = [(r.tasks, r.is_range, r.state, r.cancelled_by, v.status if v else None, r.exit_code,
             r.signal) for r, v in zip(rows, verdicts, strict=True)]  # fmt: skip
    assert seen == SACCT_OF[version][name]
    for row in rows:
        assert (row.source, row.uid) == ("accounting", 0)
        assert row.tag == (name if name != "forged-name" else "x")


@pytest.mark.parametrize(
    "path", sorted(RECORDED.glob("*/sacct-*-early.txt")), ids=lambda path: path.stem
)
def test_a_row_that_is_only_half_written_says_nothing(path: Path) -> None:
    """For a moment accounting has a row without the task's number, called `allocation`."""
    assert f"|{NONCE}|allocation" in path.read_text()
    assert ended(path.read_text()) == []


def test_half_written_rows_were_recorded() -> None:
    assert list(RECORDED.glob("*/sacct-*-early.txt"))


def test_times_nodes_restarts_and_limits() -> None:
    (requeued,) = live(read("22.05", "squeue-requeued"))
    assert (requeued.restarts, requeued.end_time, requeued.node_list) == (1, None, "")
    assert requeued.start_time is not None and requeued.start_time == requeued.eligible_time
    (timeout,) = live(read("22.05", "squeue-timeout"))
    assert timeout.node_list == "node1"
    assert timeout.end_time is not None and timeout.start_time is not None
    assert 60 <= timeout.end_time - timeout.start_time < 120
    assert ended(read("22.05", "sacct-timeout"))[0].time_limit == 1
    assert ended(read("22.05", "sacct-failed"))[0].time_limit is None  # UNLIMITED
    (held,) = live(read("22.05", "squeue-held"))
    assert (held.priority, held.eligible_time, held.start_time) == (0, None, None)


def test_facts() -> None:
    facts = parse.facts("slurm-wlm 22.05.8", read("22.05", "config"))
    assert facts is not None
    assert replace(facts, boot_time="") == SlurmFacts("22.05.8", 1001, 20000, 300, "", "sandbox")
    assert facts.boot_time.isdigit()


@pytest.mark.parametrize("missing", ["MaxArraySize", "MaxJobCount", "BOOT_TIME"])
def test_facts_without_a_limit_are_none(missing: str) -> None:
    lines = read("22.05", "config").splitlines()
    assert parse.facts("22.05", "\n".join(x for x in lines if not x.startswith(missing))) is None


def test_facts_of_a_version_that_does_not_say_everything() -> None:
    text = "BOOT_TIME = 5\nMaxArraySize=11\nMaxJobCount = 3\n"
    assert parse.facts("slurm 26.05.1", text) == SlurmFacts("slurm 26.05.1", 11, 3, 300, "5", "")


# --- the id that sbatch prints ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("123\n", 123),
        ("123;cluster-1.a\n", 123),
        ("a plugin says hello\n123\n", 123),
        ("\n\n  123  \n\n", 123),
        ("", None),
        ("123\nbye\n", None),
        ("Submitted batch job 123\n", None),
        ("-123\n", None),
        ("123_4\n", None),
        ("12 3\n", None),
        ("123;\n", None),
        ("99999999999\n", None),
        ("١٢٣\n", None),
    ],
)
def test_the_id_is_the_last_line_or_unknown(text: str, number: int | None) -> None:
    assert parse.submitted_id(text) == number


# --- ranges -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("7", ((7, 7),)),
        ("1-3", ((1, 3),)),
        ("1-3%2", ((1, 3),)),
        ("65-76,78,80-82", ((65, 76), (78, 78), (80, 82))),
        ("1-9:4", ((1, 1), (5, 5), (9, 9))),
        ("1-10:4,20", ((1, 1), (5, 5), (9, 9), (20, 20))),
        ("0-1", ((0, 1),)),
        (" 1-2 , 4 ", ((1, 2), (4, 4))),
    ],
)
def test_ranges(text: str, ranges: tuple[tuple[int, int], ...]) -> None:
    assert parse.task_ranges(text) == ranges


@pytest.mark.parametrize(
    "text",
    [
        "", "N/A", "1,", "1-", "1-3,", "1,2,...", "1-3,5-", "1-3...", "-1", "3-1", "1--2", "a",
        "1-3:0", "1-99999999", "1:2", "1-2-3", "1,,2", "٣",
    ],
)  # fmt: skip
def test_what_is_no_range_or_was_cut_is_not_read_otherwise(text: str) -> None:
    assert parse.task_ranges(text) is None


@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 50)), min_size=1, max_size=40))
def test_ranges_survive_being_written(pairs: list[tuple[int, int]]) -> None:
    wanted = tuple((first, first + more) for first, more in pairs)
    text = ",".join(f"{a}-{b}" if a != b else str(a) for a, b in wanted)
    assert parse.task_ranges(text) == wanted
    assert parse.task_ranges(f"{text}%7") == wanted


def test_a_cut_list_drops_its_row_and_no_other() -> None:
    text = read("22.05", "squeue-gaps").replace("601-998,1000", "601-9...")
    assert live(text) == []
    assert len(live(text + read("22.05", "squeue-throttled"))) == 4


# --- forged rows --------------------------------------------------------------------------------


def squeue_row(separator: str, name: str = "sb-1", state: str = "PENDING") -> str:
    values = ["7", "1-3", state, "Priority", "990", "1800000000", "N/A", "N/A", "N/A", "", "0",
              "0", "5", name]  # fmt: skip
    return "".join(value + separator for value in values)


def sacct_row(separator: str, name: str = "sb-1", state: str = "PENDING") -> str:
    values = ["7_[1-3]", state, "None", "990", "1800000000", "Unknown", "Unknown", "Unknown",
              "None assigned", "0:0", "5", name]  # fmt: skip
    return separator.join(values)


@pytest.mark.parametrize("guess", ["|", "||", "|0123456789abcdee|", f"|{NONCE}", f"{NONCE}|"])
@pytest.mark.parametrize("before", ["x\n", "\n", "", "\r\n", "x\x0b", "x\x85"])
def test_a_name_cannot_forge_a_row(guess: str, before: str) -> None:
    for make, read_rows in ((squeue_row, live), (sacct_row, ended)):
        name = before + make(guess, state="COMPLETED")
        text = make(f"|{NONCE}|", name=name) + "\n" + make(f"|{NONCE}|") + "\n"
        rows = read_rows(text)
        assert {row.state for row in rows} == {"PENDING"}
        assert [row.tag for row in rows][-1] == "sb-1"


def test_a_line_of_an_earlier_answer_is_not_taken_apart_again() -> None:
    first = squeue_row(f"|{NONCE}|") + "\n" + squeue_row(f"|{NONCE}|", name="sb-2")
    known = parse.live_by_line(first, NONCE, {})
    other = "f" * len(NONCE)
    second = (squeue_row(f"|{other}|", name="sb-2") + "\n"
              + squeue_row(f"|{other}|", state="COMPLETED"))  # fmt: skip
    same, changed = parse.live_by_line(second, other, known).values()
    assert same is list(known.values())[1]
    assert (changed.tag, changed.state) == ("sb-1", "COMPLETED")
    assert list(parse.live(second, other)) == [same, changed]


def test_what_is_known_forges_no_row_either() -> None:
    known = parse.live_by_line(squeue_row(f"|{NONCE}|"), NONCE, {})
    (line,) = known
    other = "f" * len(NONCE)
    for name in (f"x\n{line}", f"x\n{line}\n", f"\n{line}"):
        text = squeue_row(f"|{other}|", name=name, state="RUNNING")
        rows = parse.live_by_line(text, other, known).values()
        assert {row.state for row in rows} <= {"RUNNING"}


def test_a_mark_in_a_name_moves_no_field() -> None:
    (line,) = parse.live_by_line(squeue_row(f"|{NONCE}|"), NONCE, {})
    mark = next(each for each in line if not each.isprintable())
    name = f"a{mark}b"
    rows = [
        row for known in ({}, parse.live_by_line(squeue_row(f"|{NONCE}|", name=name), NONCE, {}))
        for row in parse.live_by_line(squeue_row(f"|{NONCE}|", name=name), NONCE, known).values()
    ]  # fmt: skip
    assert [(row.tag, row.state, row.uid) for row in rows] == [(name, "PENDING", 990)] * 2


def test_bars_in_a_name_move_no_field() -> None:
    (row,) = live(squeue_row(f"|{NONCE}|", name="a|b||c"))
    assert (row.tag, row.state, row.uid) == ("a|b||c", "PENDING", 990)
    (row,) = ended(sacct_row(f"|{NONCE}|", name="a|b||c"))
    assert (row.tag, row.state, row.uid) == ("a|b||c", "PENDING", 990)


@pytest.mark.parametrize(
    ("text", "state", "by"),
    [
        ("CANCELLED by 1000", "CANCELLED", 1000),
        ("CANCELLED", "CANCELLED", None),
        ("CANCELLED by somebody", "CANCELLED", None),
        ("CANCELLED+", "CANCELLED", None),
        ("OUT_OF_ME+", "OUT_OF_ME", None),
    ],
)
def test_states_of_sacct(text: str, state: str, by: int | None) -> None:
    (row,) = ended(sacct_row(f"|{NONCE}|", state=text))
    assert (row.state, row.cancelled_by) == (state, by)


# --- mangled output -----------------------------------------------------------------------------

N_MANGLED = 100_000
LIMIT = 20.0  # seconds of CPU time; it takes two


def mangle(text: str, dice: random.Random) -> str:
    """One of the ways in which output gets broken: cut, doubled, shuffled, with other bytes."""
    at, other = dice.randrange(len(text) + 1), dice.randrange(len(text) + 1)
    low, high = min(at, other), max(at, other)
    way = dice.choice((0, 1, 2, 3, 3, 3, 3, 3, 4, 5, 6))
    if way == 0:
        return text[:at]
    if way == 1:
        return text[:low] + text[high:]
    if way == 2:
        return text[:high] + text[low:]
    if way == 3:
        return text[:at] + dice.choice("\0\n\r|+%,-_[]9٣ \x1b\ud800é") + text[at + 1 :]
    if way == 4:
        return text[:low] + text[low:high][::-1] + text[high:]
    if way == 5:
        return text[:low] + text[low:high].swapcase() + text[high:]
    fields = text.split(f"|{NONCE}|")
    dice.shuffle(fields)
    return f"|{NONCE}|".join(fields)


def mangled(dice: random.Random, count: int) -> Iterator[tuple[Callable[[str], Any], str]]:
    sources = [
        (live if path.name.startswith("squeue") else ended, path.read_text())
        for path in sorted(RECORDED.glob("*/s*-*.txt"))
    ]
    for _ in range(count):
        read_rows, text = dice.choice(sources)
        # A single row is enough, and quick.
        row = dice.choice(text.rstrip("\n").split("\n")) + "\n"
        yield read_rows, mangle(row if dice.random() < 0.5 else mangle(row, dice), dice)


def check(rows: list[JobReport]) -> int:
    """Gives how many of the rows are a verdict."""
    verdicts = 0
    for row in rows:
        verdict = explain(row, CONTEXT)
        if verdict is None:
            continue
        verdicts += 1
        assert not states.unknown_words(row)
        if verdict.status.ended and verdict.kind != "REVOKED":
            assert row.state in states.ENDS
    return verdicts


def test_mangled_output_crashes_nothing_and_ends_nothing() -> None:
    dice, begun = random.Random(20221), time.process_time()
    verdicts = sum(check(read_rows(text)) for read_rows, text in mangled(dice, N_MANGLED))
    assert N_MANGLED / 50 < verdicts < N_MANGLED  # some of it can still be read
    assert time.process_time() - begun < LIMIT


WORDS = [*"|_[]%,-0123456789 \nA", NONCE, f"|{NONCE}|", "PENDING", "COMPLETED", "7_1",
         "CANCELLED by 5"]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=60).map("".join))
def test_text_of_the_right_words_in_any_order(text: str) -> None:
    check(live(text))
    check(ended(text))


@given(st.text())
def test_any_text(text: str) -> None:
    check(live(text))
    check(ended(text))
    parse.submitted_id(text)
    parse.task_ranges(text)
    parse.facts(text, text)


# --- what jobs used -----------------------------------------------------------------------------


def used(*rows: tuple[str, str, str, str, str]) -> list[JobUsage]:
    lines = (f"|{NONCE}|".join(row) for row in rows)
    return list(parse.usage("\n".join(lines), NONCE))


def test_what_a_task_used_is_in_its_steps() -> None:
    """As 22.05 has it, in bytes; others write a unit."""
    found = used(
        ("1_1", "COMPLETED", "", "00:00.576", "tag"),
        ("1_1.batch", "COMPLETED", "64933888", "00:00.576", "batch"),
        ("1_1.0", "FAILED", "104857600", "01:00.100", "step"),
        ("1_2", "FAILED", "", "00:00:00", "tag"),
        ("1_2.batch", "CANCELLED", "", "00:00:00", "batch"),
    )
    assert found == [
        JobUsage(1, 1, "tag", 100.0, 60.676, complete=True),
        JobUsage(1, 2, "tag", None, 0.0, complete=True),
    ]


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "SUSPENDED", "", "NEWWORD"])
def test_a_step_that_goes_on_is_waited_for(state: str) -> None:
    (found,) = used(("1_1", "COMPLETED", "", "", "t"), ("1_1.batch", state, "5M", "", "batch"),
                    ("1_1.0", "COMPLETED", "", "", "x"))  # fmt: skip
    assert not found.complete


def test_a_task_without_a_step_is_not_complete() -> None:
    (found,) = used(("1_1", "COMPLETED", "", "00:01", "t"))
    assert (found.complete, found.max_rss, found.cpu_time) == (False, None, None)


def test_a_step_of_no_task_is_nobody_s() -> None:
    assert used(("1_1.batch", "COMPLETED", "5M", "00:01", "batch")) == []
    assert used(("1_[2-3]", "PENDING", "", "", "t"), ("allocation", "", "", "", "t")) == []


@pytest.mark.parametrize(
    ("text", "mebibytes"),
    [("1048576", 1.0), ("2048K", 2.0), ("1.5G", 1536.0), ("7M", 7.0), ("1T", 1048576.0),
     ("0", None), ("", None), ("12X", None), ("-5", None), ("1e9", None)],
)  # fmt: skip
def test_sizes(text: str, mebibytes: float | None) -> None:
    (found,) = used(("1_1", "COMPLETED", "", "", "t"), ("1_1.batch", "COMPLETED", text, "", "b"))
    assert found.max_rss == mebibytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00.002", 0.002), ("01:02.5", 62.5), ("01:02:03", 3723.0), ("2-03:04:05", 183845.0),
     ("", None), ("5", None), ("1-2", None), ("INVALID", None), ("0:-1", None)],
)  # fmt: skip
def test_cpu_times(text: str, seconds: float | None) -> None:
    (found,) = used(("1_1", "COMPLETED", "", "", "t"), ("1_1.batch", "COMPLETED", "", text, "b"))
    assert found.cpu_time == seconds


def test_a_step_s_name_forges_nothing() -> None:
    """srun lets anybody name a step."""
    forged = f"x\n1_2|{NONCE[::-1]}|COMPLETED|{NONCE[::-1]}|5|{NONCE[::-1]}|00:01|t"
    found = used(("1_1", "COMPLETED", "", "", "t"), ("1_1.0", "COMPLETED", "1M", "00:01", forged))
    assert [each.task for each in found] == [1]


USAGE = "\n".join(f"|{NONCE}|".join(row) for row in (
    ("7_1", "COMPLETED", "", "00:00.576", "tag"),
    ("7_1.batch", "COMPLETED", "64933888", "00:00.576", "batch"),
    ("7_1.0", "RUNNING", "61K", "1-02:03:04", "step"),
    ("7_2", "CANCELLED by 5", "", "00:00:00", "tag"),
    ("7_2.extern", "OUT_OF_MEMORY", "1.5G", "01:02:03", "extern"),
))  # fmt: skip


def sane(found: list[JobUsage]) -> int:
    """Gives how many are told of something."""
    for each in found:
        assert each.max_rss is None or each.max_rss > 0
        assert each.cpu_time is None or each.cpu_time >= 0
    return sum(each.complete and each.max_rss is not None for each in found)


def test_mangled_use_crashes_nothing() -> None:
    dice = random.Random(20222)
    told = 0
    for _ in range(N_MANGLED // 10):
        text = mangle(USAGE, dice)
        told += sane(list(parse.usage(text if dice.random() < 0.5 else mangle(text, dice), NONCE)))
    assert N_MANGLED / 50 < told < N_MANGLED / 5


@given(st.lists(st.sampled_from([*WORDS, ".batch", "00:01", "5M", "\n7_1"]), max_size=60))
def test_use_of_the_right_words_in_any_order(words: list[str]) -> None:
    sane(list(parse.usage("".join(words), NONCE)))


@pytest.mark.parametrize(
    ("text", "estimate"),
    [
        ("sbatch: Job 9 to start at 1795745528 using 1 processors on nodes n1 in partition main\n",
         Estimate(1795745528.0, "n1")),
        ("sbatch: Job 9 to start at 1795745528 using 8 processors on nodes n[1-2,4]\n",
         Estimate(1795745528.0, "n[1-2,4]")),
        ("sbatch: a word of a plugin\nsbatch: Job 9 to start at 17 a partition main\n",
         Estimate(17.0)),
        ("sbatch: Job 9 to start at 2026-11-27T02:12:08 using 1 processors on nodes n1\n",
         Estimate(None, "n1")),
        ("sbatch: Job 9 to start at Unknown\n", Estimate()),
        ("", Estimate()),
    ],
)  # fmt: skip
def test_when_it_would_start(text: str, estimate: Estimate) -> None:
    """The first as on 22.05; a time that is no number is none."""
    assert parse.estimate(text) == estimate
