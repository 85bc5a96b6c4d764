"""Batches that wait for others: what they wait for, and that each runs once whatever dies."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.errors import Fault, Invalid, NotFound
from slurmbatch.model import ArrayState, Dependency, DependencyType, NewBatch, Retry, Status
from slurmbatch.slurm.port import SubmitRequest

from .world import ALICE, BOB, Fate, Killed, World

WRITES = ("met", "keep", "open", "settle")
OK, ANY, CORR = DependencyType.AFTEROK, DependencyType.AFTERANY, DependencyType.AFTERCORR


ARRAY_SIZE = 2


def after(kind: DependencyType, *batch_ids: str) -> tuple[Dependency, ...]:
    return tuple(Dependency(each, kind, f"/depends_on/{at}") for at, each in enumerate(batch_ids))


def child(world: World, kind: DependencyType, *parents: str, n_jobs: int = 3, **more: Any) -> str:
    return world.post(n_jobs, depends_on=after(kind, *parents), **more)


def finish(
    world: World, batch_id: str, *, failed: tuple[int, ...] = (), only: int | None = None
) -> None:
    """The batch's jobs run in Slurm, those of some indices to a bad end."""
    for _ in range(4):
        world.tick()
        for array in world.slurm.arrays:
            jobs = world.store._db.sql(
                "SELECT j.task, j.idx FROM job j JOIN array a ON a.pk = j.array JOIN batch b"
                " ON b.pk = a.batch WHERE b.batch_id = ? AND a.slurm_job_id = ?",
                (batch_id, array.job_id),
            )
            for task, index in jobs:
                if array.held or array.tasks[task].state != "PENDING" or only not in (None, index):
                    continue
                state, code = ("FAILED", 3) if index in failed else ("COMPLETED", 0)
                world.slurm.finish(array.job_id, task, state=state, code=code)
                world.ran(array.request.script, task)
    world.tick()


def submitted(world: World, batch_id: str) -> list[SubmitRequest]:
    return [each for each in world.slurm.submissions if batch_id in each.comment]


def ticks(world: World, n: int = 5) -> None:
    for _ in range(n):
        world.tick()


class TestAfterOk:
    def test_it_waits_in_our_own_hands_and_says_for_what(self, world: World) -> None:
        parent = world.post(3)
        batch_id = child(world, OK, parent)
        assert world.counts(batch_id) == {Status.PENDING: 3}
        ticks(world)
        assert world.counts(batch_id) == {Status.PENDING: 3}
        assert not submitted(world, batch_id)
        reason = world.job(batch_id).reason
        assert reason == (
            f"DEPENDENCY: waits for batch {parent} to succeed (0 of its 3 jobs have ended)"
        )

    def test_what_it_says_moves_on_with_the_parent_and_so_does_the_version(
        self, world: World
    ) -> None:
        parent = world.post(3)
        batch_id = child(world, OK, parent)
        ticks(world)
        before = world.batch(batch_id).version
        finish(world, parent, only=1)
        ticks(world, 1)
        assert "(1 of its 3 jobs have ended)" in world.job(batch_id).reason
        assert world.batch(batch_id).version > before

    def test_it_runs_when_all_of_the_parent_has_succeeded(self, world: World) -> None:
        parent = world.post(3)
        batch_id = child(world, OK, parent)
        finish(world, parent)
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 3}
        assert set(world.runs.values()) == {1}

    def test_it_never_goes_back_to_submitted(self, world: World) -> None:
        """Between the end of its parent and Slurm's first look at it."""
        parent = world.post(1)
        batch_id = child(world, OK, parent, n_jobs=1)
        finish(world, parent)
        world.submitter.tick(world.slurm.now)
        assert world.batch(batch_id).n_submitted == 1
        assert world.counts(batch_id) == {Status.PENDING: 1}
        assert world.job(batch_id).reason.startswith("ACCEPTED: handed to Slurm")

    def test_after_a_failed_parent_it_fails_at_once_and_names_it(self, world: World) -> None:
        parent = world.post(3)
        batch_id = child(world, OK, parent)
        finish(world, parent, failed=(1,))
        ticks(world, 1)
        assert world.counts(batch_id) == {Status.FAILED: 3}
        assert world.job(batch_id, 2).reason == (
            f"DEPENDENCY: batch {parent}, on which it depends, has failed: 1 of its 3 jobs failed"
        )
        assert world.batch(batch_id).finished_at and not submitted(world, batch_id)

    def test_a_failure_goes_down_all_of_a_chain_in_one_tick(self, world: World) -> None:
        chain = [world.post(1)]
        for _ in range(5):
            chain.append(child(world, OK, chain[-1], n_jobs=2))
        finish(world, chain[0], failed=(0,))
        ticks(world, 1)
        for parent, batch_id in pairwise(chain):
            assert world.counts(batch_id) == {Status.FAILED: 2}
            assert parent in world.job(batch_id).reason

    @pytest.mark.parametrize("failed", [(), (0,)])
    def test_a_parent_that_has_ended_before(self, world: World, failed: tuple[int, ...]) -> None:
        parent = world.post(1)
        finish(world, parent, failed=failed)
        batch_id = child(world, OK, parent)
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.FAILED if failed else Status.SUCCEEDED: 3}

    def test_all_of_several(self, world: World) -> None:
        first, second, third = world.post(1), world.post(1), world.post(1)
        batch_id = child(world, OK, first, second, third)
        finish(world, second)
        ticks(world)
        assert first in (reason := world.job(batch_id).reason) and reason.endswith("for 1 other")
        finish(world, first)
        ticks(world)
        assert world.counts(batch_id) == {Status.PENDING: 3} and not submitted(world, batch_id)
        finish(world, third)
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 3}

    def test_while_slurmctld_is_away_a_failure_is_told_all_the_same(self, world: World) -> None:
        parent = world.post(1)
        batch_id = child(world, OK, parent)
        ticks(world)
        world.slurm.slurmctld_down = True
        ticks(world)
        world.batches.delete(ALICE, parent)
        ticks(world, 1)
        assert world.counts(batch_id) == {Status.FAILED: 3}

    def test_it_is_no_turn_for_others_to_wait_for(self, world: World) -> None:
        batch_id = child(world, OK, world.post(1))
        ticks(world)
        later = world.post(1)
        ticks(world)
        assert submitted(world, later) and not submitted(world, batch_id)


class TestTheEndOfOthers:
    def test_after_any_end_also_a_bad_one(self, world: World) -> None:
        parent = world.post(3)
        batch_id = child(world, ANY, parent)
        ticks(world)
        assert "to end (0 of its 3" in world.job(batch_id).reason
        finish(world, parent, failed=(0, 1, 2))
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 3}

    def test_a_cancelled_parent(self, world: World) -> None:
        parent = world.post(3)
        ok, whatever = child(world, OK, parent), child(world, ANY, parent)
        ticks(world)
        world.batches.cancel(ALICE, parent)
        world.until_ended(ok, whatever)
        assert "was cancelled" in world.job(ok).reason
        assert world.counts(whatever) == {Status.SUCCEEDED: 3}

    @pytest.mark.parametrize("after_success", [False, True])
    def test_a_deleted_parent(self, world: World, after_success: bool) -> None:
        parent = world.post(2)
        others = world.post(1)
        batch_id = child(world, OK, parent, others)
        if after_success:
            finish(world, parent)
        world.batches.delete(ALICE, parent)
        ticks(world, 15)
        assert world.store._db.sql("SELECT 1 FROM batch WHERE batch_id = ?", (parent,)) == []
        if after_success:
            finish(world, others)
            world.until_ended(batch_id)
            assert world.counts(batch_id) == {Status.SUCCEEDED: 3}
        else:
            assert world.counts(batch_id) == {Status.FAILED: 3}
            assert "was deleted before it had succeeded" in world.job(batch_id).reason

    def test_after_any_waits_until_nothing_of_a_deleted_one_runs(self, world: World) -> None:
        parent = world.post(1)
        batch_id = child(world, ANY, parent)
        ticks(world)
        world.slurm.start(world.slurm.arrays[0].job_id)
        ticks(world)
        world.slurm.slurmctld_down = True
        world.batches.delete(ALICE, parent)
        ticks(world)
        assert world.counts(batch_id) == {Status.PENDING: 3}
        world.slurm.slurmctld_down = False
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 3}

    @pytest.mark.parametrize("end", ["cancel", "delete"])
    def test_one_that_waits_is_ended_itself(self, world: World, end: str) -> None:
        parent = world.post(1)
        batch_id = child(world, OK, parent)
        grandchild = child(world, OK, batch_id)
        ticks(world)
        getattr(world.batches, end)(ALICE, batch_id)
        ticks(world, 3)
        assert world.counts(grandchild) == {Status.FAILED: 3}
        if end == "cancel":
            assert world.counts(batch_id) == {Status.FAILED: 3}
            assert world.job(batch_id).reason.startswith("CANCELLED: ")
        else:
            left = world.store._db.sql("SELECT (SELECT count(*) FROM gate), (SELECT count(*) FROM"
                                       " dependency), (SELECT count(*) FROM batch)")  # fmt: skip
            assert left == [(1, 1, 2)]
        finish(world, parent)
        ticks(world)
        assert not submitted(world, batch_id)


class TestJobByJob:
    def test_each_job_waits_for_its_counterpart_alone(self, world: World) -> None:
        parent = world.post(3)
        batch_id = child(world, CORR, parent)
        ticks(world)
        assert "to succeed, job by job" in world.job(batch_id).reason
        finish(world, parent, only=1)
        ticks(world)
        assert [request.n_tasks for request in submitted(world, batch_id)] == [1]
        world.work()  # what has been let go, and all of the parent
        ticks(world)
        assert world.job(batch_id, 1).status is Status.SUCCEEDED
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 3}
        assert set(world.runs.values()) == {1}

    def test_the_counterpart_of_a_failed_job_fails_and_no_other(self, world: World) -> None:
        parent = world.post(3)
        batch_id = child(world, CORR, parent)
        finish(world, parent, failed=(0,))
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 2, Status.FAILED: 1}
        assert world.job(batch_id, 0).reason == (
            f"DEPENDENCY: job {parent}-0, on which it depends, has not succeeded"
        )
        assert sorted(index for (of, index) in world.runs if of == batch_id) == [1, 2]

    def test_it_waits_for_what_else_the_batch_depends_on(self, world: World) -> None:
        one, other = world.post(3), world.post(1)
        batch_id = world.post(3, depends_on=(*after(CORR, one), Dependency(other, OK, "/d/1")))
        finish(world, one, failed=(2,))
        ticks(world)
        assert not submitted(world, batch_id)
        assert world.counts(batch_id) == {Status.PENDING: 2, Status.FAILED: 1}
        finish(world, other)
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 2, Status.FAILED: 1}

    def test_of_two_both_counterparts_count(self, world: World) -> None:
        one, other = world.post(3), world.post(3)
        batch_id = child(world, CORR, one, other)
        finish(world, one, failed=(0,))
        finish(world, other, only=1)
        ticks(world, 12)
        assert world.counts(batch_id)[Status.FAILED] == 1
        assert sum(request.n_tasks for request in submitted(world, batch_id)) == 1
        finish(world, other, failed=(2,))
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 1, Status.FAILED: 2}

    def test_many_go_in_few_arrays(self, tmp_path: Path) -> None:
        """One by one they become ready; an array for each would be a burden for Slurm."""
        world = World(tmp_path)
        parent = world.post(200)
        batch_id = child(world, CORR, parent, n_jobs=200)
        ticks(world, 2)
        for number in range(1, 201):
            world.slurm.finish(1, number)
            world.ran(world.slurm.array(1).request.script, number)
            world.tick()
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 200}
        sizes = [request.n_tasks for request in submitted(world, batch_id)]
        assert sum(sizes) == 200 and len(sizes) <= 21
        assert {runs for (of, _), runs in world.runs.items() if of == batch_id} == {1}
        world.store.close()

    def test_a_deleted_parent(self, world: World) -> None:
        parent = world.post(3)
        batch_id = child(world, CORR, parent)
        finish(world, parent, only=1)
        ticks(world, 2)
        world.batches.delete(ALICE, parent)
        ticks(world, 20)
        assert world.counts(batch_id)[Status.FAILED] == 2
        world.until_ended(batch_id)
        assert world.job(batch_id, 1).status is Status.SUCCEEDED


class TestRunAgain:
    def retry(self, world: World, batch_id: str) -> None:
        world.batches.retry(ALICE, batch_id, Retry())

    def test_a_child_waits_again_for_its_parent_that_is_run_again(self, world: World) -> None:
        parent = world.post(2)
        batch_id = child(world, OK, parent)
        finish(world, parent, failed=(0,))
        world.until_ended(batch_id)
        self.retry(world, parent)
        self.retry(world, batch_id)
        assert world.counts(batch_id) == {Status.PENDING: 3}
        ticks(world, 1)
        assert "(1 of its 2 jobs have ended)" in world.job(batch_id).reason
        assert not submitted(world, batch_id)
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 3}
        assert world.job(batch_id).attempt == 1  # what Slurm never had was no run

    def test_a_child_alone_fails_again(self, world: World) -> None:
        parent = world.post(1)
        batch_id = child(world, OK, parent)
        finish(world, parent, failed=(0,))
        world.until_ended(batch_id)
        self.retry(world, batch_id)
        ticks(world, 1)
        assert world.counts(batch_id) == {Status.FAILED: 3}
        assert parent in world.job(batch_id).reason

    def test_one_that_has_run_needs_its_parent_no_more(self, world: World) -> None:
        parent = world.post(1)
        batch_id = child(world, OK, parent)
        finish(world, parent)
        finish(world, batch_id, failed=(2,))
        world.until_ended(batch_id)
        world.batches.delete(ALICE, parent)
        ticks(world, 20)
        self.retry(world, batch_id)
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 3}
        assert world.job(batch_id, 2).attempt == 2

    def test_what_the_parent_does_afterwards_calls_nothing_back(self, world: World) -> None:
        parent = world.post(1)
        batch_id = child(world, ANY, parent)
        finish(world, parent, failed=(0,))
        ticks(world, 1)
        self.retry(world, parent)
        assert submitted(world, batch_id)
        world.until_ended(batch_id, parent)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 3}


class TestALargeOne:
    """Its jobs are written in several transactions, and nobody sees it before they are there."""

    def test_it_waits_and_runs_as_others_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("slurmbatch.store.batches._JOBS_A_TRANSACTION", 2)
        world = World(tmp_path)
        parent = world.post(1)
        # The submitter looks in between, and settles what it cannot see.
        monkeypatch.setattr(
            "slurmbatch.store.batches.time.sleep", lambda _: world.submitter.tick(world.slurm.now)
        )
        batch_id = child(world, OK, parent, n_jobs=5)
        ticks(world)
        assert world.counts(batch_id) == {Status.PENDING: 5}
        finish(world, parent)
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 5}
        world.store.close()


class TestWhatMayBeAskedFor:
    def faults(self, world: World, *dependencies: Dependency, n_jobs: int = 3) -> list[Fault]:
        with pytest.raises(Invalid) as caught:
            world.post(n_jobs, depends_on=dependencies)
        return caught.value.faults

    def test_a_stranger_s_is_as_one_that_never_was(self, world: World) -> None:
        hers = world.post(1, caller=BOB)
        gone = world.post(1)
        world.batches.delete(ALICE, gone)
        faults = self.faults(world, *after(OK, hers, "01unknown", gone))
        assert [each.pointer for each in faults] == [f"/depends_on/{at}" for at in range(3)]
        assert len({each.detail for each in faults}) == 1
        assert len(world.store.batches.list("alice")) == 0

    def test_no_batch_twice(self, world: World) -> None:
        parent = world.post(1)
        faults = self.faults(world, *after(OK, parent, parent))
        assert [each.pointer for each in faults] == ["/depends_on/1"]

    def test_job_by_job_takes_as_many_jobs(self, world: World) -> None:
        faults = self.faults(world, *after(CORR, world.post(2)))
        assert "2 there, 3 here" in faults[0].detail

    def test_all_mistakes_at_once(self, world: World) -> None:
        new = NewBatch("nothing", depends_on=after(OK, "01unknown"))
        pointers = {each.pointer for each in world.batches.check(ALICE, new)}
        assert pointers == {"/tool_id", "/depends_on/0"}

    def test_a_parent_that_is_deleted_at_the_last_moment(self, tmp_path: Path) -> None:
        """Between the check and the transaction: no batch, and the same fault."""
        world = World(tmp_path)
        parent, met = world.post(1), world.fate.met
        world.fate.deeds[met] = lambda: world.store.batches.delete("alice", parent, 1.0)
        faults = self.faults(world, *after(OK, parent))
        assert [each.pointer for each in faults] == ["/depends_on/0"]
        assert not world.fate.deeds and world.store.batches.list("alice") == []
        world.store.close()


def test_nothing_is_asked_while_nothing_happens(world: World) -> None:
    parent = world.post(1)
    child(world, OK, parent)
    ticks(world, 3)
    assert world.store.gates.due(after=0) is None
    version = world.store._db.sql("PRAGMA data_version")
    commits = world.store._db._commits
    ticks(world, 5)
    assert world.store._db._commits == commits
    assert world.store._db.sql("PRAGMA data_version") == version


def test_many_that_wait_for_the_same_hold_nobody_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that takes too long goes on in the next tick where it stopped, with the hand-over in
    between."""
    parent = world.post(1)
    waiting = [child(world, OK, parent, n_jobs=1) for _ in range(5)]
    ticks(world, 2)
    monkeypatch.setattr("slurmbatch.submitter.gates.BUDGET", -1.0)
    world.batches.delete(ALICE, parent)
    ended = []
    for _ in range(6):
        ticks(world, 1)
        ended.append(sum(bool(world.batch(each).finished_at) for each in waiting))
    assert sorted(ended) == ended and max(b - a for a, b in pairwise([0, *ended])) == 1
    assert ended[-1] == 5


def chain(world: World) -> None:
    first = world.post(2, key="first")
    second = world.post(2, key="second", depends_on=after(CORR, first))
    third = world.post(1, key="third", depends_on=after(OK, second))
    world.post(1, key="fourth", depends_on=after(ANY, third))
    for _ in range(10):
        world.tick()
        world.work()


def broken(world: World) -> None:
    """The parent of all is cancelled early on."""
    first = world.post(2, key="first")
    second = world.post(2, key="second", depends_on=after(OK, first))
    world.post(2, key="third", depends_on=after(CORR, second))
    world.post(2, key="fourth", depends_on=after(ANY, second))
    world.batches.cancel(ALICE, first)
    for _ in range(8):
        world.tick()
        world.work()


@pytest.mark.parametrize("scenario", [chain, broken])
def test_killed_at_every_step_each_runs_once_and_none_before_its_parent(
    tmp_path: Path, scenario: Callable[[World], None]
) -> None:
    """Before and after everything that is written of gates; arrays have a test of their own."""
    at, died = 0, True
    while died:
        directory = tmp_path / str(at)
        directory.mkdir()
        world = World(directory, array_size=1, fate=Fate(at), mortal=("gates",), only=WRITES)
        try:
            scenario(world)
            died = False
        except Killed:
            pass
        world.fate.at = None
        world.restart()
        batches = world.store.batches.list("alice")
        world.until_ended(*(each.batch_id for each in batches))
        assert set(world.runs.values()) <= {1}, (at, world.runs)
        order = list(dict.fromkeys(batch_id for batch_id, _ in world.runs))
        assert order == sorted(order), at
        for batch in world.store.batches.list("alice"):
            arrays = world.store.arrays.of_batch(batch.batch_id)
            assert {each.state for each in arrays} == {ArrayState.DONE}, at
            ran = sum(world.runs[batch.batch_id, index] for index in range(2))
            assert batch.counts[Status.SUCCEEDED] == ran, (at, batch)
            if scenario is chain or ANY in [each.type for each in batch.depends_on]:
                assert ran == batch.n_jobs, (at, batch)
        world.store.close()
        at += 1
    assert at > 20


def test_a_stranger_sees_nothing(world: World) -> None:
    batch_id = child(world, OK, world.post(1))
    with pytest.raises(NotFound):
        world.batches.get(BOB, batch_id)
