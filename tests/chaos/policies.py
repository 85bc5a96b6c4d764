"""What a retry policy makes of a job: by what its runs have left, and by what is told of them.

A policy gives more memory than before, and a request gives the same; so the one is known from the
other by the memory that the next run has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from slurmbatch.store.policy import FREE_AT_MOST
from tests.chaos.attempts import Told, every
from tests.chaos.ledger import NEVER, Again, Policy, Posted
from tests.chaos.traces import Run

_OF_THE_NODE = frozenset({("NODE", "NODE_FAIL"), ("NODE", "BOOT_FAIL"), ("PREEMPTED", "PREEMPTED")})


def _is_of_the_node(told: Told) -> bool:
    return (told.kind, told.slurm_state) in _OF_THE_NODE


def had_more(policy: Policy | None, before: Run, after: Run) -> bool:
    """Whether a policy has led from one run to the next: the first did not get to its end, and the
    next has as much more memory as the policy says."""
    if policy is None or before.is_whole:
        return False
    return before.memory < after.memory == policy.more_than(before.memory)


def failed_with_its_node(posted: Posted, job: Mapping[str, Any] | None, run: Run) -> bool:
    """Whether the policy lets it run again for that, and it is told so."""
    if posted.policy is None or not posted.policy.node_failures or job is None:
        return False
    return any(_is_of_the_node(each) and each.slurm_array in run.ids for each in every(job)[:-1])


def misled(
    posted: Posted, index: int, job: Mapping[str, Any], retries: Sequence[Again]
) -> Iterator[str]:
    """What in a job's attempts is not as its policy has it."""
    assert posted.policy is not None
    asked = [each for each in retries if each.selects(index)]
    way = _Way(posted, posted.policy, asked, len(asked))
    steps = every(job)
    for step in steps:
        if step.kind == "MEMORY" and posted.needs.get(index, 0) <= step.memory:
            yield f"{step}: has had as much as it needs"
    for before, after in pairwise(steps):
        wrong = way.go(before, after)
        if wrong:
            yield f"{before}, then {after}: {wrong}"
    wrong = way.end(steps[-1])
    if wrong:
        yield f"{steps[-1]}: {wrong}"


@dataclass
class _Way:
    """How far a job has come. `requests`: those that no attempt has been found of yet. One that was
    cancelled before Slurm had it leaves none, but its next one begins to count anew."""

    posted: Posted
    policy: Policy
    asked: Sequence[Again]
    requests: int
    counted: int = 0
    free: int = 0

    def go(self, before: Told, after: Told) -> str:
        """From one attempt to the next; gives what is wrong with that, if anything."""
        if after.memory != before.memory:
            return self._more(before, after)
        if after.slurm_array == before.slurm_array:
            return ""  # Slurm itself has put it back into its queue
        if self._begins_anew():
            return ""
        if not self.policy.node_failures or not _is_of_the_node(before):
            return "nobody has asked for it"
        self.free += 1
        if self.free > FREE_AT_MOST:
            return f"run again more than {FREE_AT_MOST} times for its node"
        return self._after_a_cancel(before)

    def end(self, last: Told) -> str:
        """Whether it may have ended there."""
        if self._may_be_cancelled():
            return ""
        if last.kind == "MEMORY" and self.counted + 1 < self.policy.max_attempts\
                and self.policy.more_than(last.memory) > last.memory:  # fmt: skip
            return f"there was another one, with {self.policy.more_than(last.memory)} MiB"
        if _is_of_the_node(last) and self.policy.node_failures and self.free < FREE_AT_MOST:
            return "its node has failed, and it was not run again"
        return ""

    def _more(self, before: Told, after: Told) -> str:
        more = self.policy.more_than(before.memory)
        if before.kind != "MEMORY":
            return "has more memory, and had not run out of it"
        if after.memory != more:
            return f"has not the {more} MiB that it should have"
        self.counted += 1
        if self.counted >= self.policy.max_attempts and not self._begins_anew():
            return f"more attempts than {self.policy.max_attempts}"
        return self._after_a_cancel(before)

    def _begins_anew(self) -> bool:
        if not self.requests:
            return False
        self.requests -= 1
        self.counted = self.free = 0
        return True

    def _after_a_cancel(self, before: Told) -> str:
        """What ended when the cancel was answered is not run again, but by request. Of what has no
        end that is told nothing is known."""
        if before.stop == NEVER:
            return ""
        for cancel in self.posted.cancels:
            is_void = any(cancel.asked_at <= each.asked_at <= before.stop + 1
                          for each in self.asked)  # fmt: skip
            if cancel.done_at < before.stop and not is_void:
                return "its batch was cancelled before that"
        return ""

    def _may_be_cancelled(self) -> bool:
        """Whether a cancel may have come before the end was seen: no retry has come after it."""
        last = max((each.asked_at for each in self.asked), default=-NEVER)
        return any(each.asked_at > last for each in self.posted.cancels)
