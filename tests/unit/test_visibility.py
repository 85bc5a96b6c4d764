"""Tools and filesystems that are there for some Unix groups only."""

from __future__ import annotations

import grp
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from slurmbatch.accounts import Groups
from slurmbatch.batches import Batches, Rules
from slurmbatch.batches.resolve import Offer
from slurmbatch.errors import AccountsUnreachable, Conflict, Invalid, NotFound
from slurmbatch.model import Filesystem, NewBatch, Retry, Status
from slurmbatch.submitter import Terms

from .world import ALICE, BOB, TOOL, World

GROUP = next(each for each in grp.getgrall() if each.gr_gid)
TOOLS = {"t": TOOL, "secret": replace(TOOL, id="secret", groups=(GROUP.gr_name,))}
PLACES = {
    "scratch": Filesystem("scratch", "/scratch", feature="scratch"),
    "vault": Filesystem("vault", "/vault", feature="vault", groups=(GROUP.gr_name,)),
}


class Members:
    """Who is in the group, or that nobody can tell."""

    def __init__(self) -> None:
        self.names = {"alice"}
        self.down = False

    def __call__(self, name: str) -> frozenset[int]:
        if self.down:
            raise AccountsUnreachable("Accounts cannot be looked up just now (down).")
        return frozenset({GROUP.gr_gid} if name in self.names else ())


@pytest.fixture
def members() -> Members:
    return Members()


@pytest.fixture
def world(tmp_path: Path, members: Members) -> Iterator[World]:
    made = World(tmp_path)
    groups = Groups(kept=0.0, groups_of=members)
    rules = Rules(tmp_path / "logs", tmp_path, 262_144, None, submit_wait=0.0)
    offer = Offer(TOOLS, PLACES, 10_000, 65_536)
    made.batches = Batches(
        made.store, offer, rules, made.doorbell, made.health, lambda: made.slurm.now, groups=groups
    )
    made.submitter.adopt(
        Terms(TOOLS, PLACES, tmp_path / "logs", tmp_path, groups=groups, longest_backoff=2.0)
    )
    yield made
    made.store.close()


def faults(world: World, **changes: object) -> list[tuple[str, str]]:
    """What Bob is told of such a batch."""
    new = NewBatch(**{"tool_id": "t", "variable_args": ({},), **changes})  # type: ignore[arg-type]
    with pytest.raises(Invalid) as refusal:
        world.batches.submit(BOB, new)
    return [(fault.pointer, fault.detail) for fault in refusal.value.faults]


def test_lists_leave_out_what_one_may_not_use(world: World) -> None:
    assert [each.id for each in world.batches.tools(ALICE)] == ["t", "secret"]
    assert [each.id for each in world.batches.filesystems(ALICE)] == ["scratch", "vault"]
    assert [each.id for each in world.batches.tools(BOB)] == ["t"]
    assert [each.id for each in world.batches.filesystems(BOB)] == ["scratch"]


def test_it_is_answered_as_if_it_were_not_there(world: World) -> None:
    assert world.batches.tool(ALICE, "secret").id == "secret"
    for name in ("secret", "no-such-tool"):
        with pytest.raises(NotFound) as refusal:
            world.batches.tool(BOB, name)
        assert refusal.value.detail == NotFound.__doc__
    assert faults(world, tool_id="secret") == faults(world, tool_id="no-such-tool")
    hidden = faults(world, filesystems=("vault",))
    assert hidden == faults(world, filesystems=("no-such-place",))
    assert "vault" not in str(hidden)
    assert "secret" not in str(faults(world, tool_id="secret"))
    assert world.batches.list(BOB) == ([], None)


def test_who_is_in_the_group_may_use_both(world: World) -> None:
    batch, _ = world.batches.submit(ALICE, NewBatch("secret", filesystems=("vault",),
                                                    variable_args=({},)))  # fmt: skip
    world.tick()
    assert world.slurm.arrays[-1].request.features == ("vault",)
    assert world.store.batches.get("alice", batch.batch_id) is not None


def test_who_has_left_the_group_since_has_none_of_it(world: World, members: Members) -> None:
    batch, _ = world.batches.submit(ALICE, NewBatch("secret", variable_args=({},)))
    members.names.clear()
    world.tick()
    job = world.job(batch.batch_id)
    assert job.status is Status.FAILED
    assert "no longer offered" in job.reason
    assert not world.slurm.arrays
    with pytest.raises(Conflict, match="no longer offered"):
        world.batches.retry(ALICE, batch.batch_id, Retry())


def test_while_nobody_can_tell_what_waits_is_kept(world: World, members: Members) -> None:
    batch, _ = world.batches.submit(ALICE, NewBatch("secret", variable_args=({},)))
    other, _ = world.batches.submit(BOB, NewBatch("t", variable_args=({},)))
    members.down = True
    world.tick()
    assert world.job(batch.batch_id).reason.startswith("WAITING: Accounts cannot be looked up")
    # Nobody else waits with it.
    assert len(world.slurm.arrays) == 1
    assert world.store.batches.get("bob", other.batch_id) is not None
    with pytest.raises(AccountsUnreachable):
        world.batches.tools(ALICE)
    members.down = False
    for _ in range(5):
        world.tick()
    assert len(world.slurm.arrays) == 2
