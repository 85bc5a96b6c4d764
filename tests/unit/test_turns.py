"""Batches of very many arrays: handed over in pieces as room appears, and no tick is heavy."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from slurmbatch.errors import SlurmBusy
from slurmbatch.model import ArrayState, Status
from slurmbatch.slurm.port import SubmitRequest
from slurmbatch.states import ENDS
from slurmbatch.submitter.room import Room
from slurmbatch.submitter.turns import ARRAYS_A_TURN, ENDED_A_TICK

from .world import ALICE, BOB, World

ARRAY_SIZE = 2


class Limit:
    """So many jobs of ours that have not ended Slurm takes, like MaxSubmitJobs."""

    def __init__(self, world: World, most: int) -> None:
        self.world, self.most = world, most
        self.sizes: list[int] = []
        self.refused = 0
        world.slurm._check = self.check  # type: ignore[method-assign]

    @property
    def there(self) -> int:
        tasks = (task for each in self.world.slurm.arrays for task in each.tasks.values())
        return sum(task.state not in ENDS for task in tasks)

    def check(self, request: SubmitRequest) -> None:
        if self.there + request.n_tasks > self.most:
            self.refused += 1
            raise SlurmBusy("AssocMaxSubmitJobLimit")
        self.sizes.append(request.n_tasks)

    def end_some(self, count: int) -> None:
        for array in self.world.slurm.arrays:
            for number, task in array.tasks.items():
                if count and not array.held and task.state == "PENDING":
                    self.world.slurm.finish(array.job_id, number)
                    self.world.ran(array.request.script, number)
                    count -= 1


@pytest.mark.parametrize(
    ("there", "n_tasks", "tries", "piece"),
    [
        (0, 1000, 1, 1000),  # the first time it only waits
        (0, 1000, 2, 500),
        (0, 20, 3, 16),
        (0, 10, 3, 10),
        (0, 10, 5, 5),
        (0, 1, 9, 1),
        (5000, 1000, 9, 1000),  # a quarter of what is there is more than all of it
        (1500, 1000, 9, 500),
        (1500, 300, 9, 300),
        (400, 1000, 9, 500),
        (400, 150, 9, 100),
    ],
)
def test_what_a_limit_keeps_out_is_cut_no_smaller_than_makes_sense(
    world: World, there: int, n_tasks: int, tries: int, piece: int
) -> None:
    world.post(1)
    array = world.store.arrays.in_state(ArrayState.INTENT)[0]
    room = Room(lambda: there)
    assert room.piece(replace(array, n_tasks=n_tasks, tries=tries)) == piece


def test_what_has_fitted_is_doubled_the_next_time(world: World) -> None:
    world.post(1)
    array = world.store.arrays.in_state(ArrayState.INTENT)[0]
    room, there = Room(lambda: there), 0
    room.accepted(replace(array, n_tasks=30, tries=3))
    large = replace(array, n_tasks=1000, tries=1)
    assert room.piece(large) == 60
    room.accepted(replace(array, n_tasks=60, tries=2))
    assert room.piece(large) == 120
    there = 100
    assert not room.has_come(replace(array, n_tasks=120))
    assert room.piece(replace(array, n_tasks=120, tries=1)) == 120
    there = 0
    assert not room.has_come(replace(array, n_tasks=120))  # 120 do not fit into 100
    assert room.has_come(replace(array, n_tasks=100))


def statements(world: World) -> list[str]:
    """What the store is asked from now on, in this thread."""
    asked: list[str] = []
    database = world.store._db
    for connection in (database.reader.connection(), database.writer.connection()):
        connection.set_trace_callback(asked.append)
    return asked


def test_a_queue_that_waits_costs_a_tick_the_same_whatever_its_length(tmp_path: Path) -> None:
    def a_tick(name: str, n_jobs: int) -> Counter[str]:
        (tmp_path / name).mkdir()
        world = World(tmp_path / name, array_size=2)
        limit = Limit(world, 6)
        world.post(n_jobs)
        for _ in range(20):
            world.tick()
        refused, asked = limit.refused, statements(world)
        world.submitter.tick(world.slurm.now + 0.1)
        assert limit.refused == refused
        world.store.close()
        return Counter(each.split(" WHERE ")[0] for each in asked)

    assert a_tick("short", 30) == a_tick("long", 1000)


def test_the_waiting_parts_say_why_and_the_batch_changes_once(world: World) -> None:
    Limit(world, 6)
    batch_id, later = world.post(40), world.post(2)
    for _ in range(4):
        world.tick()
    reasons = [world.job(batch_id, index).reason for index in (6, 7, 8, 39)]
    assert [each.partition(":")[0] for each in reasons] == ["LIMIT", "LIMIT", "WAITING", "WAITING"]
    assert "earlier part of its batch" in reasons[3]
    assert "earlier batch" in world.job(later).reason
    versions = set()
    for _ in range(5):
        world.tick()
        versions.add(world.batch(later).version)
    assert len(versions) == 1


def test_each_user_has_a_turn_in_every_tick(world: World) -> None:
    many = world.post(200)
    other = world.post(4, caller=BOB)
    world.tick()
    assert world.batch(other, BOB).n_submitted == 4
    assert world.batch(many).n_submitted == 2 * ARRAYS_A_TURN
    world.doorbell.wait(0)  # it was rung: the rest follows at once
    world.tick()
    assert world.batch(many).n_submitted == 4 * ARRAYS_A_TURN


def test_that_more_is_to_be_done_is_said(world: World) -> None:
    world.post(200)
    world.doorbell._bell.clear()
    world.submitter.tick(world.slurm.now)
    assert world.doorbell._bell.is_set()
    Limit(world, 0)
    world.submitter.tick(world.slurm.now)
    world.doorbell._bell.clear()
    world.submitter.tick(world.slurm.now)
    assert not world.doorbell._bell.is_set()


@pytest.mark.parametrize(("array_size", "longest_idle"), [(50, 20), (400, 150)])
def test_pieces_follow_as_room_appears(tmp_path: Path, array_size: int, longest_idle: int) -> None:
    """Without a wait for the back-off, few tries in vain, and never in single jobs."""
    most, n_jobs = 100, 500
    world = World(tmp_path, array_size=array_size)
    limit, idle = Limit(world, most), 0
    batch_id = world.post(n_jobs)
    for _ in range(2000):
        world.tick()
        limit.end_some(4)
        idle += limit.there == 0
        if world.batch(batch_id).finished_at:
            break
    assert world.counts(batch_id) == {Status.SUCCEEDED: n_jobs}
    assert world.runs == {(batch_id, index): 1 for index in range(n_jobs)}
    assert sum(limit.sizes) == n_jobs
    assert len(limit.sizes) < 3 * n_jobs / (most / 4)
    assert limit.refused < 2 * len(limit.sizes) + 10
    # It is empty until a piece is small enough.
    assert idle < longest_idle
    world.store.close()


def test_a_long_queue_that_is_cancelled_ends_bit_by_bit_and_keeps_nobody_waiting(
    world: World,
) -> None:
    limit = Limit(world, 6)
    batch_id = world.post(400)
    for _ in range(4):
        world.tick()
    tries = world.slurm.calls["submit"]
    world.batches.cancel(ALICE, batch_id)
    limit.most = 1000
    other = world.post(2)
    world.tick()
    assert world.batch(other).n_submitted == 2
    for _ in range(200 // ENDED_A_TICK + 15):
        world.tick()
        world.work()
    assert world.batch(batch_id).finished_at
    assert world.counts(batch_id)[Status.FAILED] >= 394
    assert world.slurm.calls["submit"] == tries + 1


def test_what_waits_when_it_is_deleted_goes_too(world: World) -> None:
    Limit(world, 0)
    batch_id = world.post(100)
    world.tick()
    world.batches.delete(ALICE, batch_id)
    for _ in range(30):
        world.tick()
    assert world.store.arrays.in_state(*ArrayState) == []


def test_a_daemon_that_is_started_again_goes_on_with_the_queue(world: World) -> None:
    limit = Limit(world, 6)
    batch_id = world.post(40)
    for _ in range(4):
        world.tick()
    world.restart()
    limit.most = 1000
    world.until_ended(batch_id)
    assert world.runs == {(batch_id, index): 1 for index in range(40)}
