"""pyslurm.core.job.job: records of jobs. A record's attributes are those of the real one."""

from __future__ import annotations

import os
from typing import Any

from .api import LIB
from .error import RPCError

ALREADY_DONE, INVALID_JOB_ID = 2021, 2017
NO_VAL = 0xFFFFFFFE


class Job:
    def __init__(self, job_id: int) -> None:
        self.id = job_id
        self._raw: dict[str, Any] = {}

    def cancel(self) -> None:
        try:
            LIB.kill(self.id)
        except RPCError as error:
            if error.errno not in (ALREADY_DONE, INVALID_JOB_ID):
                raise

    def release(self) -> None:
        LIB.update(self.id)

    @property
    def array_id(self) -> int | None:
        return self._raw.get("array_id") or None

    @property
    def array_task_id(self) -> int | None:
        return self._raw.get("array_task_id") or None

    @property
    def array_tasks_waiting(self) -> str | None:
        text = self._raw.get("array_tasks_waiting")
        return text.rpartition("%")[0] if text and "%" in text else text

    @property
    def name(self) -> str | None:
        name = self._raw["name"]
        if isinstance(name, list):  # the bytes of a name that is no text
            return bytes(name).decode()
        return name or None

    @property
    def state(self) -> str:
        return str(self._raw["state"])

    @property
    def state_reason(self) -> str:
        return str(self._raw.get("state_reason", "None"))

    @property
    def user_id(self) -> int:
        return int(self._raw["user_id"])

    @property
    def priority(self) -> int:
        return int(self._raw.get("priority", 1))

    @property
    def submit_time(self) -> int | None:
        return self._raw.get("submit_time") or None

    @property
    def eligible_time(self) -> int | None:
        return self._raw.get("eligible_time") or None

    @property
    def start_time(self) -> int | None:
        return self._raw.get("start_time") or None

    @property
    def end_time(self) -> int | None:
        return self._raw.get("end_time") or None

    @property
    def allocated_nodes(self) -> str | None:
        return self._raw.get("allocated_nodes") or None

    @property
    def requeue_count(self) -> int:
        return int(self._raw.get("requeue_count", 0))

    @property
    def exit_code(self) -> int:
        return _exit_code(self._raw.get("exit_status", NO_VAL))[0]

    @property
    def exit_code_signal(self) -> int:
        return _exit_code(self._raw.get("exit_status", NO_VAL))[1]


class Jobs(dict[int, Job]):
    @staticmethod
    def load() -> Jobs:
        jobs = Jobs()
        for raw in LIB.load():
            job = Job(raw["id"])
            job._raw = raw
            jobs[job.id] = job
        return jobs


def _exit_code(status: int) -> tuple[int, int]:
    if status == NO_VAL:
        return 0, 0
    if os.WIFSIGNALED(status):
        return 0, os.WTERMSIG(status)
    code = os.WEXITSTATUS(status)
    return (code - 128 if code >= 128 else code), 0
