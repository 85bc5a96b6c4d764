"""How often Slurm is looked at."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from slurmbatch.errors import SlurmUnreachable
from slurmbatch.model import Status
from slurmbatch.poller.pace import LIVELY, Pace
from tests.unit.world import ALICE, World

SOON, CALM = (True, 0.0, False), (False, 0.0, False)
FAILED = (False, 0.0, True)


@pytest.mark.parametrize(
    ("looks", "waits"),
    [
        ([SOON] * 5, [1] * 5),
        ([CALM] * 5, [1, 1, 1.5, 2.25, 3.375]),
        ([CALM] * 30 + [SOON, CALM, CALM, CALM], [15, 1, 1, 1, 1.5]),
        ([SOON] + [CALM] * LIVELY, [1] * LIVELY + [1.5]),
        ([(True, 0.3, False)] * 2, [3, 3]),
        ([(True, 0.3, False), SOON], [3, 1]),
        ([(True, 60.0, False)], [15]),
        ([(False, 1.2, False)] * 6, [12, 12, 15, 15, 15, 15]),
        ([FAILED] * 6, [2, 4, 8, 15, 15, 15]),
        ([FAILED] * 6 + [CALM], [15, 15, 1]),
        ([(True, 0.5, True)] * 2, [5, 10]),
    ],
)
def test_the_wait_after_each_look(
    looks: Sequence[tuple[bool, float, bool]], waits: Sequence[float]
) -> None:
    pace = Pace(1.0, 15.0)
    found = [pace.after(soon=soon, took=took, failed=failed) for soon, took, failed in looks]
    assert found[-len(waits) :] == waits


@pytest.mark.parametrize(
    ("looks", "floor"),
    [([], 1), ([CALM] * 30, 1), ([(False, 0.3, False)], 3), ([CALM] * 30 + [FAILED], 15)],
)
def test_a_bell_cuts_no_wait_shorter_than(
    looks: Sequence[tuple[bool, float, bool]], floor: float
) -> None:
    pace = Pace(1.0, 15.0)
    for soon, took, failed in looks:
        pace.after(soon=soon, took=took, failed=failed)
    assert pace.floor == floor


def wait(world: World) -> float:
    return world.poller.tick(world.slurm.advance(1.0))


def waits(world: World, looks: int = 20) -> list[float]:
    return [wait(world) for _ in range(looks)]


def test_while_nothing_changes_the_wait_grows_and_a_release_ends_that(world: World) -> None:
    world.post(2)
    world.tick()
    assert waits(world)[-1] == world.poller.pace.most
    world.post(2)
    world.submitter.tick(world.slurm.advance(1.0))
    assert wait(world) == world.poller.pace.least


def test_with_nothing_in_slurm_the_wait_grows_without_a_question(world: World) -> None:
    wait(world)
    asked = world.slurm.calls.total()
    assert waits(world)[-1] == world.poller.pace.most
    assert world.slurm.calls.total() == asked


def test_a_change_of_a_job_is_followed_by_looks(world: World) -> None:
    world.post(2)
    world.tick()
    waits(world)
    world.slurm.start(world.slurm.arrays[0].job_id)
    assert waits(world, LIVELY) == [world.poller.pace.least] * LIVELY
    assert wait(world) > world.poller.pace.least


def test_an_open_cancel_keeps_it_looking(world: World) -> None:
    batch_id = world.post(2)
    world.tick()
    waits(world)
    world.batches.cancel(ALICE, batch_id)
    assert waits(world, 5) == [world.poller.pace.least] * 5


def test_what_slurm_does_not_show_keeps_it_looking(world: World) -> None:
    world.post(2)
    world.tick()
    waits(world)
    world.slurm.arrays.clear()
    assert waits(world, 5) == [world.poller.pace.least] * 5


def test_a_failure_doubles_the_wait_and_an_answer_ends_that(world: World) -> None:
    world.post(2)
    world.tick()
    world.slurm.slurmctld_down = True
    assert waits(world, 3) == [2, 4, 8]
    world.slurm.slurmctld_down = False
    assert wait(world) == world.poller.pace.least


def test_a_question_that_takes_long_is_followed_by_a_rest(world: World) -> None:
    world.post(2)
    readings = iter(range(0, 1000))
    world.poller.sources.clock = lambda: next(readings) * 0.2
    world.tick()
    assert wait(world) == pytest.approx(2.0)


def test_releases_and_cancellations_ask_for_a_look(world: World) -> None:
    asked: list[str] = []
    world.submitter.look = world.submitter.handover.look = lambda: asked.append(
        world.slurm.log[-1][0]
    )
    batch_id = world.post(2)
    world.tick()
    assert asked == ["release"]
    world.tick()
    world.batches.cancel(ALICE, batch_id)
    world.tick()
    world.tick()
    assert asked == ["release", "cancel"]


def test_a_release_that_is_repeated_asks_for_a_look(world: World) -> None:
    world.post(2)
    world.slurm.fail_next("release", SlurmUnreachable("x"))
    asked: list[None] = []
    world.submitter.look = world.submitter.handover.look = lambda: asked.append(None)
    world.tick()
    assert not asked
    for _ in range(30):
        world.tick()
    assert asked


def test_an_end_that_took_two_looks_to_believe_leaves_nothing_behind(world: World) -> None:
    batch_id = world.post(2)
    world.tick()
    array = world.slurm.arrays[0].job_id
    world.slurm.advance(1000.0)  # long after slurmctld was started
    world.slurm.start(array, launched=False)
    world.tick()
    world.tick()
    world.slurm.min_job_age = 0
    world.slurm.finish(array, 1)
    waits(world, 4)
    assert world.counts(batch_id) == {Status.SUCCEEDED: 1, Status.RUNNING: 1}
    assert waits(world)[-1] == world.poller.pace.most
