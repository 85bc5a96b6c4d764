"""pyslurm.api, and what stands in for libslurm behind it."""

from __future__ import annotations

import os
import sys
from typing import Any, Protocol

from .cluster import Cluster
from .told import CONF, TOLD, fresh, hang, misbehave, note


class LibSlurm(Protocol):
    """The four calls of libslurm's that pyslurm makes for us."""

    def load(self) -> list[dict[str, Any]]: ...
    def submit(self, description: dict[str, Any], environment: dict[str, str]) -> int: ...
    def kill(self, job_id: int) -> None: ...
    def update(self, job_id: int) -> None: ...


class Told:
    """Answers from the test's file."""

    def load(self) -> list[dict[str, Any]]:
        note("load")
        misbehave("load")
        return list(fresh().get("jobs", []))

    def submit(self, description: dict[str, Any], environment: dict[str, str]) -> int:
        note("submit", description=description, environment=environment)
        misbehave("submit")
        return int(fresh().get("next_id", 1))

    def kill(self, job_id: int) -> None:
        note("kill", id=job_id)
        misbehave("kill")

    def update(self, job_id: int) -> None:
        note("update", id=job_id)
        misbehave("update")


def slurm_init() -> None:
    if TOLD.get("import") == "hang":
        hang()
    if TOLD.get("import") == "fail":
        raise ImportError("libslurm.so.43: cannot open shared object file")
    if TOLD.get("import") == "end" or not CONF.exists():
        print(f"pyslurm: fatal: Could not establish a configuration source ({CONF})",
              file=sys.stderr, flush=True)  # fmt: skip
        os._exit(1)


LIB: LibSlurm = Told() if TOLD else Cluster()
