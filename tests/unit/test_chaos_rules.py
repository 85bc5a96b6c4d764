"""The rules of the chaos suite's judge, on traces that are made up: each is broken here once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.chaos.attempts import matched
from tests.chaos.ledger import NEVER, Again, Cancel, Posted, Wait
from tests.chaos.rules import Case, broken
from tests.chaos.traces import Run, Trace, read_traces

OK, DEPENDENCY, CANARY = (
    "OK: ",
    "DEPENDENCY: batch id-p, on which it depends, has failed",
    "CANARY: x",
)
STOP = "1970-01-01T00:{:02}:{:02}Z"


def trace(*runs: tuple[float, float | None, int]) -> Trace:
    """From when to when (None: to no end of its own), and the code; each has a tag of its own."""
    return Trace({
        f"tag{number}": Run(
            f"tag{number}", [start], [] if end is None else [end], [] if end is None else [code],
            {str(100 + number)},
        )
        for number, (start, end, code) in enumerate(runs)
    })  # fmt: skip


def told(reason: str, stop: int = 0, **more: Any) -> dict[str, Any]:
    status = "SUCCEEDED" if reason == OK else "FAILED"
    return {"status": status, "reason": reason, "stop_time": STOP.format(*divmod(stop, 60)), **more}


def all_told(reasons: Sequence[str] | None) -> list[dict[str, Any]] | None:
    return None if reasons is None else [told(each) for each in reasons]


def posted(label: str, n_jobs: int, **more: Any) -> Posted:
    return Posted(label, "alice", [0] * n_jobs, [0.0] * n_jobs, batch_id=f"id-{label}", **more)


def retry(asked: float, failed: dict[int, str], **more: Any) -> Again:
    return Again("k", failed, asked_at=asked, answered_at=asked + 1, is_acknowledged=True, **more)


def judged(*cases: Case, crashes: Sequence[float] = ()) -> list[str]:
    return list(broken({each.posted.label: each for each in cases}, crashes))


GOOD = ((1.0, 2.0, 0),)
BAD = ((1.0, 2.0, 7),)
EXIT = "EXIT: ended with exit code 7"


class TestDependencies:
    def family(
        self, how: str, parent: Sequence[Trace], child: Sequence[Trace],
        parent_told: Sequence[str] | None = None, child_told: Sequence[str] | None = None,
        **more: Any,
    ) -> list[str]:  # fmt: skip
        old = posted("p", len(parent), **more)
        young = posted("c", len(child), waits=(Wait(old, how),))
        return judged(
            Case(old, parent, all_told(parent_told)),
            Case(young, child, all_told(child_told)),
        )

    @pytest.mark.parametrize("how", ["afterok", "afterany", "aftercorr"])
    def test_none_starts_before_the_end_of_what_it_waits_for(self, how: str) -> None:
        for start, n_broken in ((2.5, 0), (1.5, 1), (0.5, 1)):
            child = [trace((start, 3.0, 0))]
            assert len(self.family(how, [trace(*GOOD)], child, [OK], [OK])) == n_broken, start

    def test_job_by_job_only_the_one_at_its_place_counts(self) -> None:
        parent = [trace(*GOOD), trace((1.0, 9.0, 0))]
        first_only = [trace((3.0, 4.0, 0)), trace()]
        assert not self.family("aftercorr", parent, first_only)
        assert self.family("afterok", parent, first_only)
        assert self.family("aftercorr", parent, first_only[::-1])

    def test_none_starts_after_what_has_failed_unless_any_end_will_do(self) -> None:
        parent, child = [trace(*GOOD), trace(*BAD)], [trace((3.0, 4.0, 0))]
        assert self.family("afterok", parent, child, [OK, EXIT])
        assert not self.family("afterany", parent, child, [OK, EXIT])

    def test_none_starts_after_what_never_ran(self) -> None:
        assert self.family("afterok", [trace()], [trace((3.0, 4.0, 0))])
        assert not self.family("afterany", [trace()], [trace((3.0, 4.0, 0))])

    def test_none_fails_for_what_has_succeeded(self) -> None:
        fails = [DEPENDENCY]
        assert self.family("afterok", [trace(*GOOD)], [trace()], [OK], fails)
        assert not self.family("afterok", [trace(*BAD)], [trace()], [EXIT], fails)
        assert not self.family("afterok", [trace(*GOOD)], [trace()], None, fails)
        assert self.family("afterany", [trace(*BAD)], [trace()], [EXIT], fails)

    def test_none_fails_for_a_batch_that_it_does_not_wait_for(self) -> None:
        assert judged(Case(posted("c", 1), [trace()], [told(DEPENDENCY)]))
        other = [DEPENDENCY.replace("id-p", "id-q")]
        assert self.family("afterok", [trace(*BAD)], [trace()], [EXIT], other)

    def test_what_has_succeeded_may_have_failed_before(self) -> None:
        parent = [trace(*BAD, (5.0, 6.0, 0))]
        again = [retry(3.0, {})]
        assert not self.family("afterok", parent, [trace()], [OK], [DEPENDENCY], retries=again)

    def test_job_by_job_none_fails_for_another_place(self) -> None:
        parent, child = [trace(*GOOD), trace(*BAD)], [trace(), trace()]
        wrong = self.family("aftercorr", parent, child, [OK, EXIT], [DEPENDENCY, DEPENDENCY])
        assert len(wrong) == 1
        assert wrong[0].startswith("c-0")

    def test_what_it_waits_for_may_have_been_run_again_since(self) -> None:
        parent = [trace(*BAD, (5.0, 9.0, 0))]
        late = [trace((6.0, 7.0, 0))]
        again = [retry(4.0, {0: "EXIT"})]
        assert not self.family("afterany", parent, late, [OK], retries=again)
        assert self.family("afterok", parent, late, [OK], retries=again)

    def test_a_retry_does_not_excuse_a_start_during_the_first_run(self) -> None:
        parent = [trace(*BAD, (5.0, 9.0, 0))]
        early = [trace((1.5, 3.0, 0))]
        assert self.family("afterany", parent, early, [OK], retries=[retry(4.0, {0: "EXIT"})])

    def test_nor_a_start_before_what_was_not_run_again(self) -> None:
        parent = [trace(*BAD, (5.0, 6.0, 0)), trace((8.0, 9.0, 0))]
        early = [trace((7.0, 7.5, 0))]
        again = [retry(3.0, {0: "EXIT"})]
        assert self.family("afterany", parent, early, [OK, OK], retries=again)

    def test_nor_one_before_what_is_still_to_be_run_again(self) -> None:
        parent = [trace(*BAD, (8.0, 9.0, 0)), trace((1.0, 5.0, 0))]
        early = [trace((6.0, 7.5, 0))]
        again = [retry(3.0, {0: "EXIT"})]
        assert self.family("afterany", parent, early, [OK, OK], retries=again)

    def test_what_slurmctld_may_have_forgotten_has_ended_for_all_that_it_knows(self) -> None:
        old, young = posted("p", 1), posted("c", 1)
        young.waits = (Wait(old, "afterany"),)
        cases = (
            Case(old, [trace((100.0, 110.0, 0))], None),
            Case(young, [trace((105.0, 106.0, 0))], None),
        )
        assert not judged(*cases, crashes=[103.0])
        assert judged(*cases, crashes=[90.0])


class TestCanaries:
    def batch(self, *traces: Trace, reasons: Sequence[str] | None = None, **more: Any) -> list[str]:
        batch = posted("b", len(traces), canary=1, **more)
        return judged(Case(batch, traces, all_told(reasons)))

    def test_the_others_start_when_the_first_have_succeeded(self) -> None:
        assert not self.batch(trace(*GOOD), trace((2.5, 3.0, 0)))
        assert self.batch(trace(*GOOD), trace((1.5, 3.0, 0)))
        assert self.batch(trace(*BAD), trace((2.5, 3.0, 0)))

    def test_they_fail_only_if_one_of_the_first_has(self) -> None:
        assert not self.batch(trace(*BAD), trace(), reasons=[EXIT, CANARY])
        assert self.batch(trace(*GOOD), trace(), reasons=[OK, CANARY])
        assert len(self.batch(trace(), trace(), reasons=[CANARY, CANARY])) == 1

    def test_in_a_retry_of_all_the_first_go_first_again(self) -> None:
        again = [retry(3.0, {0: "EXIT", 1: "CANARY"})]
        first = trace(*BAD, (4.0, 5.0, 0))
        assert not self.batch(first, trace((5.5, 6.0, 0)), retries=again)
        assert self.batch(first, trace((4.5, 6.0, 0)), retries=again)

    def test_a_first_one_that_has_not_ended_keeps_them_also_in_a_retry(self) -> None:
        again = [retry(3.0, {1: "CANCELLED"})]
        assert self.batch(trace((1.0, 9.0, 7)), trace((5.0, 6.0, 0)), retries=again)

    def test_in_a_retry_of_others_alone_they_go_at_once(self) -> None:
        failed = {0: "EXIT", 1: "CANARY"}
        others = [retry(3.0, failed, reason="CANARY")]
        assert not self.batch(trace(*BAD), trace((4.5, 6.0, 0)), retries=others)
        with_first = [retry(3.0, failed, indices=frozenset({0, 1}))]
        assert self.batch(trace(*BAD, (4.0, 5.0, 7)), trace((4.5, 6.0, 0)), retries=with_first)


class TestThrottles:
    def batch(self, *traces: Trace, crashes: Sequence[float] = ()) -> list[str]:
        batch = posted("b", len(traces), max_parallel=1)
        return judged(Case(batch, traces, None), crashes=crashes)

    def test_no_more_run_at_once(self) -> None:
        assert not self.batch(trace((1.0, 2.0, 0)), trace((2.0, 3.0, 0)))
        assert self.batch(trace((1.0, 2.0, 0)), trace((1.9, 3.0, 0)))

    def test_one_whose_end_is_not_known_does_not_count(self) -> None:
        assert not self.batch(trace((1.0, None, 0)), trace((1.9, 3.0, 0)))

    def test_nor_one_that_slurmctld_may_have_forgotten(self) -> None:
        both = trace((100.0, 110.0, 0)), trace((109.0, 120.0, 0))
        assert not self.batch(*both, crashes=[103.0])
        assert self.batch(*both, crashes=[150.0])
        assert self.batch(*both, crashes=[90.0])


class TestRetries:
    def batch(
        self, job: Trace, *retries: Again, last: dict[str, Any] | None = None, **more: Any
    ) -> list[str]:
        batch = posted("b", 1, retries=list(retries), **more)
        return judged(Case(batch, [job], None if last is None else [last]))

    def test_a_job_runs_again_only_where_that_was_asked_for(self) -> None:
        twice = trace(*BAD, (5.0, 6.0, 0))
        assert not self.batch(twice, retry(3.0, {0: "EXIT"}))
        assert self.batch(twice)
        assert self.batch(twice, retry(7.0, {}))
        assert self.batch(twice, retry(3.0, {}, indices=frozenset({4})))
        assert self.batch(twice, Again("k", {}, asked_at=3.0, answered_at=4.0, is_refused=True))

    def test_once_for_each_retry(self) -> None:
        thrice = trace(*BAD, (5.0, 6.0, 7), (8.0, 9.0, 0))
        assert self.batch(thrice, retry(3.0, {0: "EXIT"}))
        slow = Again("k", {0: "EXIT"}, asked_at=3.0, answered_at=20.0, is_acknowledged=True)
        assert self.batch(thrice, slow)

    def test_a_retry_that_was_acknowledged_is_carried_out(self) -> None:
        last = told(EXIT, stop=2)
        assert self.batch(trace(*BAD), retry(3.0, {0: "EXIT"}), last=last)
        again = [retry(3.0, {0: "EXIT"}), retry(10.0, {0: "EXIT"})]
        assert self.batch(trace(*BAD, (11.0, 12.0, 0)), *again, last=told(OK, stop=12))

    def test_or_it_is_told_why_not(self) -> None:
        asked = retry(3.0, {0: "EXIT"})
        ended = told("CANCELLED: cancelled by request", stop=5)
        assert not self.batch(trace(*BAD), asked, last=ended, cancels=[Cancel(4.0, 4.5)])
        before = told("CANCELLED: cancelled by request", stop=2)
        assert self.batch(trace(*BAD), asked, last=before, cancels=[Cancel(1.5, 1.6)])

    def test_one_that_had_not_failed_owes_nothing(self) -> None:
        assert not self.batch(trace(*GOOD), retry(3.0, {}), last=told(OK, stop=2))


class TestAttempts:
    def told(self, array: int, reason: str = EXIT) -> dict[str, Any]:
        return {"reason": reason, "exit_code": 7, "slurm_job_id": f"{array}_1"}

    def test_each_is_told_with_the_run_of_its_array(self) -> None:
        twice = trace(*BAD, (5.0, 6.0, 0))
        job = {**self.told(101, OK), "status": "SUCCEEDED", "attempts": [self.told(100)]}
        pairs, strays = matched(job, twice)
        assert [(each.kind, run.begins) for each, run in pairs] == [
            ("SUCCEEDED", 5.0),
            ("EXIT", 1.0),
        ]
        assert not strays

    def test_a_run_that_is_not_told_of_is_left(self) -> None:
        job = {**self.told(101, OK), "status": "SUCCEEDED", "attempts": []}
        assert [run.begins for run in matched(job, trace(*BAD, (5.0, 6.0, 0)))[1]] == [1.0]

    def test_an_attempt_without_a_run_that_it_ought_to_have_has_none(self) -> None:
        job = {**self.told(100), "status": "FAILED", "attempts": [self.told(99)]}
        pairs, _ = matched(job, trace(*BAD))
        assert [run.begins for _, run in pairs] == [1.0, NEVER]


def test_traces_are_read_by_job_and_array() -> None:
    found = read_traces([
        "start b-0 1.5 100 t0 7", "end b-0 2.5 100 t0 7", "start b-0 3.5 101 t1 7",
        "end b-0 4.5 101 t1 0",
    ])  # fmt: skip
    first, second = found["b-0"].runs
    assert (first.begins, first.ends, first.codes, first.ids) == (1.5, [2.5], [7], {"100"})
    assert (second.tag, found["b-0"].succeeded_at) == ("t1", 4.5)
