"""Where the contract of the Slurm port is tried: on the fake, and in two ways on a real Slurm."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

import pytest

from slurmbatch.errors import SlurmAmbiguous, SlurmUnreachable
from slurmbatch.model import JobReport, SlurmOptions
from slurmbatch.sandbox import Sandbox
from slurmbatch.slurm.binding import BindingSlurm
from slurmbatch.slurm.choose import bind
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.slurm.port import SlurmPort, SubmitRequest
from tests.fakes.slurm import FakeSlurm, ranges

PATIENCE = 120.0
# Not nobody, whom newer versions do not take for a user.
STRANGER = "games"
# Since 25.05 or so nobody has a default account unless it is given.
AT_HOME = ("account=demo", "defaultaccount=demo")
# The real pyslurm, where it is installed (see .ci/pyslurm), or the stand-in for it.
REAL_PYSLURM = find_spec("pyslurm") is not None
PATH = list(sys.path) if REAL_PYSLURM else [str(Path(__file__).parents[1] / "fakes"), *sys.path]
# The stand-in speaks to the Slurm that is installed.
THROUGH_PYSLURM = [pytest.mark.slurm, *([] if REAL_PYSLURM else [pytest.mark.installed])]

# What a job does, and what the fake is told to make of it.
SUCCEED, EXIT_3, EXIT_137, DIE, STAY = "exit 0", "exit 3", "exit 137", "kill -9 $$", "sleep 600"
# Some memory and CPU time, for long enough to be measured.
WORK = "x=$(head -c 5000000 /dev/zero | tr '\\0' x); for i in {1..99999}; do :; done; sleep 2"
ENDS: dict[str, dict[str, Any]] = {
    SUCCEED: {},
    WORK: {},
    EXIT_3: {"state": "FAILED", "code": 3},
    EXIT_137: {"state": "FAILED", "code": 137},
    DIE: {"state": "FAILED", "signal": 9},
}


class Site(ABC):
    """A Slurm, the port to it, and what can be done to it behind the port's back."""

    slurm: SlurmPort
    work_dir: PurePath
    options = SlurmOptions(time_limit=20)
    _made = 0

    def request(self, does: str = SUCCEED, n: int = 3, **changes: Any) -> SubmitRequest:
        """An array under a name of its own."""
        Site._made += 1
        made = SubmitRequest(
            tag=f"sb-contract-{os.getpid()}-{Site._made:04}",  # none is the beginning of another
            script=f"#!/bin/bash\n{does}\n",
            n_tasks=n,
            cpu=1,
            memory=10,
            output=self.work_dir / f"{Site._made}.%a.log",
            work_dir=self.work_dir,
            options=self.options,
        )
        return replace(made, **changes)

    def submit(self, request: SubmitRequest) -> int:
        return self.slurm.submit(request).slurm_job_id

    def run(self, request: SubmitRequest) -> int:
        """Submits and releases."""
        number = self.submit(request)
        self.slurm.release(number)
        return number

    def live(self, tag: str) -> list[JobReport]:
        return [row for row in self.slurm.live() if row.tag == tag]

    def states(self, tag: str) -> set[str]:
        return {row.state for row in self.live(tag)}

    def until(self, condition: Callable[[], bool]) -> None:
        """Lets things happen until the condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "it did not come about"
            self.step()

    def impatient(self) -> SlurmPort:
        """The same port, which gives up soon where that means waiting."""
        return self.slurm

    @abstractmethod
    def step(self) -> None:
        """Lets a moment pass."""

    @abstractmethod
    def now(self) -> float:
        """The time of this Slurm."""

    @abstractmethod
    def drop(self, slurm_job_id: int, numbers: Collection[int]) -> None:
        """Somebody cancels tasks one by one."""

    @abstractmethod
    def by_stranger(self, request: SubmitRequest) -> None:
        """Another user has submitted such an array."""

    # --- faults -------------------------------------------------------------------------------

    @abstractmethod
    def stop_slurmctld(self) -> None: ...

    @abstractmethod
    def start_slurmctld(self) -> None: ...

    @abstractmethod
    def stop_slurmdbd(self) -> None: ...

    @abstractmethod
    def start_slurmdbd(self) -> None: ...

    @abstractmethod
    def hang_slurmctld(self) -> None:
        """It takes what it is sent, but does not answer."""

    @abstractmethod
    def go_on(self) -> None:
        """The end of the hanging."""


class FakeSite(Site):
    """On the fake, whose jobs do at each step what their script says."""

    def __init__(self, **limits: Any) -> None:
        self.slurm: FakeSlurm = FakeSlurm(**limits)
        self.work_dir = PurePath("/work")

    def step(self) -> None:
        self.slurm.advance(1.0)
        for array in self.slurm.arrays:
            if array.held:
                continue
            running = [t.number for t in array.tasks.values() if t.state == "RUNNING"]
            end = ENDS.get(array.request.script.splitlines()[1])
            if running and end is not None:
                self.slurm.finish(array.job_id, *running, **end)
            if array.may_start:
                self.slurm.start(array.job_id, *array.may_start)

    def now(self) -> float:
        return self.slurm.now

    def drop(self, slurm_job_id: int, numbers: Collection[int]) -> None:
        for number in numbers:
            self.slurm.cancel_task(slurm_job_id, number)

    def by_stranger(self, request: SubmitRequest) -> None:
        self.slurm.add(request, uid=self.slurm.uid + 1)

    def stop_slurmctld(self) -> None:
        self.slurm.slurmctld_down = True

    def start_slurmctld(self) -> None:
        self.slurm.slurmctld_down = False

    def stop_slurmdbd(self) -> None:
        self.slurm.slurmdbd_down = True

    def start_slurmdbd(self) -> None:
        self.slurm.slurmdbd_down = False

    def hang_slurmctld(self) -> None:
        self.slurm.fail_next("submit", SlurmAmbiguous("Socket timed out"), done=True)
        self.slurm.fail_next("estimate", SlurmUnreachable("Socket timed out"))

    def go_on(self) -> None: ...


class RealSite(Site):
    """On a sandbox."""

    def __init__(self, box: Sandbox, timeout: float = 20.0) -> None:
        self.box = box
        self.commands = CommandSlurm(box.paths.slurm_conf, box.bin_dir, timeout=timeout)
        self.slurm: SlurmPort = self.commands
        self.work_dir = box.paths.work

    def impatient(self) -> SlurmPort:
        return replace(self.commands, timeout=0.5, submit_timeout=0.5)

    def close(self) -> None: ...

    def step(self) -> None:
        time.sleep(0.1)

    def now(self) -> float:
        return time.time()

    def drop(self, slurm_job_id: int, numbers: Collection[int]) -> None:
        words = (str(a) if a == b else f"{a}-{b}" for a, b in ranges(numbers))
        self.box.run(["scancel", f"{slurm_job_id}_[{','.join(words)}]"])

    def by_stranger(self, request: SubmitRequest) -> None:
        entry = pwd.getpwnam(STRANGER)
        self.box.run(["sacctmgr", "-i", "add", "user", STRANGER, *AT_HOME], check=False)
        command = ["sbatch", "--parsable", "--hold", "--output=/dev/null", "--chdir=/tmp",
                   f"--job-name={request.tag}", f"--array=1-{request.n_tasks}"]  # fmt: skip

        def submitted() -> bool:
            done = subprocess.run(
                command, input=request.script, text=True, capture_output=True, cwd="/",
                env={**self.box.env}, user=entry.pw_uid, group=entry.pw_gid, extra_groups=[],
            )  # fmt: skip
            return done.returncode == 0

        self.until(submitted)  # slurmctld hears of the new user a moment later

    def as_user(self, uid: int, directory: Path) -> CommandSlurm:
        """The port as another user would have it; only for root."""
        sbatch = directory / "sbatch"
        real = self.box.run(["which", "sbatch"]).stdout.strip()
        sbatch.write_text(
            f'#!/bin/sh\nexec setpriv --reuid={uid} --regid=65534 --clear-groups {real} "$@"\n'
        )
        sbatch.chmod(0o755)
        return CommandSlurm(self.box.paths.slurm_conf, bin_dir=directory)

    def stop_slurmctld(self) -> None:
        self.box.kill("slurmctld", 15)

    def start_slurmctld(self) -> None:
        self.box.start("slurmctld")

    def stop_slurmdbd(self) -> None:
        self.box.kill("slurmdbd", 15)

    def start_slurmdbd(self) -> None:
        self.box.start("slurmdbd")

    def hang_slurmctld(self) -> None:
        self.box.kill("slurmctld", 19)

    def go_on(self) -> None:
        self.box.kill("slurmctld", 18)


class BoundSite(RealSite):
    """On a sandbox, through the binding: to pyslurm, or a stand-in that speaks to the sandbox."""

    def __init__(self, box: Sandbox) -> None:
        super().__init__(box)
        self.slurm: BindingSlurm = bind(self.commands, PATH)

    def impatient(self) -> SlurmPort:
        # Long enough for a helper to start, even so.
        commands = replace(self.commands, timeout=1.5, submit_timeout=10.0)
        return replace(self.slurm, commands=commands)

    def close(self) -> None:
        self.slurm.close()
