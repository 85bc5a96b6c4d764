"""libslurm, as far as it is needed, made of the commands of a real Slurm of any version."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .error import RPCError, from_words
from .told import misbehave, note

FIELDS = {
    "id": "JobID", "array_id": "ArrayJobID", "task": "ArrayTaskID", "state": "State",
    "state_reason": "Reason", "user_id": "UserID", "submit_time": "SubmitTime",
    "eligible_time": "EligibleTime", "start_time": "StartTime", "end_time": "EndTime",
    "allocated_nodes": "NodeList", "exit_status": "exit_code", "requeue_count": "RestartCnt",
    "priority": "PriorityLong", "name": "Name",
}  # fmt: skip
NUMBERS = ("id", "array_id", "user_id", "submit_time", "eligible_time", "start_time", "end_time",
           "exit_status", "requeue_count", "priority")  # fmt: skip
BAR = "|~|"


class Cluster:
    """What the environment's SLURM_CONF leads to."""

    def load(self) -> list[dict[str, Any]]:
        note("load")
        misbehave("load")
        return self._records()

    def _records(self) -> list[dict[str, Any]]:
        fields = ",".join(f"{name}:{BAR}" for name in FIELDS.values())
        text = _run(["squeue", "--all", "--noheader", "--states=all", f"--Format={fields}"])
        rows = (line.split(BAR)[:-1] for line in text.splitlines())
        return [_record(dict(zip(FIELDS, row, strict=True)))
                for row in rows if len(row) == len(FIELDS)]  # fmt: skip

    def submit(self, description: dict[str, Any], environment: dict[str, str]) -> int:
        note("submit")
        misbehave("submit")
        # In the job's environment, since sbatch gives its own on; not with our umask, because
        # libslurm has no mind of that.
        command = ["sbatch", "--parsable", *_options(description)]
        out = _run(command, input=description["script"], env=environment, umask=0o022)
        return int(out.strip().splitlines()[-1].split(";")[0])

    def kill(self, job_id: int) -> None:
        note("kill", id=job_id)
        misbehave("kill")
        # No command does just this, so libslurm itself does.
        library = ctypes.CDLL(_libslurm(), mode=ctypes.RTLD_GLOBAL, use_errno=True)
        library.slurm_init(None)
        ctypes.set_errno(0)
        library.slurm_kill_job(ctypes.c_uint32(job_id), ctypes.c_uint16(9), ctypes.c_uint16(0))
        if number := ctypes.get_errno():
            raise RPCError(number)

    def update(self, job_id: int) -> None:
        note("update", id=job_id)
        misbehave("update")
        _run(["scontrol", "release", str(job_id)])


def _libslurm() -> str:
    return str(next(Path("/usr").glob("lib*/**/libslurmfull.so")))


def _record(row: dict[str, str]) -> dict[str, Any]:
    record: dict[str, Any] = {key: value.strip() for key, value in row.items()}
    for key in NUMBERS:
        record[key] = int(record[key]) if record[key].isdigit() else 0
    task = record.pop("task")
    # The record that stands for what has not started, or was cancelled before it could.
    waits = record["id"] == record["array_id"] and (
        record["state"] == "PENDING" or not task.isdigit()
    )
    record["array_task_id"] = int(task) if task.isdigit() and not waits else None
    record["array_tasks_waiting"] = task if waits and task != "N/A" else None
    if task == "N/A":
        record["array_id"] = 0
    return record


def _options(values: dict[str, Any]) -> list[str]:
    gpus = values.get("gres_per_node")
    plain = {
        "job-name": values.get("name"), "array": values.get("array"),
        "mem": values.get("memory_per_node"), "nodes": values.get("nodes"),
        "ntasks": values.get("ntasks", 1),
        "cpus-per-task": values.get("cpus_per_task", 1), "output": values.get("standard_output"),
        "open-mode": values.get("log_files_open_mode"), "chdir": values["working_directory"],
        "comment": values.get("comment"), "constraint": values.get("constraints"),
        "licenses": ",".join(values.get("licenses", [])), "time": values.get("time_limit"),
        "partition": ",".join(values.get("partitions", [])), "account": values.get("account"),
        "qos": values.get("qos"), "exclude": values.get("excluded_nodes"),
        "gres": gpus and ",".join(f"{k}:{n}" for k, n in gpus.items()),
    }  # fmt: skip
    options = [f"--{name}={value}" for name, value in plain.items() if value]
    options += ["--hold"] if values.get("priority") == 0 else []
    options += ["--requeue" if values.get("is_requeueable") else "--no-requeue"]
    return [*options, "--export=ALL", "--propagate=NONE"]


def _run(command: list[str], **how: Any) -> str:
    how.setdefault("env", dict(os.environ))
    # libslurm lives in this process, so what stands in for it must not outlive it either.
    command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
    # Into a file: a pipe would fill while standard error is read.
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.PIPE, text=True,
            env=how["env"], umask=how.get("umask", -1),
        )  # fmt: skip
        said = _feed(process, how.get("input", ""))
        if process.wait():
            for line in said:
                if "failed:" not in line:
                    print(line, end="", file=sys.stderr, flush=True)
            raise from_words("".join(said))
        out.seek(0)
        return out.read()


def _feed(process: subprocess.Popen[str], text: str) -> list[str]:
    """Gives it the text and returns what it complains of; ends it where sbatch would wait."""
    assert process.stdin and process.stderr
    process.stdin.write(text)
    process.stdin.close()
    said = []
    for line in process.stderr:
        said.append(line)
        if "sleeping and retrying" in line:  # sbatch does that, libslurm does not
            process.kill()
            process.wait()
            raise RPCError(2007 if "queue full" in line else 11)
    return said
