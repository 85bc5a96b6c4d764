"""Slurm, with somebody who is told of every call: how long it took, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from slurmbatch.slurm.port import SlurmPort

Seen = Callable[[str, float, BaseException | None], None]
CALLS = frozenset(name for name in vars(SlurmPort) if not name.startswith("_"))


class Observed:
    """Whatever the port has. `seen` gets the call, its seconds and its error."""

    def __init__(self, slurm: SlurmPort, seen: Seen) -> None:
        self._slurm = slurm
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._slurm, name)
        return self._watched(name, found) if name in CALLS else found

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            began, trouble = time.monotonic(), None
            try:
                return call(*args, **options)
            except BaseException as error:
                trouble = error
                raise
            finally:
                self._seen(name, time.monotonic() - began, trouble)

        return watched


def observed(slurm: SlurmPort, seen: Seen) -> SlurmPort:
    wrapped: Any = Observed(slurm, seen)
    port: SlurmPort = wrapped
    return port
