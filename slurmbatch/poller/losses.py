"""Jobs that Slurm shows nowhere any more: cancelled, lost, or not told of yet.

Slurm keeps no record of a pending task that is cancelled on its own, which looks like a loss. Only
a slurmctld that was started again since the release can have lost something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slurmbatch.claims import Claims
from slurmbatch.doorbell import Doorbell
from slurmbatch.journal import get
from slurmbatch.model import ArraySpec, JobChange, JobReport, KnownJob, Status
from slurmbatch.poller import digest
from slurmbatch.poller.digest import Memory, Situation
from slurmbatch.store import Store, tag_like

_log = get("poller")
# How many times the grace the end of a job that has run is waited for, where nothing was lost:
# accounting takes its time, after an outage of its own, say.
LATE = 20


@dataclass(frozen=True, slots=True)
class Gone:
    """A job that has been absent for the grace; `row`: an old one that accounting still shows."""

    job: KnownJob
    row: JobReport | None = None

    @property
    def has_run(self) -> bool:
        if self.row is not None and not self.row.is_range and self.row.state != "PENDING":
            return True
        return self.job.status in (Status.STARTING, Status.RUNNING)


@dataclass
class Losses:
    store: Store
    doorbell: Doorbell
    claims: Claims | None

    def give_up(
        self, array: ArraySpec, gone: Sequence[Gone], situation: Situation, memory: Memory,
        boot: str | None, *, unknown: bool,
    ) -> list[JobChange]:  # fmt: skip
        """The ends of jobs that are gone. `unknown`: Slurm does not know the array itself;
        `boot`: when slurmctld was started, None if that could not be asked, which decides nothing.
        """
        if boot is None:
            return []
        if unknown and boot != array.released_boot:
            return self.lost(array, [each.job for each in gone], situation, memory)
        changes = []
        for each in gone:
            end = self._end(each, situation, memory)
            if end is not None:
                memory.absent.pop(each.job.task, None)
                changes.append(end)
        return changes

    def _end(self, gone: Gone, situation: Situation, memory: Memory) -> JobChange | None:
        noted = digest.noted_end(gone.job, situation)
        if noted is None and not gone.has_run:
            return digest.cancelled_elsewhere(gone.job, situation)
        if noted is None and digest.is_gone(gone.job, situation, memory, times=LATE):
            return digest.without_a_record(gone.job, situation)
        return noted

    def lost(
        self, array: ArraySpec, gone: Sequence[KnownJob], situation: Situation, memory: Memory
    ) -> list[JobChange]:
        """The ends of jobs that Slurm has lost; those that never started are submitted again."""
        if self.claims is not None and not self.claims.is_there():
            return []
        ends: list[JobChange] = []
        again: list[int] = []
        for job in gone:
            end = digest.lost(job, situation)
            if end is not None:
                ends.append(end)
            elif self._fence(array, job):
                again.append(job.task)
            else:
                continue  # it has started just now after all, or it cannot be told
            memory.absent.pop(job.task, None)
        if again:
            self._submit_again(array, again, situation.now)
        return ends

    def _fence(self, array: ArraySpec, job: KnownJob) -> bool:
        """Sees to it that a copy of it that is on its way to a node will not run."""
        return self.claims is not None and self.claims.fence(array.tag, job.task)

    def _submit_again(self, array: ArraySpec, tasks: Sequence[int], now: float) -> None:
        tag = tag_like(array.tag)
        self.store.arrays.submit_part_again(array.pk, tasks, tag, now)
        self.doorbell.ring()
        _log.warning("jobs lost by Slurm before they started, will be submitted again",
                     batch_id=array.batch_id, n_jobs=len(tasks), tag=tag)  # fmt: skip
