"""What jobs used: asked once, in a tick that has a question left, and only once they have ended."""

from __future__ import annotations

from slurmbatch.errors import AccountingUnreachable
from slurmbatch.model import Status
from slurmbatch.poller.usage import AGAIN_AFTER, STARVED_AFTER, UNTIL
from tests.unit.world import World


def ended(world: World, n_jobs: int = 3) -> str:
    """A batch that has just ended."""
    batch_id = world.post(n_jobs)
    world.until_ended(batch_id)
    return batch_id


def ticks(world: World, seconds: float, step: float = 1.0) -> None:
    for _ in range(int(seconds / step)):
        world.tick(step)


def use(world: World, batch_id: str, index: int = 0) -> tuple[float | None, float | None]:
    job = world.job(batch_id, index)
    return job.max_rss, job.cpu_time


def test_it_is_known_soon_after_the_end_and_asked_for_once(world: World) -> None:
    batch_id = ended(world)
    world.slurm.arrays[0].tasks[2].max_rss, world.slurm.arrays[0].tasks[2].cpu_time = 250.5, 7.25
    assert use(world, batch_id) == (None, None)
    ticks(world, 12)
    assert [use(world, batch_id, n) for n in range(3)] == [(10, 1), (250.5, 7.25), (10, 1)]
    ticks(world, 60)
    assert world.slurm.calls["usage"] == 1


def test_one_question_for_all_batches(world: World) -> None:
    batches = [world.post(2) for _ in range(5)]
    world.until_ended(*batches)
    ticks(world, 20)
    assert all(use(world, each, n) == (10, 1) for each in batches for n in range(2))
    assert world.slurm.calls["usage"] <= 2


def test_accounting_that_lags_is_asked_again(world: World) -> None:
    world.slurm.lag = 40.0
    batch_id = ended(world)
    ticks(world, 30)
    assert use(world, batch_id) == (None, None)
    ticks(world, 30 + AGAIN_AFTER)
    assert use(world, batch_id) == (10, 1)


def test_what_accounting_never_has_is_given_up(world: World) -> None:
    world.slurm.lag = 1e9
    batch_id = ended(world)
    ticks(world, UNTIL + 60, step=5.0)
    asked = world.slurm.calls["usage"]
    ticks(world, UNTIL, step=5.0)
    assert use(world, batch_id) == (None, None)
    assert world.slurm.calls["usage"] == asked <= UNTIL / AGAIN_AFTER + 2


def test_an_error_is_no_outage_and_is_not_repeated_at_once(world: World) -> None:
    batch_id = ended(world)
    world.slurm.fail_next("usage", AccountingUnreachable("sacct: invalid field"))
    ticks(world, 30)
    assert world.slurm.calls["usage"] == 1
    assert not world.health.is_down("slurmdbd")
    ticks(world, STARVED_AFTER)
    assert use(world, batch_id) == (10, 1)


def test_accounting_that_is_down_is_left_alone(world: World) -> None:
    batch_id = ended(world)
    world.health.failed("slurmdbd", world.slurm.now, "down")
    world.slurm.slurmdbd_down = True
    ticks(world, 100)
    assert world.slurm.calls["usage"] == 0
    world.slurm.slurmdbd_down = False
    ticks(world, 60)
    assert use(world, batch_id) == (10, 1)


def test_a_restart_forgets_nothing(world: World) -> None:
    batch_id = ended(world)
    world.restart()
    ticks(world, 60)
    assert use(world, batch_id) == (10, 1)


def test_a_job_that_never_started_has_nothing_to_ask_for(world: World) -> None:
    batch_id = world.post(2)
    ticks(world, 5)
    world.slurm.cancel(1)
    ticks(world, 60)
    assert world.counts(batch_id) == {Status.FAILED: 2}
    assert world.slurm.calls["usage"] == 0


def test_another_job_s_use_under_the_same_id_is_not_ours(world: World) -> None:
    """Slurm gives its ids again."""
    batch_id = ended(world)
    array = world.slurm.arrays[0]
    world.slurm.next_id = array.job_id
    stranger = world.slurm.add(world.slurm.arrays[0].request)
    object.__setattr__(stranger.request, "tag", "somebody-else-s")
    world.slurm.release(stranger.job_id)
    world.slurm.finish(stranger.job_id)
    ticks(world, 30)
    assert use(world, batch_id) == (None, None)


def test_it_gets_its_turn_though_accounting_is_asked_in_every_tick(world: World) -> None:
    batch_id = ended(world, 2)
    other = world.post(2)
    ticks(world, 4)
    # It has started, and Slurm then shows it nowhere: that is asked about again and again.
    (_, array) = world.slurm.arrays
    world.slurm.start(array.job_id)
    ticks(world, 2)
    world.slurm.arrays.remove(array)
    world.slurm._slurmctld.told = [entry for entry in world.slurm._slurmctld.told
                                   if entry.row.array_job_id != array.job_id]  # fmt: skip
    before = world.slurm.calls["ended"]
    ticks(world, STARVED_AFTER + 20)
    assert use(world, batch_id) == (10, 1)
    assert world.slurm.calls["ended"] - before > STARVED_AFTER / 2
    assert not world.batch(other).finished_at


def test_when_slurm_expects_to_start_what_waits_is_told_for_all_of_an_array(world: World) -> None:
    """One row of squeue's, so one row of ours."""
    batch_id = world.post(3)
    ticks(world, 3)
    (array,) = world.slurm.arrays
    world.slurm.wait(array.job_id, "Resources")
    for task in array.tasks.values():
        task.start = world.slurm.now + 500
    expected = world.slurm.now + 500
    ticks(world, 3)
    assert [world.job(batch_id, n).expected_start for n in range(3)] == [expected] * 3
    world.until_ended(batch_id)
    assert world.job(batch_id).expected_start is None
