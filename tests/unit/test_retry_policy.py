"""Failed jobs that are run again by themselves: in the very transaction in which they end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.errors import Invalid
from slurmbatch.model import (
    ArrayState,
    Dependency,
    DependencyType,
    JobChange,
    NewRetryPolicy,
    Retry,
    RetryPolicy,
    Status,
)
from slurmbatch.store import again, summaries
from slurmbatch.store.changes import Applied
from slurmbatch.store.policy import FREE_AT_MOST, Ended, decide
from slurmbatch.store.usage import Used

from .test_retry import claimed, requests
from .world import AGAIN, ALICE, GRACE, TOOL, World

GROWS = NewRetryPolicy(max_attempts=3, node_failures=True, memory_factor=2, time_factor=3)
FAILED = Status.FAILED


def ends(world: World, state: str, *tasks: int, ticks: int = 1, **how: Any) -> None:
    """What was handed over last ends like this."""
    for _ in range(3):
        world.tick()
    world.slurm.finish(world.slurm.arrays[-1].job_id, *tasks, state=state, **how)
    for _ in range(ticks):
        world.tick()


def fails_with_its_node(world: World, state: str = "NODE_FAIL") -> None:
    ends(world, state, ticks=int(GRACE) + 3)


class TestWhatIsTriedAgain:
    def test_out_of_memory_with_more_of_it(self, world: World) -> None:
        batch_id = world.post(3, retry=GROWS)
        ends(world, "OUT_OF_MEMORY", 2)
        job = world.job(batch_id, 1)
        assert (job.status, job.attempt) == (Status.SUBMITTED, 2)
        assert job.reason.startswith("ACCEPTED: ")
        assert world.batch(batch_id).n_submitted == 2
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 3}
        assert [(each.memory, each.n_tasks) for each in requests(world)] == [(64, 3), (128, 1)]
        job = world.job(batch_id, 1)
        assert (job.attempt, job.hardware.memory, job.time_limit) == (2, 128, 5)
        (kept,) = job.attempts
        assert (kept.memory, kept.reason.partition(":")[0]) == (64, "MEMORY")

    def test_out_of_time_with_more_of_it(self, world: World) -> None:
        batch_id = world.post(1, retry=GROWS)
        ends(world, "TIMEOUT")
        world.until_ended(batch_id)
        assert [each.options.time_limit for each in requests(world)] == [5, 15]
        assert requests(world)[1].memory == 64

    @pytest.mark.parametrize("state", ["NODE_FAIL", "BOOT_FAIL", "PREEMPTED"])
    def test_a_node_that_failed_does_not_count(self, world: World, state: str) -> None:
        batch_id = world.post(1, retry=GROWS)
        for _ in range(4):
            fails_with_its_node(world, state)
        ends(world, "OUT_OF_MEMORY")
        ends(world, "OUT_OF_MEMORY")
        world.until_ended(batch_id)
        job = world.job(batch_id)
        assert (job.status, job.attempt, job.hardware.memory) == (Status.SUCCEEDED, 7, 256)

    def test_but_not_for_ever(self, world: World) -> None:
        batch_id = world.post(1, retry=NewRetryPolicy(node_failures=True))
        for _ in range(FREE_AT_MOST + 1):
            assert world.job(batch_id).status is not FAILED
            fails_with_its_node(world)
        job = world.job(batch_id)
        assert (job.status, job.attempt) == (FAILED, FREE_AT_MOST + 1)
        assert job.reason.startswith("NODE: ")

    def test_at_most_so_many_attempts(self, world: World) -> None:
        batch_id = world.post(1, retry=GROWS)
        for _ in range(3):
            assert world.job(batch_id).status is not FAILED
            ends(world, "OUT_OF_MEMORY")
        job = world.job(batch_id)
        assert (job.status, job.attempt) == (FAILED, 3)
        assert [each.memory for each in requests(world)] == [64, 128, 256]
        assert world.batch(batch_id).finished_at is not None

    def test_memory_and_time_count_together(self, world: World) -> None:
        batch_id = world.post(1, retry=GROWS)
        for state in ("OUT_OF_MEMORY", "TIMEOUT", "TIMEOUT"):
            ends(world, state)
        job = world.job(batch_id)
        assert (job.status, job.attempt) == (FAILED, 3)
        assert (requests(world)[-1].memory, requests(world)[-1].options.time_limit) == (128, 15)

    def test_not_beyond_the_tool_s_maximum_and_not_again_with_no_more(self, world: World) -> None:
        batch_id = world.post(1, retry=replace(GROWS, max_attempts=9, memory_factor=10))
        for _ in range(3):
            ends(world, "OUT_OF_MEMORY")
        assert [each.memory for each in requests(world)] == [64, 640, 1000]
        assert world.job(batch_id).status is FAILED

    def test_without_a_time_limit_of_its_own_there_is_none_to_multiply(self, world: World) -> None:
        slow = replace(AGAIN, retry=RetryPolicy(max_attempts=3, time_factor=2))
        world.batches._offer.tools["again"] = slow  # type: ignore[index]
        batch_id = world.post(1, tool="again")
        ends(world, "TIMEOUT")
        assert world.job(batch_id).status is FAILED

    @pytest.mark.parametrize(
        ("state", "how"),
        [("FAILED", {"code": 1}), ("FAILED", {"signal": 9}), ("CANCELLED", {"by": 0}),
         ("DEADLINE", {})],
    )  # fmt: skip
    def test_nothing_else_is(self, world: World, state: str, how: dict[str, int]) -> None:
        batch_id = world.post(1, retry=GROWS)
        ends(world, state, **how)
        assert world.job(batch_id).status is FAILED
        assert world.slurm.calls["submit"] == 1

    def test_nothing_is_without_a_policy(self, world: World) -> None:
        batch_id = world.post(1)
        ends(world, "OUT_OF_MEMORY")
        assert world.job(batch_id).status is FAILED

    def test_only_what_the_policy_names(self, world: World) -> None:
        batch_id = world.post(1, retry=NewRetryPolicy(max_attempts=2, time_factor=2))
        fails_with_its_node(world)
        assert world.job(batch_id).status is FAILED


class TestInBetween:
    def test_it_is_never_seen_failed_and_the_batch_never_ended(self, world: World) -> None:
        """Every commit is looked at."""
        seen = set()
        batch_id = world.post(1, retry=GROWS)
        real = world.store.arrays.apply

        def apply(changes: Mapping[int, Sequence[JobChange]], now: float) -> Applied:
            applied = real(changes, now)
            seen.add((world.job(batch_id).status, world.batch(batch_id).finished_at))
            assert not applied.finished or world.job(batch_id).status.ended
            return applied

        world.store.arrays.apply = apply  # type: ignore[method-assign]
        ends(world, "OUT_OF_MEMORY")
        fails_with_its_node(world)
        ends(world, "TIMEOUT")
        world.until_ended(batch_id)
        assert FAILED not in {status for status, _ in seen}
        assert [status for status, finished in seen if finished] == [Status.SUCCEEDED]

    def test_nobody_is_told_of_a_failure_that_is_none(self, world: World) -> None:
        batch_id = world.post(2, retry=replace(GROWS, max_attempts=2))
        with world.store._db.write() as db:
            db.execute_sql("INSERT INTO webhook SELECT pk, 'https://x/', 'x', 1, 1 FROM batch")
        ends(world, "OUT_OF_MEMORY")
        told = "SELECT event FROM outbox ORDER BY pk"
        assert world.counts(batch_id) == {Status.SUBMITTED: 2}
        assert world.store._db.sql(told) == []
        ends(world, "OUT_OF_MEMORY", 1)
        assert world.store._db.sql(told) == [("first_failure",)]
        world.until_ended(batch_id)
        assert world.store._db.sql(told) == [("first_failure",), ("finished",)]

    def test_the_batch_names_no_reason_of_a_job_that_goes_on(self, world: World) -> None:
        batch_id = world.post(3, retry=replace(GROWS, max_attempts=2))
        ends(world, "OUT_OF_MEMORY", 1, 2)
        assert "MEMORY" not in world.batch(batch_id).summary
        ends(world, "OUT_OF_MEMORY", 1)
        summary = world.batch(batch_id).summary
        assert summary.count("MEMORY") >= 1
        assert f"{batch_id}-0" in summary
        world.batches.retry(ALICE, batch_id, Retry())
        assert "MEMORY" not in world.batch(batch_id).summary
        world.until_ended(batch_id)

    def test_what_a_run_used_is_told_of_that_run(self, world: World) -> None:
        batch_id = world.post(1, retry=GROWS)
        ends(world, "OUT_OF_MEMORY")
        now = world.slurm.now + 60
        assert world.store.usage.is_due(now)
        (due,) = world.store.usage.due(now, 10)
        assert due.task == (1, 1)
        world.store.usage.put_off([due], now + 5)
        assert world.store.usage.due(now, 10) == ()
        world.store.usage.keep([Used(due, 63.5, 1.0)], now)
        assert not world.store.usage.is_due(now + 99)
        job = world.job(batch_id)
        assert (job.max_rss, job.attempts[0].max_rss, job.attempts[0].cpu_time) == (None, 63.5, 1.0)

    def test_cancelled_or_deleted_it_is_not_tried_again(self, world: World) -> None:
        for act in (world.batches.cancel, world.batches.delete):
            batch_id = world.post(1, retry=GROWS)
            for _ in range(3):
                world.tick()
            number, submits = world.slurm.arrays[-1].job_id, world.slurm.calls["submit"]
            world.slurm.start(number)
            world.tick()
            world.slurm.finish(number, state="OUT_OF_MEMORY")
            act(ALICE, batch_id)
            for _ in range(5):
                world.tick()
            assert world.slurm.calls["submit"] == submits
        assert world.store._db.sql("SELECT n_status_6 FROM batch") == [(1,)]

    def test_a_retry_by_its_policy_is_cancelled_with_its_batch(self, world: World) -> None:
        batch_id = world.post(1, retry=GROWS)
        ends(world, "OUT_OF_MEMORY")
        world.batches.cancel(ALICE, batch_id)
        world.tick()
        assert world.job(batch_id).reason.startswith("CANCELLED: cancelled by request")
        assert world.slurm.calls["submit"] == 1

    def test_a_retry_by_request_begins_to_count_anew(self, world: World) -> None:
        batch_id = world.post(1, retry=replace(GROWS, max_attempts=2))
        for _ in range(2):
            ends(world, "OUT_OF_MEMORY")
        assert world.job(batch_id).status is FAILED
        world.batches.retry(ALICE, batch_id, Retry())
        ends(world, "OUT_OF_MEMORY")
        assert world.job(batch_id).status is Status.SUBMITTED
        ends(world, "OUT_OF_MEMORY")
        assert world.job(batch_id).status is FAILED
        assert [each.memory for each in requests(world)] == [64, 128, 128, 256]

    def test_a_canary_that_is_retried_has_not_failed(self, world: World) -> None:
        batch_id = world.post(5, canary=1, retry=GROWS)
        ends(world, "OUT_OF_MEMORY")
        for _ in range(3):
            world.tick()
        assert world.job(batch_id, 4).reason.startswith("CANARY: waits")
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.SUCCEEDED: 5}
        assert [each.n_tasks for each in requests(world)] == [1, 1, 4]

    def test_a_canary_whose_retries_are_used_up_has(self, world: World) -> None:
        batch_id = world.post(5, canary=1, retry=GROWS)
        for _ in range(3):
            ends(world, "OUT_OF_MEMORY")
        world.tick()
        assert world.counts(batch_id) == {FAILED: 5}

    def test_what_depends_on_it_waits_for_the_last_attempt(self, world: World) -> None:
        parent = world.post(2, retry=GROWS)
        children = [
            world.post(2, retry=GROWS, depends_on=(Dependency(parent, kind),))
            for kind in DependencyType
        ]  # fmt: skip
        ends(world, "OUT_OF_MEMORY", 1)
        for _ in range(3):
            world.tick()
        waiting = [world.job(child) for child in children]
        assert {job.status for job in waiting} == {Status.PENDING}
        assert {job.reason.partition(":")[0] for job in waiting} == {"DEPENDENCY"}
        world.until_ended(parent, *children)
        assert all(world.counts(each) == {Status.SUCCEEDED: 2} for each in (parent, *children))

    def test_a_child_that_is_tried_again_waits_for_nobody_any_more(self, world: World) -> None:
        parent = world.post(1)
        child = world.post(1, retry=GROWS, depends_on=(Dependency(parent, DependencyType.AFTEROK),))
        world.until_ended(parent)
        world.tick()
        world.batches.delete(ALICE, parent)
        ends(world, "OUT_OF_MEMORY")
        world.until_ended(child)
        assert world.counts(child) == {Status.SUCCEEDED: 1}
        assert world.job(child).attempt == 2

    def test_many_at_once_are_one_array_for_each_kind(self, world: World) -> None:
        batch_id = world.post(20, retry=GROWS)
        for _ in range(3):
            world.tick()
        number = world.slurm.arrays[0].job_id
        world.slurm.finish(number, *range(1, 9), state="OUT_OF_MEMORY")
        world.slurm.finish(number, *range(9, 13), state="TIMEOUT")
        world.until_ended(batch_id)
        assert sorted(each.n_tasks for each in requests(world)) == [4, 8, 20]
        assert world.counts(batch_id) == {Status.SUCCEEDED: 20}


class TestWhatItIs:
    def test_a_batch_s_own_before_its_tool_s(self, world: World) -> None:
        of_tool = RetryPolicy(max_attempts=5, node_failures=True, memory_factor=3)
        world.batches._offer.tools["t"] = replace(TOOL, retry=of_tool)  # type: ignore[index]
        capped = replace(of_tool, max_memory=1000, max_time_limit=60)
        assert world.batch(world.post(1)).retry == capped
        own = NewRetryPolicy(max_attempts=2, node_failures=False, time_factor=2)
        assert world.batch(world.post(1, retry=own)).retry == RetryPolicy(2, False, 3, 2, 1000, 60)
        off = world.batch(world.post(1, retry=NewRetryPolicy(1, False))).retry
        assert not off.does_anything

    @pytest.mark.parametrize(
        ("asked", "tool", "pointer"),
        [
            (NewRetryPolicy(memory_factor=2), "t", "/retry/max_attempts"),
            (NewRetryPolicy(max_attempts=2), "t", "/retry/max_attempts"),
            (NewRetryPolicy(max_attempts=2, time_factor=2), "again", "/retry/time_factor"),
        ],
    )
    def test_what_makes_no_sense(
        self, world: World, asked: NewRetryPolicy, tool: str, pointer: str
    ) -> None:
        with pytest.raises(Invalid) as error:
            world.post(1, tool=tool, retry=asked)
        assert [each.pointer for each in error.value.faults] == [pointer]

    def test_a_node_s_end_that_the_job_has_noted_itself_is_its_own(self) -> None:
        ended = Ended(1, 0, 0, 0, "EXIT", "NODE_FAIL", 1, "t", None, None, "", 64, 5, "")
        assert decide(RetryPolicy(node_failures=True), ended) is None
        again = decide(RetryPolicy(node_failures=True), ended._replace(kind="NODE", exclude="n9"))
        assert again is not None
        assert (again[0].exclude, again[1]) == ("n9", (0, 1))


@pytest.mark.parametrize("step", range(0, 108, 3))
def test_killed_at_every_step_each_end_is_tried_again_once(tmp_path: Path, step: int) -> None:
    world = World(tmp_path, claims=True)
    batch_id = world.post(3, retry=GROWS)
    world.fate.at = step
    ended = set()

    def turn() -> None:
        world.tick()
        for array in world.slurm.arrays:
            if array.held or array.job_id in ended:
                continue
            ended.add(array.job_id)
            is_bad = array.request.memory < 256
            for number in array.tasks:
                world.claimed(array.request.tag, number)
                world.ran(array.request.script, number)
            world.slurm.finish(array.job_id, state="OUT_OF_MEMORY" if is_bad else "COMPLETED")
        assert world.job(batch_id).status is not FAILED

    world.until_ended_however_often_killed(batch_id, turn)
    assert world.counts(batch_id) == {Status.SUCCEEDED: 3}
    assert world.runs == {(batch_id, index): 3 for index in range(3)}
    for index in range(3):
        job = world.job(batch_id, index)
        assert (job.attempt, [each.memory for each in job.attempts]) == (3, [64, 128])
    assert world.batch(batch_id).n_submitted == 3
    assert {each.state for each in world.store.arrays.of_batch(batch_id)} == {ArrayState.DONE}
    world.store.close()


def test_what_was_claimed_is_claimed_anew(tmp_path: Path) -> None:
    world = World(tmp_path, claims=True)
    batch_id = world.post(1, retry=GROWS)
    for _ in range(3):
        world.tick()
    claimed(world, 1, 1)
    world.slurm.finish(world.slurm.arrays[0].job_id, state="TIMEOUT")
    world.until_ended(batch_id)
    assert len({each.tag for each in requests(world)}) == 2
    assert world.runs == {(batch_id, 0): 1}
    world.store.close()


def test_one_job_of_a_large_batch_is_put_back_without_a_look_at_the_others(world: World) -> None:
    world.post(1, retry=GROWS)
    ends(world, "OUT_OF_MEMORY")
    with world.store._db.write() as db:
        for statement, values in (
            (again._KEEP_ATTEMPTS, ()), (again._PUT_BACK, (0.0,)), (summaries._PUT_BACK, (1,)),
        ):  # fmt: skip
            plan = [row[3] for row in db.execute_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
            assert "SEARCH job USING PRIMARY KEY (batch=? AND idx=?)" in plan


@pytest.mark.parametrize("most", [1, 2])
def test_the_throttle_of_a_batch_holds_for_what_is_run_again(world: World, most: int) -> None:
    batch_id = world.post(4, retry=GROWS, max_parallel=most)
    at_once = 0
    for _ in range(200):
        if world.batch(batch_id).finished_at:
            break
        world.tick()
        for array in world.slurm.arrays:
            started = [n for n, task in array.tasks.items() if task.state == "RUNNING"]
            bad = array.request.memory < 256
            if started:
                world.slurm.finish(array.job_id, *started,
                                   state="OUT_OF_MEMORY" if bad else "COMPLETED")  # fmt: skip
        for array in world.slurm.arrays:
            if array.may_start:
                world.slurm.start(array.job_id, *array.may_start)
        running = sum(
            task.state == "RUNNING" for each in world.slurm.arrays for task in each.tasks.values()
        )
        at_once = max(at_once, running)
    assert world.counts(batch_id) == {Status.SUCCEEDED: 4}
    assert at_once == most
    assert {world.job(batch_id, index).attempt for index in range(4)} == {3}
