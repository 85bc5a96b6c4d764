"""The chaos suite's rules on retry policies, on jobs that are made up: each is broken here once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from slurmbatch.store.policy import FREE_AT_MOST
from tests.chaos.attempts import matched
from tests.chaos.ledger import Again, Cancel, Policy, Posted, Wait
from tests.chaos.points import Trigger, Watched
from tests.chaos.policies import misled
from tests.chaos.rules import Case, broken
from tests.chaos.traces import Run, Trace, read_traces

GROWS = Policy(3, 2)
NODES = Policy(3, 2, node_failures=True)
SUCCEEDED, MEMORY, EXIT = "OK: ", "MEMORY: used more than it asked for", "EXIT: exit code 7"
NODE, CANCELLED = "NODE: node1 failed", "CANCELLED: cancelled by request"
# A run: when it began and ended (None: it was killed), and with how much memory.
Ran = tuple[float, float | None, int]


def trace(*runs: Ran) -> Trace:
    return Trace({
        f"tag{number}": Run(
            f"tag{number}", [start], [] if end is None else [end], [] if end is None else [0],
            {str(100 + number)}, memory,
        )
        for number, (start, end, memory) in enumerate(runs)
    })  # fmt: skip


def job(*attempts: tuple[str, int], arrays: Sequence[int] = (), stop: int = 0) -> dict[str, Any]:
    """What is told of a job with these reasons and memories, the last one its present; each ends
    ten seconds after the one before, the first at `stop`."""
    told: list[dict[str, Any]] = []
    for number, (reason, memory) in enumerate(attempts):
        array = arrays[number] if arrays else 100 + number
        kind = reason.partition(":")[0]
        minutes, seconds = divmod(stop + 10 * number, 60)
        told.append({
            "attempt": number + 1, "reason": reason, "memory": memory, "exit_code": None,
            "slurm_job_id": f"{array}_1", "hardware": {"memory": memory},
            "stop_time": f"1970-01-01T00:{minutes:02}:{seconds:02}Z",
            "slurm_state": "NODE_FAIL" if kind == "NODE" else "FAILED",
        })  # fmt: skip
    status = "SUCCEEDED" if attempts[-1][0] == SUCCEEDED else "FAILED"
    return {**told[-1], "status": status, "attempts": told[:-1]}


def posted(policy: Policy | None = GROWS, needs: int = 64, **more: Any) -> Posted:
    return Posted(
        "b", "alice", [0], [0.0], batch_id="id-b", policy=policy, needs={0: needs}, **more
    )


def retry(asked: float) -> Again:
    return Again("k", {0: "MEMORY"}, asked_at=asked, answered_at=asked + 1, is_acknowledged=True)


def by_trace(batch: Posted, *runs: Ran, told: dict[str, Any] | None = None) -> list[str]:
    case = Case(batch, [trace(*runs)], None if told is None else [told])
    return list(broken({"b": case}))


def by_word(batch: Posted, *attempts: tuple[str, int], **how: Any) -> list[str]:
    """What is wrong with what is told, whatever the traces are."""
    return list(misled(batch, 0, job(*attempts, **how), batch.retries))


KILLED = ((1.0, None, 16), (5.0, None, 32))
WHOLE = (*KILLED, (9.0, 10.0, 64))


class TestTraces:
    def test_each_run_has_more_memory_than_the_killed_one_before(self) -> None:
        assert not by_trace(posted(), *WHOLE)
        assert not by_trace(posted(Policy(3, 4)), (1.0, None, 16), (5.0, 6.0, 64))

    def test_without_a_policy_it_runs_once(self) -> None:
        assert by_trace(posted(None), *WHOLE)

    @pytest.mark.parametrize("memory", [16, 24, 64, 8])
    def test_as_much_more_as_the_policy_says(self, memory: int) -> None:
        assert by_trace(posted(), (1.0, None, 16), (5.0, 6.0, memory))

    def test_what_came_to_its_end_is_not_run_again(self) -> None:
        assert by_trace(posted(), (1.0, 2.0, 16), (5.0, 6.0, 32))

    def test_nor_what_has_had_the_most_there_is(self) -> None:
        assert by_trace(posted(Policy(5, 2)), *KILLED, (9.0, None, 64), (12.0, 13.0, 64))

    def test_no_more_often_than_it_may(self) -> None:
        assert by_trace(posted(Policy(2, 2)), *WHOLE)

    def test_a_request_between_begins_to_count_anew(self) -> None:
        runs = (*KILLED, (15.0, None, 32), (20.0, 21.0, 64))
        assert not by_trace(posted(Policy(2, 2), retries=[retry(12.0)]), *runs)
        assert by_trace(posted(Policy(2, 2)), *runs)

    def test_a_request_does_not_excuse_what_a_policy_does_too_often(self) -> None:
        assert by_trace(posted(Policy(2, 2), retries=[retry(30.0)]), *WHOLE)

    def test_as_it_was_only_where_its_node_is_told_to_have_failed(self) -> None:
        runs = ((1.0, None, 16), (5.0, 6.0, 16))
        told = job((NODE, 16), (SUCCEEDED, 16))
        assert not by_trace(posted(NODES), *runs, told=told)
        assert by_trace(posted(GROWS), *runs, told=told)
        assert by_trace(posted(NODES), *runs)
        other = job((NODE, 16), (SUCCEEDED, 16), arrays=[99, 101])
        assert by_trace(posted(NODES), *runs, told=other)

    def test_nobody_fails_for_what_is_run_again(self) -> None:
        parent = Case(
            posted(), [trace(*WHOLE)], [job(*[(MEMORY, 16), (MEMORY, 32), (SUCCEEDED, 64)])]
        )
        young = Posted("c", "alice", [0], [0.0], waits=(Wait(parent.posted, "afterok"),))
        reason = "DEPENDENCY: batch id-b, on which it depends, has failed"
        child = Case(young, [Trace()], [job((reason, 16))])
        (wrong,) = broken({"b": parent, "c": child})
        assert wrong.startswith("c-0: 'DEPENDENCY")


class TestWords:
    def test_a_job_that_needs_more_succeeds_with_it(self) -> None:
        assert not by_word(posted(), (MEMORY, 16), (MEMORY, 32), (SUCCEEDED, 64))

    def test_it_fails_only_after_its_last_attempt(self) -> None:
        assert by_word(posted(), (MEMORY, 16))
        assert by_word(posted(), (MEMORY, 16), (MEMORY, 32))
        assert not by_word(posted(Policy(2, 2)), (MEMORY, 16), (MEMORY, 32))

    def test_or_with_the_most_there_is(self) -> None:
        most = [(MEMORY, 16), (MEMORY, 64)]
        assert not by_word(posted(Policy(5, 4), needs=128), *most)
        assert by_word(posted(Policy(5, 4), needs=128), *most, (MEMORY, 128))

    def test_not_after_more_than_there_may_be(self) -> None:
        assert by_word(posted(Policy(2, 2)), (MEMORY, 16), (MEMORY, 32), (SUCCEEDED, 64))

    def test_with_as_much_more_as_the_policy_says(self) -> None:
        assert by_word(posted(), (MEMORY, 16), (SUCCEEDED, 64))
        assert by_word(posted(), (MEMORY, 32), (SUCCEEDED, 16))

    def test_not_for_what_it_has_had(self) -> None:
        assert by_word(posted(Policy(2, 2), needs=32), (MEMORY, 16), (MEMORY, 32))
        assert not by_word(posted(Policy(2, 2), needs=64), (MEMORY, 16), (MEMORY, 32))

    @pytest.mark.parametrize("reason", [EXIT, SUCCEEDED, NODE])
    def test_more_memory_is_for_those_that_ran_out_of_it(self, reason: str) -> None:
        assert by_word(posted(NODES), (reason, 16), (SUCCEEDED, 32))

    def test_what_has_failed_otherwise_is_not_run_again_unasked(self) -> None:
        assert by_word(posted(NODES), (EXIT, 16), (SUCCEEDED, 16))
        assert not by_word(posted(NODES, retries=[retry(1.0)]), (EXIT, 16), (SUCCEEDED, 16))
        none = by_word(posted(NODES, retries=[retry(1.0)]), *[(EXIT, 16)] * 2, (SUCCEEDED, 16))
        assert any("nobody has asked" in each for each in none)

    def test_a_request_begins_to_count_anew(self) -> None:
        way = [(MEMORY, 16), (MEMORY, 32), (MEMORY, 32), (SUCCEEDED, 64)]
        assert not by_word(posted(Policy(2, 2), retries=[retry(12.0)]), *way)
        assert by_word(posted(Policy(2, 2)), *way)
        ended = by_word(posted(Policy(2, 2), retries=[retry(12.0)]), *way[:-1])
        assert any("there was another one" in each for each in ended)

    def test_also_one_of_what_was_cancelled_before_slurm_had_it(self) -> None:
        way = [(MEMORY, 16), (MEMORY, 32), (SUCCEEDED, 64)]
        assert not by_word(posted(Policy(2, 2), retries=[retry(12.0)]), *way)

    def test_what_slurm_puts_back_into_its_queue_is_its_own_affair(self) -> None:
        again = [(NODE, 16), (SUCCEEDED, 16)]
        assert not by_word(posted(), *again, arrays=[100, 100])
        assert by_word(posted(), *again)

    def test_a_node_that_fails_does_not_count(self) -> None:
        way = [(NODE, 16), (MEMORY, 16), (NODE, 32), (MEMORY, 32), (SUCCEEDED, 64)]
        assert not by_word(posted(NODES), *way)
        assert by_word(posted(GROWS), *way)

    def test_but_not_for_ever(self) -> None:
        way = [(NODE, 16)] * (FREE_AT_MOST + 1)
        assert not by_word(posted(NODES), *way)
        assert by_word(posted(NODES), *way[1:])
        assert by_word(posted(NODES), *way, (SUCCEEDED, 16))

    def test_a_cancel_ends_it_for_good(self) -> None:
        way = [(MEMORY, 16), (SUCCEEDED, 32)]
        before = [Cancel(30.0, 30.5)]
        assert by_word(posted(needs=32, cancels=before), *way, stop=40)
        assert not by_word(posted(needs=32, cancels=before), *way, stop=20)
        again = posted(needs=32, cancels=before, retries=[retry(35.0)])
        assert not by_word(again, *way, stop=40)
        nodes = [(NODE, 16), (SUCCEEDED, 16)]
        assert by_word(posted(NODES, cancels=before), *nodes, stop=40)

    def test_also_where_the_last_attempt_is_not_reached(self) -> None:
        cancels = [Cancel(30.0, 30.5)]
        assert not by_word(posted(cancels=cancels), (MEMORY, 16))
        assert by_word(posted(cancels=cancels, retries=[retry(35.0)]), (MEMORY, 16))


def test_an_attempt_that_ran_out_of_memory_has_a_run() -> None:
    pairs, strays = matched(job((MEMORY, 16), (SUCCEEDED, 32)), trace((5.0, 6.0, 32)))
    assert [(told.kind, told.memory) for told, _ in pairs] == [("SUCCEEDED", 32), ("MEMORY", 16)]
    assert not strays
    pairs, strays = matched(job((MEMORY, 16), (SUCCEEDED, 32), arrays=[98, 100]), trace(*KILLED))
    assert [run.memory for _, run in pairs] == [16, 0]
    assert [run.memory for run in strays] == [32]


def test_traces_tell_of_memory() -> None:
    found = read_traces(["start b-0 1.5 100 t0 7 16", "start b-0 3.5 101 t1 7"])
    assert [run.memory for run in found["b-0"].runs] == [16, 0]
    assert "16 MiB" in str(found["b-0"].runs[0])


class Shots(Trigger):
    """Notes where it is hit."""

    def __init__(self) -> None:
        self.points: list[str] = []

    def hit(self, point: str) -> None:
        self.points.append(point)


class Transaction:
    def __init__(self, again: Sequence[int]) -> None:
        self.again = again

    def due(self, db: object) -> Sequence[int]:
        return self.again

    def apply(self, db: object, again: Sequence[int]) -> int:
        return len(again)


@pytest.mark.parametrize("again", [(), (1,)])
def test_a_policy_is_shot_at_only_where_it_runs_something_again(again: Sequence[int]) -> None:
    shots = Shots()
    watched = Watched("policy", Transaction(again), shots)
    watched.apply(None, watched.due(None))
    named = [point for point in shots.points if point != "policy.due:before"]
    points = ["policy.due:after", "policy.apply:before", "policy.apply:after"]
    assert named == (points if again else [])
