"""What a new batch means, and every mistake in it told at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slurmbatch.batches.resolve import Offer, resolve
from slurmbatch.errors import Fault
from slurmbatch.model import (
    Filesystem,
    Hardware,
    HardwareLimits,
    NewBatch,
    Parameter,
    SlurmLimits,
    SlurmOptions,
    Tool,
)

TOOL = Tool(
    id="t",
    description="",
    script="#!/bin/sh\n",
    parameters=(Parameter("n", "integer", required=True), Parameter("k", "integer", default=7)),
    hardware=HardwareLimits(cpu=1, filesystems=("scratch",), max_cpu=8, max_memory=1000),
    slurm=SlurmLimits(
        default=SlurmOptions(time_limit=10, partition="main"),
        partitions=("short",),
        accounts=(),
        max_time_limit=60,
        max_gpus=2,
    ),
)
OFFER = Offer(
    tools={"t": TOOL},
    filesystems={
        name: Filesystem(name, f"/{name}", feature=name) for name in ("scratch", "project")
    },
    max_jobs=5,
    max_args_bytes=1000,
)
GOOD = NewBatch("t", fixed_args={"n": 1}, memory=100)


def faults(new: NewBatch, known: tuple[str, ...] = ()) -> dict[str, str]:
    resolved, found = resolve(new, OFFER, known)
    assert (resolved is None) == bool(found or known)
    return {fault.pointer: fault.detail for fault in found}


def test_defaults_are_filled_in() -> None:
    resolved, found = resolve(GOOD, OFFER)
    assert found == []
    assert resolved is not None
    assert resolved.hardware == Hardware(("scratch",), 1, 100)
    assert resolved.slurm == SlurmOptions(10, "main")
    assert resolved.fixed_args == {"n": 1, "k": 7}
    assert list(resolved.variable_args) == [{}]


def test_what_is_asked_for_wins() -> None:
    asked = NewBatch(
        "t", fixed_args={"n": 1}, filesystems=("project", "project"), cpu=2, memory=5,
        time_limit=60, partition="short", gpus=2, variable_args=({"k": 1}, {"k": 2}),
    )  # fmt: skip
    resolved, _ = resolve(asked, OFFER)
    assert resolved is not None
    assert resolved.hardware == Hardware(("project",), 2, 5)
    assert resolved.slurm == SlurmOptions(60, "short", gpus=2)


def test_no_filesystem_can_be_asked_for() -> None:
    resolved, _ = resolve(NewBatch("t", fixed_args={"n": 1}, memory=1, filesystems=()), OFFER)
    assert resolved is not None
    assert resolved.hardware.filesystems == ()


@pytest.mark.parametrize(
    ("new", "pointer", "words"),
    [
        (NewBatch("nope"), "/tool_id", "there are: t"),
        (NewBatch(None), "/tool_id", "there are: t"),
        (NewBatch("t", fixed_args={"n": 1}), "/hardware/memory", "no default"),
        (NewBatch("t", fixed_args={"n": 1}, memory=1001), "/hardware/memory", "at most 1000"),
        (NewBatch("t", fixed_args={"n": 1}, memory=1, cpu=9), "/hardware/cpu", "at most 8"),
        (NewBatch("t", memory=1), "/fixed_args/n", "required"),
        (NewBatch("t", fixed_args={"n": 1}, memory=1, time_limit=61), "/slurm/time_limit", "60"),
        (NewBatch("t", fixed_args={"n": 1}, memory=1, gpus=3), "/slurm/gpus", "at most 2"),
        (NewBatch("t", fixed_args={"n": 1}, memory=1, partition="x"), "/slurm/partition",
         "main, short"),
        (NewBatch("t", fixed_args={"n": 1}, memory=1, account="x"), "/slurm/account", "none"),
        (NewBatch("t", fixed_args={"n": 1}, memory=1, filesystems=("scratch", "tape")),
         "/hardware/filesystems/1", "project, scratch"),
        (NewBatch("t", fixed_args={"n": 1}, memory=1, variable_args=({},) * 6), "/variable_args",
         "at most 5"),
    ],
)  # fmt: skip
def test_each_mistake_names_its_field_and_what_was_expected(
    new: NewBatch, pointer: str, words: str
) -> None:
    found = faults(new)
    assert list(found) == [pointer]
    assert words in found[pointer]


@pytest.mark.parametrize("name", ["--uid=0", "*", "a b", "a;b", "$(id)", "-", "a,,b", "\u202ea"])
def test_where_any_is_allowed_it_still_has_to_be_a_name(name: str) -> None:
    anything = replace(TOOL, slurm=SlurmLimits(partitions=("*",)))
    offer = replace(OFFER, tools={"t": anything})
    new = NewBatch("t", fixed_args={"n": 1}, memory=1)
    for good in ("main", "gpu-a.2", "short,long", "a@b"):
        assert resolve(replace(new, partition=good), offer)[1] == []
    (fault,) = resolve(replace(new, partition=name), offer)[1]
    assert fault.pointer == "/slurm/partition"


def test_all_mistakes_at_once() -> None:
    new = NewBatch("t", fixed_args={"n": "x"}, cpu=9, gpus=9, filesystems=("tape",))
    assert set(faults(new)) == {
        "/fixed_args/n", "/hardware/cpu", "/hardware/memory", "/slurm/gpus",
        "/hardware/filesystems/0",
    }  # fmt: skip


def test_a_field_whose_shape_is_wrong_is_not_named_twice() -> None:
    new = NewBatch("t", fixed_args={"n": 1})
    assert faults(new, known=("/hardware/memory",)) == {}
    assert faults(new, known=("/hardware",)) == {}
    assert "/hardware/memory" in faults(new, known=("/hard",))


def test_jobs_are_counted_before_their_arguments_are_looked_at() -> None:
    class Counted(tuple):  # type: ignore[type-arg]
        def __iter__(self):  # type: ignore[no-untyped-def]
            raise AssertionError("looked at")

    new = NewBatch("t", fixed_args={"n": 1}, memory=1, variable_args=Counted(({},) * 6))
    _, found = resolve(new, OFFER)
    assert found == [Fault("/variable_args", "Expected at most 5 jobs in one batch.")]
