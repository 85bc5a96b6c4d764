"""When keys were last used: noted while requests are answered, written now and then.

So a request writes nothing, and no key is written more than once a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from slurmbatch.model import ApiKey

AT_MOST_EVERY = 60.0


class Times(Protocol):
    """The part of the store that keeps them."""

    def used(self, times: Mapping[str, float]) -> None: ...


class Uses:
    """Noted by any thread, written by the one that calls `tick`."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self._noted: dict[str, float] = {}

    def note(self, key: ApiKey, now: float) -> None:
        if key.used_at is None or now - key.used_at >= AT_MOST_EVERY:
            self._noted[key.key_id] = now

    def tick(self, _now: float) -> None:
        noted, self._noted = self._noted, {}
        if noted:
            self._times.used(noted)
