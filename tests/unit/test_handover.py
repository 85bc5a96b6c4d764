"""The hand-over and the poll: exactly once whatever dies, and no outage is ever a verdict."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from slurmbatch.batches import Rules
from slurmbatch.errors import (
    Conflict,
    Invalid,
    KeyReused,
    NotFound,
    SlurmAmbiguous,
    SlurmBusy,
    SlurmRefused,
    SlurmUnreachable,
)
from slurmbatch.model import ArrayState, JobReport, NewBatch, Status
from slurmbatch.slurm.port import SlurmPort
from slurmbatch.states import ENDS
from slurmbatch.submitter import Terms

from .world import ALICE, BOB, GRACE, Fate, Killed, World

ARRAY_SIZE = 2


def states(world: World, batch_id: str) -> list[ArrayState]:
    return [array.state for array in world.store.arrays.of_batch(batch_id)]


class TestTheWay:
    def test_held_recorded_released_seen(self, world: World) -> None:
        batch_id = world.post(3)
        assert states(world, batch_id) == [ArrayState.INTENT] * 2
        assert world.job(batch_id).reason.startswith("ACCEPTED: safe on disk")
        world.submitter.tick(world.slurm.now)
        assert states(world, batch_id) == [ArrayState.RELEASING] * 2
        assert world.batch(batch_id).n_submitted == 3
        assert not any(array.held for array in world.slurm.arrays)
        world.poller.tick(world.slurm.now)
        assert states(world, batch_id) == [ArrayState.QUEUED] * 2
        world.work()
        world.tick()
        assert states(world, batch_id) == [ArrayState.DONE] * 2
        assert world.counts(batch_id) == {Status.SUCCEEDED: 3}

    def test_submitted_held_and_the_id_is_kept_before_the_release(self, world: World) -> None:
        world.post(1)
        world.submitter.tick(world.slurm.now)
        steps = [call for call, _ in world.slurm.log]
        assert steps == ["submit", "find", "release"]

    def test_our_own_hold_is_not_shown_as_one(self, world: World) -> None:
        batch_id = world.post(1)
        world.slurm.fail_next("release", SlurmAmbiguous("x"))
        with pytest.raises(SlurmAmbiguous):
            world.submitter.tick(world.slurm.now)
        world.poller.tick(world.slurm.now)
        assert world.job(batch_id).status is Status.SUBMITTED
        assert world.job(batch_id).reason.startswith("ACCEPTED: handed to Slurm")

    def test_one_question_a_tick_whatever_the_number_of_batches(self, world: World) -> None:
        for _ in range(20):
            world.post(2)
        world.tick()
        world.slurm.calls.clear()
        world.poller.tick(world.slurm.advance(1))
        assert dict(world.slurm.calls) == {"live": 1}

    def test_no_question_at_all_while_there_is_nothing_to_ask(self, world: World) -> None:
        world.tick()
        world.slurm.calls.clear()
        for _ in range(10):
            world.tick()
        assert sum(world.slurm.calls.values()) == 0


class TestRefusals:
    def test_a_refusal_ends_the_jobs_with_slurm_s_words(self, world: World) -> None:
        batch_id = world.post(2)
        world.slurm.fail_next("submit", SlurmRefused("Invalid qos specification"))
        world.tick()
        assert world.counts(batch_id) == {Status.FAILED: 2}
        assert "Invalid qos specification" in world.job(batch_id).reason
        assert states(world, batch_id) == [ArrayState.REFUSED]

    def test_a_limit_is_waited_for_in_order_and_told(self, world: World) -> None:
        first, second = world.post(2), world.post(2)
        other = world.post(2, caller=BOB)
        world.slurm.fail_next("submit", SlurmBusy("AssocMaxSubmitJobLimit"))
        world.tick()
        assert states(world, first) == states(world, second) == [ArrayState.INTENT]
        assert "AssocMaxSubmitJobLimit" in world.job(first).reason
        assert world.batch(other, BOB).n_submitted == 2
        world.until_ended(first, second)
        tags = [request.tag for request in world.slurm.submissions]
        of_first = world.store.arrays.of_batch(first)[0].tag
        of_second = world.store.arrays.of_batch(second)[0].tag
        assert tags.index(of_first) < tags.index(of_second)

    def test_the_waiting_grows_but_not_for_ever(self, world: World) -> None:
        batch_id = world.post(1)
        tried = []
        for _ in range(1500):
            world.slurm.fail_next("submit", SlurmBusy("full"))
            before = world.slurm.calls["submit"]
            world.tick()
            if world.slurm.calls["submit"] > before:
                tried.append(world.slurm.now)
        gaps = [later - earlier for earlier, later in pairwise(tried)]
        assert gaps == sorted(gaps)
        assert gaps[0] <= 11
        assert gaps[-1] == pytest.approx(120, abs=2)
        assert world.counts(batch_id) == {Status.SUBMITTED: 1}

    def test_an_unknown_error_again_and_again_is_a_refusal(self, world: World) -> None:
        batch_id = world.post(1)
        for _ in range(10):
            world.slurm.fail_next("submit", SlurmAmbiguous("Something new", answered=True))
        for _ in range(60):
            world.tick()
        assert world.counts(batch_id) == {Status.FAILED: 1}
        assert world.slurm.calls["submit"] == 3

    def test_a_tool_that_is_gone_ends_its_jobs(self, world: World) -> None:
        batch_id = world.post(1)
        world.submitter.adopt(
            Terms(tools={}, filesystems={}, log_dir=world.directory, work_dir=world.directory)
        )
        world.tick()
        assert "no longer offered" in world.job(batch_id).reason


class TestDoubt:
    @pytest.mark.parametrize("accepted", [True, False])
    def test_an_unclear_answer_is_looked_up_before_any_second_try(
        self, world: World, accepted: bool
    ) -> None:
        batch_id = world.post(2)
        world.slurm.fail_next("submit", SlurmAmbiguous("timed out"), done=accepted)
        world.tick()
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 2}
        assert set(world.runs.values()) == {1}
        assert world.slurm.calls["submit"] == (1 if accepted else 2)
        calls = [call for call, _ in world.slurm.log]
        again = [i for i, call in enumerate(calls) if call == "submit"][-1]
        assert accepted or "find" in calls[:again]

    def test_while_it_cannot_be_looked_up_nothing_is_tried(self, world: World) -> None:
        batch_id = world.post(1)
        world.slurm.fail_next("submit", SlurmAmbiguous("timed out"), done=True)
        world.tick()
        world.slurm.slurmctld_down = True
        for _ in range(100):
            world.tick()
        assert world.slurm.calls["submit"] == 1
        assert world.counts(batch_id) == {Status.SUBMITTED: 1}
        world.slurm.slurmctld_down = False
        world.until_ended(batch_id)
        assert set(world.runs.values()) == {1}

    def test_a_duplicate_that_turns_up_late_never_runs(self, world: World) -> None:
        batch_id = world.post(1)
        world.slurm.fail_next("submit", SlurmAmbiguous("timed out"))
        world.tick()
        lost = world.slurm.submissions[0]
        for _ in range(30):
            world.tick()
        world.slurm.add(lost)
        world.until_ended(batch_id)
        for _ in range(3):
            world.tick()
            world.work()
        assert set(world.runs.values()) == {1}
        assert [task.state for array in world.slurm.arrays for task in array.tasks.values()].count(
            "CANCELLED"
        ) == 1

    def test_a_duplicate_of_what_is_over_is_ended_too(self, world: World) -> None:
        batch_id = world.post(1)
        world.until_ended(batch_id)
        other = world.post(1)
        world.tick()
        request = world.slurm.submissions[0]
        stray = world.slurm.add(request)
        for _ in range(3):
            world.tick()
        assert [task.state for task in stray.tasks.values()] == ["CANCELLED"]
        world.until_ended(other)
        assert set(world.runs.values()) == {1}

    def test_what_slurmctld_has_brought_back_held_after_its_end_is_ended(
        self, world: World
    ) -> None:
        batch_id = world.post(1)
        world.tick()
        world.slurm.save()
        world.batches.cancel(ALICE, batch_id)
        world.until_ended(batch_id)
        world.slurm.crash()
        array = world.slurm.arrays[0]
        array.held = True
        world.slurm.wait(array.job_id, "JobHeldUser")
        for _ in range(35):
            world.tick()
        assert [task.state for task in array.tasks.values()] == ["CANCELLED"]
        assert not world.runs

    def test_somebody_else_s_job_of_our_name_is_not_ours(self, world: World) -> None:
        batch_id = world.post(1)
        world.slurm.fail_next("submit", SlurmAmbiguous("timed out"))
        world.tick()
        request = world.slurm.submissions[0]
        forged = world.slurm.add(request, uid=world.slurm.uid + 1)
        world.until_ended(batch_id)
        assert world.store.arrays.of_batch(batch_id)[0].slurm_job_id != forged.job_id
        assert forged.held

    def test_a_job_of_ours_that_the_store_does_not_know_is_left_alone(self, world: World) -> None:
        batch_id = world.post(1)
        world.tick()
        request = world.slurm.submissions[0]
        strange = replace(request, tag=f"sb-{world.store.instance}-fromabackup")
        unknown = world.slurm.add(strange)
        for _ in range(3):
            world.tick()
        assert unknown.held
        assert [task.state for task in unknown.tasks.values()] == ["PENDING"]
        world.until_ended(batch_id)


class TestOutages:
    def test_slurmctld_down_changes_nothing(self, world: World) -> None:
        batch_id = world.post(3)
        world.tick()
        for array in world.slurm.arrays:
            world.slurm.start(array.job_id)
        world.tick()
        before = world.counts(batch_id)
        assert before == {Status.RUNNING: 3}
        world.slurm.slurmctld_down = True
        for _ in range(200):
            world.tick()
        assert world.counts(batch_id) == before
        assert world.health.is_down("slurmctld")
        assert world.batches.get(ALICE, batch_id).stale_since is not None
        world.slurm.slurmctld_down = False
        for array in world.slurm.arrays:
            world.slurm.finish(array.job_id)
        world.tick()
        world.tick()
        assert world.counts(batch_id) == {Status.SUCCEEDED: 3}
        assert world.batches.get(ALICE, batch_id).stale_since is None

    def test_slurmdbd_down_past_min_job_age_is_no_verdict(self, world: World) -> None:
        batch_id = world.post(1)
        world.tick()
        job_id = world.slurm.arrays[0].job_id
        world.slurm.start(job_id)
        world.tick()
        world.slurm.slurmctld_down = True
        world.slurm.finish(job_id, code=3, state="FAILED")
        world.slurm.advance(world.slurm.min_job_age + 10)
        world.slurm.slurmctld_down = False
        world.slurm.slurmdbd_down = True
        for _ in range(200):
            world.tick()
        assert world.counts(batch_id) == {Status.RUNNING: 1}
        assert world.health.is_down("slurmdbd")
        world.slurm.slurmdbd_down = False
        world.tick()
        assert world.counts(batch_id) == {Status.FAILED: 1}
        assert world.job(batch_id).exit_code == 3

    def test_accounting_that_is_back_is_noticed_also_when_nothing_is_missing_any_more(
        self, world: World
    ) -> None:
        batch_id = world.post(1)
        world.tick()
        world.slurm.min_job_age = 0
        world.slurm.finish(world.slurm.arrays[0].job_id)
        world.slurm.slurmdbd_down = True
        world.tick()
        assert world.health.is_down("slurmdbd")
        other = world.post(1)
        world.store.arrays.end_all(world.store.arrays.of_batch(batch_id)[0].pk, ArrayState.DONE,
                                   "X: x", world.slurm.now)  # fmt: skip
        world.tick()
        assert world.batches.get(ALICE, other).stale_since is not None
        world.slurm.slurmdbd_down = False
        world.tick()
        assert not world.health.is_down("slurmdbd")

    def test_accounting_alone_moves_a_status_forward(self, world: World) -> None:
        batch_id = world.post(1)
        world.tick()
        job_id = world.slurm.arrays[0].job_id
        world.slurm.slurmctld_down = True
        world.slurm.finish(job_id)
        world.tick()
        assert world.counts(batch_id) == {Status.SUCCEEDED: 1}

    def test_a_late_accounting_is_waited_for(self, world: World) -> None:
        batch_id = world.post(1)
        world.tick()
        world.slurm.lag = GRACE / 2
        world.slurm.min_job_age = 0
        world.slurm.finish(world.slurm.arrays[0].job_id)
        for _ in range(int(GRACE / 2) - 2):
            world.tick()
            assert not world.batch(batch_id).finished_at
        for _ in range(5):
            world.tick()
        assert world.counts(batch_id) == {Status.SUCCEEDED: 1}

    def test_a_new_batch_is_kept_and_handed_over_afterwards(self, world: World) -> None:
        world.slurm.slurmctld_down = True
        world.tick()
        world.tick(100)
        batch_id = world.post(2)
        for _ in range(20):
            world.tick()
        assert world.counts(batch_id) == {Status.SUBMITTED: 2}
        world.slurm.slurmctld_down = False
        world.until_ended(batch_id)
        assert set(world.runs.values()) == {1}


class TestCrashOfSlurmctld:
    def test_lost_before_its_release_it_is_submitted_again(self, world: World) -> None:
        batch_id = world.post(2)
        world.slurm.save()
        world.slurm.fail_next("find", SlurmUnreachable("x"))
        world.submitter.tick(world.slurm.now)
        assert states(world, batch_id) == [ArrayState.HELD]
        world.slurm.crash()
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 2}
        assert set(world.runs.values()) == {1}
        assert world.store.arrays.of_batch(batch_id)[0].generation == 2

    def test_its_id_given_to_another_is_not_taken_for_it(self, world: World) -> None:
        batch_id = world.post(1)
        world.slurm.save()
        world.tick()
        request = world.slurm.submissions[0]
        world.slurm.crash()
        thief = world.slurm.add(replace(request, tag="somebody-s"))
        assert thief.job_id == world.store.arrays.of_batch(batch_id)[0].slurm_job_id
        world.slurm.release(thief.job_id)
        world.slurm.finish(thief.job_id)
        for _ in range(2 * int(GRACE) + 5):
            world.tick()
        assert world.counts(batch_id) == {Status.FAILED: 1}
        assert world.job(batch_id).reason.startswith("LOST: ")

    def test_a_forgotten_release_is_repeated(self, world: World) -> None:
        batch_id = world.post(1)
        world.slurm.fail_next("release", SlurmAmbiguous("x"))
        with pytest.raises(SlurmAmbiguous):
            world.submitter.tick(world.slurm.now)
        world.slurm.save()
        world.tick(30)
        world.tick(30)
        assert states(world, batch_id) == [ArrayState.QUEUED]
        world.slurm.crash()
        assert world.slurm.arrays[0].held
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 1}
        assert set(world.runs.values()) == {1}

    def test_lost_while_its_release_was_not_seen_yet(self, world: World) -> None:
        """It is lost, and not taken for cancelled; no other array with its id is released."""
        batch_id = world.post(1)
        world.slurm.save()
        world.slurm.fail_next("live", SlurmUnreachable("x"))
        world.tick()
        assert states(world, batch_id) == [ArrayState.RELEASING]
        request = world.slurm.submissions[0]
        world.slurm.crash()
        other = world.slurm.add(replace(request, tag="somebody-s"))
        for _ in range(3 * int(GRACE)):
            world.tick()
        assert other.held
        assert world.job(batch_id).reason.startswith("LOST: ")

    def test_a_release_without_effect_is_repeated(self, world: World) -> None:
        batch_id = world.post(1)
        world.slurm.fail_next("release", SlurmUnreachable("lost on the way"))
        for _ in range(15):
            world.tick()
        assert world.slurm.calls["release"] == 2
        world.until_ended(batch_id)

    def test_a_hold_by_its_owner_is_not_undone(self, world: World) -> None:
        batch_id = world.post(1)
        world.tick()
        array = world.slurm.arrays[0]
        array.held = True
        world.slurm.wait(array.job_id, "JobHeldUser")
        for _ in range(100):
            world.tick()
        assert array.held
        assert world.job(batch_id).reason.startswith("HELD: ")

    def test_with_claims_what_never_started_is_submitted_again(self, fenced: World) -> None:
        batch_id = fenced.post(4)
        fenced.slurm.save()
        fenced.tick()
        tag = fenced.store.arrays.of_batch(batch_id)[0].tag
        assert fenced.claims is not None
        for task, code in ((1, "0\n"), (2, "5\n")):
            place = fenced.claims.root / tag / str(task)
            place.mkdir()
            (place / "code").write_text(code)
        (fenced.claims.root / tag / "3").mkdir()
        fenced.slurm.crash()
        fenced.until_ended(batch_id)
        jobs = [fenced.job(batch_id, index) for index in range(4)]
        assert [job.status for job in jobs] == [
            Status.SUCCEEDED, Status.FAILED, Status.FAILED, Status.SUCCEEDED
        ]  # fmt: skip
        assert jobs[1].exit_code == 5
        assert jobs[2].reason.startswith("LOST: ")
        assert fenced.runs == {(batch_id, 3): 1}
        assert fenced.batch(batch_id).n_submitted == 4

    @pytest.mark.parametrize("live", [True, False])
    def test_an_end_that_is_an_earlier_job_s_is_not_believed(
        self, fenced: World, live: bool
    ) -> None:
        fenced.slurm.save()
        fenced.slurm.crash()
        batch_id = fenced.post(2)
        fenced.tick()
        fenced.tick()
        number = fenced.slurm.arrays[0].job_id
        fenced.slurm.start(number, 1)
        assert fenced.claims is not None
        tag = fenced.store.arrays.of_batch(batch_id)[0].tag
        (fenced.claims.root / tag / "1").mkdir()
        fenced.slurm.start(number, 2, launched=False)
        fenced.slurm.finish(number)
        fenced.slurm.min_job_age = 300.0 if live else 0.0
        for _ in range(int(GRACE) - 2):
            fenced.tick()
        assert fenced.counts(batch_id) == {Status.SUCCEEDED: 1, Status.SUBMITTED: 1}
        fenced.until_ended(batch_id)
        assert fenced.counts(batch_id) == {Status.SUCCEEDED: 2}
        assert fenced.runs == {(batch_id, 1): 1}

    def test_many_such_ends_are_one_question(self, world: World) -> None:
        world.slurm.save()
        world.slurm.crash()
        world.post(50)
        world.tick()
        world.tick()
        world.slurm.start(world.slurm.arrays[0].job_id, launched=False)
        world.slurm.finish(world.slurm.arrays[0].job_id)
        asked = world.slurm.calls["facts"]
        world.tick()
        assert world.slurm.calls["facts"] == asked + 1

    def test_without_claims_such_an_end_is_a_loss(self, world: World) -> None:
        world.slurm.save()
        world.slurm.crash()
        batch_id = world.post(1)
        world.tick()
        world.tick()
        world.slurm.start(world.slurm.arrays[0].job_id, launched=False)
        world.slurm.finish(world.slurm.arrays[0].job_id)
        for _ in range(int(GRACE) + 5):
            world.tick()
        assert world.counts(batch_id) == {Status.FAILED: 1}
        assert world.job(batch_id).reason.startswith("LOST: ")

    def test_a_job_without_a_log_is_believed_when_slurmctld_was_not_started(
        self, world: World
    ) -> None:
        batch_id = world.post(1)
        world.tick()
        world.tick()
        world.slurm.start(world.slurm.arrays[0].job_id, launched=False)
        world.slurm.finish(world.slurm.arrays[0].job_id)
        world.tick()
        assert world.counts(batch_id) == {Status.SUCCEEDED: 1}

    def test_without_claims_all_of_it_is_lost_and_said_to_be(self, world: World) -> None:
        batch_id = world.post(2)
        world.slurm.save()
        world.tick()
        world.slurm.crash()
        for _ in range(2 * int(GRACE) + 5):
            world.tick()
        assert world.counts(batch_id) == {Status.FAILED: 2}
        assert world.job(batch_id).reason.startswith("LOST: ")


class TestEndsOutsideOfUs:
    def test_a_pending_task_cancelled_on_its_own_leaves_no_record(self, world: World) -> None:
        batch_id = world.post(2)
        world.tick()
        job_id = world.slurm.arrays[0].job_id
        world.slurm.start(job_id, 1)
        world.slurm.cancel_task(job_id, 2)
        for _ in range(int(GRACE) + 5):
            world.tick()
        assert world.counts(batch_id) == {Status.RUNNING: 1, Status.FAILED: 1}
        assert world.job(batch_id, 1).reason.startswith("CANCELLED: cancelled outside")
        world.slurm.finish(job_id, 1)
        world.until_ended(batch_id)

    def test_cancelled_on_its_own_and_the_rest_long_over(self, world: World) -> None:
        """Accounting keeps a row of the range that says PENDING, and squeue has forgotten all."""
        batch_id = world.post(2)
        world.tick()
        job_id = world.slurm.arrays[0].job_id
        world.slurm.min_job_age = 5
        world.slurm.finish(job_id, 1)
        world.slurm.cancel_task(job_id, 2)
        for _ in range(2 * int(GRACE)):
            world.tick()
        assert world.counts(batch_id) == {Status.SUCCEEDED: 1, Status.FAILED: 1}
        assert world.job(batch_id, 1).reason.startswith("CANCELLED: cancelled outside")

    def test_a_task_that_its_owner_holds_stays_held(self, world: World) -> None:
        world.post(2)
        world.submitter.tick(world.slurm.now)
        job_id = world.slurm.arrays[0].job_id
        world.slurm.start(job_id, 1)
        world.slurm.wait(job_id, "JobHeldUser", 2)
        for _ in range(30):
            world.tick()
        assert world.slurm.calls["release"] == 1

    def test_a_requeue_goes_back_and_is_not_a_failure(self, world: World) -> None:
        batch_id = world.post(1, tool="again")
        world.tick()
        job_id = world.slurm.arrays[0].job_id
        world.slurm.start(job_id)
        world.tick()
        world.slurm.requeue(job_id)
        world.tick()
        assert world.counts(batch_id) == {Status.PENDING: 1}
        assert world.job(batch_id).reason.startswith("TIME: ")
        assert world.job(batch_id).attempt == 2
        (before,) = world.job(batch_id).attempts
        assert (before.attempt, before.node_list) == (1, "node1")
        assert before.start_time is not None
        world.work()
        world.tick()
        assert world.counts(batch_id) == {Status.SUCCEEDED: 1}
        assert len(world.job(batch_id).attempts) == 1

    def test_a_cancelled_array_is_one_row_for_all_its_tasks(self, world: World) -> None:
        batch_id = world.post(2)
        world.tick()
        world.slurm.cancel(world.slurm.arrays[0].job_id)
        world.tick()
        assert world.counts(batch_id) == {Status.FAILED: 2}


class TestCancelAndDelete:
    def test_cancelled_before_the_hand_over_it_never_goes(self, world: World) -> None:
        batch_id = world.post(3)
        world.batches.cancel(ALICE, batch_id)
        world.tick()
        assert world.counts(batch_id) == {Status.FAILED: 3}
        assert world.slurm.calls["submit"] == 0
        assert "before it was handed to Slurm" in world.job(batch_id).reason

    def test_cancelled_while_its_fate_is_unknown(self, world: World) -> None:
        batch_id = world.post(1)
        world.slurm.fail_next("submit", SlurmAmbiguous("timed out"), done=True)
        world.submitter.tick(world.slurm.now)
        world.batches.cancel(ALICE, batch_id)
        for _ in range(30):
            world.tick()
            world.work()
        assert world.counts(batch_id) == {Status.FAILED: 1}
        assert not world.runs

    def test_cancelled_in_slurm_until_it_is_seen_gone(self, world: World) -> None:
        batch_id = world.post(2)
        world.tick()
        world.slurm.start(world.slurm.arrays[0].job_id)
        world.batches.cancel(ALICE, batch_id)
        world.slurm.fail_next("cancel", SlurmAmbiguous("lost on the way"))
        with pytest.raises(SlurmAmbiguous):
            world.tick()
        for _ in range(3):
            world.tick()
        assert world.counts(batch_id) == {Status.FAILED: 2}
        assert world.job(batch_id).reason.startswith("CANCELLED: cancelled by request")

    @pytest.mark.parametrize("end", ["cancel", "delete"])
    def test_cancelled_while_slurm_is_asked_it_was_by_request(self, world: World, end: str) -> None:
        batch_id = world.post(2)
        world.tick()
        world.slurm.start(world.slurm.arrays[0].job_id)

        def asked_and_ended(now: float) -> None:
            sources = world.poller.sources

            def live() -> list[JobReport]:
                getattr(world.batches, end)(ALICE, batch_id)
                world.submitter.tick(now)
                return world.slurm.live()

            sources.slurm = cast(SlurmPort, SimpleNamespace(live=live, ended=world.slurm.ended,
                                                            facts=world.slurm.facts))  # fmt: skip
            world.poller.tick(now)

        asked_and_ended(world.slurm.advance(1.0))
        reasons = world.store._db.sql("SELECT DISTINCT reason FROM job")
        assert [reason.startswith("CANCELLED: cancelled by request") for (reason,) in reasons] == [
            True
        ]

    def test_deleted_it_is_hidden_ended_and_purged(self, world: World) -> None:
        batch_id = world.post(3)
        world.tick()
        world.batches.delete(ALICE, batch_id)
        with pytest.raises(NotFound):
            world.batches.get(ALICE, batch_id)
        for _ in range(3):
            world.tick()
        assert world.store._db.sql("SELECT count(*) FROM job") == [(0,)]
        assert all(
            task.state == "CANCELLED"
            for array in world.slurm.arrays for task in array.tasks.values()
        )  # fmt: skip

    def test_what_it_has_printed_goes_with_it(self, world: World) -> None:
        kept, deleted = world.post(3), world.post(3)
        world.tick()
        logs = world.directory / "logs"
        (next((logs / deleted).iterdir()) / "1.log").write_text("hello\n")
        world.batches.delete(ALICE, deleted)
        for _ in range(3):
            world.tick()
        assert {each.name for each in logs.iterdir()} == {kept}

    def test_another_s_id_is_never_cancelled(self, world: World) -> None:
        batch_id = world.post(1)
        world.slurm.save()
        world.tick()
        request = world.slurm.submissions[0]
        world.slurm.crash()
        other = world.slurm.add(replace(request, tag="somebody-s"))
        world.batches.delete(ALICE, batch_id)
        for _ in range(int(GRACE) + 20):
            world.tick()
        assert [task.state for task in other.tasks.values()] == ["PENDING"]


class TestTheClock:
    @pytest.mark.parametrize("step", [3600.0, -3600.0])
    def test_set_by_an_hour_it_is_no_verdict_and_holds_nothing_up(
        self, world: World, step: float
    ) -> None:
        running, gone = world.post(1), world.post(1)
        for _ in range(3):
            world.tick()
        first, last = (world.store.arrays.of_batch(each)[0].slurm_job_id or 0
                       for each in (running, gone))  # fmt: skip
        world.slurm.start(first)
        world.slurm.arrays.remove(world.slurm.array(last))
        waiting = world.post(1, caller=BOB)
        world.slurm.fail_next("submit", SlurmBusy("full"))
        world.tick()
        assert world.batch(waiting, BOB).n_submitted == 0
        world.step_clock(step)
        for _ in range(15):
            world.tick()
        assert world.counts(running) == {Status.RUNNING: 1}
        assert not world.batch(gone).finished_at
        assert world.batch(waiting, BOB).n_submitted == 1
        world.slurm.finish(first)
        world.tick()
        assert world.counts(running) == {Status.SUCCEEDED: 1}


class TestKeys:
    def test_an_earlier_batch_is_found_whatever_is_offered_now(self, world: World) -> None:
        batch_id = world.post(1, key="k")
        found = world.batches.earlier(ALICE, "k", b"h")
        assert found is not None
        assert found.batch_id == batch_id
        assert world.batches.earlier(BOB, "k", b"h") is None
        with pytest.raises(KeyReused):
            world.batches.earlier(ALICE, "k", b"other")
        world.batches.delete(ALICE, batch_id)
        with pytest.raises(Conflict):
            world.batches.earlier(ALICE, "k", b"h")


def plain(world: World) -> None:
    world.post(3, key="k")
    for _ in range(4):
        world.tick()
        world.work()


def doubtful(world: World) -> None:
    world.slurm.fail_next("submit", SlurmAmbiguous("timed out"), done=True)
    plain(world)


def cancelled(world: World) -> None:
    batch_id = world.post(3, key="k")
    world.tick()
    world.batches.cancel(ALICE, batch_id)
    for _ in range(4):
        world.tick()
        world.work()


def deleted(world: World) -> None:
    batch_id = world.post(3, key="k")
    world.tick()
    world.batches.delete(ALICE, batch_id)
    for _ in range(4):
        world.tick()
        world.work()


@pytest.mark.parametrize("scenario", [plain, doubtful, cancelled, deleted])
def test_killed_at_every_step_nothing_is_lost_and_nothing_runs_twice(
    tmp_path: Path, scenario: Callable[[World], None]
) -> None:
    """The daemon dies before and after every single call to the store and to Slurm, in turn."""
    at = 0
    while True:
        directory = tmp_path / str(at)
        directory.mkdir()
        world = World(directory, array_size=2, fate=Fate(at))
        try:
            scenario(world)
            died = False
        except Killed:
            died = True
        world.fate.at = None
        world.restart()
        _go_on(world)
        assert all(runs == 1 for runs in world.runs.values()), (at, world.runs)
        for batch in world.store.batches.list("alice"):
            ran = sum(world.runs[batch.batch_id, index] for index in range(batch.n_jobs))
            assert batch.counts[Status.SUCCEEDED] == ran, (at, batch, world.runs)
            if scenario in (plain, doubtful):
                assert ran == 3, (at, batch)
        world.store.close()
        if not died:
            break
        at += 1
    assert at > 40


@pytest.mark.parametrize("dies_after", [None, 0, 2])
@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_ended_at_every_step_nothing_of_it_is_lost_and_nothing_goes_on(
    tmp_path: Path, end: str, dies_after: int | None
) -> None:
    """A tombstone before and after every single call to the store and to Slurm, in turn; and the
    daemon dies some calls later."""
    at, is_over = 0, False
    while not is_over:
        directory = tmp_path / str(at)
        directory.mkdir()
        world = World(directory, array_size=2)
        batch_id, met = world.post(3), world.fate.met
        bury = getattr(world.store.batches, end)
        world.fate.deeds[met + at] = partial(bury, "alice", batch_id, world.slurm.now)
        world.fate.at = None if dies_after is None else met + at + dies_after
        with suppress(Killed):
            for _ in range(4):
                world.tick()
                world.work()
        is_over = bool(world.fate.deeds)
        world.fate.deeds.clear()
        world.fate.at = None
        world.restart()
        before = sum(world.runs.values())
        for _ in range(25):
            world.tick()
            if not is_over and world.slurm.calls["cancel"]:
                assert sum(world.runs.values()) == before  # what was not cancelled has run before
        rows = world.store._db.sql("SELECT count(*) FROM batch WHERE deleted_at IS NOT NULL")
        assert rows == [(0,)], (at, "a deleted batch still has records")
        for batch in world.store.batches.list("alice"):
            assert is_over or batch.finished_at, (at, batch)
        assert all(runs == 1 for runs in world.runs.values()), (at, world.runs)
        for array in world.slurm.arrays if not is_over else ():
            assert all(task.state in ENDS for task in array.tasks.values()), (at, array)
        world.store.close()
        at += 1
    assert at > 30


def _go_on(world: World) -> None:
    """The client that got no answer asks again with its key; then all runs to its end."""
    with suppress(Conflict):
        if world.batches.earlier(ALICE, "k", b"h") is None:
            world.post(3, key="k")
    for _ in range(400):
        world.tick()
        world.work()
        if all(each.finished_at for each in world.store.batches.list("alice")):
            break
    else:
        raise AssertionError(world.store.batches.list("alice"))


def test_a_new_batch_whose_arguments_do_not_fit_a_script_is_refused(world: World) -> None:
    world.batches._rules = Rules(world.directory, None, 500, None, 0.0)
    with pytest.raises(Invalid):
        world.batches.submit(ALICE, NewBatch("t", variable_args=({"n": 1},) * 3))


@pytest.mark.parametrize("tool", ["t", "again"])
@pytest.mark.parametrize("claims", [True, False])
def test_every_script_is_within_the_limit(tmp_path: Path, tool: str, claims: bool) -> None:
    world = World(tmp_path, claims=claims, max_script_bytes=4096)
    world.post(400, tool=tool)
    world.submitter.tick(world.slurm.now)
    sizes = [len(array.request.script.encode()) for array in world.slurm.arrays]
    world.store.close()
    assert len(sizes) > 1
    assert max(sizes) <= 4096
