"""`slurmbatch admin batches, cancel, drain, resume, trace`, on a real database."""

from __future__ import annotations

import json

import pytest

from slurmbatch.errors import NotFound, Unavailable
from slurmbatch.model import NewBatch, Retry, Status

from .world import ALICE, BOB, World


class TestBatches:
    def test_those_of_all_users_that_have_not_ended(self, world: World) -> None:
        ended = world.post(1)
        world.until_ended(ended)
        mine, theirs = world.post(2), world.post(3, caller=BOB)
        told = json.loads(world.admin("batches", "--json").stdout)
        assert [each["batch_id"] for each in told] == [theirs, mine]
        assert told[0]["jobs"] == {"SUBMITTED": 3}
        lines = world.admin("batches", "--user", "alice", "--all").stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["BATCH", mine, ended]
        assert len(world.admin("batches", "--all", "--limit", "1").stdout.splitlines()) == 2
        assert world.admin("batches", "--user", "nobody").stderr == "No batches.\n"


class TestCancel:
    def test_all_of_a_users(self, world: World) -> None:
        first, second, theirs = world.post(1), world.post(1), world.post(1, caller=BOB)
        assert world.admin("cancel", "--user", "alice").stdout.startswith("2 batches")
        world.until_ended(first, second)
        for batch_id in (first, second):
            assert world.batch(batch_id).counts[Status.FAILED] == 1
        assert world.batch(theirs, BOB).counts[Status.FAILED] == 0

    def test_some_of_a_users_and_no_others(self, world: World) -> None:
        mine, other, theirs = world.post(1), world.post(1), world.post(1, caller=BOB)
        done = world.admin("cancel", "--user", "alice", mine, theirs)
        assert done.exit_code == 1
        assert f"alice has no batch {theirs}" in done.stderr
        assert world.batch(mine).cancelled_at is not None
        assert world.batch(other).cancelled_at is None
        assert world.batch(theirs, BOB).cancelled_at is None


class TestDrain:
    def test_what_has_failed_is_not_run_again_by_request(self, world: World) -> None:
        failed = world.post(1)
        world.tick()
        (array,) = world.store.arrays.of_batch(failed)
        world.slurm.finish(array.slurm_job_id or 0, state="FAILED", code=3)
        for _ in range(2):
            world.tick()
        assert world.counts(failed) == {Status.FAILED: 1}
        assert world.batches.retry(ALICE, failed, Retry(), idempotency_key="r").counts
        world.admin("drain", "--why", "the cluster moves")
        with pytest.raises(Unavailable, match=r"since 20.*Z: the cluster moves"):
            world.batches.retry(ALICE, failed, Retry())
        # A request that was answered, and comes again, is answered as before.
        assert world.batches.retry(ALICE, failed, Retry(), idempotency_key="r").batch_id == failed
        with pytest.raises(NotFound):
            world.batches.retry(BOB, failed, Retry())

    def test_nothing_new_is_accepted_until_it_is_resumed(self, world: World) -> None:
        before = world.post(1, key="k")
        assert world.admin("drain", "--why", "the cluster moves").exit_code == 0
        with pytest.raises(Unavailable, match=r"since 20.*Z: the cluster moves"):
            world.post(1)
        # What was accepted is, and goes on; the same request again is answered as ever.
        assert world.post(1, key="k") == before
        world.until_ended(before)
        world.restart()
        with pytest.raises(Unavailable):
            world.post(1)
        assert world.admin("resume").stdout == "New batches are accepted.\n"
        assert world.admin("resume").stdout == "New batches were accepted already.\n"
        world.post(1)


class TestTrace:
    def test_from_any_id_to_the_whole_story(self, world: World) -> None:
        other = world.post(1)
        batch_id = submit(world, "req-77")
        world.until_ended(batch_id, other)
        (array,) = world.store.arrays.of_batch(batch_id)
        for text in (batch_id, f"{batch_id}-1", f"{batch_id}-1.log", "req-77", array.tag,
                     str(array.slurm_job_id), f"{array.slurm_job_id}_2"):  # fmt: skip
            (story,) = json.loads(world.admin("trace", text, "--json").stdout)
            assert story["batch"]["batch_id"] == batch_id, text
            assert story["batch"]["request_id"] == "req-77"
            assert story["arrays"][0]["slurm_job_id"] == array.slurm_job_id
            if "-1" in text[len(batch_id) :] or text.endswith("_2"):
                assert story["job"]["idx"] == 1
                assert story["job"]["status"] == "SUCCEEDED"
        told = world.admin("trace", f"{array.slurm_job_id}_2").stdout
        for word in (batch_id, "of alice", "request req-77", array.tag, "SUCCEEDED", "finished"):
            assert word in told

    def test_a_deleted_one_as_long_as_its_records_are_there(self, world: World) -> None:
        batch_id = world.post(1)
        world.batches.delete(ALICE, batch_id)
        assert "deleted" in world.admin("trace", batch_id).stdout
        world.tick()
        gone = world.admin("trace", batch_id)
        assert gone.exit_code == 1
        assert f"Nothing goes by {batch_id}" in gone.stderr

    @pytest.mark.parametrize("text", ["12", "12_3", "sb-x", "whatever", "1-2"])
    def test_what_goes_by_no_id_of_ours(self, world: World, text: str) -> None:
        assert world.admin("trace", text).exit_code == 1


def submit(world: World, request_id: str) -> str:
    new = NewBatch("t", variable_args=({"n": 0}, {"n": 1}))
    return world.batches.submit(ALICE, new, request_id=request_id)[0].batch_id
