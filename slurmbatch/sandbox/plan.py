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
    extra_dbd_conf: str = ""
    tokens: bool = False
    tools_dir: str = ""
    root: str = ""

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
    address: str = LOOPBACK

    @classmethod
    def draw_up(cls, shape: Shape, base_port: int) -> Plan:
        address = loopback_of_host()
        return cls(
            shape=shape,
            base_port=base_port,
            loopback_only=address is not None,
            database_password=secrets.token_urlsafe(18),
            address=address or LOOPBACK,
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
    def daemons_apart(self) -> bool:
        """Whether Slurm's daemons need other settings than its commands."""
        return self.address != LOOPBACK

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


def loopback_of_host() -> str | None:
    """The address in 127.0.0.0/8 that this host's name stands for; None for any other.

    Slurm can listen on one address instead of all of them, but only on that of the host's name. On
    Debian it is mostly 127.0.1.1.
    """
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        return None
    return address if address.startswith("127.") else None
