"""Failed jobs are run again: under the same ids, once, and with what they had before kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.errors import Conflict, Invalid, KeyReused, NotFound, SlurmBusy
from slurmbatch.model import ArrayState, Job, Retry, Status
from slurmbatch.slurm.port import SubmitRequest
from slurmbatch.store import Plan, Standing
from slurmbatch.store.again import Groups, Piece

from .world import ALICE, BOB, Fate, Killed, World

ALL = Retry()


def failed(world: World, n_jobs: int = 3, bad: tuple[int, ...] = (1,), **how: Any) -> str:
    """A batch whose jobs have ended, these in failure."""
    batch_id = world.post(n_jobs)
    world.tick()
    world.tick()
    number = world.slurm.arrays[-1].job_id
    for index in range(n_jobs):
        claimed(world, index + 1, 3 if index in bad else 0)
        world.slurm.finish(number, index + 1, **({"state": "FAILED", "code": 3, **how}
                                                 if index in bad else {}))  # fmt: skip
    world.tick()
    assert world.counts(batch_id)[Status.FAILED] == len(bad)
    return batch_id


def claimed(world: World, task: int, code: int) -> None:
    """What a job that is fenced leaves of its end."""
    if world.claims is not None:
        place = world.claims.root / world.slurm.arrays[-1].request.tag / str(task)
        place.mkdir()
        (place / "code").write_text(f"{code}\n")


def requests(world: World) -> list[SubmitRequest]:
    return world.slurm.submissions


def ends(world: World, batch_id: str) -> Job:
    world.until_ended(batch_id)
    return world.job(batch_id, 1)


class TestARetry:
    def test_failed_jobs_run_again_and_the_others_do_not(self, world: World) -> None:
        batch_id = failed(world, 5, bad=(1, 3))
        before = world.batch(batch_id)
        after = world.batches.retry(ALICE, batch_id, ALL)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 3, Status.SUBMITTED: 2}
        assert (after.n_submitted, after.finished_at) == (3, None)
        assert after.etag != before.etag
        assert world.job(batch_id, 1).reason.startswith("ACCEPTED: will be run again")
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 5}
        assert world.batch(batch_id).n_submitted == 5
        assert requests(world)[1].n_tasks == 2
        assert world.runs == {(batch_id, 1): 1, (batch_id, 3): 1}

    def test_the_run_before_is_kept(self, world: World) -> None:
        batch_id = failed(world)
        old = world.job(batch_id, 1)
        world.batches.retry(ALICE, batch_id, Retry(memory_factor=2))
        again = world.job(batch_id, 1)
        assert (again.attempt, again.exit_code, again.start_time) == (2, None, None)
        job = ends(world, batch_id)
        (kept,) = job.attempts
        assert (kept.attempt, kept.reason, kept.exit_code, kept.node_list) == (
            1, old.reason, 3, "node1")  # fmt: skip
        assert (kept.start_time, kept.stop_time) == (old.start_time, old.stop_time)
        assert (kept.memory, job.hardware.memory) == (64, 128)
        assert (kept.slurm_job_id, job.slurm_job_id) == ("1_2", "2_1")
        assert world.job(batch_id, 0).attempts == ()

    def test_the_log_of_each_run_stays(self, world: World) -> None:
        batch_id = failed(world)
        first, _ = world.batches.log_of(ALICE, batch_id, f"{batch_id}-1")
        world.batches.retry(ALICE, batch_id, ALL)
        last, _ = world.batches.log_of(ALICE, batch_id, f"{batch_id}-1")
        assert first != last
        assert world.batches.log_of(ALICE, batch_id, f"{batch_id}-1", 1) == (first, True)
        assert world.batches.log_of(ALICE, f"{batch_id}", f"{batch_id}-1", 2) == (last, False)
        for attempt in (3, 99):
            with pytest.raises(NotFound):
                world.batches.log_of(ALICE, batch_id, f"{batch_id}-1", attempt)

    def test_again_and_again(self, world: World) -> None:
        batch_id = failed(world)
        for attempt in (2, 3):
            world.batches.retry(ALICE, batch_id, ALL)
            for _ in range(3):
                world.tick()
            number = world.slurm.arrays[-1].job_id
            world.slurm.finish(number, state="FAILED", code=attempt)
            world.tick()
        world.batches.retry(ALICE, batch_id, ALL)
        job = ends(world, batch_id)
        assert (job.attempt, job.status) == (4, Status.SUCCEEDED)
        assert [(each.attempt, each.exit_code) for each in job.attempts] == [(1, 3), (2, 2), (3, 3)]

    def test_runs_that_slurm_has_requeued_are_counted_on(self, world: World) -> None:
        batch_id = world.post(1, tool="again")
        for _ in range(2):
            world.tick()
        number = world.slurm.arrays[0].job_id
        world.slurm.start(number)
        world.tick()
        world.slurm.requeue(number)
        world.tick()
        world.slurm.finish(number, state="FAILED", code=1)
        world.tick()
        assert world.job(batch_id).attempt == 2
        world.batches.retry(ALICE, batch_id, ALL)
        world.until_ended(batch_id)
        job = world.job(batch_id)
        assert (job.attempt, [each.attempt for each in job.attempts]) == (3, [1, 2])

    def test_while_parts_still_run(self, world: World) -> None:
        batch_id = world.post(3)
        world.tick()
        world.tick()
        number = world.slurm.arrays[0].job_id
        world.slurm.start(number)
        world.slurm.finish(number, 2, state="FAILED", code=1)
        world.tick()
        world.batches.retry(ALICE, batch_id, ALL)
        for _ in range(5):
            world.tick()
        world.work()
        world.tick()
        assert world.counts(batch_id) == {Status.RUNNING: 2, Status.SUCCEEDED: 1}
        world.slurm.finish(number, 1, 3)
        world.tick()
        assert world.counts(batch_id) == {Status.SUCCEEDED: 3}
        assert world.batch(batch_id).finished_at is not None

    def test_it_is_split_like_a_new_batch(self, tmp_path: Path) -> None:
        world = World(tmp_path, array_size=2)
        batch_id = world.post(5)
        world.slurm.max_array_size = 1
        world.tick()  # Slurm takes none of it
        assert world.counts(batch_id) == {Status.FAILED: 5}
        world.slurm.max_array_size = 1001
        world.tick(61)
        world.batches.retry(ALICE, batch_id, ALL)
        world.until_ended(batch_id)
        assert [each.n_tasks for each in requests(world)[-3:]] == [2, 2, 1]
        assert world.runs == {(batch_id, index): 1 for index in range(5)}
        world.store.close()

    def test_what_slurm_never_had_was_no_run(self, world: World) -> None:
        batch_id = world.post(1)
        world.batches.cancel(ALICE, batch_id)
        world.tick()
        assert world.job(batch_id).reason.startswith("CANCELLED: ")
        world.batches.retry(ALICE, batch_id, ALL)
        world.until_ended(batch_id)
        job = world.job(batch_id)
        assert (job.status, job.attempt, job.attempts) == (Status.SUCCEEDED, 1, ())
        assert world.batch(batch_id).n_submitted == 1


class TestWhich:
    def test_by_class(self, world: World) -> None:
        batch_id = failed(world, 3, bad=(0, 1))
        world.batches.retry(ALICE, batch_id, Retry(frozenset({"EXIT"})))
        for _ in range(3):
            world.tick()
        world.slurm.finish(world.slurm.arrays[-1].job_id, 1, state="TIMEOUT")
        world.slurm.finish(world.slurm.arrays[-1].job_id, 2, state="OUT_OF_MEMORY")
        world.tick()
        with pytest.raises(Conflict):
            world.batches.retry(ALICE, batch_id, Retry(frozenset({"EXIT", "NODE"})))
        world.batches.retry(ALICE, batch_id, Retry(frozenset({"TIMEOUT", "SIGNAL"})))
        assert world.counts(batch_id) == {
            Status.SUBMITTED: 1, Status.FAILED: 1, Status.SUCCEEDED: 1}  # fmt: skip
        assert world.job(batch_id, 1).reason.startswith("MEMORY: ")

    def test_by_index(self, world: World) -> None:
        batch_id = failed(world, 4, bad=(0, 1, 3))
        world.batches.retry(ALICE, batch_id, Retry(indices=frozenset({1, 2, 3})))
        assert [world.job(batch_id, n).status for n in range(4)] == [
            Status.FAILED, Status.SUBMITTED, Status.SUCCEEDED, Status.SUBMITTED]  # fmt: skip

    def test_an_index_that_is_none_changes_nothing(self, world: World) -> None:
        batch_id = failed(world)
        with pytest.raises(Invalid) as error:
            world.batches.retry(ALICE, batch_id, Retry(indices=frozenset({1, 3, 70})))
        assert [each.detail for each in error.value.faults] == [
            f"Expected numbers from 0 to 2, not {number}." for number in (3, 70)]  # fmt: skip
        assert world.counts(batch_id) == {Status.SUCCEEDED: 2, Status.FAILED: 1}

    def test_none_that_has_failed_is_a_conflict(self, world: World) -> None:
        batch_id = world.post(2)
        with pytest.raises(Conflict, match="has failed"):
            world.batches.retry(ALICE, batch_id, ALL)
        world.until_ended(batch_id)
        with pytest.raises(Conflict, match="has failed"):
            world.batches.retry(ALICE, batch_id, ALL)
        with pytest.raises(Conflict):
            world.batches.retry(ALICE, batch_id, Retry(indices=frozenset({0})))

    def test_of_somebody_else_s_or_of_a_deleted_batch_there_is_none(self, world: World) -> None:
        batch_id = failed(world)
        with pytest.raises(NotFound):
            world.batches.retry(BOB, batch_id, ALL)
        world.batches.delete(ALICE, batch_id)
        with pytest.raises(NotFound):
            world.batches.retry(ALICE, batch_id, ALL)

    def test_whose_tool_is_gone_is_a_conflict(self, world: World) -> None:
        batch_id = failed(world)
        world.batches._offer.tools.pop("t")  # type: ignore[attr-defined]
        with pytest.raises(Conflict, match="no longer offered"):
            world.batches.retry(ALICE, batch_id, ALL)


class TestWithWhat:
    def test_more_memory_and_time_from_what_each_had(self, world: World) -> None:
        batch_id = failed(world, 3, bad=(0, 1), state="TIMEOUT")
        ask = Retry(indices=frozenset({1}), memory_factor=1.1, time_factor=2)
        world.batches.retry(ALICE, batch_id, ask)
        for _ in range(3):
            world.tick()
        world.slurm.finish(world.slurm.arrays[-1].job_id, state="OUT_OF_MEMORY")
        world.tick()
        assert "more than the 71 MiB" in world.job(batch_id, 1).reason
        world.batches.retry(ALICE, batch_id, Retry(memory_factor=2))
        world.until_ended(batch_id)
        last = requests(world)[-2:]
        assert {(each.memory, each.options.time_limit) for each in last} == {(128, 5), (142, 10)}
        job = world.job(batch_id, 1)
        assert (job.hardware.memory, job.time_limit) == (142, 10)
        assert [(each.memory, each.time_limit) for each in job.attempts] == [(64, 5), (71, 10)]
        assert world.batch(batch_id).hardware.memory == 64

    def test_never_beyond_the_tool_s_maximum(self, world: World) -> None:
        batch_id = failed(world)
        world.batches.retry(ALICE, batch_id, Retry(memory_factor=100, time_factor=100))
        world.until_ended(batch_id)
        request = requests(world)[-1]
        assert (request.memory, request.options.time_limit) == (1000, 60)

    def test_a_time_limit_that_is_none_cannot_be_multiplied(self, world: World) -> None:
        batch_id = world.post(1, tool="again")
        world.tick()
        world.tick()
        world.slurm.finish(world.slurm.arrays[0].job_id, state="TIMEOUT")
        world.tick()
        with pytest.raises(Invalid) as error:
            world.batches.retry(ALICE, batch_id, Retry(time_factor=2))
        assert [each.pointer for each in error.value.faults] == ["/time_factor"]

    def test_without_the_nodes_that_failed(self, world: World) -> None:
        batch_id = world.post(3)
        world.tick()
        world.tick()
        number = world.slurm.arrays[0].job_id
        for task in (1, 2, 3):
            world.slurm.start(number, task, node=f"n{task}")
        world.slurm.finish(number, 1)
        world.slurm.finish(number, 2, 3, state="FAILED", code=1)
        world.tick()
        ask = Retry(exclude_failed_nodes=True, exclude_nodes=("n7", "n3"))
        world.batches.retry(ALICE, batch_id, ask)
        world.until_ended(batch_id)
        assert requests(world)[-1].exclude == "n2,n3,n7"

    def test_what_is_cut_off_keeps_its_terms(self, world: World) -> None:
        batch_id = failed(world, 40, bad=tuple(range(40)))
        ask = Retry(memory_factor=2, time_factor=2, exclude_nodes=("n9",))
        world.batches.retry(ALICE, batch_id, ask)
        for _ in range(3):
            world.slurm.fail_next("submit", SlurmBusy("full"))
        world.until_ended(batch_id)
        pieces = requests(world)[4:]
        assert len(pieces) > 1
        assert {(p.memory, p.options.time_limit, p.exclude) for p in pieces} == {(128, 10, "n9")}
        assert world.job(batch_id, 39).hardware.memory == 128


class TestOnce:
    def test_what_fails_while_it_is_made_ready_goes_along(self, world: World) -> None:
        batch_id = world.post(3)
        world.tick()
        world.tick()
        number = world.slurm.arrays[0].job_id
        world.slurm.finish(number, 2, state="FAILED", code=1)
        world.tick()
        real = world.store.retries._ready

        def ready(
            user_id: str, batch_id: str, wanted: Retry, plan: Plan
        ) -> tuple[Groups, list[Piece]]:
            made = real(user_id, batch_id, wanted, plan)
            world.slurm.finish(number, 1, state="FAILED", code=1)
            world.tick()
            return made

        world.store.retries._ready = ready  # type: ignore[method-assign]
        world.batches.retry(ALICE, batch_id, Retry(memory_factor=2))
        world.slurm.finish(number, 3)
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 3}
        assert [(each.n_tasks, each.memory) for each in requests(world)] == [(3, 64), (2, 128)]

    def test_the_same_key_is_one_retry(self, world: World) -> None:
        batch_id = failed(world)
        for _ in range(2):
            world.batches.retry(ALICE, batch_id, ALL, idempotency_key="k", body_hash=b"1")
        for _ in range(3):
            world.tick()
        world.slurm.finish(world.slurm.arrays[-1].job_id, state="FAILED", code=9)
        world.tick()
        world.batches.retry(ALICE, batch_id, ALL, idempotency_key="k", body_hash=b"1")
        assert world.counts(batch_id) == {Status.SUCCEEDED: 2, Status.FAILED: 1}
        with pytest.raises(KeyReused):
            world.batches.retry(ALICE, batch_id, ALL, idempotency_key="k", body_hash=b"2")
        world.batches.retry(ALICE, batch_id, ALL, idempotency_key="l", body_hash=b"1")
        assert world.job(batch_id, 1).attempt == 3

    def test_one_that_was_refused_has_used_no_key(self, world: World) -> None:
        batch_id = world.post(1)
        with pytest.raises(Conflict):
            world.batches.retry(ALICE, batch_id, ALL, idempotency_key="k", body_hash=b"1")
        world.batches.cancel(ALICE, batch_id)
        world.tick()
        world.batches.retry(ALICE, batch_id, ALL, idempotency_key="k", body_hash=b"1")
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 1}

    def test_what_slurm_still_tells_of_the_run_before_changes_nothing(self, world: World) -> None:
        batch_id = failed(world)
        old = world.slurm.arrays[0]
        world.batches.retry(ALICE, batch_id, ALL)
        for _ in range(3):
            world.tick()
        world.slurm.start(world.slurm.arrays[-1].job_id)
        old.tasks[2].code = 99
        world.tick()
        job = world.job(batch_id, 1)
        assert (job.status, job.attempts[0].exit_code) == (Status.RUNNING, 3)

    def test_an_array_whose_jobs_have_all_moved_shall_not_come_back(self, world: World) -> None:
        batch_id = world.post(1)
        world.tick()
        world.tick()
        first = world.slurm.arrays[0]
        world.slurm.save()
        world.slurm.finish(first.job_id, state="FAILED", code=1)
        world.tick()
        tag = world.store.arrays.of_batch(batch_id)[0].tag
        assert world.store.graves.standing(tag) is Standing.OVER
        world.batches.retry(ALICE, batch_id, ALL)
        assert world.store.graves.standing(tag) is Standing.BURIED
        for _ in range(3):
            world.tick()
        world.slurm.next_id = 50
        world.slurm.save()
        world.slurm.arrays[0].tasks[1].state = "RUNNING"  # brought back by a killed slurmctld
        world.slurm.arrays[0].tasks[1].end = None
        world.tick()
        assert world.slurm.arrays[0].tasks[1].state == "CANCELLED"


class TestCancelled:
    def running(self, world: World) -> str:
        batch_id = world.post(2)
        world.tick()
        world.tick()
        world.slurm.start(world.slurm.arrays[0].job_id)
        world.tick()
        world.batches.cancel(ALICE, batch_id)
        return batch_id

    def test_what_was_cancelled_can_be_run_again(self, world: World) -> None:
        batch_id = self.running(world)
        for _ in range(3):
            world.tick()
        assert world.counts(batch_id) == {Status.FAILED: 2}
        after = world.batches.retry(ALICE, batch_id, Retry(frozenset({"CANCELLED"})))
        assert after.cancelled_at is None
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 2}
        states = [array.cancel for array in world.store.arrays.of_batch(batch_id)]
        assert states == [True, False]

    def test_what_is_being_cancelled_goes_on_to_end(self, world: World) -> None:
        batch_id = self.running(world)
        world.slurm.finish(world.slurm.arrays[0].job_id, 1, state="FAILED", code=1)
        world.poller.tick(world.slurm.now)
        world.batches.retry(ALICE, batch_id, ALL)
        for _ in range(3):
            world.tick()
        assert world.job(batch_id, 1).reason.startswith("CANCELLED: cancelled by request")
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 1, Status.FAILED: 1}

    def test_a_retry_can_be_cancelled_as_well(self, world: World) -> None:
        batch_id = failed(world)
        world.batches.retry(ALICE, batch_id, ALL)
        assert world.batches.cancel(ALICE, batch_id).cancelled_at is not None
        world.tick()
        assert world.counts(batch_id) == {Status.SUCCEEDED: 2, Status.FAILED: 1}
        assert world.slurm.calls["submit"] == 1
        world.batches.retry(ALICE, batch_id, ALL)
        for _ in range(2):
            world.tick()
        world.batches.cancel(ALICE, batch_id)
        for _ in range(3):
            world.tick()
        assert world.counts(batch_id) == {Status.SUCCEEDED: 2, Status.FAILED: 1}

    def test_a_retry_can_be_deleted_with_its_batch(self, world: World) -> None:
        batch_id = failed(world)
        world.batches.retry(ALICE, batch_id, ALL)
        for _ in range(2):
            world.tick()
        world.batches.delete(ALICE, batch_id)
        for _ in range(5):
            world.tick()
        assert world.store._db.sql("SELECT count(*) FROM batch") == [(0,)]
        assert world.store._db.sql("SELECT count(*) FROM attempt") == [(0,)]
        assert all(task.state in ("CANCELLED", "COMPLETED", "FAILED")
                   for array in world.slurm.arrays for task in array.tasks.values())  # fmt: skip


def _until_done(world: World, act: Callable[[], object]) -> None:
    """Does it, however often the daemon is killed over it, as a client does that repeats it."""
    for _ in range(5):
        try:
            act()
            return
        except Killed:
            world.restart()
    raise AssertionError("killed again and again")


@pytest.mark.parametrize("step", range(60))
def test_killed_at_every_step_a_retry_is_made_once(tmp_path: Path, step: int) -> None:
    world = World(tmp_path, claims=True)
    batch_id = failed(world, 4, bad=(1, 2))
    runs = world.runs.copy()
    world.fate.at = world.fate.met + step

    def retry() -> None:
        world.batches.retry(ALICE, batch_id, ALL, idempotency_key="k", body_hash=b"1")

    _until_done(world, retry)

    def turn() -> None:
        world.tick()
        world.work()

    world.until_ended_however_often_killed(batch_id, turn)
    _until_done(world, retry)
    assert world.counts(batch_id) == {Status.SUCCEEDED: 4}
    assert world.runs - runs == {(batch_id, 1): 1, (batch_id, 2): 1}
    assert [world.job(batch_id, index).attempt for index in range(4)] == [1, 2, 2, 1]
    assert world.batch(batch_id).n_submitted == 4
    states = {array.state for array in world.store.arrays.of_batch(batch_id)}
    assert states == {ArrayState.DONE}
    world.store.close()


def test_fate_reaches_the_retry(tmp_path: Path) -> None:
    """Of the steps above some are within the retry itself."""
    world = World(tmp_path, fate=Fate())
    batch_id = failed(world, 4, bad=(1, 2))
    met = world.fate.met
    world.batches.retry(ALICE, batch_id, ALL)
    assert world.fate.met > met
    world.store.close()
