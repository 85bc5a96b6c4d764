"""What a tick makes of Slurm's reports: forward on any evidence, back only on slurmctld's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slurmbatch.claims import Claim
from slurmbatch.model import (
    ArraySpec,
    ArrayState,
    Hardware,
    JobChange,
    JobReport,
    KnownJob,
    SlurmOptions,
    Status,
)
from slurmbatch.poller import digest
from slurmbatch.poller.digest import Memory, Situation

ARRAY = ArraySpec(
    pk=1, batch_id="b", user_id="alice", tool_id="t", ordinal=0, generation=1, tag="sb-x-1",
    n_tasks=20, state=ArrayState.QUEUED, hardware=Hardware((), 1, 64), slurm=SlurmOptions(),
    created_at=0.0, slurm_job_id=7,
)  # fmt: skip
GRACE = 60.0


def situation(now: float = 1000.0, claim: Claim | None = None, *, oom: bool = False,
              array: ArraySpec = ARRAY) -> Situation:  # fmt: skip
    unknown: list[JobReport] = []
    return Situation(array, now, now, GRACE, 0, lambda task: oom, lambda job: claim, unknown.append)


def known(status: Status = Status.SUBMITTED, **more: object) -> KnownJob:
    plain = KnownJob(3, status, "", "", None, 0)
    return replace(plain, **more)  # type: ignore[arg-type]


def report(state: str, source: str = "live", **more: object) -> JobReport:
    plain = JobReport(7, ((3, 3),), is_range=False, state=state, source=source)  # type: ignore[arg-type]
    return replace(plain, **more)  # type: ignore[arg-type]


def told(one: JobReport, was: KnownJob, now: float = 1000.0, memory: Memory | None = None,
         **more: object) -> JobChange | None:  # fmt: skip
    return digest.change(one, was, situation(now, **more), memory or Memory())  # type: ignore[arg-type]


class TestWhichRow:
    def test_a_task_s_own_row_beats_a_range(self) -> None:
        own = report("RUNNING")
        stale = report("PENDING", tasks=((1, 20),), is_range=True)
        wanted = {task: known() for task in (2, 3)}
        for rows in ([own, stale], [stale, own]):
            found = digest.by_task(rows, wanted)
            assert found == {2: stale, 3: own}

    def test_only_what_is_wanted_is_expanded(self) -> None:
        vast = report("PENDING", tasks=((1, 4_000_000),), is_range=True)
        assert digest.by_task([vast], {3: known()}) == {3: vast}


class TestClaims:
    def test_an_end_that_slurm_has_forgotten_is_the_one_that_the_job_noted(self) -> None:
        failed = report("NODE_FAIL", start_time=5.0, end_time=9.0, node_list="n1", exit_code=1)
        for code, status in ((0, Status.SUCCEEDED), (78, Status.FAILED)):
            was = known(Status.RUNNING, start_time=5.0)
            change = told(failed, was, claim=Claim(True, code))
            assert change is not None
            assert (change.status, change.exit_code, change.stop_time) == (status, code, 9.0)
            assert change.node_list == "n1"

    @pytest.mark.parametrize("code", [137, 143])
    def test_the_signal_that_ended_it_with_its_node_is_no_end_of_its_own(self, code: int) -> None:
        failed = report("NODE_FAIL", start_time=5.0, end_time=9.0, node_list="n1")
        for ended_at, kind in ((9.4, "NODE: "), (8.2, "NODE: "), (7.0, "EXIT: ")):
            was, noted = known(Status.RUNNING, start_time=5.0), Claim(True, code, ended_at=ended_at)
            memory = Memory()
            changes = [told(failed, was, now, memory, claim=noted) for now in (1000.0, 2000.0)]
            change = changes[0] or changes[1]
            assert change is not None, (ended_at, kind)
            assert change.reason.startswith(kind)

    def test_a_failure_without_a_code_is_the_end_that_the_job_noted(self) -> None:
        for code, status in ((0, Status.SUCCEEDED), (128, Status.FAILED)):
            row = report("FAILED", exit_code=0, signal=0, end_time=9.0)
            change = told(row, known(Status.RUNNING), claim=Claim(True, code))
            assert change is not None
            assert (change.status, change.exit_code) == (status, code)

    @pytest.mark.parametrize(
        ("row", "code", "status"),
        [
            (report("FAILED", exit_code=67, signal=0, end_time=9.0), 0, Status.SUCCEEDED),
            (report("FAILED", exit_code=67, signal=0, end_time=9.0), 8, Status.FAILED),
            (report("FAILED", exit_code=9, signal=0, end_time=9.0), 137, Status.FAILED),
            (report("COMPLETED", exit_code=0, signal=0, end_time=9.0), 63, Status.FAILED),
        ],
    )
    def test_the_end_of_another_job_is_not_believed_against_its_own_note(
        self, row: JobReport, code: int, status: Status
    ) -> None:
        """Slurm's trap: a number that was given again, or a release that drops bit 7 of a code."""
        change = told(row, known(Status.RUNNING), claim=Claim(True, code, ended_at=8.5))
        assert change is not None
        assert (change.status, change.exit_code, change.stop_time) == (status, code, 8.5)
        assert f"as it noted itself, Slurm says {row.state}" in change.reason

    def test_what_both_tell_is_told_in_slurm_s_words(self) -> None:
        for row, code in ((report("FAILED", exit_code=7, signal=0), 7),
                          (report("COMPLETED", exit_code=0, signal=0), 0)):  # fmt: skip
            change = told(row, known(Status.RUNNING), claim=Claim(True, code, ended_at=8.5))
            assert change is not None
            assert "noted" not in change.reason

    def test_a_signal_that_slurm_knows_of_and_memory_are_more_than_a_code(self) -> None:
        killed = report("FAILED", exit_code=0, signal=9)
        change = told(killed, known(Status.RUNNING), claim=Claim(True, 0))
        assert change is not None
        assert change.reason.startswith("SIGNAL: ")
        killed = report("FAILED", exit_code=9, signal=0)
        change = told(killed, known(Status.RUNNING), claim=Claim(True, 137), oom=True)
        assert change is not None
        assert change.reason.startswith("MEMORY: ")

    def test_a_second_copy_that_was_not_launched_is_no_cancellation(self) -> None:
        refused = report("CANCELLED", start_time=753.0, end_time=753.0)
        noted = Claim(True, 0, ended_at=714.4)
        change = told(refused, known(Status.RUNNING, start_time=712.0), claim=noted)
        assert change is not None
        assert (change.status, change.start_time, change.stop_time) == (
            Status.SUCCEEDED, 712.0, 714.4
        )  # fmt: skip
        change = told(refused, known(Status.RUNNING, start_time=753.0), claim=noted)
        assert change is not None
        assert (change.start_time, change.stop_time) == (None, 714.4)

    def test_what_had_ended_long_before_it_was_cancelled_has_ended_so(self) -> None:
        row = report("CANCELLED", start_time=700.0, end_time=760.0)
        was = known(Status.RUNNING, start_time=700.0)
        change = told(row, was, claim=Claim(True, 0, ended_at=714.4))
        assert change is not None
        assert (change.status, change.stop_time) == (Status.SUCCEEDED, 714.4)
        for code, ended_at in ((0, 759.5), (0, 761.0), (143, 714.4), (137, 714.4)):
            change = told(row, was, claim=Claim(True, code, ended_at=ended_at))
            assert change is not None
            assert change.reason.startswith("CANCELLED: ")

    @pytest.mark.parametrize("claim", [None, Claim(False), Claim(True),
                                       Claim(True, 143, ended_at=760.2)])  # fmt: skip
    def test_what_was_cancelled_while_it_ran_is_cancelled(self, claim: Claim | None) -> None:
        row = report("CANCELLED", start_time=753.0, end_time=760.0)
        change = told(row, known(Status.RUNNING, start_time=753.0), claim=claim)
        assert change is not None
        assert change.reason.startswith("CANCELLED: ")

    @pytest.mark.parametrize("claim", [None, Claim(False), Claim(True)])
    def test_without_such_a_note_the_node_has_failed(self, claim: Claim | None) -> None:
        memory, failed = Memory(), report("NODE_FAIL")
        assert told(failed, known(Status.RUNNING), memory=memory, claim=claim) is None
        change = told(failed, known(Status.RUNNING), 1000.0 + GRACE, memory, claim=claim)
        assert change is not None
        assert change.reason.startswith("NODE: ")


class TestOrder:
    def test_forward(self) -> None:
        change = told(report("RUNNING", start_time=5.0, node_list="n1"), known(Status.RUNNABLE))
        assert change is not None
        assert (change.status, change.start_time, change.node_list) == (Status.RUNNING, 5.0, "n1")

    def test_back_on_what_slurmctld_shows(self) -> None:
        change = told(report("PENDING", reason="BeginTime", restarts=1), known(Status.RUNNING))
        assert change is not None
        assert (change.status, change.restarts) == (Status.PENDING, 1)

    def test_not_back_on_what_accounting_says_late(self) -> None:
        late = report("PENDING", "accounting", eligible_time=1.0)
        assert told(late, known(Status.RUNNING)) is None

    def test_nothing_new_is_no_change(self) -> None:
        first = told(report("PENDING", reason="Priority"), known())
        assert first is not None
        same = known(first.status, reason=first.reason, slurm_state="PENDING")
        assert told(report("PENDING", reason="Priority"), same) is None
        assert told(report("PENDING", reason="Resources"), same) is not None

    @pytest.mark.parametrize("state", ["", "FIGURING", "OUT_OF_ME", "COMPLETED+", "completed"])
    def test_an_unknown_word_is_no_verdict_and_is_told(self, state: str) -> None:
        heard: list[JobReport] = []
        place = replace(situation(), unknown=heard.append)
        assert digest.change(report(state), known(Status.RUNNING), place, Memory()) is None
        assert len(heard) == 1


class TestEnds:
    def test_what_it_ended_with(self) -> None:
        change = told(
            report("FAILED", exit_code=3, signal=0, start_time=1.0, end_time=2.0), known()
        )
        assert change is not None
        assert (change.status, change.exit_code, change.start_time, change.stop_time) == (
            Status.FAILED, 3, 1.0, 2.0
        )  # fmt: skip

    def test_killed_for_its_memory_by_its_log(self) -> None:
        killed = report("FAILED", exit_code=0, signal=9)
        for oom, word in ((True, "MEMORY: "), (False, "SIGNAL: ")):
            change = told(killed, known(Status.RUNNING), oom=oom)
            assert change is not None
            assert change.reason.startswith(word)

    @pytest.mark.parametrize("state", ["NODE_FAIL", "BOOT_FAIL", "PREEMPTED"])
    @pytest.mark.parametrize("source", ["live", "accounting"])
    def test_an_end_that_slurm_may_undo_counts_after_the_grace(
        self, state: str, source: str
    ) -> None:
        memory, was = Memory(), known(Status.RUNNING)
        assert told(report(state, source), was, 1000.0, memory) is None
        assert not memory.settled
        assert told(report(state, source), was, 1000.0 + GRACE - 1, memory) is None
        change = told(report(state, source), was, 1000.0 + GRACE, memory)
        assert change is not None
        assert change.status is Status.FAILED
        assert memory.settled

    def test_requeued_in_between_it_is_not_failed(self) -> None:
        memory, was = Memory(), known(Status.RUNNING)
        told(report("NODE_FAIL"), was, 1000.0, memory)
        change = told(report("PENDING", reason="BeginTime"), was, 1010.0, memory)
        assert change is not None
        assert change.status is Status.PENDING
        assert memory.settled
        again = known(Status.PENDING)
        assert told(report("NODE_FAIL"), again, 2000.0, memory) is None

    def test_completing_is_not_an_end(self) -> None:
        change = told(report("COMPLETING"), known(Status.STARTING))
        assert change is not None
        assert change.status is Status.RUNNING

    def test_started_again_by_slurm_and_not_run_it_is_lost_not_failed_by_itself(self) -> None:
        fenced = report("FAILED", exit_code=121, signal=0)
        change = told(fenced, known(Status.RUNNING), claim=Claim(True, None, again=True))
        assert change is not None
        assert change.reason.startswith("LOST: ")
        plain = told(fenced, known(Status.RUNNING), claim=Claim(True, 121))
        assert plain is not None
        assert plain.reason.startswith("EXIT: ended with exit code 121")


class TestGone:
    def test_believed_to_live_until_the_grace_is_over(self) -> None:
        memory = Memory()
        assert not digest.is_gone(known(), situation(1000.0), memory)
        assert not digest.is_gone(known(), situation(1000.0 + GRACE - 1), memory)
        assert digest.is_gone(known(), situation(1000.0 + GRACE), memory)
        assert not memory.settled

    def test_from_an_array_that_slurm_knows_it_was_cancelled(self) -> None:
        change = digest.cancelled_elsewhere(known(), situation())
        assert change.status is Status.FAILED
        assert change.reason.startswith("CANCELLED: cancelled outside of this service")
        ours = digest.cancelled_elsewhere(known(), situation(array=replace(ARRAY, cancel=True)))
        assert ours.reason.startswith("CANCELLED: cancelled by request")

    def test_without_claims_it_is_lost(self) -> None:
        change = digest.lost(known(), situation())
        assert change is not None
        assert change.reason.startswith("LOST: ")

    @pytest.mark.parametrize(
        ("claim", "status", "words"),
        [
            (Claim(True, 0), Status.SUCCEEDED, "OK: ended with exit code 0"),
            (Claim(True, 3), Status.FAILED, "EXIT: ended with exit code 3"),
            (Claim(True, None), Status.FAILED, "LOST: "),
        ],
    )
    def test_its_claim_tells_how_it_ended(self, claim: Claim, status: Status, words: str) -> None:
        change = digest.lost(known(), situation(claim=claim))
        assert change is not None
        assert change.status is status
        assert change.reason.startswith(words)

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (None, "CANCELLED: cancelled by request"),
            (137, "CANCELLED: cancelled by request"),
            (143, "CANCELLED: cancelled by request"),
            (7, "EXIT: ended with exit code 7"),
            (0, "OK: ended with exit code 0"),
        ],
    )
    def test_one_that_we_have_ended_was_cancelled(self, code: int | None, words: str) -> None:
        """It ran, was sent a signal because we asked, and Slurm has forgotten all of it."""
        place = situation(claim=Claim(True, code), array=replace(ARRAY, cancel=True))
        change = digest.lost(known(Status.RUNNING), place)
        assert change is not None
        assert change.reason.startswith(words)
        assert "before it started" not in change.reason

    def test_one_that_never_started_is_to_be_submitted_again(self) -> None:
        assert digest.lost(known(), situation(claim=Claim(False))) is None

    def test_but_not_if_it_was_cancelled(self) -> None:
        place = situation(claim=Claim(False), array=replace(ARRAY, cancel=True))
        change = digest.lost(known(), place)
        assert change is not None
        assert change.reason.startswith("CANCELLED: ")


def test_what_we_hold_ourselves_is_not_shown_as_held() -> None:
    ours = replace(ARRAY, state=ArrayState.HELD)
    row = report("PENDING", reason="JobHeldUser")
    assert told(row, known(), array=ours) is None
    change = told(row, known())
    assert change is not None
    assert change.reason.startswith("HELD: ")


class TestExpectedStart:
    PENDING = report("PENDING", reason="Resources", priority=5, start_time=2000.0)

    def test_of_a_task_with_a_row_of_its_own(self) -> None:
        change = told(self.PENDING, known())
        assert change is not None
        assert (change.expected_start, change.start_time) == (2000.0, None)

    def test_a_new_one_is_a_change(self) -> None:
        first = told(self.PENDING, known())
        assert first is not None
        was = known(first.status, reason=first.reason, slurm_state="PENDING", expected_start=2000.0)
        assert told(self.PENDING, was) is None
        later = told(replace(self.PENDING, start_time=2500.0), was)
        assert later is not None and later.expected_start == 2500.0

    def test_tasks_that_share_a_row_are_not_written_one_by_one(self) -> None:
        shared = replace(self.PENDING, tasks=((1, 20),), is_range=True)
        change = told(shared, known())
        assert change is not None and change.expected_start is None
        assert digest.expected_start([shared, self.PENDING]) == 2000.0
        assert digest.expected_start([replace(shared, start_time=None)]) is None
        assert digest.expected_start([]) is None

    def test_not_from_accounting(self) -> None:
        change = told(replace(self.PENDING, source="accounting", eligible_time=1.0), known())
        assert change is not None and change.expected_start is None

    def test_one_that_starts_is_expected_no_more(self) -> None:
        change = told(report("RUNNING", start_time=990.0), known(expected_start=2000.0))
        assert change is not None
        assert (change.expected_start, change.start_time) == (None, 990.0)


def test_what_never_runs_is_told_to_the_store() -> None:
    change = told(report("PENDING", reason="DependencyNeverSatisfied", priority=5), known())
    assert change is not None and change.never_runs
