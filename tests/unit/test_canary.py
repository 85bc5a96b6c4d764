"""Some jobs go first, and the others only if those succeed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from slurmbatch.errors import Invalid, SlurmRefused
from slurmbatch.model import ArrayState, NewBatch, Retry, Status

from .test_retry import claimed, requests
from .world import ALICE, World

ARRAY_SIZE = 3


def end_canaries(world: World, *states: str) -> None:
    """The first array's tasks end in these states, in their order."""
    for _ in range(2):
        world.tick()
    for number, state in enumerate(states, start=1):
        claimed(world, number, 0 if state == "COMPLETED" else 1)
        world.slurm.finish(world.slurm.arrays[-1].job_id, number, state=state,
                           code=0 if state == "COMPLETED" else 1)  # fmt: skip
    world.tick()


def test_the_others_wait_in_our_own_hands_and_say_so(world: World) -> None:
    batch_id = world.post(9, canary=2)
    for _ in range(20):
        world.tick()
    assert [each.n_tasks for each in requests(world)] == [2]
    assert world.job(batch_id, 1).reason.startswith("ACCEPTED: handed to Slurm")
    for index in (2, 8):
        job = world.job(batch_id, index)
        assert job.status is Status.PENDING
        assert job.reason.startswith("CANARY: waits for the first jobs")
    assert world.batch(batch_id).n_submitted == 2
    assert world.batch(batch_id).canary == 2


def test_when_all_of_the_first_succeed_the_others_go(world: World) -> None:
    batch_id = world.post(9, canary=2)
    end_canaries(world, "COMPLETED")
    world.tick()
    assert world.slurm.calls["submit"] == 1
    world.until_ended(batch_id)
    assert [each.n_tasks for each in requests(world)] == [2, 3, 3, 1]
    assert world.counts(batch_id) == {Status.SUCCEEDED: 9}
    assert world.batch(batch_id).n_submitted == 9
    assert set(world.runs.values()) == {1}


def test_more_canaries_than_fit_into_an_array(world: World) -> None:
    batch_id = world.post(9, canary=4)
    for _ in range(3):
        world.tick()
    assert [each.n_tasks for each in requests(world)] == [3, 1]
    world.until_ended(batch_id)
    assert world.counts(batch_id) == {Status.SUCCEEDED: 9}


def test_when_one_of_the_first_fails_none_of_the_others_runs(world: World) -> None:
    batch_id = world.post(9, canary=3)
    end_canaries(world, "FAILED")
    world.tick()
    assert world.counts(batch_id) == {Status.FAILED: 7, Status.SUBMITTED: 2}
    reason = world.job(batch_id, 8).reason
    assert reason == "CANARY: not run, because not all of the first 3 jobs of the batch succeeded"
    assert world.batch(batch_id).finished_at is None
    world.until_ended(batch_id)
    assert world.counts(batch_id) == {Status.FAILED: 7, Status.SUCCEEDED: 2}
    assert world.slurm.calls["submit"] == 1
    assert world.batch(batch_id).n_submitted == 3


def test_when_slurm_refuses_the_first_none_of_the_others_goes(world: World) -> None:
    batch_id = world.post(5, canary=1)
    world.slurm.fail_next("submit", SlurmRefused("Invalid qos specification"))
    for _ in range(3):
        world.tick()
    assert world.counts(batch_id) == {Status.FAILED: 5}
    assert world.job(batch_id, 0).reason.startswith("REFUSED: ")
    assert world.job(batch_id, 4).reason.startswith("CANARY: ")


def test_it_keeps_no_later_batch_waiting(world: World) -> None:
    world.post(5, canary=1)
    later = world.post(2)
    world.until_ended(later)
    assert world.counts(later) == {Status.SUCCEEDED: 2}


@pytest.mark.parametrize("canary", [2, 3])
def test_fewer_than_all_jobs(world: World, canary: int) -> None:
    with pytest.raises(Invalid) as error:
        world.post(2, canary=canary)
    (fault,) = error.value.faults
    assert fault.pointer == "/canary"
    assert fault.detail == "Expected fewer than all jobs of the batch, of which there are 2."
    with pytest.raises(Invalid):
        world.batches.submit(ALICE, NewBatch("t", canary=1))


class TestEnded:
    def test_cancelled_while_they_wait(self, world: World) -> None:
        batch_id = world.post(9, canary=2)
        end_canaries(world, "COMPLETED")
        world.batches.cancel(ALICE, batch_id)
        for _ in range(3):
            world.tick()
        assert world.counts(batch_id) == {Status.SUCCEEDED: 1, Status.FAILED: 8}
        assert world.job(batch_id, 8).reason.startswith("CANCELLED: cancelled by request, before")
        assert world.slurm.calls["submit"] == 1

    def test_deleted_while_they_wait(self, world: World) -> None:
        batch_id = world.post(9, canary=2)
        world.tick()
        world.batches.delete(ALICE, batch_id)
        for _ in range(5):
            world.tick()
        assert world.store._db.sql("SELECT count(*) FROM array") == [(0,)]
        assert world.slurm.calls["submit"] == 1

    def test_while_slurm_is_down_they_can_be_cancelled(self, world: World) -> None:
        batch_id = world.post(9, canary=2)
        end_canaries(world)
        world.slurm.slurmctld_down = True
        world.tick()
        world.batches.cancel(ALICE, batch_id)
        world.tick()
        assert world.job(batch_id, 8).reason.startswith("CANCELLED: ")

    def test_many_arrays_end_in_portions(self, world: World) -> None:
        batch_id = world.post(200, canary=1)
        end_canaries(world, "FAILED")
        world.tick()
        assert 0 < world.counts(batch_id)[Status.PENDING] < 199
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.FAILED: 200}


class TestRetried:
    def test_the_first_go_first_again(self, world: World) -> None:
        batch_id = world.post(8, canary=2)
        end_canaries(world, "FAILED", "COMPLETED")
        world.until_ended(batch_id)
        world.batches.retry(ALICE, batch_id, Retry(memory_factor=2))
        for _ in range(5):
            world.tick()
        assert [each.n_tasks for each in requests(world)] == [2, 1]
        assert world.job(batch_id, 0).attempt == 2
        assert world.job(batch_id, 7).reason.startswith("CANARY: waits")
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 8}
        assert [each.memory for each in requests(world)] == [64, 128, 128, 128]
        assert world.job(batch_id, 7).attempt == 1

    def test_and_may_fail_again(self, world: World) -> None:
        batch_id = world.post(8, canary=2)
        end_canaries(world, "FAILED", "COMPLETED")
        world.until_ended(batch_id)
        world.batches.retry(ALICE, batch_id, Retry())
        end_canaries(world, "FAILED")
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.FAILED: 7, Status.SUCCEEDED: 1}
        assert world.slurm.calls["submit"] == 2

    def test_only_the_others_go_at_once(self, world: World) -> None:
        batch_id = world.post(8, canary=2)
        end_canaries(world, "FAILED", "COMPLETED")
        world.until_ended(batch_id)
        world.batches.retry(ALICE, batch_id, Retry(frozenset({"CANARY"})))
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.FAILED: 1, Status.SUCCEEDED: 7}

    def test_others_that_failed_after_the_first_succeeded_go_at_once(self, world: World) -> None:
        batch_id = world.post(5, canary=2)
        end_canaries(world, "COMPLETED", "COMPLETED")
        end_canaries(world, "FAILED", "COMPLETED", "COMPLETED")
        assert world.counts(batch_id) == {Status.FAILED: 1, Status.SUCCEEDED: 4}
        world.batches.retry(ALICE, batch_id, Retry())
        assert world.store.arrays.of_batch(batch_id)[-1].state is ArrayState.INTENT
        world.until_ended(batch_id)

    def test_a_cancelled_one_as_a_whole(self, world: World) -> None:
        batch_id = world.post(5, canary=2)
        world.tick()
        world.batches.cancel(ALICE, batch_id)
        world.until_ended(batch_id)
        world.batches.retry(ALICE, batch_id, Retry())
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 5}
        assert [each.n_tasks for each in requests(world)] == [2, 2, 3]


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("step", range(0, 78, 3))
def test_killed_at_every_step(tmp_path: Path, step: int, good: bool) -> None:
    world = World(tmp_path, claims=True, array_size=3)
    batch_id = world.post(6, canary=2)
    world.fate.at = step
    ended = set()

    def turn() -> None:
        world.tick()
        for array in world.slurm.arrays:
            if array.held or array.job_id in ended:
                continue
            ended.add(array.job_id)
            is_bad = not good and array.request.n_tasks == 2
            for number in array.tasks:
                place = tmp_path / "claims" / array.request.tag / str(number)
                place.mkdir(exist_ok=True)
                (place / "code").write_text("1\n" if is_bad else "0\n")
                world.ran(array.request.script, number)
            world.slurm.finish(array.job_id, state="FAILED" if is_bad else "COMPLETED",
                               code=int(is_bad))  # fmt: skip

    world.until_ended_however_often_killed(batch_id, turn)
    first = Status.SUCCEEDED if good else Status.FAILED
    assert world.counts(batch_id) == {first: 6}
    assert world.runs == {(batch_id, index): 1 for index in range(6 if good else 2)}
    assert {each.state for each in world.store.arrays.of_batch(batch_id)} == {ArrayState.DONE}
    world.store.close()


def test_a_restored_backup_runs_no_canary_and_no_other_twice(tmp_path: Path) -> None:
    """The intent that a gate has let go in an older database was perhaps let go before."""
    world = World(tmp_path, array_size=3)
    batch_id = world.post(5, canary=2)
    world.tick()
    before = world.store.arrays.of_batch(batch_id)
    assert [each.state for each in before] == [ArrayState.QUEUED, ArrayState.BLOCKED]
    world.store.close()
    backup = (tmp_path / "state" / "x.sqlite").read_bytes()
    world.start()
    world.until_ended(batch_id)
    world.store.close()
    for file in (tmp_path / "state").iterdir():
        file.unlink()
    (tmp_path / "state" / "x.sqlite").write_bytes(backup)
    (tmp_path / "state" / "x.sqlite").chmod(0o600)
    world.start()
    world.until_ended(batch_id)
    assert world.counts(batch_id) == {Status.SUCCEEDED: 5}
    assert world.slurm.calls["submit"] == 2
    assert set(world.runs.values()) == {1}
    assert replace(before[1], state=ArrayState.DONE).tag == requests(world)[1].tag
    world.store.close()
