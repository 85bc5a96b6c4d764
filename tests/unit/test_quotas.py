"""Limits of users and tools: counted where rows are made, told with name, value and use."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from slurmbatch.errors import AccountsUnreachable, Invalid, OverLimit, Reached
from slurmbatch.limits import Exempt, Limits, Quotas, ToolLimits, bounds
from slurmbatch.model import NewBatch, Retry, Status
from tests.unit.world import ALICE, BOB, TOOL, World


def limit(world: World, tool: ToolLimits | None = None, **limits: int) -> None:
    rules = replace(world.batches._rules, quotas=Quotas(Limits(**limits)))
    world.batches._rules = rules
    if tool is not None:
        tools = {"t": replace(TOOL, limits=tool)}
        world.batches._offer = replace(world.batches._offer, tools=tools)


def rows(world: World) -> list[tuple[int, ...]]:
    tables = ("batch", "array", "job", "idempotency", "audit")
    return [world.store._db.sql(f"SELECT count(*) FROM {each}")[0] for each in tables]


class TestLiveJobs:
    def test_up_to_the_limit_and_no_further(self, world: World) -> None:
        limit(world, live_jobs=5)
        world.post(3)
        world.post(2)
        before = rows(world)
        with pytest.raises(OverLimit) as told:
            world.post(1, key="k")
        assert told.value.reached == [Reached("live_jobs", 5, 5, 1)]
        assert "at most 5 jobs that have not ended" in told.value.detail
        assert "5 are in use" in told.value.detail
        assert rows(world) == before

    def test_what_has_ended_makes_room(self, world: World) -> None:
        limit(world, live_jobs=3)
        batch_id = world.post(3)
        world.until_ended(batch_id)
        world.post(3)

    def test_what_is_deleted_makes_room_only_when_it_is_gone(self, world: World) -> None:
        limit(world, live_jobs=3)
        batch_id = world.post(3)
        world.tick()
        world.batches.delete(ALICE, batch_id)
        with pytest.raises(OverLimit):
            world.post(3)
        for _ in range(30):
            world.tick()
        world.post(3)

    def test_of_others_it_says_nothing(self, world: World) -> None:
        limit(world, live_jobs=3)
        world.post(3)
        world.post(3, caller=BOB)

    def test_a_batch_that_never_fits_is_a_mistake(self, world: World) -> None:
        limit(world, live_jobs=3)
        with pytest.raises(Invalid) as told:
            world.post(4)
        (fault,) = told.value.faults
        assert fault.pointer == "/variable_args"
        assert "this one alone has 4" in fault.detail

    def test_the_same_request_again_is_answered(self, world: World) -> None:
        limit(world, live_jobs=3)
        first = world.post(3, key="k")
        assert world.post(3, key="k") == first

    def test_many_at_once_do_not_get_the_same_room(self, world: World) -> None:
        limit(world, live_jobs=10)
        outcomes: list[str] = []

        def post() -> None:
            try:
                world.post(3)
                outcomes.append("made")
            except OverLimit:
                outcomes.append("refused")

        threads = [threading.Thread(target=post) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
        assert sorted(outcomes) == ["made"] * 3 + ["refused"] * 5

    def test_a_large_batch_counts_while_it_is_written(self, world: World) -> None:
        limit(world, live_jobs=15_000)
        big = replace(world.batches._offer, max_jobs=20_000)
        world.batches._offer = big
        world.post(12_000)
        with pytest.raises(OverLimit):
            world.post(12_000)

    def test_failed_jobs_need_room_to_run_again(self, world: World) -> None:
        batch_id = world.post(3)
        world.tick()
        world.tick()
        for array in list(world.slurm.arrays):
            world.slurm.finish(array.job_id, state="FAILED", code=1)
        world.until_ended(batch_id)
        assert world.counts(batch_id) == {Status.FAILED: 3}
        limit(world, live_jobs=4)
        world.post(2)
        before = rows(world)
        with pytest.raises(OverLimit) as told:
            world.batches.retry(ALICE, batch_id, Retry())
        assert told.value.reached == [Reached("live_jobs", 4, 2, 3)]
        assert rows(world) == before
        assert world.counts(batch_id) == {Status.FAILED: 3}
        limit(world, live_jobs=5)
        world.batches.retry(ALICE, batch_id, Retry())
        assert world.counts(batch_id) == {Status.SUBMITTED: 3}


class TestOthers:
    def test_live_batches(self, world: World) -> None:
        limit(world, live_batches=2)
        world.post(1)
        world.post(1)
        with pytest.raises(OverLimit) as told:
            world.post(1)
        assert told.value.reached == [Reached("live_batches", 2, 2, 1)]

    def test_bytes_until_they_are_deleted(self, world: World) -> None:
        limit(world, stored_bytes=100)
        first = world.post(1, args_bytes=60)
        world.until_ended(first)
        with pytest.raises(OverLimit) as told:
            world.post(1, args_bytes=60)
        assert told.value.reached == [Reached("stored_bytes", 100, 60, 60)]
        world.post(1, args_bytes=40)
        world.batches.delete(ALICE, first)
        for _ in range(5):
            world.tick()
        world.post(1, args_bytes=60)

    def test_of_a_tool_for_all_users_together(self, world: World) -> None:
        limit(world, ToolLimits(live_jobs=5))
        world.post(3)
        with pytest.raises(OverLimit) as told:
            world.post(3, caller=BOB)
        assert told.value.reached == [Reached("t.live_jobs", 5, 3, 3)]
        assert told.value.detail.startswith("All users together may have at most 5")

    def test_of_a_tool_for_each_user(self, world: World) -> None:
        limit(world, ToolLimits(live_jobs_of_a_user=3, live_batches_of_a_user=1))
        world.post(2)
        world.post(3, caller=BOB)
        with pytest.raises(OverLimit) as told:
            world.post(2)
        assert [each.limit for each in told.value.reached] == [
            "t.live_jobs_of_a_user", "t.live_batches_of_a_user",
        ]  # fmt: skip

    def test_all_that_are_reached_are_told_at_once(self, world: World) -> None:
        limit(world, live_jobs=3, live_batches=1)
        world.post(2)
        with pytest.raises(OverLimit) as told:
            world.post(2)
        assert [each.limit for each in told.value.reached] == ["live_jobs", "live_batches"]

    def test_a_dry_run_says_so_too(self, world: World) -> None:
        limit(world, live_jobs=3)
        new = NewBatch("t", variable_args=({"n": 1}, {"n": 2}))
        world.batches.try_out(ALICE, new)
        world.post(2)
        with pytest.raises(OverLimit):
            world.batches.try_out(ALICE, new)


class TestWhoseLimits:
    QUOTAS = Quotas(
        Limits(live_jobs=10, live_batches=5),
        (
            Exempt(Limits(live_jobs=100), users=("anna",)),
            Exempt(Limits(live_jobs=0, live_batches=7), groups=("staff",)),
        ),
    )

    @staticmethod
    def is_in_any(user_id: str, groups: tuple[str, ...]) -> bool:
        return user_id in ("anna", "bert") and "staff" in groups

    def test_the_first_that_names_them_and_for_the_rest_everybodys(self) -> None:
        assert self.QUOTAS.of("carl", self.is_in_any) == Limits(10, 5)
        assert self.QUOTAS.of("anna", self.is_in_any) == Limits(100, 5)
        assert self.QUOTAS.of("bert", self.is_in_any) == Limits(0, 7)

    def test_where_groups_cannot_be_looked_up_nobody_is_in_one(self) -> None:
        def away(_user: str, _groups: tuple[str, ...]) -> bool:
            raise AccountsUnreachable

        assert self.QUOTAS.of("bert", away) == Limits(10, 5)
        assert self.QUOTAS.of("anna", away) == Limits(100, 5)

    def test_nothing_and_zero_are_no_limit(self) -> None:
        assert bounds(Limits(), "anna", ToolLimits(), "t") == ()
        assert bounds(Limits(0, 0, 0, 0), "anna", ToolLimits(0, 0, 0, 0), "t") == ()
