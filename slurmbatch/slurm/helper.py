"""The process in which pyslurm lives: reads a question a line, writes an answer a line, in JSON.

pyslurm keeps the interpreter's lock while it waits for slurmctld, ends the process when it finds no
slurm.conf, and leaks memory. Here that harms nobody: keeper.py starts this as a program, with a
time limit on each answer, and kills and replaces it. It imports nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

# What is asked of each record of a job, in this order. The tag (free text, anybody's) last.
ROW = (
    "array_id",
    "array_task_id",
    "array_tasks_waiting",
    "state",
    "state_reason",
    "user_id",
    "submit_time",
    "eligible_time",
    "start_time",
    "end_time",
    "allocated_nodes",
    "exit_code",
    "exit_code_signal",
    "requeue_count",
    "priority",
    "name",
)
_PR_SET_PDEATHSIG = 1


class Calls:
    """What can be asked. Errors of pyslurm's are not handled here, but told."""

    def __init__(self, pyslurm: Any) -> None:
        self._pyslurm = pyslurm

    def live(self, uid: int) -> list[list[Any]]:
        """Every array record of this account."""
        return list(self._rows(lambda job: bool(job.user_id == uid)))

    def find(self, tag: str, uid: int) -> list[list[Any]]:
        """Those of them that have this name."""
        return list(self._rows(lambda job: bool(job.user_id == uid and job.name == tag)))

    def submit(self, description: dict[str, Any]) -> int:
        return int(self._pyslurm.JobSubmitDescription(**description).submit())

    def release(self, slurm_job_id: int) -> None:
        self._pyslurm.Job(slurm_job_id).release()

    def cancel(self, slurm_job_id: int) -> None:
        self._pyslurm.Job(slurm_job_id).cancel()

    def _rows(self, wanted: Callable[[Any], bool]) -> Iterator[list[Any]]:
        for job in self._pyslurm.Jobs.load().values():
            try:
                if job.array_id and wanted(job):
                    yield [getattr(job, name) for name in ROW]
            except UnicodeDecodeError:
                continue  # somebody's job has a name or node that is no text: none of ours does


def answer(calls: Calls, line: bytes) -> dict[str, Any]:
    """One answer: `result`, or `error` with its class, its text and libslurm's number for it."""
    try:
        question = json.loads(line)
        known: dict[str, Callable[..., Any]] = {
            "live": calls.live, "find": calls.find, "submit": calls.submit,
            "release": calls.release, "cancel": calls.cancel,
        }  # fmt: skip
        return {"result": known[question["call"]](**question["with"])}
    except Exception as error:
        number = getattr(error, "errno", None)
        kind = next(each.__name__ for each in type(error).__mro__ if each.__name__ in _TOLD)
        return {"error": {"kind": kind, "text": str(error) or type(error).__name__,
                          "number": number if isinstance(number, int) else None}}  # fmt: skip


_TOLD = ("RPCError", "ValueError", "Exception")


def main(parent: int) -> None:
    _die_with(parent)
    answers = _private_stdout()
    try:
        pyslurm = importlib.import_module("pyslurm")
    except Exception as error:
        _write(answers, {"absent": f"{type(error).__name__}: {error}"})
        return
    _write(answers, {"version": pyslurm.__version__})
    calls = Calls(pyslurm)
    # Not `for line in`, which would read ahead; the end of input is the end of the parent.
    while line := sys.stdin.buffer.readline():
        _write(answers, answer(calls, line))


def _die_with(parent: int) -> None:
    # A stop of the whole service comes as a signal to every process: the parent decides when.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        sys.exit("its parent has ended")


def _private_stdout() -> int:
    """Keeps standard output for the answers alone: what a library prints there goes to stderr."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _write(answers: int, message: dict[str, Any]) -> None:
    rest = memoryview(json.dumps(message).encode() + b"\n")
    while rest:
        rest = rest[os.write(answers, rest) :]


if __name__ == "__main__":
    main(int(sys.argv[1]))
