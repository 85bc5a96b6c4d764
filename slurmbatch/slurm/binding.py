"""Slurm through pyslurm, where that is the better way, and through the commands for the rest.

pyslurm saves the fork when it looks at what lives and when it submits, releases or cancels a whole
array. Accounting, facts and single tasks are left to the commands. See docs/pyslurm.md.
"""

from __future__ import annotations

import os
import platform
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from slurmbatch.errors import SlurmAmbiguous, SlurmBusy, SlurmRefused, SlurmUnreachable
from slurmbatch.model import Estimate, JobReport, JobUsage, SlurmFacts, Submission
from slurmbatch.slurm import parse, quirks
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.slurm.helper import ROW
from slurmbatch.slurm.keeper import Answer, HelperLost, Keeper
from slurmbatch.slurm.port import SubmitRequest

Task = tuple[int, tuple[tuple[int, int], ...], float | None]


@dataclass
class BindingSlurm:
    """The port on pyslurm in helper processes: one to look, and one to hand over.

    Two, so that a submission that takes its time does not keep the poller from looking.
    `looked_twice`: the last look needed squeue as well.
    """

    backend: ClassVar[str] = "pyslurm"

    commands: CommandSlurm
    looking: Keeper
    handing: Keeper
    looked_twice: bool = False
    _codes: dict[Task, JobReport] = field(default_factory=dict)
    _acted: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=1000))

    # --- the port -----------------------------------------------------------------------------

    def facts(self) -> SlurmFacts:
        # Asked once a minute, and the boot time stays the same text when the back end changes.
        return self.commands.facts()

    def submit(self, request: SubmitRequest) -> Submission:
        timeout = self.commands.submit_timeout
        try:
            version = self.handing.version(timeout)
            environment = self.commands.environment() | quirks.given_by_sbatch(version)
            answer = self.handing.ask("submit", timeout, description=describe(request, environment))
        except HelperLost as lost:
            if lost.asked:
                raise SlurmAmbiguous(lost.detail) from lost
            raise
        if answer.kind:
            raise refusal(answer)
        return Submission(answer.result)

    def estimate(self, request: SubmitRequest) -> Estimate:
        # pyslurm has no word for it.
        return self.commands.estimate(request)

    def find(self, tag: str, uid: int | None = None) -> list[JobReport]:
        if not tag:
            raise ValueError("an empty name would list everybody's jobs")
        whose = os.getuid() if uid is None else uid
        found = self._rows(self.handing, "find", tag=tag, uid=whose)
        return [row for row in found if row.uid == whose]

    def find_ended(self, tag: str, uid: int | None = None) -> list[JobReport]:
        return self.commands.find_ended(tag, uid)

    def release(self, slurm_job_id: int) -> None:
        if not self._act("release", slurm_job_id):
            self.commands.release(slurm_job_id)

    def throttle(self, slurm_job_id: int, most: int) -> None:
        self.commands.throttle(slurm_job_id, most)

    def cancel(self, slurm_job_id: int) -> None:
        if not self._act("cancel", slurm_job_id):
            self.commands.cancel(slurm_job_id)

    def live(self) -> list[JobReport]:
        return self._with_codes(self._rows(self.looking, "live", uid=os.getuid()))

    def ended(self, slurm_job_ids: Collection[int]) -> list[JobReport]:
        return self.commands.ended(slurm_job_ids)

    def usage(self, tasks: Collection[tuple[int, int]]) -> list[JobUsage]:
        return self.commands.usage(tasks)

    def close(self) -> None:
        """Ends the helper processes; the next call starts them again."""
        self.looking.close()
        self.handing.close()

    # --- how it is asked ------------------------------------------------------------------------

    def _rows(self, keeper: Keeper, call: str, **arguments: Any) -> list[JobReport]:
        answer = keeper.ask(call, self.commands.timeout, **arguments)
        if answer.kind:
            raise SlurmUnreachable(f"pyslurm: {answer.words}")
        reports = (report(row) for row in answer.result)
        return [each for each in reports if each is not None]

    def _act(self, call: str, slurm_job_id: int) -> bool:
        """Whether it is left at that. If not, the commands try it.

        Once for each array: where it is asked for again it had no effect, as a release has none on
        tasks that were held one by one. And an error may be an earlier call's, because pyslurm
        looks at errno without looking whether the call has failed.
        """
        if (call, slurm_job_id) in self._acted:
            return False
        answer = self.handing.ask(call, self.commands.timeout, slurm_job_id=slurm_job_id)
        if answer.kind and quirks.is_no_answer(answer.number or 0):
            raise SlurmUnreachable(f"pyslurm: {answer.words}")
        self._acted.append((call, slurm_job_id))
        return not answer.kind

    def _with_codes(self, rows: list[JobReport]) -> list[JobReport]:
        """The rows, with squeue's word on how those failed that have failed since the last look."""
        failed = {_task(row) for row in rows if _is_doubtful(row)}
        self.looked_twice = not failed <= self._codes.keys()
        if self.looked_twice:
            self._codes = {_task(row): row for row in self.commands.live()}
        self._codes = {task: self._codes[task] for task in failed & self._codes.keys()}
        # What slurmctld has forgotten in between is looked up in accounting, as if not seen.
        return [self._with_code(row) for row in rows
                if not _is_doubtful(row) or _task(row) in self._codes]  # fmt: skip

    def _with_code(self, row: JobReport) -> JobReport:
        told = self._codes.get(_task(row))
        return row if told is None else replace(row, exit_code=told.exit_code, signal=told.signal)


def describe(request: SubmitRequest, environment: dict[str, str]) -> dict[str, Any]:
    """What pyslurm's JobSubmitDescription is made with; the same as sbatch's options give."""
    options, maybe = request.options, dict[str, Any]()
    if request.features:
        maybe["constraints"] = "&".join(request.features)
    if request.licences:
        maybe["licenses"] = list(request.licences)
    if options.time_limit is not None:
        hours, minutes = divmod(options.time_limit, 60)
        maybe["time_limit"] = f"{hours:02}:{minutes:02}:00"  # digits alone it does not take
    if request.exclude:
        maybe["excluded_nodes"] = request.exclude
    if request.nodelist:
        maybe["required_nodes"] = request.nodelist
    if options.gpus:
        maybe["gres_per_node"] = {"gpu": options.gpus}
    if options.partition:
        maybe["partitions"] = [options.partition]
    for name in ("account", "qos"):
        if value := getattr(options, name):
            maybe[name] = value
    return {
        "name": request.tag, "script": request.script, "array": request.array,
        "priority": 0, "nodes": 1, "ntasks": 1, "cpus_per_task": request.cpu,
        "memory_per_node": f"{request.memory}M", "standard_output": str(request.output),
        "log_files_open_mode": "append", "working_directory": str(request.work_dir),
        "comment": request.comment, "is_requeueable": request.requeue,
        "environment": environment | _as_sbatch_does(request), **maybe,
    }  # fmt: skip


def report(row: Sequence[Any]) -> JobReport | None:
    """A record of pyslurm's in our words; None where it is not one of a task of an array."""
    fields = dict(zip(ROW, row, strict=True))
    task = fields["array_task_id"]
    text = str(task) if isinstance(task, int) else fields["array_tasks_waiting"] or ""
    ranges = parse.task_ranges(text)
    if ranges is None:
        return None
    made = JobReport(
        array_job_id=fields["array_id"],
        tasks=ranges,
        is_range=fields["state"] == "PENDING" and not text.isdigit(),
        state=fields["state"] or "",
        source="live",
        reason=fields["state_reason"] or "",
        tag=fields["name"] or "",
        uid=_number(fields["user_id"]),
        submit_time=_time(fields["submit_time"]),
        eligible_time=_time(fields["eligible_time"]),
        start_time=_time(fields["start_time"]),
        end_time=_time(fields["end_time"]),
        exit_code=_number(fields["exit_code"]),
        signal=_number(fields["exit_code_signal"]),
        node_list=fields["allocated_nodes"] or "",
        restarts=_number(fields["requeue_count"]),
        priority=_number(fields["priority"]),
    )
    return replace(made, exit_code=None) if _is_doubtful(made) else made


def refusal(answer: Answer) -> SlurmBusy | SlurmRefused | SlurmAmbiguous:
    """What an error of a submission means. Which limit it was is only in libslurm's chatter."""
    if answer.kind == "ValueError":  # pyslurm's own checks, before anything is sent
        return SlurmRefused(answer.words)
    number = answer.number or 0
    if number in quirks.BUSY_BY_NUMBER or quirks.LIMITS_REACHED.search(answer.words):
        return SlurmBusy(answer.words)
    if number in quirks.REFUSED_BY_NUMBER:
        return SlurmRefused(answer.words)
    # Without a number it is a fault in what we made of the request, which asking again cures not.
    answered = answer.kind != "RPCError" or (number >= 2000 and not quirks.is_no_answer(number))
    return SlurmAmbiguous(answer.words, answered=answered)


def _as_sbatch_does(request: SubmitRequest) -> dict[str, str]:
    """The variables that sbatch itself gives to a job, and pyslurm does not."""
    return {
        "SLURM_UMASK": "0077",
        "SLURM_PRIO_PROCESS": "0",
        "SLURM_SUBMIT_DIR": str(request.work_dir),
        "SLURM_SUBMIT_HOST": platform.node(),
        "SLURM_JOB_NAME": request.tag,
        "SLURM_NTASKS": "1",
        "SLURM_NPROCS": "1",
        "SLURM_CPUS_PER_TASK": str(request.cpu),
    }


def _is_doubtful(row: JobReport) -> bool:
    """pyslurm takes 128 off exit codes from 128 on, so 9 may be 137, and 0 may be 128."""
    return row.state == "FAILED" and not row.signal


def _task(row: JobReport) -> Task:
    # With the time, since a task that was requeued may fail again in another way.
    return row.array_job_id, row.tasks, row.end_time


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _time(value: object) -> float | None:
    return float(value) if isinstance(value, int) and value > 0 else None
