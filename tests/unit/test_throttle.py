"""One throttle for a whole batch, however many arrays it is split into."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.batches.throttle import shared
from slurmbatch.errors import SlurmBusy, SlurmUnreachable
from slurmbatch.model import Dependency, Gate, Retry, Status
from slurmbatch.store import NewArray
from tests.fakes.slurm import FakeArray

from .world import ALICE, Fate, Killed, World

ARRAY_SIZE = 4


def running(world: World, batch_id: str) -> int:
    return sum(
        task.state == "RUNNING"
        for array in world.slurm.arrays if batch_id in array.request.comment
        for task in array.tasks.values()
    )  # fmt: skip


class Busy:
    """A Slurm with room for all: it starts whatever it may, and tasks end by and by."""

    def __init__(self, world: World, batch_id: str, most: int, seed: int = 1) -> None:
        self.world, self.batch_id, self.most = world, batch_id, most
        self.random = random.Random(seed)
        self.peak = 0
        self.fails = 0.0

    def work(self) -> None:
        slurm = self.world.slurm
        for array in list(slurm.arrays):
            if numbers := array.may_start:
                slurm.start(array.job_id, *numbers)
        now = running(self.world, self.batch_id)
        assert now <= self.most
        self.peak = max(self.peak, now)
        for array in list(slurm.arrays):
            for task in array.tasks.values():
                if task.state == "RUNNING" and self.random.random() < 0.5:
                    bad = self.random.random() < self.fails
                    end: dict[str, Any] = {"state": "FAILED", "code": 1} if bad else {}
                    slurm.finish(array.job_id, task.number, **end)
                    self.world.claimed(array.request.tag, task.number)
                    if not bad:
                        self.world.ran(array.request.script, task.number)

    def until_ended(self, rounds: int = 400) -> None:
        for _ in range(rounds):
            if self.world.batch(self.batch_id).finished_at:
                return
            self.world.tick()
            self.work()
        raise AssertionError(self.world.batch(self.batch_id))


@pytest.mark.parametrize("most", [1, 3, 4, 5, 11, 40])
def test_never_more_than_so_many_and_all_run_to_the_end(world: World, most: int) -> None:
    batch_id = world.post(22, max_parallel=most)
    busy = Busy(world, batch_id, most)
    busy.until_ended()
    assert world.counts(batch_id) == {Status.SUCCEEDED: 22}
    assert set(world.runs.values()) == {1} and len(world.runs) == 22
    assert busy.peak == min(most, 22)


def test_what_becomes_free_in_one_array_goes_to_the_others(world: World) -> None:
    """The last job of one array takes its time: it keeps one place, not all of them."""
    batch_id = world.post(12, max_parallel=4)
    for _ in range(3):
        world.tick()
    first = world.slurm.arrays[0]
    assert len(world.slurm.arrays) == 1
    world.slurm.start(first.job_id, 1, 2, 3, 4)
    world.slurm.finish(first.job_id, 1, 2, 3)
    for _ in range(3):
        world.tick()
    (second,) = world.slurm.arrays[1:]
    assert (second.request.array, len(second.may_start)) == ("1-4%3", 3)
    world.slurm.start(second.job_id, *second.may_start)
    world.slurm.finish(second.job_id, 1)
    for _ in range(3):
        world.tick()
    # Three of it are left, for which there is room beside the first one's last.
    assert len(second.may_start) == 1 and running(world, batch_id) == 3
    assert len(world.slurm.arrays) == 2
    world.slurm.finish(first.job_id, 4)
    for _ in range(3):
        world.tick()
    assert [array.request.array for array in world.slurm.arrays[2:]] == ["1-4%1"]


def test_what_waits_for_it_says_so(world: World) -> None:
    batch_id = world.post(8, max_parallel=2)
    for _ in range(3):
        world.tick()
    job = world.job(batch_id, 7)
    assert (job.status, job.slurm_job_id) == (Status.PENDING, "")
    assert job.reason.startswith("TIME: waits for other jobs of its batch")
    assert world.counts(batch_id) == {Status.SUBMITTED: 4, Status.PENDING: 4}
    assert world.batch(batch_id).n_submitted == 4
    assert world.batch(batch_id).max_parallel == 2


def test_slurm_is_told_of_more_until_it_has_heard(world: World) -> None:
    world.post(8, max_parallel=5)
    for _ in range(3):
        world.tick()
    assert [array.most for array in world.slurm.arrays] == [4, 1]
    world.slurm.fail_next("throttle", SlurmUnreachable("x"))
    world.slurm.finish(1, 1, 2)
    world.tick()
    world.tick()
    assert [array.most for array in world.slurm.arrays] == [4, 1]
    for _ in range(12):
        world.tick()
    assert [array.most for array in world.slurm.arrays] == [4, 3]
    told = world.slurm.calls["throttle"]
    for _ in range(30):
        world.tick()
    assert world.slurm.calls["throttle"] == told


def test_slurm_is_told_of_a_share_that_is_all_of_an_array(world: World) -> None:
    """All of the first array ends between two looks: the second needs no throttle any more."""
    world.post(8, max_parallel=5)
    for _ in range(3):
        world.tick()
    assert [array.most for array in world.slurm.arrays] == [4, 1]
    world.slurm.save()
    world.slurm.finish(1, 1, 2, 3, 4)
    for _ in range(3):
        world.tick()
    assert world.slurm.arrays[1].most == 4
    world.slurm.crash(accounting_too=False)
    assert world.slurm.arrays[1].most == 1
    for _ in range(90):
        world.tick()
    assert world.slurm.arrays[1].most == 4


def test_a_slurmctld_that_was_killed_is_told_again(world: World) -> None:
    """It has forgotten the last seconds: with less than its share an array would crawl."""
    world.post(8, max_parallel=5)
    for _ in range(3):
        world.tick()
    world.slurm.save()
    world.slurm.finish(1, 1, 2)
    for _ in range(2):
        world.tick()
    assert [array.most for array in world.slurm.arrays] == [4, 3]
    world.slurm.crash(accounting_too=False)
    assert [array.most for array in world.slurm.arrays] == [4, 1]
    for _ in range(90):
        world.tick()
    assert [array.most for array in world.slurm.arrays] == [4, 3]


def test_a_submission_of_unknown_fate_never_has_more_than_its_share(world: World) -> None:
    """Submitted with a narrow share; while that is in doubt the share grows; then it is found."""
    batch_id = world.post(8, max_parallel=5)
    world.slurm.fail_next("submit", SlurmBusy("no"))
    busy = Busy(world, batch_id, 5)
    busy.until_ended()
    assert world.counts(batch_id) == {Status.SUCCEEDED: 8}


def test_an_array_that_is_cut_gives_of_its_share(world: World) -> None:
    """There is no room in Slurm for all of it at once."""
    world.slurm.max_job_count = 3
    batch_id = world.post(8, max_parallel=4)
    busy = Busy(world, batch_id, 4)
    for _ in range(400):
        world.tick()
        busy.work()
        slurm = world.slurm
        slurm.arrays[:] = [array for array in slurm.arrays if not is_old(array, slurm.now)]
        if world.batch(batch_id).finished_at:
            break
    assert world.counts(batch_id) == {Status.SUCCEEDED: 8}
    assert set(world.runs.values()) == {1}


def is_old(array: FakeArray, now: float) -> bool:
    """slurmctld forgets what has ended, so that there is room again."""
    ends = [task.end for task in array.tasks.values()]
    return all(ends) and now - max(end or 0 for end in ends) > 8


def test_jobs_that_are_run_again_are_throttled_with_the_others(world: World) -> None:
    batch_id = world.post(12, max_parallel=3)
    busy = Busy(world, batch_id, 3)
    busy.fails = 0.5
    busy.until_ended()
    assert world.counts(batch_id)[Status.FAILED] > 3
    busy.fails, busy.peak = 0.0, 0
    world.batches.retry(ALICE, batch_id, Retry())
    assert Status.PENDING in world.counts(batch_id)
    busy.until_ended()
    assert world.counts(batch_id) == {Status.SUCCEEDED: 12}
    assert busy.peak == 3


def test_with_a_dependency_and_a_canary(world: World) -> None:
    parent = world.post(1)
    batch_id = world.post(14, max_parallel=3, canary=2, depends_on=(Dependency(parent),))
    for _ in range(3):
        world.tick()
    assert world.counts(batch_id) == {Status.PENDING: 14}
    world.work()
    busy = Busy(world, batch_id, 3)
    busy.until_ended()
    assert world.counts(batch_id) == {Status.SUCCEEDED: 14}
    assert busy.peak == 3
    sizes = [array.request.n_tasks for array in world.slurm.arrays[1:]]
    assert sizes[0] == 2 and sum(sizes) == 14


def test_lost_jobs_that_are_submitted_again_are_throttled_too(tmp_path: Path) -> None:
    world = World(tmp_path, claims=True, array_size=4)
    batch_id = world.post(8, max_parallel=4)
    for _ in range(3):
        world.tick()
    world.slurm.arrays.clear()
    world.slurm.crash()
    for _ in range(90):
        world.tick()
    busy = Busy(world, batch_id, 4)
    busy.until_ended()
    assert world.counts(batch_id) == {Status.SUCCEEDED: 8}
    assert set(world.runs.values()) == {1}
    world.store.close()


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_what_waits_for_it_is_ended_with_the_rest(world: World, end: str) -> None:
    batch_id = world.post(12, max_parallel=2)
    for _ in range(3):
        world.tick()
    getattr(world.batches, end)(ALICE, batch_id)
    for _ in range(20):
        world.tick()
    assert len(world.slurm.arrays) == 1
    if end == "cancel":
        assert world.counts(batch_id) == {Status.FAILED: 12}
    else:
        assert world.store._db.sql("SELECT count(*) FROM batch") == [(0,)]


def test_nothing_is_written_while_nothing_happens(world: World) -> None:
    world.post(12, max_parallel=2)
    for _ in range(5):
        world.tick()
    commits, throttled = world.store._db._commits, world.slurm.calls["throttle"]
    for _ in range(5):
        world.tick()
    assert world.store._db._commits == commits
    assert world.slurm.calls["throttle"] == throttled


def test_killed_at_every_step_never_more_than_so_many(tmp_path: Path) -> None:
    at, died = 0, True
    while died:
        directory = tmp_path / str(at)
        directory.mkdir()
        world = World(
            directory, array_size=2, fate=Fate(at), mortal=("gates", "throttles", "slurm"),
            only=("open", "keep", "settle", "widen", "told", "submit", "throttle"),
        )  # fmt: skip
        batch_id = world.post(5, max_parallel=3)
        busy = Busy(world, batch_id, 3, seed=at)
        try:
            busy.until_ended()
            died = False
        except Killed:
            world.fate.at = None
            world.restart()
            busy.until_ended()
        assert world.counts(batch_id) == {Status.SUCCEEDED: 5}, at
        assert set(world.runs.values()) == {1}, at
        world.store.close()
        at += 1
    assert at > 20


def test_shares() -> None:
    arrays = [NewArray("a", 4), NewArray("b", 4), NewArray("c", 4)]
    assert list(shared(arrays, None)) == arrays
    assert [(each.throttle, each.gates) for each in shared(arrays, 6)] == [
        (4, ()), (2, ()), (None, (Gate.THROTTLE,)),
    ]  # fmt: skip
    blocked = replace(arrays[0], gates=(Gate.PARENTS,))
    assert next(shared([blocked], 6)).gates == (Gate.PARENTS, Gate.THROTTLE)
