"""A daemon as a process, whose Slurm is not there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.ports import free_port


class Site:
    """Settings of a daemon whose Slurm is not there."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = directory / "slurmbatch.toml"
        (directory / "bin").mkdir()
        (directory / "tools.d").mkdir()
        (directory / "tools.d" / "t.toml").write_text(
            'description = "t"\nscript = "#!/bin/sh\\ntrue\\n"\n[hardware]\ncpu = 1\nmemory = 1\n'
        )
        self.write(directory, directory / "logs")

    def write(self, directory: Path, logs: Path, more: str = "") -> None:
        self.config.write_text(
            f"[server]\nport = {self.port}\nsubmit_wait = 0.5\n"
            f'[store]\npath = "{directory}/state/x.sqlite"\n'
            f'[jobs]\nlog_dir = "{logs}"\nwork_dir = "{directory}"\n'
            f'[slurm]\nbin_dir = "{directory}/bin"\n[tools]\ndir = "{directory}/tools.d"\n' + more
        )

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "slurmbatch", *arguments, "--config", str(self.config)]

    def key(self) -> str:
        made = subprocess.run(
            self.command("admin", "key", "create", "--user", "alice"),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return made.stdout.splitlines()[-1]

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            arguments or self.command("serve"), stderr=subprocess.PIPE, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip
        wait_until(lambda: answers(self.url))
        return process


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def wait_until(done: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)
