"""The others, started privately on the same cluster."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from slurmbatch.sandbox import Sandbox
from tests.benchmarks.load import Target
from tests.benchmarks.processes import running, until_answered
from tests.ports import free_port

FORK_THREADS = 8
_API = "/slurm/v0.0.38"


@dataclass
class Peers:
    """Starts peers on a sandbox; all of them end with the stack."""

    box: Sandbox
    stack: ExitStack
    logs: Path

    @property
    def _env(self) -> dict[str, str]:
        return {**os.environ, **self.box.env, "LANG": "C.UTF-8"}

    def app(self, kind: str, threads: int, path: str, size: int = 0) -> Target:
        """A Falcon app on waitress: `bare`, `squeue` or `sacct`."""
        port = free_port()
        command = [sys.executable, "-m", "tests.benchmarks.peer_apps", kind, str(port),
                   str(threads), str(size)]  # fmt: skip
        log = self.logs / f"{kind}.log"
        process = self.stack.enter_context(running(command, self._env, log))
        until_answered(port, path)
        name = f"bare, {threads} thread{'s' * (threads > 1)}" if kind == "bare" else kind
        return Target(name, f"http://127.0.0.1:{port}{path}", pids={"own": process.pid})

    @contextmanager
    def slurmrestd(self, job: int) -> Iterator[Target]:
        """A fresh one, so that the reads that the last turn gave up are not worked on any more."""
        socket = self.logs / "slurmrestd.socket"
        socket.unlink(missing_ok=True)
        # It refuses to run as root or as SlurmUser unless told so; a sandbox has one user only.
        env = {**self._env, "SLURMRESTD_SECURITY": "disable_user_check"}
        command = ["slurmrestd", "-s", "openapi/v0.0.38", "-a", "rest_auth/local", f"unix:{socket}"]
        with running(command, env, self.logs / "slurmrestd.log") as process:
            _until_there(socket)
            url = f"{_API}/job/{job}"
            yield Target("slurmrestd", url, unix=socket, pids={"own": process.pid})


def _until_there(path: Path, within: float = 10) -> None:
    ends = time.monotonic() + within
    while not path.exists():
        if time.monotonic() > ends:
            raise TimeoutError(f"{path} did not come")
        time.sleep(0.02)
    time.sleep(0.2)
