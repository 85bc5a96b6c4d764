"""Where everything of a sandbox lies: in one directory, and nowhere else."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from slurmbatch.sandbox.errors import SandboxError

MARKER = ".slurmbatch-sandbox"
SUBDIRECTORIES = ("etc", "bin", "run", "log", "logs", "spool", "state", "work", "fs")

# The longest socket is one that slurmstepd makes for a step; its name holds the node twice.
LONGEST_SOCKET = "/spool/{node}/{node}_67108863.4294967295"
SOCKET_BYTES = 107


def default_root() -> Path:
    """The directory that is meant when none is named."""
    return Path(os.environ.get("SLURMBATCH_SANDBOX") or Path.home() / ".slurmbatch-sandbox")


@dataclass(frozen=True, slots=True)
class Paths:
    """The files of the sandbox in `root`, which is absolute and without links."""

    root: Path

    @property
    def marker(self) -> Path:
        return self.root / MARKER

    @property
    def plan(self) -> Path:
        return self.root / "etc/sandbox.json"

    @property
    def slurm_conf(self) -> Path:
        return self.root / "etc/slurm.conf"

    @property
    def daemons_conf(self) -> Path:
        return self.root / "etc/daemons.conf"

    @property
    def task_prolog(self) -> Path:
        return self.root / "etc/task-prolog"

    @property
    def bin(self) -> Path:
        """Slurm's programs, where they are not those that are installed."""
        return self.root / "bin"

    @property
    def slurmdbd_conf(self) -> Path:
        return self.root / "etc/slurmdbd.conf"

    @property
    def settings(self) -> Path:
        return self.root / "etc/slurmbatch.toml"

    @property
    def munge_key(self) -> Path:
        return self.root / "etc/munge.key"

    @property
    def jwt_key(self) -> Path:
        """That of auth/jwt, where tokens are taken."""
        return self.root / "etc/jwt.key"

    @property
    def munge_socket(self) -> Path:
        return self.root / "run/munge.socket"

    @property
    def database(self) -> Path:
        return self.root / "db"

    @property
    def database_tmp(self) -> Path:
        return self.root / "state/mariadb"

    @property
    def database_installed(self) -> Path:
        return self.root / "state/mariadb-installed"

    @property
    def database_init(self) -> Path:
        return self.root / "etc/mariadb-init.sql"

    @property
    def slurmctld_state(self) -> Path:
        return self.root / "state/slurmctld"

    @property
    def env(self) -> Path:
        return self.root / "env"

    @property
    def work(self) -> Path:
        return self.root / "work"

    def pid_file(self, name: str) -> Path:
        return self.root / "run" / f"{name}.pid"

    def log_file(self, name: str) -> Path:
        return self.root / "log" / f"{name}.log"

    def check(self, nodes: int) -> None:
        """Refuses a directory whose name Slurm, or a Unix socket, could not take."""
        if not re.fullmatch(r"[\w./+@-]+", str(self.root), re.ASCII):
            raise SandboxError(
                f"{self.root}: Slurm's settings cannot hold this name; use a directory whose path "
                "has only letters, digits and . _ - + @ /"
            )
        socket = f"{self.root}{LONGEST_SOCKET.format(node=f'node{nodes}')}"
        excess = len(os.fsencode(socket)) - SOCKET_BYTES
        if excess > 0:
            raise SandboxError(
                f"{self.root}: the path is {excess} characters too long for the sockets inside "
                "it; choose a shorter one with --dir"
            )

    def create(self) -> None:
        """Makes the directories, and marks the root as ours."""
        if self.root.exists() and not self.marker.exists() and any(self.root.iterdir()):
            raise SandboxError(f"{self.root} is not empty and not a sandbox; it is left alone.")
        self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.root.chmod(0o755)
        self.marker.touch()
        for name in SUBDIRECTORIES:
            self._directory(name, 0o755)
        for name in ("db", "state/slurmbatch", "state/slurmctld", "state/mariadb"):
            self._directory(name, 0o700)
        # Where root runs the sandbox, the jobs of others write here as well.
        for name in ("fs/scratch", "fs/project"):
            self._directory(name, 0o1777 if os.geteuid() == 0 else 0o755)

    def _directory(self, name: str, mode: int) -> None:
        path = self.root / name
        path.mkdir(exist_ok=True)
        path.chmod(mode)

    def remove(self) -> None:
        """Removes the whole directory, if it is a sandbox."""
        if not self.marker.exists():
            raise SandboxError(f"{self.root} is not a sandbox; it is left alone.")
        shutil.rmtree(self.root)
