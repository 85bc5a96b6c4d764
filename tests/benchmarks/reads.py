"""The matrix of reads: every target, at each number of clients, in turns.

The machine may be busy with other things, so targets that are to be compared take turns within a
round, one right after the other, in every other round the other way round; and a ratio is the
median of the rounds' ratios.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from statistics import median

from tests.benchmarks.load import Counted, Target
from tests.benchmarks.machine import CpuWatch, load_average
from tests.benchmarks.scale import Scale

Opened = Callable[[], AbstractContextManager[Target]]


@dataclass
class Cell:
    """One target at one number of clients: a turn a round."""

    target: str
    jobs: int
    clients: int
    turns: list[Counted] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)
    load: float = 0.0

    def add(self, turn: Counted, cpu: Mapping[str, float]) -> None:
        self.turns.append(turn)
        for name, seconds in cpu.items():
            self.cpu[name] = self.cpu.get(name, 0.0) + seconds
        self.load = load_average()

    @property
    def rate(self) -> float:
        return median(turn.rate for turn in self.turns)

    def plain(self) -> dict[str, object]:
        """For the JSON: CPU seconds are for 1,000 reads, bytes for one, times are ms."""
        requests = sum(turn.requests for turn in self.turns)
        return {
            "target": self.target,
            "jobs": self.jobs,
            "clients": self.clients,
            "requests_per_second": round(self.rate, 2),
            "rounds": [round(turn.rate, 2) for turn in self.turns],
            "p50_ms": _middle(turn.p50 for turn in self.turns),
            "p99_ms": _middle(turn.p99 for turn in self.turns),
            "bytes": round(sum(turn.size for turn in self.turns) / requests) if requests else None,
            "cpu_seconds_per_1000": {
                name: round(seconds * 1000 / requests, 3) for name, seconds in self.cpu.items()
            } if requests else {},
            "requests": requests,
            "errors": sum(turn.errors for turn in self.turns),
            "load_average": self.load,
        }  # fmt: skip


class Cells:
    """All that was measured, to be asked for by name."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, int, int], Cell] = {}

    def cell(self, target: str, jobs: int, clients: int) -> Cell:
        return self._cells.setdefault((target, jobs, clients), Cell(target, jobs, clients))

    def has(self, target: str, jobs: int, clients: int) -> bool:
        return (target, jobs, clients) in self._cells

    def ratio(self, mine: tuple[str, int], other: tuple[str, int], clients: int) -> float | None:
        """How many times as many requests the first answers; rounds are compared one by one."""
        if not (self.has(*mine, clients) and self.has(*other, clients)):
            return None
        ours, theirs = self.cell(*mine, clients), self.cell(*other, clients)
        if len(ours.turns) == len(theirs.turns):
            pairs = zip(ours.turns, theirs.turns, strict=True)
            return median(one.rate / _at_most(two) for one, two in pairs)
        return ours.rate / _at_most(*theirs.turns)

    def plain(self) -> list[dict[str, object]]:
        return [cell.plain() for cell in self._cells.values()]


@dataclass(frozen=True, slots=True)
class Row:
    """A target of the matrix, and how many jobs what it reads has."""

    target: Target
    jobs: int


def in_turns(
    cells: Cells, rows: Sequence[Row], clients: Sequence[int], rounds: int, seconds: float,
    watched: Mapping[str, int],
) -> None:  # fmt: skip
    """Fast targets: each has its turn in each round. Those to be compared stand side by side; what
    comes later has no advantage or drawback of it, since the order is turned round and round. What
    a process does with its first requests only is not counted."""
    for row in rows:
        row.target.run(clients[0], seconds)
    for number in clients:
        for count in range(rounds):
            for row in rows[:: -1 if count % 2 else 1]:
                watch = CpuWatch({**row.target.pids, **watched})
                turn = row.target.run(number, seconds)
                cells.cell(row.target.name, row.jobs, number).add(turn, watch.used())


def slow(cells: Cells, jobs: int, opened: Opened, scale: Scale, watched: Mapping[str, int]) -> None:
    """A target whose one answer takes long: one turn each, longer where answers are rare."""
    for number in scale.slow_clients:
        with opened() as target:
            watch = CpuWatch({**target.pids, **watched})
            turn = target.run(number, scale.slow_seconds, scale.slow_most)
            cells.cell(target.name, jobs, number).add(turn, watch.used())
        time.sleep(0.5)


def _at_most(*turns: Counted) -> float:
    """Answers a second. Where none came in the whole turn: less than one in it."""
    return median(max(turn.requests, 1) / turn.seconds for turn in turns)


def _middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known), 3) if known else None
