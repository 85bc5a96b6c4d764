"""What a caller asks of `Batches`, on a real store."""

from __future__ import annotations

import os

import pytest

from slurmbatch.errors import Malformed, StoreUnavailable
from slurmbatch.model import Page

from .world import ALICE, World


class TestPages:
    def test_a_page_begins_after_a_batch_that_is_gone(self, world: World) -> None:
        first, second, third = (world.post(1) for _ in range(3))
        world.batches.delete(ALICE, second)
        found, _ = world.batches.list(ALICE, Page(after=second))
        assert [batch.batch_id for batch in found] == [first]
        found, _ = world.batches.list(ALICE, Page(after=third))
        assert [batch.batch_id for batch in found] == [first]

    @pytest.mark.parametrize(
        "after", ["", "garbage", "zzz", "0", "%", "8" + "0" * 25, "0" * 27, "0" * 25 + "u"]
    )
    def test_after_what_is_no_batch_id(self, world: World, after: str) -> None:
        batch_id = world.post(1)
        for text in (after, f"{batch_id}\n", batch_id.upper()):
            with pytest.raises(Malformed, match="after: expected the id of a batch"):
                world.batches.list(ALICE, Page(after=text))


class TestADiskThatFails:
    def test_a_batch_that_may_not_survive_a_power_cut_is_taken_back(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fdatasync(_: int) -> None:
            # By now Slurm has it already, held.
            world.submitter.tick(world.slurm.now)
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fdatasync", fdatasync)
        with pytest.raises(StoreUnavailable):
            world.post(2, key="k")
        monkeypatch.undo()
        assert world.batches.list(ALICE) == ([], None)
        world.tick()
        assert {row.state for row in world.slurm.live()} == {"CANCELLED"}
        # The key is free, and the same request goes through.
        batch_id = world.post(2, key="k")
        assert [batch.batch_id for batch in world.batches.list(ALICE)[0]] == [batch_id]

    def test_the_same_request_again_is_not_answered_before_it_is_safe(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.post(2, key="k")
        synced: list[int] = []
        monkeypatch.setattr(os, "fdatasync", synced.append)
        world.post(2, key="k")
        assert len(synced) == 1
