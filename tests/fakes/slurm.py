"""A Slurm in memory, driven by the test: nothing happens by itself but the passing of time.

It behaves as the real one was measured to: arrays are submitted held, pending tasks share one row,
accounting may lag, drops bit 7 of exit codes and keeps no record of a single task that was
cancelled while it was pending, and slurmctld forgets what has ended MinJobAge ago.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from slurmbatch.errors import (
    AccountingUnreachable,
    SlurmAmbiguous,
    SlurmbatchError,
    SlurmBusy,
    SlurmRefused,
    SlurmUnreachable,
)
from slurmbatch.model import Estimate, JobReport, JobUsage, SlurmFacts, Submission
from slurmbatch.slurm.port import SubmitRequest
from slurmbatch.states import ENDS
from tests.fakes.cluster import START, FakeArray, FakeCluster, FakeTask, ranges

__all__ = ["START", "FakeArray", "FakeSlurm", "FakeTask", "ranges"]


@dataclass
class FakeSlurm(FakeCluster):
    """Implements `SlurmPort`. `calls` counts the questions, `log` has them with their arguments.

    `lag`: how many seconds accounting is behind. `slurmctld_down`, `slurmdbd_down`: set by tests.
    """

    max_array_size: int = 1001
    max_job_count: int = 10_000
    sees_others: bool = False
    slurmctld_down: bool = False
    slurmdbd_down: bool = False
    calls: Counter[str] = field(default_factory=Counter)
    log: list[tuple[str, object]] = field(default_factory=list)
    _faults: dict[str, list[tuple[SlurmbatchError, bool]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    # --- the port -----------------------------------------------------------------------------

    def facts(self) -> SlurmFacts:
        self._asked("facts", None)
        return SlurmFacts("22.05.8", self.max_array_size, self.max_job_count,
                          int(self.min_job_age), str(int(self.booted)), "fake")  # fmt: skip

    def submit(self, request: SubmitRequest) -> Submission:
        self._record("submit", request)
        fault = self._fault("submit")
        if fault and not fault[1]:
            raise fault[0]
        if self.slurmctld_down:
            raise SlurmAmbiguous("Batch job submission failed: Unable to contact slurm controller")
        self._check(request)
        array = self.add(request)
        if fault:
            raise fault[0]
        return Submission(array.job_id)

    def estimate(self, request: SubmitRequest) -> Estimate:
        self._asked("estimate", request)
        self._check(request)
        return Estimate(self.now + 60.0, "node1")

    def find(self, tag: str, uid: int | None = None) -> list[JobReport]:
        if not tag:
            raise ValueError("an empty name would list everybody's jobs")
        self._asked("find", tag)
        rows = self._squeue(frozenset({self.uid if uid is None else uid}))
        return [row for row in rows if row.tag == tag]

    def find_ended(self, tag: str, uid: int | None = None) -> list[JobReport]:
        if not tag:
            raise ValueError("an empty name would list everybody's jobs")
        self._accounting_asked("find_ended", tag)
        whose = self.uid if uid is None else uid
        return [row for row in self._sacct(lambda row: row.tag == tag) if row.uid == whose]

    def release(self, slurm_job_id: int) -> None:
        with_fault = self._acts("release", slurm_job_id)
        array = self._newest(slurm_job_id)
        if array is not None and array.held:
            array.held = False
            for task in array.tasks.values():
                if task.reason == "JobHeldUser":
                    task.reason = "None"
        if with_fault:
            raise with_fault

    def throttle(self, slurm_job_id: int, most: int) -> None:
        with_fault = self._acts("throttle", (slurm_job_id, most))
        array = self._newest(slurm_job_id)
        if array is not None:
            array.most = most
        if with_fault:
            raise with_fault

    def cancel(self, slurm_job_id: int) -> None:
        with_fault = self._acts("cancel", slurm_job_id)
        array = self._newest(slurm_job_id)
        if array is not None:
            self._cancel(array, self.uid)
        if with_fault:
            raise with_fault

    def live(self) -> list[JobReport]:
        self._asked("live", None)
        return self._squeue(None if self.sees_others else frozenset({self.uid}))

    def ended(self, slurm_job_ids: Collection[int]) -> list[JobReport]:
        ids = frozenset(slurm_job_ids)
        if not ids:
            return []
        self._accounting_asked("ended", ids)
        return self._sacct(lambda row: row.array_job_id in ids)

    def usage(self, tasks: Collection[tuple[int, int]]) -> list[JobUsage]:
        wanted = frozenset(tasks)
        if not wanted:
            return []
        self._accounting_asked("usage", wanted)
        rows = self._sacct(lambda row: (row.array_job_id, row.tasks[0][0]) in wanted)
        return [self._used(row) for row in rows if not row.is_range]

    # --- what tests do to Slurm -----------------------------------------------------------------

    @property
    def submissions(self) -> list[SubmitRequest]:
        """All that it was asked to take, taken or not."""
        return [what for call, what in self.log
                if call == "submit" and isinstance(what, SubmitRequest)]  # fmt: skip

    def fail_next(self, call: str, error: SlurmbatchError, *, done: bool = False) -> None:
        """The next such call raises; `done`: what it asked for takes place all the same."""
        self._faults[call].append((error, done))

    # --- inside ---------------------------------------------------------------------------------

    def _used(self, row: JobReport) -> JobUsage:
        number = row.tasks[0][0]
        array = self._newest(row.array_job_id)
        task = array.tasks.get(number) if array else None  # slurmctld may have forgotten it
        max_rss, cpu_time = (task.max_rss, task.cpu_time) if task else (None, None)
        return JobUsage(row.array_job_id, number, row.tag, max_rss, cpu_time,
                        complete=row.state in ENDS)  # fmt: skip

    def _record(self, call: str, what: object) -> None:
        self.calls[call] += 1
        self.log.append((call, what))

    def _fault(self, call: str) -> tuple[SlurmbatchError, bool] | None:
        waiting = self._faults[call]
        return waiting.pop(0) if waiting else None

    def _asked(self, call: str, what: object) -> None:
        """A question to slurmctld, which it may not answer."""
        if fault := self._acts(call, what):
            raise fault

    def _accounting_asked(self, call: str, what: object) -> None:
        self._record(call, what)
        fault = self._fault(call)
        if fault:
            raise fault[0]
        if self.slurmdbd_down:
            raise AccountingUnreachable("sacct: Problem talking to the database")

    def _acts(self, call: str, what: object) -> SlurmbatchError | None:
        """Raises where nothing is to happen; gives the error to raise once it has happened."""
        self._record(call, what)
        fault = self._fault(call)
        if fault and not fault[1]:
            raise fault[0]
        if self.slurmctld_down:
            raise SlurmUnreachable("Unable to contact slurm controller (connect failure)")
        return fault[0] if fault else None

    def _check(self, request: SubmitRequest) -> None:
        if request.n_tasks >= self.max_array_size:
            raise SlurmRefused("Batch job submission failed: Invalid job array specification")
        if sum(len(array.tasks) for array in self.arrays) + request.n_tasks > self.max_job_count:
            raise SlurmBusy("Slurm takes no more jobs at present (MaxJobCount)")
