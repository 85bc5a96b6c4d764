"""A place for the tests of pyslurm's room: a stand-in for pyslurm and commands that do as told."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from slurmbatch.model import SlurmOptions
from slurmbatch.slurm.binding import BindingSlurm
from slurmbatch.slurm.choose import bind
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.slurm.port import SubmitRequest

ROOT = Path(__file__).parents[2]
FAKES = [str(ROOT / "tests/fakes"), *sys.path]
ME = os.getuid()
# A command of Slurm's: writes down how it was called; squeue and sacct print rows of a file.
COMMAND = f"""#!{sys.executable} -S
import json, pathlib, sys
here = pathlib.Path(__file__)
with here.with_suffix(".calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if "--version" in sys.argv:
    print(here.with_suffix(".version").read_text())
rows = here.with_suffix(".rows")
options = dict(word[2:].split("=", 1) for word in sys.argv[1:] if "=" in word)
for row in json.loads(rows.read_text()) if rows.exists() else ():
    if here.name == "squeue":
        words = (part.split(":", 1) for part in options["Format"].split(","))
        print("".join(str(row.get(name, "")) + bars for name, bars in words))
    else:
        print(options["delimiter"].join(str(row.get(k, "")) for k in options["format"].split(",")))
"""


class Site:
    """A directory with a slurm.conf, Slurm's commands, and what the stand-in is told."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.conf = directory / "slurm.conf"
        self.conf.touch()
        for name in ("scontrol", "scancel", "squeue", "sacct", "sbatch"):
            command = directory / name
            command.write_text(COMMAND)
            command.chmod(0o755)
        self.versions("22.5.1", "slurm-wlm 22.05.8")
        self.commands = CommandSlurm(self.conf, directory, timeout=10.0, submit_timeout=10.0)
        self.slurm = bind(self.commands, FAKES)

    def tell(self, **told: Any) -> None:
        """What the stand-in is like from now on; its version is for its next import."""
        target = Path(f"{self.conf}.fake")
        target.write_text(json.dumps({"version": self.ours, **told}))

    def versions(self, ours: str, cluster: str) -> None:
        self.ours = ours
        (self.dir / "scontrol.version").write_text(cluster)
        self.tell()

    def rows(self, command: str, *rows: dict[str, Any]) -> None:
        (self.dir / f"{command}.rows").write_text(json.dumps(rows))

    def calls(self, name: str) -> list[Any]:
        """How a command was called, or (slurm.conf) what the stand-in was asked."""
        file = self.dir / (f"{name}.calls")
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def helpers(self) -> list[int]:
        """The process that each question was answered by."""
        return [each["pid"] for each in self.calls("slurm.conf")]

    def impatient(self, seconds: float = 1.0) -> BindingSlurm:
        commands = CommandSlurm(self.conf, self.dir, timeout=seconds, submit_timeout=seconds)
        return BindingSlurm(commands, self.slurm.looking, self.slurm.handing)


def request(**changed: Any) -> SubmitRequest:
    values: dict[str, Any] = {
        "tag": "sb-a-1", "script": "#!/bin/bash\ntrue\n", "n_tasks": 3, "cpu": 2, "memory": 64,
        "output": Path("/logs/%a.log"), "work_dir": Path("/home/sb"), "options": SlurmOptions(),
    }  # fmt: skip
    return SubmitRequest(**{**values, **changed})


def record(task: int | None, **changed: Any) -> dict[str, Any]:
    """A record of a job as the stand-in has it: of array 7, a task with an id of its own."""
    plain = {"id": 7 + (task or 0), "array_id": 7, "array_task_id": task, "state": "RUNNING",
             "user_id": ME, "name": "sb-a-1", "exit_status": 0}  # fmt: skip
    return {**plain, **changed}


def waiting(tasks: str, **changed: Any) -> dict[str, Any]:
    """What has not started of array 7, in one record."""
    return record(None, **{"state": "PENDING", "array_tasks_waiting": tasks, **changed})


def children() -> set[int]:
    """Every child of this process, dead ones that nobody has waited for too."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found
