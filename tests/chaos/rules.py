"""What must hold of batches that wait, for others or for themselves, and of what is run again.

Each rule looks at what the jobs have left themselves, and gives a text for each time that it is
broken. All times are of one clock: a job notes its start after Slurm has started it, and its end
before Slurm can know of it. So what overlaps there, did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.chaos.attempts import RAN
from tests.chaos.ledger import NEVER, Again, Posted, Wait, class_of, kind_of
from tests.chaos.policies import failed_with_its_node, had_more, misled
from tests.chaos.traces import Run, Trace

# Seconds that a slurmctld which is killed forgets: it saves what it knows every five, and scenarios
# lose a little more. And how long after its death something may still begin that it had launched.
FORGETS, LAUNCHES = 10.0, 5.0


@dataclass(frozen=True)
class Case:
    """A batch: its jobs' traces, and what is told of them at last; None: nothing, it is deleted."""

    posted: Posted
    traces: Sequence[Trace]
    told: Sequence[Mapping[str, Any]] | None

    def label(self, index: int) -> str:
        return f"{self.posted.label}-{index}"

    @property
    def retries(self) -> list[Again]:
        """Those that may have been carried out."""
        return [each for each in self.posted.retries if not each.is_refused]

    def starts(self) -> Iterator[tuple[int, float]]:
        for index, trace in enumerate(self.traces):
            for start in trace.starts:
                yield index, start

    def told_as(self, kind: str) -> Iterator[tuple[int, str]]:
        """The jobs that have failed with this class, and their reasons."""
        for index, job in enumerate(self.told or ()):
            if kind_of(job) == kind:
                yield index, job["reason"]

    def has_fallen_short(self, index: int) -> bool:
        """Whether the job has ever not succeeded, so that others may have failed for it. One that
        a policy runs again has not failed in between."""
        every = self.traces[index].runs
        runs = [run for run, after in zip(every, [*every, None][1:], strict=True)
                if after is None or not self.leads_on(index, run, after)]  # fmt: skip
        if self.told is None or self.told[index]["status"] != "SUCCEEDED":
            return True
        return any(not run.is_whole or any(run.codes) for run in runs) or any(
            index in each.jobs for each in self.retries
        )

    def leads_on(self, index: int, before: Run, after: Run) -> bool:
        """Whether the batch's policy has led from one run to the next."""
        job = None if self.told is None else self.told[index]
        return had_more(self.posted.policy, before, after) or (
            before.memory == after.memory and failed_with_its_node(self.posted, job, before)
        )


def forgotten_by(crashes: Sequence[float]) -> Callable[[Run], bool]:
    """Whether slurmctld may have been killed before it had saved that this run began. Slurm then
    takes it for one that waits, and lets others run in its place: that is Slurm's."""
    return lambda run: any(
        -LAUNCHES <= crash - run.begins <= FORGETS for crash in crashes
    )  # fmt: skip


def broken(cases: Mapping[str, Case], crashes: Sequence[float] = ()) -> Iterator[str]:
    is_forgotten = forgotten_by(crashes)
    for case in cases.values():
        yield from waiting(case, cases, is_forgotten)
        yield from canaries(case)
        yield from throttle(case, is_forgotten)
        yield from again(case)
        yield from policy(case)


# --- depends_on ---------------------------------------------------------------------------------


def waiting(
    case: Case, cases: Mapping[str, Case], is_forgotten: Callable[[Run], bool]
) -> Iterator[str]:
    """No job starts before what it waits for; none fails for what has succeeded."""
    for wait in case.posted.waits:
        parent = cases[wait.parent.label]
        for index, start in case.starts():
            if not _is_met(wait, parent, index, start, is_forgotten):
                yield f"{case.label(index)}: started at {start}, before {_what(wait, index)} had"
    for index, reason in case.told_as("DEPENDENCY"):
        named = [each for each in case.posted.waits if each.parent.batch_id in reason]
        if not any(_may_fail(each, cases[each.parent.label], index) for each in named):
            yield f"{case.label(index)}: {reason!r}, but it waits for no such, or that succeeded"


def _what(wait: Wait, index: int) -> str:
    job = f"-{index}" if wait.how == "aftercorr" else ""
    return f"what it waits for ({wait.how} {wait.parent.label}{job})"


def _is_met(
    wait: Wait, parent: Case, index: int, start: float, is_forgotten: Callable[[Run], bool]
) -> bool:
    if wait.how == "aftercorr":
        return parent.traces[index].succeeded_at <= start
    if wait.how == "afterok":
        return all(trace.succeeded_at <= start for trace in parent.traces)
    return _had_ended(parent, start, is_forgotten)


def _had_ended(parent: Case, start: float, is_forgotten: Callable[[Run], bool]) -> bool:
    """Whether there was a moment before the start at which all of it had ended. What is fulfilled
    once stays so, so it may have been run again since."""
    runs = [run for trace in parent.traces for run in trace.runs]
    moments = {start, *(end for run in runs for end in run.ends),
               *(each.asked_at for each in parent.retries)}  # fmt: skip
    return any(_is_at_rest(parent, each, is_forgotten) for each in moments if each <= start)


def _is_at_rest(parent: Case, moment: float, is_forgotten: Callable[[Run], bool]) -> bool:
    """Whatever begins later has been asked for again. One that was killed has left no end."""
    for index, trace in enumerate(parent.traces):
        for number, run in enumerate(trace.runs):
            if run.begins < moment:
                goes_on = max(run.ends, default=0.0) > moment
            else:
                goes_on = not any(
                    each.asked_at <= run.begins and moment <= each.answered_at
                    and (number or index in each.jobs) for each in parent.retries
                )  # fmt: skip
            if goes_on and not is_forgotten(run):
                return False
    return True


def _may_fail(wait: Wait, parent: Case, index: int) -> bool:
    if wait.how == "aftercorr":
        return parent.has_fallen_short(index)
    short = any(map(parent.has_fallen_short, range(len(parent.traces))))
    return wait.how == "afterok" and short


# --- canary, max_parallel -----------------------------------------------------------------------


def canaries(case: Case) -> Iterator[str]:
    """The others start when all of the first jobs have succeeded, and fail only if one has not."""
    n_first = case.posted.canary
    first = range(n_first)
    for index, start in case.starts():
        if index < n_first or _is_let_go(case, index, start):
            continue
        late = [each for each in first if case.traces[each].succeeded_at > start]
        if late:
            yield f"{case.label(index)}: started at {start}, before the first jobs {late} had"
    for index, reason in case.told_as("CANARY"):
        if index < n_first or not any(map(case.has_fallen_short, first)):
            yield f"{case.label(index)}: {reason!r}, but the first {n_first} jobs have succeeded"


def _is_let_go(case: Case, index: int, start: float) -> bool:
    """Whether it was run again in a selection without first ones that had failed: it goes at
    once then."""
    asked = [
        each
        for each in case.retries
        if each.asked_at <= start
        and (index in each.jobs or (each.indices is not None and index in each.indices))
    ]
    if not asked:
        return False
    is_part = asked[-1].indices is not None or asked[-1].reason != ""
    return is_part and not any(each in asked[-1].jobs for each in range(case.posted.canary))


def throttle(case: Case, is_forgotten: Callable[[Run], bool]) -> Iterator[str]:
    """Of the jobs whose start and end are known."""
    if case.posted.max_parallel is None:
        return
    runs = [run for trace in case.traces for run in trace.runs
            if run.is_whole and len(run.starts) == 1 and not is_forgotten(run)]  # fmt: skip
    # At the same moment an end comes first.
    steps = sorted([(run.ends[0], -1) for run in runs] + [(run.begins, 1) for run in runs])
    now, most, when = 0, 0, 0.0
    for at, step in steps:
        now += step
        if now > most:
            most, when = now, at
    if most > case.posted.max_parallel:
        yield (f"{case.posted.label}: {most} jobs ran at once at {when}, and "
               f"{case.posted.max_parallel} may")  # fmt: skip


# --- retries ------------------------------------------------------------------------------------


def again(case: Case) -> Iterator[str]:
    """A job runs again only where that was asked for, or by a policy. What was asked for is done,
    or its end says why not."""
    for index, trace in enumerate(case.traces):
        n_by_policy = 0
        for before, after in pairwise(trace.runs):
            asked = any(
                each.asked_at <= after.begins and each.answered_at >= before.begins
                and each.selects(index) for each in case.retries
            )  # fmt: skip
            by_policy = case.leads_on(index, before, after)
            n_by_policy += by_policy
            if not asked and not by_policy:
                yield f"{case.label(index)}: ran again unasked: {before}; then {after}"
        n_retries = sum(each.selects(index) for each in case.retries)
        if len(trace.runs) - n_by_policy > 1 + n_retries:
            yield f"{case.label(index)}: ran {len(trace.runs)} times, with {n_retries} retries"
        yield from _not_carried_out(case, index, trace)


def _not_carried_out(case: Case, index: int, trace: Trace) -> Iterator[str]:
    asked = [each for each in case.retries if each.is_acknowledged and index in each.jobs]
    for number, each in enumerate(asked, start=1):
        until = asked[number].asked_at if number < len(asked) else NEVER
        if any(each.asked_at <= run.begins < until for run in trace.runs):
            continue
        if until < NEVER:
            # What was never in Slurm leaves no attempt, so that can be told of plain ones alone.
            posted = case.posted
            if not posted.is_whole or posted.waits or posted.canary or _was_lost(case, index):
                continue
        elif case.told is None or _has_ended_since(case.told[index], each.asked_at):
            continue
        yield f"{case.label(index)}: not run again as {each.key} asked at {each.asked_at}: {trace}"


def _was_lost(case: Case, index: int) -> bool:
    """Whether it is told that a run of it came to nothing, for what Slurm did."""
    before = case.told[index].get("attempts", ()) if case.told is not None else ()
    return any(class_of(attempt) not in RAN for attempt in before)


def _has_ended_since(job: Mapping[str, Any], since: float) -> bool:
    """Without having run: with a word of its own, and at a time. Whole seconds are told of that."""
    if job["status"] != "FAILED" or class_of(job) in RAN or not job["stop_time"]:
        return False
    return datetime.fromisoformat(job["stop_time"]).timestamp() >= math.floor(since)


# --- retry policies -----------------------------------------------------------------------------


def policy(case: Case) -> Iterator[str]:
    """A job runs as often as its batch's policy says, with the memory that it says, by its trace
    and by what is told."""
    if case.posted.policy is None:
        return
    most = case.posted.policy.max_attempts
    for index, trace in enumerate(case.traces):
        in_a_row = 1
        for before, after in pairwise(trace.runs):
            asked = any(each.asked_at <= after.begins and each.selects(index)
                        and each.answered_at >= before.begins for each in case.retries)  # fmt: skip
            in_a_row = 1 if asked else in_a_row + (after.memory > before.memory)
            if in_a_row > most:
                yield f"{case.label(index)}: ran {in_a_row} times by a policy of at most {most}"
    for index, job in enumerate(case.told or ()):
        for wrong in misled(case.posted, index, job, case.retries):
            yield f"{case.label(index)}: {wrong}"
