"""What a sandbox is to be like, kept in its directory so that it comes up the same again."""

from __future__ import annotations

import dataclasses
import json
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurmbatch.sandbox.errors import SandboxError
from slurmbatch.sandbox.ports import LOOPBACK

FIRST_NODE = 10


@dataclass(frozen=True, slots=True)
class Shape:
    """What whoever starts a sandbox may choose about it."""

    nodes: int = 4
    cpus: int = 16
    memory: int = 6000
    max_array_size: int = 1001
    max_job_count: int = 20_000
    min_job_age: int = 300
    extra_conf: str = ""
    tools_dir: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= 1000:
            raise SandboxError(f"A sandbox has 1 to 1000 nodes, not {self.nodes}.")

    @property
    def node_names(self) -> list[str]:
        return [f"node{number}" for number in range(1, self.nodes + 1)]

    @property
    def n_ports(self) -> int:
        return FIRST_NODE + self.nodes


@dataclass(frozen=True, slots=True)
class Plan:
    """The shape, and what was found or made up when the sandbox first came up."""

    shape: Shape
    base_port: int
    loopback_only: bool
    database_password: str

    @classmethod
    def draw_up(cls, shape: Shape, base_port: int) -> Plan:
        return cls(
            shape=shape,
            base_port=base_port,
            loopback_only=host_is_loopback(),
            database_password=secrets.token_urlsafe(18),
        )

    @classmethod
    def load(cls, path: Path) -> Plan:
        kept: dict[str, Any] = json.loads(path.read_text())
        return cls(**{**kept, "shape": Shape(**kept["shape"])})

    def save(self, path: Path) -> None:
        """Writes all of it or nothing."""
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")
        new.replace(path)

    @property
    def slurmctld_port(self) -> int:
        return self.base_port

    @property
    def slurmdbd_port(self) -> int:
        return self.base_port + 1

    @property
    def mariadb_port(self) -> int:
        return self.base_port + 2

    @property
    def http_port(self) -> int:
        return self.base_port + 3

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.http_port}"

    def slurmd_port(self, node: str) -> int:
        return self.base_port + FIRST_NODE + self.shape.node_names.index(node)


def host_is_loopback() -> bool:
    """Whether this host's name stands for 127.0.0.1.

    Slurm can listen on one address instead of all of them, but only on that of the host's name.
    With another one in 127.0.0.0/8 srun would wait there for answers that go to 127.0.0.1.
    """
    try:
        return socket.gethostbyname(socket.gethostname()) == LOOPBACK
    except OSError:
        return False
