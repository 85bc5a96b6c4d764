"""What a batch says of its jobs as a whole: why they wait or have failed, what they used beside
what they asked for, and when the last of them may end. Pure.

It is put together when something changes, not when somebody looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slurmbatch.model import Hardware, Status, job_id

# More than this share of what was asked for is not too much.
_ENOUGH, _SPARE = 0.75, 1.25
_LITTLE_TO_SPARE = 0.95
# Neighbouring values of a distribution lie this far apart: 2 percent.
_STEP = math.log(1.02)


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs of one status and reason. `node`: the one where most of them failed, `n_on_node` of
    them, out of `n_nodes`; `example`: the index of one that failed, on that node."""

    status: Status
    reason: str
    n_jobs: int
    node: str = ""
    n_on_node: int = 0
    n_nodes: int = 0
    example: int | None = None

    @property
    def kind(self) -> str:
        return self.reason.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Bucket:
    """So many values that lie close together, and the largest of them."""

    n: int
    most: float


Spread = Sequence[Bucket]  # in order


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to say it from. `spreads`: of the jobs that succeeded, MiB, CPUs and seconds.
    `n_ran` jobs have run to an end, in `ran_seconds` together; `running` run, and the last one to
    start did so at `last_start`. `time_limit` is minutes."""

    batch_id: str
    n_jobs: int
    hardware: Hardware
    time_limit: int | None
    groups: Sequence[Group] = ()
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    n_ended: int = 0
    n_running: int = 0
    n_ran: int = 0
    ran_seconds: float = 0.0
    last_start: float | None = None


def bucket(value: float) -> int:
    """Which values are counted together."""
    return math.floor(math.log(max(value, 1e-3)) / _STEP)


def document(facts: Facts, now: float | None = None) -> dict[str, Any]:
    """`reasons`, `usage` and `expected_end` (seconds since the epoch, or None)."""
    return {
        "reasons": [_reason(facts, each) for each in facts.groups],
        "usage": _usage(facts),
        "expected_end": expected_end(facts, now),
    }


# --- why jobs wait or have failed -----------------------------------------------------------------


def _reason(facts: Facts, group: Group) -> dict[str, Any]:
    example = group.example
    return {
        "text": told(facts.n_jobs, group),
        "status": group.status.value,
        "reason": group.reason,
        "n_jobs": group.n_jobs,
        "node": group.node if group.n_on_node == group.n_jobs else "",
        "job_id": "" if example is None else job_id(facts.batch_id, example),
    }


def told(n_jobs: int, group: Group) -> str:
    """`37 of 40 jobs failed on n12: ended with exit code 1 (FAILED)`."""
    many = f"{group.n_jobs} of {n_jobs} job{'' if n_jobs == 1 else 's'}"
    kind, _, sentence = group.reason.partition(": ")
    words = sentence or kind
    if group.status is not Status.FAILED:
        each = "" if group.status is Status.SUBMITTED else "each "
        return f"{many} wait{'s' if group.n_jobs == 1 else ''}: {each}{words}"
    return f"{many} failed{_where(group)}: {words}{_mostly(group)}"


def _where(group: Group) -> str:
    # A node that failed is in the sentence already.
    alone = group.node and group.n_on_node == group.n_jobs and group.node not in group.reason
    return f" on {group.node}" if alone else ""


def _mostly(group: Group) -> str:
    if group.n_nodes < 2 or group.n_on_node * 2 < group.n_jobs:
        return ""
    return f"; {group.n_on_node} of them on {group.node}"


# --- asked for and used ---------------------------------------------------------------------------


def _usage(facts: Facts) -> dict[str, Any]:
    limit = None if facts.time_limit is None else facts.time_limit * 60
    asked = {"memory": facts.hardware.memory, "cpu": facts.hardware.cpu, "time": limit}
    return {
        "n_jobs": sum(each.n for each in facts.spreads.get("time", ())),
        **{kind: _spread(much, facts.spreads.get(kind, ())) for kind, much in asked.items()},
        "suggestions": [each for each in (_memory(facts), _cpu(facts), _time(facts)) if each],
    }


def _spread(asked: int | None, spread: Spread) -> dict[str, float | int | None]:
    return {"asked": asked, "p50": _percentile(spread, 50), "p95": _percentile(spread, 95),
            "max": _percentile(spread, 100)}  # fmt: skip


def _percentile(spread: Spread, percent: int) -> float | None:
    """The smallest value that so many percent of all do not exceed, as far as it is known."""
    left = math.ceil(sum(each.n for each in spread) * percent / 100)
    for each in spread:
        left -= each.n
        if left <= 0:
            return each.most
    return None


def _memory(facts: Facts) -> str:
    asked, most = facts.hardware.memory, _percentile(facts.spreads.get("memory", ()), 100)
    killed = _failed(facts.groups, "MEMORY")
    if killed:
        return f"{_jobs(killed)} needed more memory than the {asked} MiB asked for: ask for more."
    if most is None:
        return ""
    enough = _rounded_up(most * _SPARE)
    if enough <= asked * _ENOUGH:
        return f"At most {most:g} of the {asked} MiB asked for were used: {enough} MiB would do."
    if most >= asked * _LITTLE_TO_SPARE:
        return f"Up to {most:g} of the {asked} MiB asked for were used: there is little to spare."
    return ""


def _cpu(facts: Facts) -> str:
    asked, most = facts.hardware.cpu, _percentile(facts.spreads.get("cpu", ()), 100)
    if most is None:
        return ""
    enough = max(1, math.ceil(most - 0.1))
    if enough >= asked:
        return ""
    return f"At most {most:g} of the {asked} CPUs asked for were busy: {enough} would do."


def _time(facts: Facts) -> str:
    asked, most = facts.time_limit, _percentile(facts.spreads.get("time", ()), 100)
    cut = _failed(facts.groups, "TIMEOUT")
    if cut:
        return f"{_jobs(cut)} ran into the time limit: ask for more time."
    if most is None:
        return ""
    enough = max(1, _rounded_up(most * _SPARE / 60))
    took = "1 second" if round(most) == 1 else f"{most:.0f} seconds"
    if asked is None:
        return (f"No time limit was asked for, and {took} were enough: with one of {enough} min"
                " they may start sooner.")  # fmt: skip
    if enough <= asked * _ENOUGH:
        return (f"At most {took} of the {asked} min asked for were needed: {enough} min would do,"
                " and shorter jobs mostly start sooner.")  # fmt: skip
    return ""


def _failed(groups: Iterable[Group], kind: str) -> int:
    return sum(each.n_jobs for each in groups
               if each.status is Status.FAILED and each.kind == kind)  # fmt: skip


def _jobs(n: int) -> str:
    return "1 job" if n == 1 else f"{n} jobs"


def _rounded_up(value: float) -> int:
    """To two digits that are no zeros."""
    unit = 10 ** max(0, math.floor(math.log10(max(value, 1.0))) - 1)
    return int(math.ceil(value / unit) * unit)


# --- the end --------------------------------------------------------------------------------------


def expected_end(facts: Facts, now: float | None = None) -> float | None:
    """If what waits takes its turn as what runs ends, and each takes as long as those before did.
    None: nothing to tell it from, or all is over."""
    waiting = facts.n_jobs - facts.n_ended - facts.n_running
    if not facts.n_running or not facts.n_ran or facts.last_start is None:
        return None
    mean = facts.ran_seconds / facts.n_ran
    end = facts.last_start + mean * (1 + waiting / facts.n_running)
    return end if now is None else max(end, now)
