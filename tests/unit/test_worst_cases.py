"""Rare orders of events: each of these once led to a false run, a false end or a false word."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.batches import Rules
from slurmbatch.claims import Claims
from slurmbatch.doorbell import Doorbell, Word
from slurmbatch.errors import (
    AccountingUnreachable,
    NotFound,
    RefusedBySlurm,
    SlurmAmbiguous,
    SlurmBusy,
    SlurmRefused,
    SlurmUnreachable,
    Unavailable,
)
from slurmbatch.model import Act, ArgValue, ArrayState, Batch, JobReport, KnownJob, NewBatch, Status
from slurmbatch.poller.losses import LATE
from slurmbatch.slurm.port import SubmitRequest
from slurmbatch.states import ENDS

from .world import ALICE, BOB, GRACE, World

ARRAY_SIZE = 2


def state(world: World, batch_id: str) -> ArrayState:
    return world.store.arrays.of_batch(batch_id)[0].state


def submitted(world: World) -> list[SubmitRequest]:
    return world.slurm.submissions


def somebody_s(world: World) -> Any:
    """Another array of this account, under the next id, which may be one of ours again."""
    return world.slurm.add(replace(submitted(world)[0], tag="somebody-s"))


class TestRowsThatAreOutOfDate:
    """slurmctld has lost an array and given its id to another; accounting still shows the old."""

    def test_nothing_of_another_is_cancelled(self, world: World) -> None:
        batch_id = world.post(1)
        world.slurm.save()
        world.tick()
        world.slurm.crash(accounting_too=False)
        other = somebody_s(world)
        world.batches.cancel(ALICE, batch_id)
        for _ in range(30):
            world.tick()
        assert [task.state for task in other.tasks.values()] == ["PENDING"]

    def test_nothing_of_another_is_released(self, world: World) -> None:
        world.post(1)
        world.slurm.save()
        world.slurm.fail_next("find", SlurmUnreachable("x"))
        world.submitter.tick(world.slurm.now)
        world.slurm.crash(accounting_too=False)
        other = somebody_s(world)
        for _ in range(30):
            world.tick()
        assert other.held


class TestARestoredBackup:
    def restore(self, world: World, at: str) -> None:
        """The database as it was when it was copied, and a daemon that knows no more."""
        world.store.close()
        shutil.rmtree(world.directory / "state")
        shutil.copytree(world.directory / at, world.directory / "state")
        world.start()

    def backup(self, world: World, to: str) -> None:
        world.store.close()
        shutil.copytree(world.directory / "state", world.directory / to)
        world.start()

    @pytest.mark.parametrize("forgotten", [False, True])
    def test_what_has_run_since_does_not_run_again(self, world: World, forgotten: bool) -> None:
        batch_id = world.post(2)
        self.backup(world, "yesterday")
        world.until_ended(batch_id)
        if forgotten:
            world.slurm.advance(world.slurm.min_job_age + 10)
        self.restore(world, "yesterday")
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 2}
        assert set(world.runs.values()) == {1}
        assert world.slurm.calls["submit"] == 1

    def test_while_accounting_is_away_it_waits(self, world: World) -> None:
        batch_id = world.post(2)
        self.backup(world, "yesterday")
        world.until_ended(batch_id)
        world.slurm.advance(world.slurm.min_job_age + 10)
        world.slurm.slurmdbd_down = True
        self.restore(world, "yesterday")
        for _ in range(50):
            world.tick()
        assert "accounting" in world.job(batch_id).reason
        assert world.slurm.calls["submit"] == 1
        world.slurm.slurmdbd_down = False
        world.until_ended(batch_id)
        assert set(world.runs.values()) == {1}

    def test_what_runs_goes_on_and_is_not_ended(self, world: World) -> None:
        batch_id = world.post(2)
        self.backup(world, "yesterday")
        world.tick()
        world.slurm.start(world.slurm.arrays[0].job_id)
        self.restore(world, "yesterday")
        for _ in range(5):
            world.tick()
        assert [task.state for task in world.slurm.arrays[0].tasks.values()] == ["RUNNING"] * 2
        assert world.counts(batch_id) == {Status.RUNNING: 2}

    def test_a_copy_that_runs_already_is_taken_and_the_held_one_is_ended(
        self, world: World
    ) -> None:
        batch_id = world.post(1)
        world.slurm.fail_next("find", SlurmUnreachable("x"))
        world.submitter.tick(world.slurm.now)
        first = world.slurm.add(submitted(world)[0])
        world.slurm.release(first.job_id)
        world.slurm.start(first.job_id)
        for _ in range(5):
            world.tick()
        assert [task.state for task in first.tasks.values()] == ["RUNNING"]
        assert [task.state for task in world.slurm.arrays[0].tasks.values()] == ["CANCELLED"]
        assert world.counts(batch_id) == {Status.RUNNING: 1}

    def test_unknown_jobs_of_ours_are_told_once(
        self, world: World, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.backup(world, "yesterday")
        batch_id = world.post(1)
        world.tick()
        world.slurm.start(world.slurm.arrays[0].job_id)
        self.restore(world, "yesterday")
        other = world.post(1)
        for _ in range(5):
            world.tick()
        with pytest.raises(NotFound):
            world.batches.get(ALICE, batch_id)
        assert [task.state for task in world.slurm.arrays[0].tasks.values()] == ["RUNNING"]
        assert capsys.readouterr().err.count("the database does not know it") == 1
        world.until_ended(other)


class TestARefusedBatch:
    """The request still waits for Slurm's word when the submitter has it."""

    def submit(self, world: World, during: Callable[[], object], n_jobs: int = 3) -> Batch:
        """A POST, and what the submitter does while it waits."""
        world.batches._rules = replace(world.batches._rules, submit_wait=60.0)

        def meanwhile() -> None:
            _until(world, n_jobs)
            during()

        thread = threading.Thread(target=meanwhile)
        thread.start()
        try:
            new = NewBatch("t", variable_args=tuple({"n": n} for n in range(n_jobs)))
            return world.batches.submit(ALICE, new, idempotency_key="k", body_hash=b"h")[0]
        finally:
            thread.join()

    def test_with_several_arrays_it_leaves_nothing(self, world: World) -> None:
        world.slurm.fail_next("submit", SlurmRefused("Invalid qos specification"))
        with pytest.raises(RefusedBySlurm):
            self.submit(world, lambda: world.submitter.tick(world.slurm.now))
        world.tick()
        assert world.store._db.sql("SELECT count(*) FROM batch") == [(0,)]
        assert world.store._db.sql("SELECT count(*) FROM idempotency") == [(0,)]
        assert world.slurm.calls["submit"] == 1

    def test_what_is_under_way_for_it_never_runs(self, world: World) -> None:
        """The second array is submitted before the request has taken the batch back."""
        world.slurm.fail_next("submit", SlurmRefused("Invalid qos specification"))
        world.doorbell.tell = lambda batch_id, refusal="": (  # type: ignore[method-assign]
            Doorbell.tell(world.doorbell, batch_id, refusal) and False
        )
        store = world.store.batches
        kept = store.withdraw

        def late(
            batch_id: str, now: float, act: Act | None = None, *, also_accepted: bool = False
        ) -> bool:
            gone = kept(batch_id, now, act, also_accepted=also_accepted)
            world.submitter.tick(world.slurm.now)
            return gone

        store.withdraw = late  # type: ignore[method-assign]
        with suppress(RefusedBySlurm):
            self.submit(world, lambda: world.submitter.tick(world.slurm.now))
        del world.doorbell.tell
        for _ in range(15):
            world.tick()
            world.work()
        batches = world.store.batches.list("alice")
        if batches:  # a part of it was accepted, so the batch stands, and tells of the rest
            assert batches[0].counts[Status.FAILED] == 2
            assert batches[0].counts[Status.SUCCEEDED] == sum(world.runs.values()) == 1
        else:
            assert not world.runs

    def test_with_a_part_that_was_accepted_it_stands(self, world: World) -> None:
        word = Word()
        assert word.say("")
        assert not word.say("Invalid job array specification")
        assert word.wait(0.0) == ""

    def test_the_same_request_meanwhile_is_told_the_same(self, world: World) -> None:
        world.slurm.fail_next("submit", SlurmRefused("Invalid qos specification"))
        answers: list[object] = []

        def again() -> None:
            try:
                answers.append(world.batches.earlier(ALICE, "k", b"h"))
            except RefusedBySlurm as refusal:
                answers.append(refusal)

        def during() -> None:
            thread = threading.Thread(target=again)
            thread.start()
            _spin(lambda: len(world.doorbell._waiting) == 2)
            world.submitter.tick(world.slurm.now)
            thread.join()

        with pytest.raises(RefusedBySlurm):
            self.submit(world, during)
        assert [type(each) for each in answers] == [RefusedBySlurm]

    def test_the_same_request_without_room_to_wait_is_asked_to_come_back(
        self, world: World
    ) -> None:
        batch_id = world.post(1, key="k")
        world.doorbell._most = 1
        with world.doorbell.expect(batch_id), pytest.raises(Unavailable):
            world.batches.earlier(ALICE, "k", b"h")
        assert world.batches.earlier(ALICE, "k", b"h") is not None

    def test_what_one_has_heard_holds_for_all(self) -> None:
        word = Word()
        assert word.wait(0.0) == ""
        assert not word.say("too late")
        assert word.wait(0.0) == ""

    def test_deleted_while_its_request_waits_it_was_made_all_the_same(self, world: World) -> None:
        def during() -> None:
            (found,) = world.store.batches.list("alice")
            world.batches.delete(ALICE, found.batch_id)
            world.doorbell.tell(found.batch_id)

        made = self.submit(world, during)
        assert made.counts[Status.SUBMITTED] == 3


def _until(world: World, n_jobs: int) -> None:
    _spin(lambda: bool(world.store.batches.list("alice") and world.doorbell._waiting))


def _spin(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not until() and time.monotonic() < deadline:
        pass


class TestEndsThatAreNotTold:
    def test_one_that_has_run_was_not_cancelled_before_it_started(self, world: World) -> None:
        """slurmctld has forgotten it, and accounting is far behind."""
        batch_id = world.post(1)
        world.tick()
        world.slurm.start(world.slurm.arrays[0].job_id)
        world.tick()
        world.slurm.min_job_age = 0
        world.slurm.lag = 5 * GRACE
        world.slurm.finish(world.slurm.arrays[0].job_id, state="FAILED", code=3)
        for _ in range(int(4 * GRACE)):
            world.tick()
            assert world.counts(batch_id) == {Status.RUNNING: 1}
        for _ in range(int(2 * GRACE)):
            world.tick()
        assert world.job(batch_id).exit_code == 3

    def test_it_is_lost_at_last(self, world: World) -> None:
        batch_id = world.post(1)
        world.tick()
        world.slurm.start(world.slurm.arrays[0].job_id)
        world.tick()
        world.slurm.min_job_age = 0
        world.slurm.lag = 1e9
        world.slurm.finish(world.slurm.arrays[0].job_id)
        for _ in range(8):
            world.tick(LATE * GRACE / 4)
        assert world.job(batch_id).reason.startswith("LOST: ")

    def test_its_own_note_is_believed_after_the_grace(self, fenced: World) -> None:
        batch_id = fenced.post(1)
        fenced.tick()
        fenced.slurm.start(fenced.slurm.arrays[0].job_id)
        fenced.tick()
        assert fenced.claims is not None
        place = fenced.claims.root / fenced.store.arrays.of_batch(batch_id)[0].tag / "1"
        place.mkdir()
        (place / "code").write_text("7\n")
        fenced.slurm.min_job_age = 0
        fenced.slurm.lag = 1e9
        fenced.slurm.finish(fenced.slurm.arrays[0].job_id)
        for _ in range(int(GRACE) + 5):
            fenced.tick()
        assert fenced.job(batch_id).exit_code == 7

    def test_while_the_boot_time_cannot_be_asked_nothing_is_decided(self, fenced: World) -> None:
        batch_id = fenced.post(1)
        fenced.slurm.save()
        fenced.tick()
        fenced.slurm.crash()
        for _ in range(2 * int(GRACE)):
            fenced.slurm.fail_next("facts", SlurmUnreachable("x"))
            fenced.tick()
        assert not fenced.batch(batch_id).finished_at
        fenced.slurm._faults["facts"].clear()
        fenced.until_ended(batch_id)
        assert fenced.counts(batch_id) == {Status.SUCCEEDED: 1}
        assert set(fenced.runs.values()) == {1}

    def test_a_crash_between_the_look_and_the_facts_is_no_cancellation(self, world: World) -> None:
        batch_id = world.post(1)
        world.slurm.save()
        real = world.slurm.live

        def live_and_crash() -> Any:
            rows = real()
            world.slurm.crash()
            return rows

        world.submitter.tick(world.slurm.advance(61))
        world.slurm.live = live_and_crash  # type: ignore[method-assign]
        world.poller.tick(world.slurm.now)
        del world.slurm.live
        for _ in range(3 * int(GRACE)):
            world.tick()
        assert world.job(batch_id).reason.startswith("LOST: ")


class TestOutages:
    def test_a_requeue_in_an_outage_is_no_failure(self, world: World) -> None:
        batch_id = world.post(1, tool="again")
        world.tick()
        job_id = world.slurm.arrays[0].job_id
        world.slurm.start(job_id)
        world.tick()
        world.slurm.slurmctld_down = True
        world.slurm.requeue(job_id)
        for _ in range(3 * int(GRACE)):
            world.tick()
        assert world.counts(batch_id) == {Status.RUNNING: 1}
        world.slurm.slurmctld_down = False
        world.tick()
        world.tick()
        assert world.counts(batch_id) == {Status.PENDING: 1}

    @pytest.mark.parametrize("reason", ["JobArrayTaskLimit", "JobHeldAdmin", "Resources"])
    def test_what_waits_is_not_told_anew(self, world: World, reason: str) -> None:
        batch_id = world.post(1)
        world.tick()
        world.slurm.wait(world.slurm.arrays[0].job_id, reason)
        world.tick()
        before = world.job(batch_id)
        world.slurm.arrays[0].held = False  # accounting: eligible since then
        world.slurm._tell_rest(world.slurm.arrays[0])
        world.slurm.slurmctld_down = True
        for _ in range(20):
            world.tick()
        after = world.job(batch_id)
        assert (after.status, after.reason) == (before.status, before.reason)

    def test_absence_is_not_counted_across_an_outage(self, world: World) -> None:
        batch_id = world.post(1)
        world.slurm.fail_next("find", SlurmUnreachable("x"))
        world.submitter.tick(world.slurm.now)
        array = world.slurm.arrays.pop()
        world.tick()
        world.tick()
        world.slurm.slurmctld_down = True
        world.submitter.tick(world.slurm.advance(3 * GRACE))
        world.slurm.slurmctld_down = False
        world.slurm.arrays.append(array)
        for _ in range(5):
            world.tick()
        assert world.store.arrays.of_batch(batch_id)[0].generation == 1
        assert state(world, batch_id) is ArrayState.QUEUED

    def test_a_dead_accounting_is_asked_by_one_and_not_by_all(self, world: World) -> None:
        for _ in range(5):
            world.post(1, caller=BOB)
        world.slurm.slurmdbd_down = True
        for _ in range(5):
            world.slurm.fail_next("submit", SlurmAmbiguous("timed out"))
        world.submitter.tick(world.slurm.now)
        for _ in range(20):
            world.submitter.tick(world.slurm.advance(1))
        assert world.slurm.calls["find_ended"] == 1

    def test_slurmctld_s_news_do_not_wait_for_accounting(self, world: World) -> None:
        gone, runs = world.post(1), world.post(1)
        world.tick()
        world.slurm.min_job_age = 0
        world.slurm.finish(world.slurm.arrays[0].job_id)
        world.slurm.start(world.slurm.arrays[1].job_id)
        hangs = threading.Event()
        real = world.slurm.ended

        def ended(slurm_job_ids: Collection[int]) -> list[JobReport]:
            hangs.wait(20)
            return real(slurm_job_ids)

        world.slurm.ended = ended  # type: ignore[method-assign]
        world.poller.sources.patience = 0.01
        world.tick()
        world.tick()
        assert world.counts(runs) == {Status.RUNNING: 1}
        assert world.counts(gone)[Status.SUBMITTED] == 1
        hangs.set()
        world.poller.sources.patience = 10.0
        world.tick()
        assert world.counts(gone) == {Status.SUCCEEDED: 1}

    def test_a_failed_question_is_told_when_it_comes_back(self, world: World) -> None:
        world.post(1)
        world.tick()
        world.slurm.min_job_age = 0
        world.slurm.finish(world.slurm.arrays[0].job_id)
        world.poller.sources.patience = 10.0
        world.slurm.fail_next("ended", AccountingUnreachable("no answer"))
        world.tick()
        assert world.health.is_down("slurmdbd")


class TestWhatComesBack:
    @pytest.mark.parametrize("end", ["cancel", "delete"])
    def test_of_a_cancelled_batch_nothing_runs(self, world: World, end: str) -> None:
        batch_id = world.post(2)
        world.tick()
        world.tick()
        world.slurm.save()
        getattr(world.batches, end)(ALICE, batch_id)
        for _ in range(5):
            world.tick()
        world.slurm.crash()
        other = world.post(1)
        world.tick()
        world.tick()
        assert [task.state for task in world.slurm.arrays[0].tasks.values()] == ["CANCELLED"] * 2
        world.until_ended(other)
        assert all(key[0] == other for key in world.runs)

    def test_a_hold_on_purpose_after_a_restart_stays(self, world: World) -> None:
        batch_id = world.post(1)
        world.tick()
        world.tick()
        array = world.slurm.arrays[0]
        world.slurm.save()
        world.slurm.crash()
        array = world.slurm.arrays[0]
        for _ in range(70):
            world.tick()
        array.held = True
        world.slurm.wait(array.job_id, "JobHeldUser")
        for _ in range(100):
            world.tick()
        assert array.held
        assert world.job(batch_id).reason.startswith("HELD: ")

    def test_cancelled_one_by_one_after_a_restart_is_cancelled(self, fenced: World) -> None:
        batch_id = fenced.post(2)
        fenced.tick()
        fenced.tick()
        fenced.slurm.save()
        fenced.slurm.crash()
        for _ in range(70):
            fenced.tick()
        for number in (1, 2):
            fenced.slurm.cancel_task(fenced.slurm.arrays[0].job_id, number)
        for _ in range(3 * int(GRACE)):
            fenced.tick()
            fenced.work()
        assert fenced.counts(batch_id) == {Status.FAILED: 2}
        assert fenced.job(batch_id).reason.startswith("CANCELLED: ")
        assert not fenced.runs

    def test_an_array_whose_release_was_forgotten_and_that_is_lost_is_not_all_run_again(
        self, fenced: World
    ) -> None:
        batch_id = fenced.post(2)
        fenced.tick()
        fenced.tick()
        assert fenced.claims is not None
        place = fenced.claims.root / fenced.store.arrays.of_batch(batch_id)[0].tag / "1"
        place.mkdir()
        (place / "code").write_text("0\n")
        fenced.store.arrays.held_again(fenced.store.arrays.of_batch(batch_id)[0].pk)
        fenced.slurm.arrays.clear()
        fenced.slurm._slurmctld.told.clear()
        fenced.slurm.booted += 1
        fenced.until_ended(batch_id)
        assert fenced.counts(batch_id) == {Status.SUCCEEDED: 2}
        assert fenced.runs == {(batch_id, 1): 1}


class TestClaims:
    def test_a_copy_that_is_late_on_its_node_finds_its_claim_taken(self, fenced: World) -> None:
        batch_id = fenced.post(1)
        fenced.slurm.save()
        fenced.tick()
        tag = fenced.store.arrays.of_batch(batch_id)[0].tag
        fenced.slurm.crash()
        fenced.until_ended(batch_id)
        assert fenced.claims is not None
        with pytest.raises(FileExistsError):
            (fenced.claims.root / tag / "1").mkdir()
        assert fenced.runs == {(batch_id, 0): 1}

    def test_one_that_starts_while_it_is_given_up_is_left_alone(self, fenced: World) -> None:
        batch_id = fenced.post(1)
        fenced.slurm.save()
        fenced.tick()
        tag = fenced.store.arrays.of_batch(batch_id)[0].tag
        fenced.slurm.crash()
        claims = fenced.poller._losses.claims
        assert claims is not None
        place = claims.root / tag / "1"

        class Slow(Claims):
            def fence(self, tag: str, task: int) -> bool:
                place.mkdir(exist_ok=True)
                return super().fence(tag, task)

        fenced.poller._losses.claims = Slow(claims.root)
        for _ in range(int(GRACE) + 5):
            fenced.tick()
        assert fenced.slurm.calls["submit"] == 1

    def test_while_their_directory_is_away_nothing_is_given_up(self, fenced: World) -> None:
        batch_id = fenced.post(1)
        fenced.slurm.save()
        fenced.tick()
        fenced.slurm.crash()
        assert fenced.claims is not None
        fenced.claims.root.rename(fenced.directory / "away")
        for _ in range(2 * int(GRACE)):
            fenced.tick()
        assert not fenced.batch(batch_id).finished_at
        (fenced.directory / "away").rename(fenced.claims.root)
        fenced.until_ended(batch_id)
        assert fenced.counts(batch_id) == {Status.SUCCEEDED: 1}

    def test_one_that_could_not_be_made_is_told(self, fenced: World) -> None:
        batch_id = fenced.post(1)
        fenced.tick()
        array = fenced.slurm.arrays[0]
        fenced.slurm.start(array.job_id)
        log = str(array.request.output).replace("%a", "1")
        Path(log).write_text("slurmbatch: not run on n1: its claim cannot be made\n")
        fenced.slurm.finish(array.job_id, state="FAILED", code=121)
        fenced.tick()
        assert "claim could not be made" in fenced.job(batch_id).reason


class TestThatHasNotRun:
    """Slurm has an end of a task that was never launched: it left no log and no claim."""

    @pytest.mark.parametrize("state", ["CANCELLED", "NODE_FAIL"])
    def test_it_is_submitted_again(self, fenced: World, state: str) -> None:
        fenced.slurm.save()
        fenced.slurm.crash()
        batch_id = fenced.post(1)
        fenced.tick()
        fenced.tick()
        number = fenced.slurm.arrays[0].job_id
        fenced.slurm.start(number, launched=False)
        fenced.slurm.finish(number, state=state, by=0)
        fenced.until_ended(batch_id)
        assert fenced.counts(batch_id) == {Status.SUCCEEDED: 1}
        assert fenced.runs == {(batch_id, 0): 1}

    @pytest.mark.parametrize("state", ["CANCELLED", "NODE_FAIL"])
    def test_one_that_was_killed_before_its_script_ran_is_submitted_again(
        self, fenced: World, state: str
    ) -> None:
        fenced.slurm.save()
        fenced.slurm.crash()
        batch_id = fenced.post(2)
        fenced.tick()
        fenced.tick()
        number = fenced.slurm.arrays[0].job_id
        fenced.slurm.start(number)
        assert fenced.claims is not None
        tag = fenced.store.arrays.of_batch(batch_id)[0].tag
        (fenced.claims.root / tag / "2").mkdir()
        fenced.slurm.finish(number, state=state, by=0)
        fenced.until_ended(batch_id)
        assert fenced.job(batch_id, 0).status is Status.SUCCEEDED
        assert fenced.job(batch_id, 1).reason.startswith(("LOST: had begun", "NODE: "))
        assert fenced.runs == {(batch_id, 0): 1}

    def swept(self, fenced: World, by: int, launched: bool = False) -> str:
        """A batch whose first job slurmd has not launched, and whose others were cancelled with
        it: the second had made its claim, the third one waits."""
        fenced.slurm.save()
        fenced.slurm.crash()
        batch_id = fenced.post(3)
        fenced.tick()
        fenced.tick()
        number = fenced.slurm.arrays[0].job_id
        assert fenced.claims is not None
        claims = fenced.claims.root / fenced.store.arrays.of_batch(batch_id)[0].tag
        fenced.slurm.start(number, 1, launched=launched)
        if launched:
            (claims / "1").mkdir()
        fenced.slurm.start(number, 2)
        (claims / "2").mkdir()
        fenced.slurm._cancel(fenced.slurm.array(number), by)
        fenced.slurm.min_job_age = 0.0  # so that accounting tells who
        return batch_id

    def test_what_waited_is_submitted_again_with_one_that_was_not_launched(
        self, fenced: World
    ) -> None:
        batch_id = self.swept(fenced, by=0)
        fenced.until_ended(batch_id)
        for index in (0, 2):
            assert fenced.job(batch_id, index).status is Status.SUCCEEDED
        job = fenced.job(batch_id, 1)
        assert job.status is Status.FAILED
        assert job.reason.startswith("LOST: had begun when Slurm")
        assert fenced.runs == {(batch_id, 0): 1, (batch_id, 2): 1}

    def test_what_then_notes_its_end_has_ended_so(self, fenced: World) -> None:
        batch_id = self.swept(fenced, by=0)
        for _ in range(3):
            fenced.tick()
        assert fenced.job(batch_id, 1).status is not Status.FAILED
        assert fenced.claims is not None
        tag = fenced.store.arrays.of_batch(batch_id)[0].tag
        (fenced.claims.root / tag / "2" / "code").write_text("0\n")
        fenced.until_ended(batch_id)
        assert fenced.job(batch_id, 1).reason.startswith("OK: ")
        assert fenced.counts(batch_id) == {Status.SUCCEEDED: 3}

    def test_what_notes_that_it_was_killed_is_lost(self, fenced: World) -> None:
        batch_id = self.swept(fenced, by=0)
        assert fenced.claims is not None
        tag = fenced.store.arrays.of_batch(batch_id)[0].tag
        code = fenced.claims.root / tag / "2" / "code"
        code.write_text("143\n")
        os.utime(code, times=(fenced.slurm.now, fenced.slurm.now))
        fenced.until_ended(batch_id)
        assert fenced.job(batch_id, 1).reason.startswith("LOST: had begun when Slurm")

    @pytest.mark.parametrize(("by", "launched"), [(4711, False), (0, True)])
    def test_what_somebody_cancelled_is_not(self, fenced: World, by: int, launched: bool) -> None:
        batch_id = self.swept(fenced, by, launched)
        fenced.until_ended(batch_id)
        for index in (1, 2):
            assert fenced.job(batch_id, index).reason.startswith("CANCELLED: ")

    def test_nor_what_was_cancelled_long_after_slurmctld_s_start(self, fenced: World) -> None:
        fenced.slurm.save()
        fenced.slurm.crash()
        fenced.slurm.advance(400.0)
        batch_id = fenced.post(2)
        fenced.tick()
        fenced.tick()
        number = fenced.slurm.arrays[0].job_id
        fenced.slurm.start(number, 1, launched=False)
        fenced.slurm._cancel(fenced.slurm.array(number), 0)
        fenced.until_ended(batch_id)
        assert fenced.job(batch_id, 1).reason.startswith("CANCELLED: ")
        assert not fenced.runs

    def test_while_slurmctld_does_not_tell_when_it_was_started_nothing_is_decided(
        self, fenced: World
    ) -> None:
        batch_id = self.swept(fenced, by=0)
        for _ in range(2 * int(GRACE)):
            fenced.slurm.fail_next("facts", SlurmUnreachable("x"))
            fenced.tick()
        assert fenced.job(batch_id, 1).status is not Status.FAILED
        assert fenced.job(batch_id, 2).status is not Status.FAILED
        fenced.slurm._faults["facts"].clear()
        fenced.until_ended(batch_id)
        assert fenced.job(batch_id, 2).status is Status.SUCCEEDED

    @pytest.mark.parametrize(("state", "code"), [("COMPLETED", 0), ("FAILED", 63)])
    @pytest.mark.parametrize("launched", [True, False])
    def test_an_end_of_a_forgotten_job_s_is_not_believed_after_a_second_crash(
        self, fenced: World, state: str, code: int, launched: bool
    ) -> None:
        """The first slurmctld gave the number again, and is killed itself before anybody asks."""
        batch_id = fenced.post(2)
        fenced.tick()
        fenced.tick()
        number = fenced.slurm.arrays[0].job_id
        fenced.slurm.start(number, launched=launched)
        fenced.slurm.finish(number, state=state, code=code)
        fenced.slurm.advance(400.0)
        fenced.slurm.save()
        fenced.slurm.crash()
        fenced.until_ended(batch_id)
        assert fenced.counts(batch_id) == {Status.SUCCEEDED: 2}
        assert fenced.runs == {(batch_id, 0): 1, (batch_id, 1): 1}

    @pytest.mark.parametrize(("state", "code"), [("COMPLETED", 0), ("FAILED", 63)])
    def test_of_a_cancelled_batch_such_an_end_is_a_cancellation(
        self, fenced: World, state: str, code: int
    ) -> None:
        batch_id = fenced.post(1)
        fenced.tick()
        fenced.tick()
        number = fenced.slurm.arrays[0].job_id
        fenced.slurm.start(number, launched=False)
        fenced.batches.cancel(ALICE, batch_id)
        fenced.slurm.finish(number, state=state, code=code)
        for _ in range(int(GRACE) + 5):
            fenced.tick()
        assert fenced.job(batch_id).reason.startswith("CANCELLED: cancelled by request")
        assert not fenced.runs

    def test_without_claims_an_end_shortly_before_a_start_is_looked_at_twice(
        self, world: World
    ) -> None:
        batch_id = world.post(1)
        world.tick()
        world.tick()
        number = world.slurm.arrays[0].job_id
        world.slurm.start(number, launched=False)
        world.slurm.finish(number)
        world.slurm.advance(5.0)
        world.slurm.save()
        world.slurm.crash()
        for _ in range(int(GRACE) + 5):
            world.tick()
        assert world.job(batch_id).reason.startswith("LOST: ")

    def test_a_tool_that_makes_no_claim_is_told_by_its_log(self, fenced: World) -> None:
        fenced.slurm.save()
        fenced.slurm.crash()
        batch_id = fenced.post(1, tool="again")
        fenced.tick()
        fenced.tick()
        fenced.slurm.start(fenced.slurm.arrays[0].job_id)
        fenced.slurm.finish(fenced.slurm.arrays[0].job_id, state="CANCELLED", by=0)
        fenced.tick()
        assert fenced.job(batch_id).reason.startswith("CANCELLED: ")

    def test_one_that_we_have_cancelled_is_cancelled(self, fenced: World) -> None:
        fenced.slurm.save()
        fenced.slurm.crash()
        batch_id = fenced.post(1)
        fenced.tick()
        fenced.tick()
        fenced.slurm.start(fenced.slurm.arrays[0].job_id, launched=False)
        fenced.batches.cancel(ALICE, batch_id)
        for _ in range(3):
            fenced.tick()
        assert fenced.job(batch_id).reason.startswith("CANCELLED: cancelled by request")

    def test_one_that_was_cancelled_while_it_waited_is_cancelled(self, fenced: World) -> None:
        fenced.slurm.save()
        fenced.slurm.crash()
        batch_id = fenced.post(2)
        fenced.tick()
        fenced.tick()
        fenced.slurm.cancel(fenced.slurm.arrays[0].job_id)
        for _ in range(3):
            fenced.tick()
        assert fenced.counts(batch_id) == {Status.FAILED: 2}

    def test_without_claims_a_node_that_failed_has_failed(self, world: World) -> None:
        batch_id = world.post(1)
        world.tick()
        world.tick()
        world.slurm.start(world.slurm.arrays[0].job_id, launched=False)
        world.slurm.finish(world.slurm.arrays[0].job_id, state="NODE_FAIL")
        for _ in range(int(GRACE) + 5):
            world.tick()
        assert world.job(batch_id).reason.startswith("NODE: ")


class TestPatience:
    def test_other_errors_do_not_add_up_to_a_refusal(self, world: World) -> None:
        batch_id = world.post(1)
        for _ in range(3):
            world.slurm.fail_next("submit", SlurmBusy("full"))
        for words in ("one", "another", "one"):
            world.slurm.fail_next("submit", SlurmAmbiguous(words, answered=True))
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 1}

    def test_one_that_is_too_large_by_now_is_cut(self, tmp_path: Path) -> None:
        """Slurm's limit was not known when it was posted, or is another one since."""
        world = World(tmp_path)
        batch_id = world.post(25)
        world.slurm.max_array_size = 11
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 25}
        assert sorted(each.n_tasks for each in submitted(world)[1:]) == [5, 10, 10]
        assert world.runs == {(batch_id, index): 1 for index in range(25)}
        assert world.batch(batch_id).n_submitted == 25
        world.store.close()

    @pytest.mark.parametrize("room", [70, 3])
    def test_one_that_no_limit_has_room_for_goes_in_pieces(self, tmp_path: Path, room: int) -> None:
        world = World(tmp_path)
        world.slurm.max_job_count = room
        world.slurm.min_job_age = 1.0
        first, second = world.post(100), world.post(2)

        def forget() -> None:
            old = [each for each in world.slurm.arrays
                   if all(task.state in ENDS for task in each.tasks.values())]  # fmt: skip
            for each in old:
                world.slurm.arrays.remove(each)

        for _ in range(4000):
            world.tick()
            world.work()
            forget()
            if world.batch(first).finished_at and world.batch(second).finished_at:
                break
        assert world.counts(first) == {Status.SUCCEEDED: 100}
        assert world.counts(second) == {Status.SUCCEEDED: 2}
        assert set(world.runs.values()) == {1}
        tags = [each.tag for each in submitted(world)]
        last = max(tags.index(each.tag) for each in world.store.arrays.of_batch(first))
        assert last < tags.index(world.store.arrays.of_batch(second)[0].tag)
        world.store.close()

    def test_those_behind_say_so(self, world: World) -> None:
        world.post(1)
        second = world.post(1)
        world.slurm.fail_next("submit", SlurmBusy("AssocMaxSubmitJobLimit"))
        world.tick()
        assert "its turn comes after an earlier batch" in world.job(second).reason
        world.until_ended(second)

    def test_one_array_s_trouble_is_no_other_s(self, world: World) -> None:
        poison = world.post(1)
        real = world.store.arrays.fixed_args
        poisoned = world.store.arrays.of_batch(poison)[0].pk

        def fixed_args(pk: int) -> dict[str, ArgValue]:
            if pk == poisoned:
                raise ZeroDivisionError
            return real(pk)

        world.store.arrays.fixed_args = fixed_args  # type: ignore[method-assign]
        other = world.post(1, caller=BOB)
        world.until_ended(other, caller=BOB)
        assert "internal error" in world.job(poison).reason
        world.batches.cancel(ALICE, poison)
        world.tick()
        assert world.counts(poison) == {Status.FAILED: 1}

    def test_one_array_that_cannot_be_looked_at_keeps_no_other_from_it(self, world: World) -> None:
        poison, other = world.post(1), world.post(1)
        world.tick()
        real = world.store.arrays.unfinished
        poisoned = world.store.arrays.of_batch(poison)[0].pk

        def unfinished(pk: int) -> dict[int, KnownJob]:
            if pk == poisoned:
                raise ZeroDivisionError
            return real(pk)

        world.store.arrays.unfinished = unfinished  # type: ignore[method-assign]
        world.work()
        world.tick()
        assert world.counts(other) == {Status.SUCCEEDED: 1}

    def test_cancelled_within_a_tick_the_rest_is_not_handed_over(self, world: World) -> None:
        batch_id = world.post(10)
        real = world.slurm.submit

        def submit(request: SubmitRequest) -> Any:
            world.batches.cancel(ALICE, batch_id)
            return real(request)

        world.slurm.submit = submit  # type: ignore[method-assign]
        world.tick()
        assert len(world.slurm.arrays) == 1

    def test_many_that_are_lost_are_one_array(self, fenced: World) -> None:
        fenced.slurm.save()
        fenced.slurm.crash()
        batch_id = fenced.post(20)
        fenced.tick()
        fenced.tick()
        fenced.slurm.min_job_age = 0.0
        fenced.slurm.start(fenced.slurm.arrays[0].job_id, launched=False)
        fenced.slurm.finish(fenced.slurm.arrays[0].job_id)
        fenced.until_ended(batch_id)
        assert len(fenced.store.arrays.of_batch(batch_id)) == 2


def test_what_is_told_before_the_first_look_may_be_out_of_date(world: World) -> None:
    batch_id = world.post(1)
    assert world.batches.get(ALICE, batch_id).stale_since is not None
    world.tick()
    world.health.ok("poller", world.slurm.now)
    assert world.batches.get(ALICE, batch_id).stale_since is None
    world.slurm.advance(world.batches._rules.poll_late + 1)
    assert world.batches.get(ALICE, batch_id).stale_since is not None


def test_rules_are_complete() -> None:
    assert Rules(Path(), None, 1, None, 0.0).poll_late > 0
