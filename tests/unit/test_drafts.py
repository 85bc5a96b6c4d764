"""What a POST has made of a script is used by the hand-over, and never instead of the database."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from slurmbatch.drafts import MOST_CHARACTERS, MOST_DRAFTS, Copy, Drafts
from slurmbatch.errors import SlurmBusy
from slurmbatch.model import Parameter
from tests.unit.world import TOOL, World


def scripts(world: World) -> list[str]:
    return [array.request.script for array in world.slurm.arrays]


def from_the_database(world: World, batch_id: str) -> list[str]:
    """As a daemon that knows nothing else makes them."""
    terms = world.submitter.handover.terms
    requests = [
        terms.request(array, world.store, Drafts())
        for array in world.store.arrays.of_batch(batch_id)
    ]
    return [request.script for request in requests if request is not None]


def forbid_reading(world: World) -> None:
    def arguments(pk: int) -> object:
        raise AssertionError("the arguments of all jobs were read")

    world.store.arrays.arguments = arguments  # type: ignore[assignment,method-assign]


def test_what_is_submitted_is_what_the_database_says(world: World) -> None:
    batch_id = world.post(20)
    expected = from_the_database(world, batch_id)
    forbid_reading(world)
    world.tick()
    assert scripts(world) == expected


def test_each_array_of_a_batch_gets_its_own(tmp_path: Path) -> None:
    world = World(tmp_path, array_size=7)
    batch_id = world.post(20)
    expected = from_the_database(world, batch_id)
    assert len(expected) == 3
    forbid_reading(world)
    world.tick()
    assert scripts(world) == expected
    world.store.close()


def test_after_a_restart_it_is_made_anew(world: World) -> None:
    batch_id = world.post(20)
    expected = from_the_database(world, batch_id)
    world.restart()
    world.tick()
    assert scripts(world) == expected


def test_a_tool_that_has_changed_since_makes_another_one(world: World) -> None:
    batch_id = world.post(20)
    terms = world.submitter.handover.terms
    changed = replace(TOOL, parameters=(Parameter("other", "integer"),))
    world.submitter.adopt(replace(terms, tools={**terms.tools, "t": changed}))
    world.tick()
    [script] = scripts(world)
    assert script == from_the_database(world, batch_id)[0]
    assert "n=0" not in script


def test_what_is_cut_is_made_anew(world: World) -> None:
    world.store.remember("max_array_size", "1001")
    batch_id = world.post(20)
    world.store.remember("max_array_size", "11")
    world.tick()
    world.tick()
    assert scripts(world) == from_the_database(world, batch_id)
    assert len(scripts(world)) == 2


def test_a_second_try_needs_none(world: World) -> None:
    batch_id = world.post(20)
    world.slurm.fail_next("submit", SlurmBusy("AssocMaxSubmitJobLimit"))
    world.tick()
    for _ in range(100):
        if not world.slurm.arrays:
            world.tick()
    assert scripts(world) == from_the_database(world, batch_id)


def test_they_are_given_once_and_only_for_the_very_same() -> None:
    drafts = Drafts()
    drafts.keep("a", TOOL, ["x", "y"])
    assert drafts.take("b", TOOL, 2) is None
    assert drafts.take("a", TOOL, 2) == ["x", "y"]
    assert drafts.take("a", TOOL, 2) is None
    drafts.keep("a", TOOL, ["x", "y"])
    assert drafts.take("a", TOOL, 1) is None
    drafts.keep("a", TOOL, ["x", "y"])
    assert drafts.take("a", replace(TOOL, script="#!/bin/sh\nfalse\n"), 2) is None


def test_they_are_bounded_in_number_and_in_size() -> None:
    drafts = Drafts()
    for number in range(MOST_DRAFTS + 1):
        drafts.keep(str(number), TOOL, ["x"])
    assert drafts.take("0", TOOL, 1) is None
    assert drafts.take("1", TOOL, 1) == ["x"]
    drafts.keep("large", TOOL, ["x" * MOST_CHARACTERS])
    assert drafts.take("2", TOOL, 1) is None
    assert drafts.take("large", TOOL, 1) is not None
    drafts.keep("too large", TOOL, ["x" * (MOST_CHARACTERS + 1)])
    assert drafts.take("too large", TOOL, 1) is None


def test_a_copy_hands_all_on_and_keeps_what_is_not_too_much() -> None:
    few = Copy(iter(["a", "b"]))
    assert list(few) == ["a", "b"] == list(few.kept)
    half = "x" * (MOST_CHARACTERS // 2 + 1)
    many = Copy(iter([half, half, half]))
    assert list(many) == [half] * 3
    assert not many.kept
