"""What a look of the poller's costs, with many live tasks of which few have changed."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slurmbatch import journal
from slurmbatch.doorbell import Doorbell
from slurmbatch.health import Health
from slurmbatch.model import (
    ArraySpec,
    Estimate,
    JobChange,
    JobReport,
    JobUsage,
    SlurmFacts,
    Submission,
)
from slurmbatch.poller import Poller
from slurmbatch.poller.sources import Sources
from slurmbatch.slurm import parse
from slurmbatch.slurm.port import SubmitRequest
from slurmbatch.store import open_store
from slurmbatch.store.arrays import Arrays
from slurmbatch.store.changes import Applied
from tests.benchmarks.machine import load_average
from tests.benchmarks.stored import ARRAY, add_batch

_NONCE = "0123456789abcdef"
_CHANGED = 1_000


@dataclass
class TextSlurm:
    """Answers with squeue's text, taken apart as the commands do; `over` holds who has ended, as
    (array, task)."""

    arrays: Sequence[ArraySpec]
    over: set[tuple[int, int]] = field(default_factory=set)
    asked: int = 0
    began: str = field(default_factory=lambda: str(int(time.time()) - 60))
    _text: str = ""
    _rows: dict[str, JobReport] = field(default_factory=dict)

    def show(self) -> None:
        """Writes the text anew, so that doing so is no part of a tick."""
        self._text = "\n".join(
            self._row(array, task, self.began)
            for array in self.arrays
            for task in range(1, array.n_tasks + 1)
        )

    def _row(self, array: ArraySpec, task: int, began: str) -> str:
        over = (array.pk, task) in self.over
        fields = (
            str(array.slurm_job_id), str(task), "COMPLETED" if over else "RUNNING", "None", "0",
            began, began, began, str(int(began) + 50) if over else "N/A", "node1", "0", "0",
            "4294901000", array.tag,
        )  # fmt: skip
        return "".join(f"{each}|{_NONCE}|" for each in fields)

    def live(self) -> list[JobReport]:
        self.asked += 1
        self._rows = parse.live_by_line(self._text, _NONCE, self._rows)
        return list(self._rows.values())

    def ended(self, slurm_job_ids: Collection[int]) -> list[JobReport]:
        self.asked += bool(slurm_job_ids)
        return []

    def usage(self, tasks: Collection[tuple[int, int]]) -> list[JobUsage]:
        self.asked += bool(tasks)
        return []

    def facts(self) -> SlurmFacts:
        return SlurmFacts("22.05.8", 1001, 200_000, 300, "2026-01-01T00:00:00")

    def submit(self, request: SubmitRequest) -> Submission:
        raise NotImplementedError

    def estimate(self, request: SubmitRequest) -> Estimate:
        raise NotImplementedError

    def find(self, tag: str, uid: int | None = None) -> list[JobReport]:
        return []

    def find_ended(self, tag: str, uid: int | None = None) -> list[JobReport]:
        return []

    def release(self, slurm_job_id: int) -> None:
        raise NotImplementedError

    def throttle(self, slurm_job_id: int, most: int) -> None:
        raise NotImplementedError

    def cancel(self, slurm_job_id: int) -> None:
        raise NotImplementedError


@dataclass
class Counting:
    """The store's arrays; counts the rows that are written."""

    arrays: Arrays
    rows: int = 0

    def apply(self, changes: Mapping[int, Sequence[JobChange]], now: float) -> Applied:
        applied = self.arrays.apply(changes, now)
        self.rows += applied.jobs
        return applied

    def __getattr__(self, name: str) -> object:
        return getattr(self.arrays, name)


def ticks(directory: Path, n_tasks: int) -> list[dict[str, object]]:
    """The first look, one at which nothing has changed, and two at which some has."""
    directory.mkdir(mode=0o700)
    journal.configure("error")
    store = open_store(directory / "ticks.sqlite", exclusive=True)
    try:
        batch_id = add_batch(store, n_tasks)
        slurm = TextSlurm(store.arrays.of_batch(batch_id))
        counting = Counting(store.arrays)
        store.arrays = counting  # type: ignore[assignment]
        poller = Poller(
            store=store, sources=Sources(store, slurm, Health(), Doorbell()), doorbell=Doorbell(),
            end_stray=_no_stray, log_dir=directory / "logs",
        )  # fmt: skip
        return [_tick(poller, slurm, counting, n_tasks, what) for what in _steps(slurm)]
    finally:
        store.close()


def _no_stray(slurm_job_id: int, tag: str, *, held: bool) -> None:
    raise AssertionError(f"{slurm_job_id} {tag} is no stray")


def _steps(slurm: TextSlurm) -> Sequence[tuple[str, set[tuple[int, int]]]]:
    arrays = slurm.arrays
    each = _CHANGED // len(arrays)
    spread = {(array.pk, task) for array in arrays for task in range(1, each + 1)}
    last = {(arrays[-1].pk, task) for task in range(1, arrays[-1].n_tasks + 1)}
    return (
        ("all are new", set()),
        ("nothing has changed", set()),
        (f"{len(spread)} have ended, some in each array", spread),
        ("nothing has changed, again", set()),
        (f"{len(last - spread)} have ended, all of one array", last - spread),
    )


def _tick(
    poller: Poller, slurm: TextSlurm, counting: Counting, n_tasks: int,
    step: tuple[str, set[tuple[int, int]]],
) -> dict[str, object]:  # fmt: skip
    name, ended = step
    slurm.over |= ended
    slurm.show()
    rows, asked = counting.rows, slurm.asked
    began, cpu = time.monotonic(), time.process_time()
    poller.tick(time.time())
    return {
        "step": name,
        "live_tasks": n_tasks,
        "arrays": n_tasks // ARRAY,
        "seconds": round(time.monotonic() - began, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "changed": len(ended) or (n_tasks if rows == 0 else 0),
        "rows_written": counting.rows - rows,
        "questions": slurm.asked - asked,
        "load_average": load_average(),
    }
