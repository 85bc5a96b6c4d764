"""The chaos suite's judge, and its watcher, on a run that is made up."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.chaos.faults import Faults
from tests.chaos.judge import Judge, Verdict
from tests.chaos.ledger import Again, Cancel, Ledger, Policy, Posted
from tests.chaos.watch import Watcher

EXIT, OK = "EXIT: ended with exit code 7 (FAILED)", "OK: exit code 0"


class FakeUser:
    """Answers with what the API is to tell, by the end of the path."""

    def __init__(self, jobs: Sequence[dict[str, Any]], finished: bool = True) -> None:
        self.jobs, self.finished = list(jobs), finished

    def look(self, path: str) -> Any:
        counts = {"FAILED": len(self.jobs)}
        batch = {"n_jobs": len(self.jobs), "submitted_jobs": counts,
                 "finished_at": "1970-01-01T00:00:09Z" if self.finished else ""}  # fmt: skip
        name = path.rpartition("/")[2]
        found = [each for each in self.jobs if each["job_id"] == name]
        body = self.jobs if name == "jobs" else found or [batch]
        return SimpleNamespace(status_code=200, json=lambda: body)


def told(status: str, reason: str, attempts: Sequence[dict[str, Any]] | None = None,
         **more: Any) -> dict[str, Any]:  # fmt: skip
    """A job's resource; with attempts, all of it."""
    number = {} if attempts is None else {"attempts": attempts, "attempt": len(attempts) + 1}
    code = {EXIT: 7, OK: 0}.get(reason)
    return {"job_id": "id-b-0", "index": 0, "args": {"job": 0}, "status": status, "reason": reason,
            "exit_code": code, "stop_time": "1970-01-01T00:00:59Z", "slurm_job_id": "101_1",
            **number, **more}  # fmt: skip


FIRST = {"attempt": 1, "reason": EXIT, "exit_code": 7, "slurm_job_id": "100_1"}
BOTH = ["start b-0 1.0 100 t0 7", "end b-0 2.0 100 t0 7", "start b-0 5.0 101 t1 7",
        "end b-0 6.0 101 t1 0"]  # fmt: skip

# With 16 MiB, of which it was killed, and then with 32.
RAN_OUT = {"attempt": 1, "reason": "MEMORY: used more than the 16 MiB it asked for", "memory": 16,
           "exit_code": None, "slurm_job_id": "100_1", "slurm_state": "OUT_OF_MEMORY",
           "stop_time": "1970-01-01T00:00:02Z"}  # fmt: skip
GROWN = told("SUCCEEDED", OK, [RAN_OUT], hardware={"memory": 32}, slurm_state="COMPLETED")
NODE_DOWN = ("fail a node",)
HUNGRY = ["start b-0 1.0 100 t0 7 16", "start b-0 5.0 101 t1 7 32", "end b-0 6.0 101 t1 0 32"]


def batch(**more: Any) -> Posted:
    return Posted("b", "alice", [7], [0.0], heals={0: 1}, batch_id="id-b", **more)


def retried(at: float = 3.0) -> Again:
    return Again("k", {0: "EXIT"}, asked_at=at, answered_at=at + 0.5, is_acknowledged=True)


class TestJudge:
    @pytest.fixture(autouse=True)
    def at_a_site(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "db")) as db:
            db.execute("CREATE TABLE batch (deleted_at)")
            db.execute("CREATE TABLE array (tag, state)")
            db.commit()
        self.site = SimpleNamespace(
            trace=tmp_path / "trace", claims=True, database=tmp_path / "db", queue=list
        )

    def verdict(
        self, posted: Posted, job: dict[str, Any], trace: Sequence[str], crashed: bool = False,
        struck: Sequence[str] = (),
    ) -> Verdict:  # fmt: skip
        self.site.trace.write_text("\n".join(trace))
        ledger = Ledger()
        ledger.add(posted)
        site = cast(Any, self.site)
        faults = Faults(site)
        faults.kinds.update(struck)
        if crashed:
            faults.noted("slurmctld", "kill")
        return Judge(site, ledger, faults).judge({"alice": cast(Any, FakeUser([job]))})

    def test_a_job_that_was_run_again_is_judged_by_each_of_its_runs(self) -> None:
        good = told("SUCCEEDED", OK, [FIRST])
        assert not self.verdict(batch(retries=[retried()]), good, BOTH).failures

    def test_each_attempt_agrees_with_its_own_run(self) -> None:
        other = {**FIRST, "reason": "EXIT: ended with exit code 8 (FAILED)", "exit_code": 8}
        found = self.verdict(batch(retries=[retried()]), told("SUCCEEDED", OK, [other]), BOTH)
        assert len(found.disagreements) == 1
        good = {**FIRST, "reason": OK, "exit_code": 0}
        assert self.verdict(
            batch(retries=[retried()]), told("SUCCEEDED", OK, [good]), BOTH
        ).disagreements

    def test_a_run_that_is_no_attempt_is_wrong(self) -> None:
        found = self.verdict(batch(retries=[retried()]), told("SUCCEEDED", OK, []), BOTH)
        assert any("no attempt" in each for each in found.wrong)

    def test_the_numbers_of_the_attempts_have_no_gaps(self) -> None:
        job = told("SUCCEEDED", OK, [FIRST], attempt=3)
        found = self.verdict(batch(retries=[retried(), retried(4.0)]), job, BOTH)
        assert any("attempt 3" in each for each in found.disagreements)

    def test_two_runs_without_a_retry_are_one_too_many(self) -> None:
        assert self.verdict(batch(), told("SUCCEEDED", OK), BOTH).twice

    def test_two_runs_of_one_attempt_are_one_too_many(self) -> None:
        again = [*BOTH, "start b-0 7.0 101 t1 7", "end b-0 8.0 101 t1 0"]
        found = self.verdict(batch(retries=[retried()]), told("SUCCEEDED", OK, [FIRST]), again)
        assert len(found.twice) == 1

    def test_what_was_not_run_for_others_has_not_run(self) -> None:
        reason = "DEPENDENCY: batch id-p, on which it depends, has failed"
        found = self.verdict(batch(), told("FAILED", reason), BOTH[:2])
        assert len(found.disagreements) == 1

    def test_a_batch_that_was_a_mistake_does_not_run(self) -> None:
        wrong = Posted("b", "alice", [7], [0.0], is_invalid=True)
        assert self.verdict(wrong, {}, BOTH[:2]).disagreements

    def test_what_still_waits_is_not_what_was_promised(self) -> None:
        assert self.verdict(batch(), told("PENDING", "DEPENDENCY: waits"), []).lost

    def test_a_cancel_does_not_reach_what_is_run_again_after_it(self) -> None:
        before, after = Cancel(2.5, 2.6), Cancel(5.5, 5.6)
        trace = [*BOTH[:2], "start b-0 5.0 101 t1 7"]
        job = told("FAILED", "CANCELLED: cancelled by request", [FIRST])
        for cancel, n_wrong in ((before, 1), (after, 0)):
            posted = batch(retries=[retried()], cancels=[cancel])
            assert len(self.verdict(posted, job, trace).disagreements) == n_wrong

    def test_what_starts_long_after_a_cancel_was_run_again(self) -> None:
        late = ["start b-0 50.0 101 t1 7", "end b-0 51.0 101 t1 7"]
        cancels = [Cancel(2.5, 2.6)]
        found = self.verdict(batch(cancels=cancels), told("FAILED", EXIT), late)
        assert any("after its batch was cancelled" in each for each in found.wrong)
        again = batch(cancels=cancels, retries=[retried()])
        assert not self.verdict(again, told("FAILED", EXIT, []), late).wrong

    def test_what_slurm_ended_after_a_crash_before_its_tool_began_is_told_so(self) -> None:
        """It has made its claim, and noted the signal there."""
        killed = "EXIT: ended with exit code 143, as after signal SIGTERM (15) (FAILED)"
        job = told("FAILED", killed, exit_code=143)
        assert self.verdict(batch(), job, []).lost
        assert not self.verdict(batch(), job, [], crashed=True).failures
        assert not self.verdict(batch(), job, BOTH[:1], crashed=True).failures
        assert self.verdict(batch(), job, BOTH[:2], crashed=True).disagreements

    @pytest.mark.parametrize("words", [
        "Slurm lost sight of its first run and started it again; it was not run twice",
        "had begun when Slurm, after a crash of its own, cancelled all of its array by mistake",
    ])  # fmt: skip
    def test_what_had_claimed_and_no_more_may_be_lost_by_a_crash(self, words: str) -> None:
        job = told("FAILED", f"LOST: {words} (FAILED)")
        assert self.verdict(batch(), job, []).lost
        found = self.verdict(batch(), job, [], crashed=True)
        assert not found.failures and len(found.said_lost) == 1
        assert self.verdict(batch(), job, BOTH[:2], crashed=True).disagreements

    def hungry(self, job: dict[str, Any], trace: Sequence[str] = (), **more: Any) -> Verdict:
        """A job that needs 32 MiB, with a policy."""
        needs = {"policy": Policy(2, 2), "needs": {0: 32}, **more}
        return self.verdict(batch(**needs), job, trace or HUNGRY)

    def test_a_job_that_its_policy_runs_again_is_judged_by_each_of_its_runs(self) -> None:
        found = self.hungry(GROWN)
        assert not found.failures
        assert (found.attempts, found.statuses) == ({"MEMORY": 1}, {"SUCCEEDED": 1})
        assert self.hungry(GROWN, policy=None).twice

    def test_out_of_memory_means_killed_with_less_than_it_needs(self) -> None:
        ended = [HUNGRY[0], "end b-0 2.0 100 t0 0 16", *HUNGRY[1:]]
        assert self.hungry(GROWN, ended).disagreements
        assert self.hungry(GROWN, needs={}).disagreements
        assert self.hungry(GROWN, HUNGRY[1:]).lost

    def test_a_node_that_has_failed_is_a_reason_for_another_attempt(self) -> None:
        first = {**RAN_OUT, "reason": "NODE: node1 failed (NODE_FAIL)", "slurm_state": "NODE_FAIL"}
        job = {**GROWN, "attempts": [first], "hardware": {"memory": 16}}
        trace = [each.replace(" 32", " 16") for each in HUNGRY]
        by_node: dict[str, Any] = {"policy": Policy(2, 2, node_failures=True), "struck": NODE_DOWN}
        assert not self.node_failed(job, trace, **by_node).failures
        assert self.node_failed(job, trace, **{**by_node, "struck": ()}).disagreements
        assert self.node_failed(job, trace, **{**by_node, "policy": Policy(2, 2)}).failures
        ended = [trace[0], "end b-0 2.0 100 t0 7 16", *trace[1:]]
        assert self.node_failed(job, ended, **by_node).disagreements
        last = told("FAILED", "NODE: x (NODE_FAIL)", [], hardware={"memory": 16},
                    slurm_state="NODE_FAIL", slurm_job_id="100_1")  # fmt: skip
        assert self.node_failed(last, trace[:1], **by_node).disagreements

    def node_failed(
        self, job: dict[str, Any], trace: Sequence[str], policy: Policy, struck: Sequence[str]
    ) -> Verdict:
        return self.verdict(batch(policy=policy), job, trace, struck=struck)

    def test_the_memory_that_is_told_is_what_it_had(self) -> None:
        for line in range(2):
            other = [each.replace(" 16", " 20") if number == line else each.replace(" 32", " 40")
                     for number, each in enumerate(HUNGRY)]  # fmt: skip
            assert self.hungry(GROWN, other).disagreements

    def test_the_numbers_of_a_policy_s_attempts_have_no_gaps_either(self) -> None:
        assert self.hungry({**GROWN, "attempt": 3}).disagreements
        twice = {**RAN_OUT, "attempt": 2}
        assert self.hungry({**GROWN, "attempts": [twice], "attempt": 3}).disagreements

    def test_a_run_that_a_policy_s_attempts_do_not_tell_of_is_wrong(self) -> None:
        found = self.hungry({**GROWN, "attempts": [], "attempt": 1})
        assert any("no attempt" in each for each in found.wrong)

    def test_an_attempt_of_a_policy_does_not_run_twice(self) -> None:
        again = [*HUNGRY, "start b-0 7.0 101 t1 7 32", "end b-0 8.0 101 t1 0 32"]
        assert len(self.hungry(GROWN, again).twice) == 1

    def test_what_the_rules_find_of_a_policy_is_wrong(self) -> None:
        more = {**GROWN, "hardware": {"memory": 64}}
        found = self.hungry(more, [each.replace(" 32", " 64") for each in HUNGRY])
        assert any("should have" in each for each in found.wrong)

    def test_without_claims_slurm_may_run_the_same_submission_again(self) -> None:
        again = [*BOTH[:2], "start b-0 5.0 100 t0 7", "end b-0 6.0 100 t0 7"]
        other = [*BOTH[:2], "start b-0 5.0 101 t0 7", "end b-0 6.0 101 t0 7"]
        job = told("FAILED", EXIT)
        assert self.verdict(batch(), job, again).twice
        self.site.claims = False
        found = self.verdict(batch(), job, again)
        assert not found.failures and len(found.rerun_by_slurm) == 1
        assert self.verdict(batch(), job, other).twice

    def test_what_still_ran_when_slurm_had_started_it_again_is_lost_by_a_crash(self) -> None:
        words = "Slurm lost sight of its first run and started it again; it was not run twice"
        job = told("FAILED", f"LOST: {words} (FAILED)")
        for end, n_wrong in (("58.5", 1), ("59.5", 0)):
            trace = [BOTH[0], f"end b-0 {end} 100 t0 7"]
            assert len(self.verdict(batch(), job, trace, crashed=True).disagreements) == n_wrong
            assert self.verdict(batch(), job, trace).disagreements

    def test_without_claims_an_end_is_lost_with_slurm_s_accounting(self) -> None:
        lost = told("FAILED", "LOST: Slurm no longer knows this job and has no record of its end")
        assert self.verdict(batch(), lost, BOTH[:2], struck=["kill mariadbd"]).disagreements
        self.site.claims = False
        assert self.verdict(batch(), lost, BOTH[:2]).disagreements
        found = self.verdict(batch(), lost, BOTH[:2], struck=["kill mariadbd"])
        assert not found.failures and len(found.said_lost) == 1


class TestWatcher:
    def complaints(self, posted: Posted, between: Again | None) -> list[str]:
        """Of a job that has failed, and is shown as running at the next look."""
        ledger, user = Ledger(), FakeUser([told("FAILED", EXIT)])
        ledger.add(posted)
        watcher = Watcher({"alice": cast(Any, user)}, ledger, lambda since, until: False)
        watcher._look(posted, often=True)
        assert not watcher.unfinished()
        user.jobs, user.finished = [told("RUNNING", "RUNNING: runs")], False
        if between is not None:
            posted.retries.append(between)
        watcher._look(posted, often=True)
        assert bool(watcher.unfinished()) or between is None
        return ledger.wrong

    def test_an_end_is_one_for_good(self) -> None:
        assert len(self.complaints(batch(), None)) == 2

    def test_unless_it_is_run_again(self) -> None:
        assert not self.complaints(batch(), retried())

    def test_or_that_is_under_way(self) -> None:
        assert not self.complaints(batch(), Again("k", {0: "EXIT"}, asked_at=3.0))
