"""What a caller asks of `Batches`, on a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmbatch.errors import Malformed

from .world import ALICE, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


class TestPages:
    def test_a_page_begins_after_a_batch_that_is_gone(self, world: World) -> None:
        first, second, third = (world.post(1) for _ in range(3))
        world.batches.delete(ALICE, second)
        found, _ = world.batches.list(ALICE, after=second)
        assert [batch.batch_id for batch in found] == [first]
        found, _ = world.batches.list(ALICE, after=third)
        assert [batch.batch_id for batch in found] == [first]

    @pytest.mark.parametrize(
        "after", ["", "garbage", "zzz", "0", "%", "8" + "0" * 25, "0" * 27, "0" * 25 + "u"]
    )
    def test_after_what_is_no_batch_id(self, world: World, after: str) -> None:
        batch_id = world.post(1)
        for text in (after, f"{batch_id}\n", batch_id.upper()):
            with pytest.raises(Malformed, match="after: expected the id of a batch"):
                world.batches.list(ALICE, after=text)
