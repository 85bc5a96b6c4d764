"""What happens inside the Slurm in memory: jobs, slurmctld's view of them, and accounting's."""

from __future__ import annotations

import copy
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from slurmbatch.model import JobReport
from slurmbatch.slurm.port import SubmitRequest
from slurmbatch.states import ENDS

START = 1_800_000_000.0


@dataclass
class FakeTask:
    """One array task. `own`: it has a record of its own, as every task has that ever started."""

    number: int
    state: str = "PENDING"
    reason: str = "JobHeldUser"
    own: bool = False
    start: float | None = None
    end: float | None = None
    code: int = 0
    signal: int = 0
    node: str = ""
    restarts: int = 0
    by: int | None = None
    max_rss: float = 10.0
    cpu_time: float = 1.0


@dataclass
class FakeArray:
    """One submitted array, as slurmctld has it. `most`: so many of its tasks run at once."""

    job_id: int
    request: SubmitRequest
    uid: int
    submitted: float
    held: bool = True
    tasks: dict[int, FakeTask] = field(default_factory=dict)
    most: int = 0

    def __post_init__(self) -> None:
        _, _, most = self.request.array.partition("%")
        self.most = self.most or int(most or self.request.n_tasks)

    @property
    def may_start(self) -> list[int]:
        """The numbers of the tasks that Slurm would start now, if it had room for all."""
        if self.held:
            return []
        running = sum(task.state == "RUNNING" for task in self.tasks.values())
        waiting = [task.number for task in self.tasks.values() if task.state == "PENDING"]
        return waiting[: max(0, self.most - running)]

    def row(self, tasks: Collection[FakeTask]) -> JobReport:
        """The row of these tasks, which are alike, as squeue shows it."""
        task = next(iter(tasks))
        is_ended = task.state in ENDS
        return JobReport(
            array_job_id=self.job_id,
            tasks=ranges(each.number for each in tasks),
            is_range=task.state == "PENDING" and len(tasks) > 1,
            state=task.state,
            source="live",
            reason=task.reason,
            tag=self.request.tag,
            uid=self.uid,
            submit_time=self.submitted,
            eligible_time=None if self.held else self.submitted,
            start_time=task.start,
            end_time=task.end,
            exit_code=task.code if is_ended else 0,
            signal=task.signal if is_ended else 0,
            node_list=task.node,
            restarts=task.restarts,
            priority=0 if self.held else 1000,
        )


class Entry(NamedTuple):
    """What slurmdbd was told, and when: `number` is None for the tasks that share one record."""

    at: float
    submitted: float
    number: int | None
    row: JobReport


@dataclass
class _Controller:
    """All that slurmctld writes to its disk."""

    next_id: int = 1
    arrays: list[FakeArray] = field(default_factory=list)
    told: list[Entry] = field(default_factory=list)


@dataclass
class FakeCluster:
    """Everything but the questions. Times are seconds; nothing happens by itself."""

    now: float = START
    uid: int = field(default_factory=os.getuid)
    min_job_age: float = 300.0
    lag: float = 0.0
    booted: float = START - 3600
    _slurmctld: _Controller = field(default_factory=_Controller)
    _saved: _Controller = field(default_factory=_Controller)

    def advance(self, seconds: float) -> float:
        """Lets time pass; gives the new time."""
        self.now += seconds
        return self.now

    def add(self, request: SubmitRequest, uid: int | None = None) -> FakeArray:
        """An array that is there without this service having asked for it just now."""
        state = self._slurmctld
        own = self.uid if request.owner is None else request.owner.uid
        owner = own if uid is None else uid
        array = FakeArray(state.next_id, request, owner, self.now)
        array.tasks = {number: FakeTask(number) for number in range(1, request.n_tasks + 1)}
        state.next_id += 1
        state.arrays.append(array)
        self._tell_rest(array)
        return array

    def array(self, slurm_job_id: int) -> FakeArray:
        """The newest array under this id, to look at."""
        array = self._newest(slurm_job_id)
        assert array is not None, f"no array {slurm_job_id}"
        return array

    @property
    def arrays(self) -> list[FakeArray]:
        return self._slurmctld.arrays

    @property
    def next_id(self) -> int:
        return self._slurmctld.next_id

    @next_id.setter
    def next_id(self, number: int) -> None:
        self._slurmctld.next_id = number

    def wait(self, slurm_job_id: int, reason: str, *numbers: int) -> None:
        """Slurm has looked at pending tasks and gives this reason."""
        for task in self._pick(slurm_job_id, numbers, {"PENDING"}):
            task.reason = reason

    def start(self, slurm_job_id: int, *numbers: int, node: str = "node1", state: str = "RUNNING",
              launched: bool = True) -> None:  # fmt: skip
        """Pending tasks (all where none is named) start; of a held array none may.

        `launched`: slurmd has made their logs, where there is a place for them.
        """
        array = self.array(slurm_job_id)
        assert not array.held, f"array {slurm_job_id} is held"
        for task in self._pick(slurm_job_id, numbers, {"PENDING", "CONFIGURING", "REQUEUED"}):
            task.state, task.reason, task.own, task.node = state, "None", True, node
            task.start = self.now
            self._tell(array, task)
            log = Path(str(array.request.output).replace("%a", str(task.number)))
            if launched and log.parent.is_dir():
                log.touch(mode=0o600)
        self._drop_shared(array)

    def finish(self, slurm_job_id: int, *numbers: int, state: str = "COMPLETED", code: int = 0,
               signal: int = 0, by: int | None = None) -> None:  # fmt: skip
        """Tasks end (all where none is named); those that have not started do so first."""
        array = self.array(slurm_job_id)
        picked = self._pick(slurm_job_id, numbers, None)
        pending = [task.number for task in picked if task.start is None]
        if pending:
            self.start(slurm_job_id, *pending)
        for task in picked:
            task.state, task.code, task.signal, task.by = state, code, signal, by
            task.end = self.now
            self._tell(array, task)

    def requeue(self, slurm_job_id: int, *numbers: int, after: str = "NODE_FAIL") -> None:
        """Accounting says that they ended, and then slurmctld has them pending again."""
        array = self.array(slurm_job_id)
        for task in self._pick(slurm_job_id, numbers, {"RUNNING"}):
            task.state, task.end = after, self.now
            self._tell(array, task)
            task.state, task.reason, task.node = "PENDING", "BeginTime", ""
            task.start = task.end = None
            task.restarts += 1

    def cancel_task(self, slurm_job_id: int, number: int, by: int | None = None) -> None:
        """Somebody cancels one task; if it was pending, no record of it is left anywhere."""
        array, uid = self.array(slurm_job_id), self.uid if by is None else by
        task = array.tasks[number]
        if task.own:
            self.finish(slurm_job_id, number, state="CANCELLED", by=uid)
        else:
            del array.tasks[number]

    def save(self) -> None:
        """slurmctld writes its state to its disk."""
        self._saved = copy.deepcopy(self._slurmctld)

    def crash(self, *, accounting_too: bool = True) -> None:
        """slurmctld is killed and started: all since the last `save` never happened, ids included.

        What slurmdbd was told in between is lost with it, unless told otherwise.
        """
        told = self._slurmctld.told
        self._slurmctld = copy.deepcopy(self._saved)
        if not accounting_too:
            self._slurmctld.told = told
        self.booted = max(self.now, self.booted + 1)

    # --- inside ---------------------------------------------------------------------------------

    def _newest(self, slurm_job_id: int) -> FakeArray | None:
        mine = [each for each in self.arrays if each.job_id == slurm_job_id]
        return mine[-1] if mine else None

    def _pick(
        self, slurm_job_id: int, numbers: Collection[int], states: Collection[str] | None
    ) -> list[FakeTask]:
        tasks = self.array(slurm_job_id).tasks
        if numbers:
            return [tasks[number] for number in numbers]
        return [task for task in tasks.values()
                if (task.state in states if states else task.state not in ENDS)]  # fmt: skip

    def _cancel(self, array: FakeArray, by: int) -> None:
        rest = [task for task in array.tasks.values() if task.state not in ENDS]
        for task in rest:
            task.state, task.reason, task.end, task.by = "CANCELLED", "None", self.now, by
            if task.own:
                self._tell(array, task)
        if any(not task.own for task in rest):
            self._tell_rest(array)

    def _drop_shared(self, array: FakeArray) -> None:
        """The last task to start takes over the record that the pending ones shared."""
        if sum(task.own for task in array.tasks.values()) == array.request.n_tasks:
            state, ours = self._slurmctld, (array.job_id, array.submitted)
            state.told = [
                entry for entry in state.told
                if entry.number is not None or (entry.row.array_job_id, entry.submitted) != ours
            ]  # fmt: skip

    def _tell(self, array: FakeArray, task: FakeTask) -> None:
        self._slurmctld.told.append(self._entry(array, [task], task.number))

    def _tell_rest(self, array: FakeArray) -> None:
        shared = [task for task in array.tasks.values() if not task.own]
        self._slurmctld.told.append(self._entry(array, shared, None))

    def _entry(self, array: FakeArray, tasks: Collection[FakeTask], number: int | None) -> Entry:
        live, task = array.row(tasks), next(iter(tasks))
        row = replace(
            live, source="accounting", is_range=number is None, restarts=None, priority=None,
            exit_code=(live.exit_code or 0) & 0x7F, reason="None", cancelled_by=task.by,
            time_limit=array.request.options.time_limit,
        )  # fmt: skip
        return Entry(self.now, array.submitted, number, row)

    def _squeue(self, whose: Collection[int] | None) -> list[JobReport]:
        """Of these users, or of all."""
        arrays = [each for each in self.arrays if whose is None or each.uid in whose]
        return [row for array in arrays for row in self._rows(array)]

    def _rows(self, array: FakeArray) -> Iterator[JobReport]:
        oldest = self.now - self.min_job_age
        tasks = [t for t in array.tasks.values() if t.end is None or t.end > oldest]
        shared: dict[tuple[str, str], list[FakeTask]] = defaultdict(list)
        for task in tasks:
            if not task.own:
                shared[task.state, task.reason].append(task)
        for alike in shared.values():
            yield array.row(alike)
        for task in tasks:
            if task.own:
                yield array.row([task])

    def _sacct(self, wanted: Callable[[JobReport], bool]) -> list[JobReport]:
        newest: dict[tuple[int, int | None], Entry] = {}
        for entry in self._slurmctld.told:
            if entry.at <= self.now - self.lag and wanted(entry.row):
                newest[entry.row.array_job_id, entry.number] = entry
        submitted = {key[0]: entry.submitted for key, entry in newest.items()}
        return [entry.row for key, entry in newest.items() if entry.submitted >= submitted[key[0]]]


def ranges(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """`1, 2, 3, 7` -> `((1, 3), (7, 7))`."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)
