"""The processes of a sandbox: started so that they can be told from all others, and found again.

A pid file alone proves nothing, since pids are used again. What we start carries a mark in its
environment, which the kernel shows in /proc; jobs are known by the slurm.conf in theirs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "SLURMBATCH_SANDBOX_PROCESS"
PROC = Path("/proc")

# Writes its own pid before it becomes the program, so the file is there however that one fares.
BECOME = 'echo $$ >"$0"; exec "$@"'


@dataclass(frozen=True, slots=True)
class Process:
    """One line of the process table."""

    pid: int
    parent: int
    state: str


def launch(
    command: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path, timeout: float = 30
) -> int:
    """Runs a program that goes to the background by itself; its return code."""
    with log.open("ab") as output:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(env),
            cwd=cwd,
            timeout=timeout,
            umask=0o022,
        )
    return done.returncode


def in_background(setsid: str, pid_file: Path, command: Sequence[str]) -> list[str]:
    """The command, made to go to the background and to leave its pid."""
    return [setsid, "--fork", "sh", "-c", BECOME, str(pid_file), *command]


class Processes:
    """Finds and ends what belongs to the sandbox in `root`."""

    def __init__(self, root: Path, slurm_conf: Path) -> None:
        self._mark = f"{MARK}={root}".encode()
        self._conf = f"SLURM_CONF={slurm_conf}".encode()

    def pid(self, pid_file: Path) -> int | None:
        """The living process of ours that a pid file names."""
        try:
            pid = int(pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if self.is_ours(pid) and process(pid) is not None else None

    def is_ours(self, pid: int) -> bool:
        """Whether we, or Slurm for us, started it."""
        try:
            environment = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            return False
        if self._mark in environment:
            return True
        is_job = any(entry.startswith(b"SLURM_JOB_ID=") for entry in environment)
        return is_job and self._conf in environment

    def all(self) -> set[int]:
        """Every process of the sandbox, with all that descend from them."""
        table = {entry.pid: entry for entry in living()}
        found = {pid for pid in table if self.is_ours(pid)}
        grown = True
        while grown:
            children = {p.pid for p in table.values() if p.parent in found} - found
            found |= children
            grown = bool(children)
        return found - _ourselves(table)

    def stop(self, pid_file: Path, timeout: float) -> None:
        """Asks the process to end; one that does not is killed."""
        pid = self.pid(pid_file)
        if pid is None:
            return
        send(pid, signal.SIGTERM)
        if not wait_gone(pid, timeout):
            send(pid, signal.SIGKILL)
            wait_gone(pid, timeout)

    def end_all(self, timeout: float = 10) -> set[int]:
        """Kills every process of the sandbox, again until none is left; those that resisted."""
        deadline = time.monotonic() + timeout
        left = self.all()
        while left and time.monotonic() < deadline:
            for pid in left:
                send(pid, signal.SIGKILL)
            time.sleep(0.02)
            left = {pid for pid in left if process(pid) is not None} | self.all()
        return left


def process(pid: int) -> Process | None:
    """The process, unless it is gone or only waits to be forgotten."""
    entry = PROC / str(pid)
    try:
        state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        # Of a process that was killed the first thread may be dead before the others are.
        is_dead = state in "ZX" and len(list((entry / "task").iterdir())) <= 1
    except OSError:
        return None
    return None if is_dead else Process(pid, int(parent), state)


def living() -> Iterator[Process]:
    """All processes of the machine."""
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (found := process(int(entry.name))) is not None:
            yield found


def send(pid: int, number: int) -> None:
    """Sends a signal; a process that is gone by then is none to care about."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_gone(pid: int, timeout: float) -> bool:
    """Waits until the process is gone."""
    deadline = time.monotonic() + timeout
    while process(pid) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _ourselves(table: Mapping[int, Process]) -> set[int]:
    """This process and those it descends from, which must live on."""
    found, pid = set(), os.getpid()
    while pid:
        found.add(pid)
        pid = table[pid].parent if pid in table else 0
    return found
