"""A dry run: everything is checked, Slurm is asked, and nothing is kept."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from slurmbatch.errors import (
    Invalid,
    RefusedBySlurm,
    SlurmBusy,
    SlurmRefused,
    SlurmUnreachable,
    Unavailable,
)
from slurmbatch.model import Dependency, Estimate, NewBatch
from slurmbatch.slurm.port import SubmitRequest

from .world import ALICE, BOB, World

ARRAY_SIZE = 4


def new(n_jobs: int = 3, **more: Any) -> NewBatch:
    return NewBatch("t", variable_args=tuple({"n": n} for n in range(n_jobs)), **more)


def asked(world: World) -> list[SubmitRequest]:
    return [what for call, what in world.slurm.log
            if call == "estimate" and isinstance(what, SubmitRequest)]  # fmt: skip


def test_slurm_says_when_and_nothing_is_kept(world: World) -> None:
    commits = world.store._db._commits
    trial = world.batches.try_out(ALICE, new(10, name="x", max_parallel=2))
    assert trial.estimate == Estimate(world.slurm.now + 60, "node1")
    assert (trial.n_arrays, trial.batch.n_jobs, trial.batch.name) == (3, 10, "x")
    assert (trial.batch.max_parallel, trial.reason) == (2, "")
    assert world.store._db._commits == commits
    assert world.store.batches.list("alice") == [] and world.slurm.arrays == []
    assert list((world.directory / "logs").iterdir()) == []


def test_of_all_arrays_the_largest_is_asked_about_as_it_would_be_submitted(world: World) -> None:
    world.batches.try_out(ALICE, new(7, canary=2))
    (tried,) = asked(world)
    world.until_ended(world.post(7, canary=2))
    same = next(each for each in world.slurm.submissions if each.n_tasks == 4)
    names = ("n_tasks", "array", "cpu", "memory", "work_dir", "options", "features", "licences")
    assert [getattr(tried, each) for each in names] == [getattr(same, each) for each in names]

    def lines(request: SubmitRequest) -> list[str]:
        return [line for line in request.script.splitlines() if not line.startswith("b=")]

    assert lines(tried) == lines(same)


def test_what_is_wrong_is_told_as_for_a_batch(world: World) -> None:
    wrong = NewBatch("nothing", depends_on=(Dependency("x", pointer="/depends_on/0"),))
    with pytest.raises(Invalid) as caught:
        world.batches.try_out(ALICE, wrong)
    assert {each.pointer for each in caught.value.faults} == {"/tool_id", "/depends_on/0"}
    hers = world.post(1, caller=BOB)
    with pytest.raises(Invalid):
        world.batches.try_out(ALICE, new(depends_on=(Dependency(hers, pointer="/depends_on/0"),)))
    assert asked(world) == []


def test_a_refusal_is_in_slurm_s_words(world: World) -> None:
    world.slurm.fail_next("estimate", SlurmRefused("Invalid qos specification"))
    with pytest.raises(RefusedBySlurm, match="Invalid qos specification"):
        world.batches.try_out(ALICE, new())


def test_a_limit_is_no_refusal(world: World) -> None:
    world.slurm.fail_next("estimate", SlurmBusy("AssocMaxSubmitJobLimit"))
    trial = world.batches.try_out(ALICE, new())
    assert trial.estimate == Estimate()
    assert trial.reason == "LIMIT: would wait for room in Slurm (AssocMaxSubmitJobLimit)"


def test_without_slurm_there_is_no_answer(world: World) -> None:
    world.slurm.slurmctld_down = True
    with pytest.raises(SlurmUnreachable):
        world.batches.try_out(ALICE, new())
    world.health.failed("slurmctld", world.slurm.now, "it is gone")
    calls = world.slurm.calls["estimate"]
    with pytest.raises(SlurmUnreachable, match="it is gone"):
        world.batches.try_out(ALICE, new())
    assert world.slurm.calls["estimate"] == calls  # known to be away, it is not waited for


def test_only_so_many_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waits for a Slurm that hangs holds a thread: others have to find one."""
    began, end = threading.Event(), threading.Event()

    def hang(request: SubmitRequest) -> Estimate:
        began.set()
        end.wait(30)
        return Estimate()

    monkeypatch.setattr(world.slurm, "estimate", hang)
    first = threading.Thread(target=world.batches.try_out, args=(ALICE, new()))
    first.start()
    try:
        assert began.wait(30)
        with pytest.raises(Unavailable, match="Other dry runs"):
            world.batches.try_out(ALICE, new())
    finally:
        end.set()
        first.join()
    assert world.batches.try_out(ALICE, new()).estimate == Estimate()
