"""What the API tells of a job's runs, the present one and those before, beside its own trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.chaos.clients import User
from tests.chaos.ledger import NEVER, Posted, kind_of
from tests.chaos.traces import Run, Trace

# Classes of what has run in any case.
RAN = ("EXIT", "OK", "MEMORY")


@dataclass(frozen=True)
class Told:
    """One attempt, as it is told. `kind`: its class where it has failed, else its status. `memory`:
    0 where it is not told; `stop`: in whole seconds."""

    number: int
    status: str
    kind: str
    reason: str
    exit_code: int | None
    slurm_state: str
    slurm_array: str
    is_last: bool
    memory: int
    stop: float

    def __str__(self) -> str:
        return f"attempt {self.number} ({self.kind} with {self.memory} MiB)"


def told_of(posted: Posted, user: User) -> Sequence[Mapping[str, Any]] | None:
    """The batch's jobs; each with its attempts if some may have been run again. None: no batch."""
    path = f"/batches/{posted.batch_id}/jobs"
    answer = user.look(path)
    if answer is None or answer.status_code != 200:
        return None
    jobs = answer.json()
    if not posted.retries and posted.policy is None:
        return list(jobs)
    whole = [user.look(f"{path}/{job['job_id']}") for job in jobs]
    return [each.json()[0] for each in whole if each is not None and each.status_code == 200]


def matched(job: Mapping[str, Any], trace: Trace) -> tuple[list[tuple[Told, Run]], list[Run]]:
    """Each attempt with its run, an empty one if there is none; and the runs that are left.

    By Slurm's number of the array, which after a crash may be given again, so the last ones first.
    An earlier attempt with none is left out unless it says that it ran: what Slurm has put back
    into its queue counts as one, too.
    """
    runs, pairs = trace.runs, []
    if "attempts" not in job:
        return [(_told(job, is_last=True), runs.pop() if runs else Run())], runs
    for told in reversed(every(job)):
        run = next((each for each in reversed(runs) if told.slurm_array in each.ids), None)
        if run is not None:
            runs.remove(run)
        if run is not None or told.is_last or told.kind in RAN:
            pairs.append((told, run or Run()))
    return pairs, runs


def every(job: Mapping[str, Any]) -> list[Told]:
    """All attempts of a job that is told with them, the present one at the end."""
    before = [_told(each, is_last=False) for each in job["attempts"]]
    return [*before, _told(job, is_last=True)]


def _told(job: Mapping[str, Any], *, is_last: bool) -> Told:
    whole = job if is_last else {**job, "status": "FAILED"}
    memory = (job.get("hardware", {}) if is_last else job).get("memory", 0)
    stop = datetime.fromisoformat(job["stop_time"]).timestamp() if job.get("stop_time") else NEVER
    return Told(
        job.get("attempt", 1), whole["status"], kind_of(whole), job["reason"], job["exit_code"],
        job.get("slurm_state", ""), job.get("slurm_job_id", "").partition("_")[0], is_last, memory,
        stop,
    )  # fmt: skip
