"""What we need of Slurm, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePath
from typing import Protocol

from slurmbatch.accounts import Account
from slurmbatch.model import Estimate, JobReport, JobUsage, SlurmFacts, SlurmOptions, Submission


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """One job array, complete. `output` is sbatch's pattern, with `%a` for the task's number.

    `licences` are `name:count` per task, `features` all have to be there; `exclude` has the names
    of nodes that it is not to run on, with commas between, `nodelist` of the one that it is.
    `throttle` is how many of its tasks may run at once. The array is submitted held: nothing of it
    runs before `release`. `owner`: as whom it runs; None: as the service's own account.
    """

    tag: str
    script: str
    n_tasks: int
    cpu: int
    memory: int
    output: PurePath
    work_dir: PurePath
    options: SlurmOptions
    features: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    requeue: bool = False
    comment: str = ""
    exclude: str = ""
    nodelist: str = ""
    throttle: int | None = None
    owner: Account | None = None

    @property
    def array(self) -> str:
        """Which tasks, and how many of them at once, as sbatch has it."""
        tasks = f"1-{self.n_tasks}"
        narrow = self.throttle is not None and self.throttle < self.n_tasks
        return f"{tasks}%{self.throttle}" if narrow else tasks


class SlurmPort(Protocol):
    """Every call has a time limit of its own and raises `SlurmUnreachable` where it has no answer.

    No call is an opinion: what Slurm did not say is not in the result.
    """

    def facts(self) -> SlurmFacts:
        """The cluster's version and limits, from slurmctld."""

    def submit(self, request: SubmitRequest) -> Submission:
        """Submits the array, held.

        Raises `SlurmRefused` (for good), `SlurmBusy` (a limit; nothing was accepted) or
        `SlurmAmbiguous` (look it up with `find` before any second try).
        """

    def estimate(self, request: SubmitRequest) -> Estimate:
        """When Slurm would start the array if it were submitted now, and released; it is not.

        Raises `SlurmRefused` and `SlurmBusy` as `submit` would.
        """

    def find(self, tag: str, uid: int | None = None) -> list[JobReport]:
        """Whatever slurmctld has of this account's (None: the service's own) under this name."""

    def find_ended(self, tag: str, uid: int | None = None) -> list[JobReport]:
        """Likewise accounting, for what slurmctld does not have (any more).

        It may miss what is held, and its rows may be out of date: an id in them may be another
        job's by now. Raises `AccountingUnreachable`, as `ended` does.
        """

    def release(self, slurm_job_id: int) -> None:
        """Lets a held array go. Harmless on one that runs or has ended."""

    def throttle(self, slurm_job_id: int, most: int) -> None:
        """Lets so many tasks of an array run at once, from now on. Of no use for one that ended."""

    def cancel(self, slurm_job_id: int) -> None:
        """Asks Slurm to end the whole array. Only a later look confirms it."""

    def live(self) -> list[JobReport]:
        """All that slurmctld knows under this service's account, or, where jobs run as persons, of
        everybody's under names like ours: one question."""

    def ended(self, slurm_job_ids: Collection[int]) -> list[JobReport]:
        """What accounting knows of these arrays, a few thousand at most: one question. No ids: no
        question, no rows."""

    def usage(self, tasks: Collection[tuple[int, int]]) -> list[JobUsage]:
        """What accounting knows of the use of these tasks, each the array's id and its number, a
        thousand at most: one question. It may not have all of them. Raises
        `AccountingUnreachable`."""
