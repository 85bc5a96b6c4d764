"""What the jobs of a run have left themselves: when each of their runs began and ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.chaos.ledger import NEVER


@dataclass
class Run:
    """One job under one array's name: times of its starts and ends, with which codes it ended, and
    as which of Slurm's arrays and with how much memory (MiB; 0: not noted) it ran. All is well
    where there is one of each."""

    tag: str = ""
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    memory: int = 0

    @property
    def begins(self) -> float:
        return min(self.starts, default=NEVER)

    @property
    def is_whole(self) -> bool:
        return bool(self.starts) and len(self.ends) == len(self.starts)

    def __str__(self) -> str:
        memory = f", {self.memory} MiB" if self.memory else ""
        ran = f"{len(self.starts)} starts, {len(self.ends)} ends"
        return f"{ran} as {self.tag} {sorted(self.ids)}{memory}"


@dataclass
class Trace:
    """The runs of one job, by the name of the array: each run again has one of its own."""

    by_tag: dict[str, Run] = field(default_factory=dict)

    @property
    def runs(self) -> list[Run]:
        return sorted(self.by_tag.values(), key=lambda run: run.begins)

    @property
    def starts(self) -> list[float]:
        return [start for run in self.runs for start in run.starts]

    @property
    def succeeded_at(self) -> float:
        """When it first ended with 0; NEVER if it has not."""
        return min((end for run in self.by_tag.values()
                    for end, code in zip(run.ends, run.codes, strict=True) if code == 0),
                   default=NEVER)  # fmt: skip


def read_traces(lines: Iterable[str]) -> dict[str, Trace]:
    traces: dict[str, Trace] = defaultdict(Trace)
    for line in lines:
        what, label, at, array_id, tag, code, *memory = line.split()
        run = traces[label].by_tag.setdefault(tag, Run(tag))
        run.ids.add(array_id)
        run.memory = int(memory[0]) if memory else 0
        if what == "start":
            run.starts.append(float(at))
        else:
            run.ends.append(float(at))
            run.codes.append(int(code))
    return traces
