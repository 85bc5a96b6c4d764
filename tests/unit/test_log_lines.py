"""The log tells of each batch from its acceptance to its end, of each refusal, and of each outage
once at its start and once at its end: one grep for an id finds all of it."""

from __future__ import annotations

import re

import pytest

from slurmbatch.errors import SlurmRefused
from slurmbatch.health import Health
from slurmbatch.model import NewBatch, Retry
from slurmbatch.worker import Worker

from .world import ALICE, World

REQUEST = "req-4711"


class Log:
    """What was written since the last look, as fields."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def lines(self) -> list[dict[str, str]]:
        found = []
        for line in self._capsys.readouterr().err.splitlines():
            pairs = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)', line)
            found.append({key: value.strip('"') for key, value in pairs})
        return found

    def events(self, **fields: str) -> list[str]:
        """The sentences of the lines with these fields: what a grep finds."""
        return [
            line["event"]
            for line in self.lines()
            if all(line.get(key) == value for key, value in fields.items())
        ]


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Log:
    return Log(capsys)


def accepted(world: World, n_jobs: int = 2) -> str:
    new = NewBatch("t", variable_args=tuple({"n": n} for n in range(n_jobs)))
    return world.batches.submit(ALICE, new, request_id=REQUEST)[0].batch_id


LIFE = ["batch accepted", "array handed to Slurm, held", "array released", "batch ended"]


@pytest.mark.parametrize("by", ["batch_id", "request_id", "user"])
def test_the_life_of_a_batch_by_any_id(world: World, log: Log, by: str) -> None:
    batch_id = accepted(world)
    world.until_ended(batch_id)
    wanted = {"batch_id": batch_id, "request_id": REQUEST, "user": "alice"}[by]
    events = log.events(**{by: wanted})
    assert [each for each in events if each != "jobs changed"] == LIFE
    assert "jobs changed" in events[3:-1]


def test_what_jobs_have_become_is_told_with_slurms_number(world: World, log: Log) -> None:
    first, second = accepted(world, 3), accepted(world, 1)
    for _ in range(2):
        world.tick()
    number, other = (world.store.arrays.of_batch(each)[0].slurm_job_id for each in (first, second))
    assert number is not None
    world.slurm.start(number, 1, 2)
    log.lines()
    world.tick()
    (told,) = [line for line in log.lines() if line["event"] == "jobs changed"]
    assert (told["batch_id"], told["slurm_job"], told["running"]) == (first, str(number), "2")
    world.slurm.finish(number, 1, state="FAILED", code=1)
    world.slurm.finish(other or 0)
    told_of = {}
    for _ in range(3):
        world.tick()
        for line in log.lines():
            if line["event"] == "jobs changed":
                told_of[line["batch_id"]] = line
    assert told_of[first]["failed"] == "1"
    assert told_of[second]["succeeded"] == "1"


def test_that_nothing_has_changed_is_not_told(world: World, log: Log) -> None:
    accepted(world)
    for _ in range(4):
        world.tick()
    log.lines()
    for _ in range(4):
        world.tick()
    assert log.lines() == []


def test_who_cancels_deletes_and_retries(world: World, log: Log) -> None:
    batch_id = accepted(world)
    world.tick()
    world.batches.cancel(ALICE, batch_id, request_id="req-2")
    assert log.events(batch_id=batch_id, request_id="req-2") == ["batch cancelled"]
    world.until_ended(batch_id)
    assert "batch ended" in log.events(batch_id=batch_id)
    world.batches.retry(ALICE, batch_id, Retry(), request_id="req-3")
    assert log.events(request_id="req-3", user="alice") == ["jobs will be run again, by request"]
    world.batches.delete(ALICE, batch_id, request_id="req-4")
    for _ in range(6):
        world.tick()
        world.work()
    events = log.events(batch_id=batch_id)
    assert events[0] == "batch deleted"
    assert events[-1] == "records of a deleted batch removed"


def test_what_slurm_refuses_is_told_in_its_words(world: World, log: Log) -> None:
    world.slurm.fail_next("submit", SlurmRefused("Invalid account"))
    batch_id = accepted(world)
    world.tick()
    lines = [each for each in log.lines() if each.get("batch_id") == batch_id]
    told = [each for each in lines if "refused" in each["event"]]
    assert len(told) == 1
    assert any("Invalid account" in value for value in told[0].values())
    assert told[0]["request_id"] == REQUEST


def during(world: World, log: Log, rounds: int = 30) -> list[dict[str, str]]:
    log.lines()
    for _ in range(rounds):
        world.tick()
    return [each for each in log.lines() if each["event"] != "jobs changed"]


def test_an_outage_of_slurmctld_is_told_once_at_its_start_and_once_at_its_end(
    world: World, log: Log
) -> None:
    accepted(world)
    world.tick()
    for _ in range(2):
        world.slurm.slurmctld_down = True
        (begins,) = during(world, log)
        assert begins["event"] == "Slurm does not answer, statuses stay as they are"
        assert begins["error"]
        world.slurm.slurmctld_down = False
        (ends,) = during(world, log)
        assert ends["event"] == "Slurm answers again"
        assert float(ends["down_seconds"]) > 0


def test_and_so_is_one_of_accounting(world: World, log: Log) -> None:
    accepted(world, 1)
    world.tick()
    (array,) = world.slurm.arrays
    world.slurm.start(array.job_id)
    world.tick()
    # It has ended, and slurmctld has forgotten it, while nobody could look.
    world.slurm.finish(array.job_id, code=3, state="FAILED")
    world.slurm.advance(world.slurm.min_job_age + 10)
    world.slurm.slurmdbd_down = True
    (begins,) = during(world, log)
    assert begins["event"] == "Slurm's accounting does not answer, ends may be late"
    assert begins["error"]
    world.slurm.slurmdbd_down = False
    ends = during(world, log)
    assert [each["event"] for each in ends] == ["Slurm's accounting answers again", "batch ended"]
    assert float(ends[0]["down_seconds"]) > 0


def test_so_is_that_of_the_database_or_a_bug(log: Log) -> None:
    troubles: list[Exception | None] = [None, ValueError("x"), ValueError("x"), None, None]

    def tick(_now: float) -> None:
        trouble = troubles.pop(0)
        if trouble is not None:
            raise trouble

    worker = Worker("poller", tick, 1.0, Health())
    for now in range(5):
        worker.run_once(float(now))
    assert log.events(worker="poller") == [
        "a bug has stopped the work, it will be tried again",
        "work goes on",
    ]
