"""A new batch waits for Slurm's word only where Slurm has not just accepted the like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.doorbell import Word
from slurmbatch.errors import SlurmBusy, SlurmRefused
from slurmbatch.model import Dependency, Hardware, SlurmOptions, Status
from slurmbatch.precedents import MOST_KEPT, Like, Precedents, like
from tests.unit.world import ALICE, BOB, World

WAIT, LASTS = 5.0, 300.0


def some(number: int = 0, n_tasks: int = 3) -> Like:
    return like("alice", None, "t", Hardware((), 1, 64 + number), SlurmOptions(), n_tasks)


class TestPrecedents:
    def test_what_was_accepted_holds_for_a_while(self) -> None:
        now = [0.0]
        kept = Precedents(lambda: now[0])
        assert not kept.has(some(), LASTS)
        kept.accepted(some())
        now[0] = LASTS - 1
        assert kept.has(some(), LASTS)
        now[0] = LASTS
        assert not kept.has(some(), LASTS)
        kept.accepted(some())
        assert kept.has(some(), LASTS)
        assert not kept.has(some(), 0.0)

    def test_it_holds_for_the_like_alone(self) -> None:
        kept, known = Precedents(), some()
        kept.accepted(known)
        for other in (
            known._replace(user_id="bob"), known._replace(uid=1000), known._replace(tool_id="u"),
            known._replace(hardware=Hardware(("scratch",), 1, 64)),
            known._replace(slurm=SlurmOptions(partition="p")),
        ):  # fmt: skip
            assert not kept.has(other, LASTS)

    def test_for_about_as_many_jobs(self) -> None:
        kept = Precedents()
        kept.accepted(some(n_tasks=1000))
        assert kept.has(some(n_tasks=600), LASTS)
        assert not kept.has(some(n_tasks=1), LASTS)
        assert not kept.has(some(n_tasks=10_000), LASTS)

    def test_until_it_is_refused_or_all_may_have_changed(self) -> None:
        kept = Precedents()
        kept.accepted(some(1))
        kept.accepted(some(2))
        kept.refused(some(1))
        kept.refused(some(3))
        assert [kept.has(some(n), LASTS) for n in (1, 2)] == [False, True]
        kept.forget()
        assert not kept.has(some(2), LASTS)

    def test_there_are_not_too_many(self) -> None:
        kept = Precedents()
        kept.accepted(some(-1))
        for number in range(MOST_KEPT + 1):
            kept.accepted(some(0))
            kept.accepted(some(number))
        assert [kept.has(some(n), LASTS) for n in (-1, 0, 1)] == [False, True, False]
        assert kept.has(some(MOST_KEPT), LASTS)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how long each POST was ready to wait; none of them does."""
    found: list[float] = []
    whole = Word.wait

    def wait(word: Word, seconds: float) -> str:
        found.append(seconds)
        return whole(word, 0.0)

    monkeypatch.setattr(Word, "wait", wait)
    return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    patient(made)
    yield made
    made.store.close()


def patient(world: World, precedent: float = LASTS) -> None:
    world.batches._rules = replace(world.batches._rules, submit_wait=WAIT, precedent=precedent)


def test_the_first_of_its_kind_waits_and_the_next_one_does_not(
    world: World, waits: list[float]
) -> None:
    world.post()
    world.post()
    world.tick()
    world.post()
    assert waits == [WAIT, WAIT, 0.0]


@pytest.mark.parametrize("other", [
    {"caller": BOB}, {"tool": "again"}, {"memory": 65}, {"n_jobs": 4}, {"time_limit": 6},
    {"filesystems": ("scratch",)},
])  # fmt: skip
def test_another_kind_waits(world: World, waits: list[float], other: dict[str, Any]) -> None:
    world.post()
    world.tick()
    world.post(**other)
    assert waits == [WAIT, WAIT]


def test_what_is_refused_waits_the_next_time(world: World, waits: list[float]) -> None:
    world.post()
    world.tick()
    refused = world.post()
    world.slurm.fail_next("submit", SlurmRefused("Invalid qos specification"))
    world.tick()
    batch = world.batch(refused)
    assert (batch.counts[Status.FAILED], batch.n_submitted) == (3, 0)
    reason = world.batches.job(ALICE, refused, f"{refused}-0").reason
    assert reason == "REFUSED: Slurm refused it: Invalid qos specification"
    world.post()
    assert waits == [WAIT, 0.0, WAIT]


def test_what_waits_for_others_is_told_of_them(world: World, waits: list[float]) -> None:
    parent = world.post()
    world.tick()
    world.post(depends_on=(Dependency(parent),))
    assert waits == [WAIT, WAIT]


def test_what_only_waits_for_room_is_none(world: World, waits: list[float]) -> None:
    world.slurm.fail_next("submit", SlurmBusy("Job submit limit"))
    world.post()
    world.tick()
    world.post()
    assert waits == [WAIT, WAIT]


def test_new_settings_and_a_new_process_know_of_none(world: World, waits: list[float]) -> None:
    world.post()
    world.tick()
    world.submitter.adopt(replace(world.submitter.handover.terms))
    world.tick()
    world.post()
    world.tick()
    world.restart()
    patient(world)
    world.post()
    assert waits == [WAIT, WAIT, WAIT]


def test_a_site_may_have_each_wait(world: World, waits: list[float]) -> None:
    patient(world, precedent=0.0)
    world.post()
    world.tick()
    world.post()
    assert waits == [WAIT, WAIT]


def test_a_part_of_a_batch_that_was_cut_is_as_good(tmp_path: Path, waits: list[float]) -> None:
    world = World(tmp_path, array_size=4)
    patient(world)
    world.post(10)
    world.tick()
    world.post(10)
    world.store.close()
    assert waits == [WAIT, 0.0]
