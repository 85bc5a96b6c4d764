"""Slurm, with somebody who is asked before anything is changed there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slurmbatch.slurm.port import SlurmPort

ACTS = frozenset(("submit", "release", "throttle", "cancel"))


class Guarded:
    """Whatever the port has. `check` raises where this process may change nothing any more."""

    def __init__(self, slurm: SlurmPort, check: Callable[[], None]) -> None:
        self._slurm = slurm
        self._check = check

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._slurm, name)
        return self._checked(found) if name in ACTS else found

    def _checked(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*args: Any, **options: Any) -> Any:
            self._check()
            return call(*args, **options)

        return checked


def guarded(slurm: SlurmPort, check: Callable[[], None]) -> SlurmPort:
    wrapped: Any = Guarded(slurm, check)
    port: SlurmPort = wrapped
    return port
