"""How often each caller may ask: a token bucket a user, in memory, begun anew with the process.

A full bucket holds the requests of a minute, and is full again a minute after it was empty. Of each
user one number is kept: the time at which the bucket will be full.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import falcon

from slurmbatch.api import waiting
from slurmbatch.errors import OverLimit, Reached

WINDOW = 60.0
KEPT_AT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a caller's bucket: of `limit` requests so many, and the seconds until it is
    full again, or, where nothing is left, until one more is."""

    limit: int
    remaining: int
    reset: int
    is_over: bool = False

    def headers(self) -> Mapping[str, str]:
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }


class Buckets:
    """Of all users, from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: dict[str, float] = {}

    def take(self, user_id: str, limit: int) -> Left:
        """One request of this user's, of so many a minute."""
        one, now = WINDOW / limit, self._clock()
        with self._lock:
            full_at = max(now, self._full_at.get(user_id, now))
            # A limit that was lowered since leaves no debt beyond one bucket.
            full_at = min(full_at, now + WINDOW)
            is_over = full_at + one > now + WINDOW + 1e-6
            if not is_over:
                full_at += one
                self._keep(user_id, full_at, now)
        remaining = max(0, math.floor((now + WINDOW - full_at) / one + 1e-6))
        wait = full_at + one - now - WINDOW if is_over else full_at - now
        return Left(limit, remaining, max(1, math.ceil(wait)), is_over)

    def give_back(self, user_id: str, limit: int) -> None:
        """The request did not count after all."""
        with self._lock:
            if user_id in self._full_at:
                self._full_at[user_id] -= WINDOW / limit

    def __len__(self) -> int:
        return len(self._full_at)

    def _keep(self, user_id: str, full_at: float, now: float) -> None:
        if len(self._full_at) >= KEPT_AT_MOST and user_id not in self._full_at:
            self._full_at = {name: at for name, at in self._full_at.items() if at > now}
            if len(self._full_at) >= KEPT_AT_MOST:
                self._full_at.clear()
        self._full_at[user_id] = full_at


class Rate:
    """Refuses who asks too often. `limit_of` gives how many requests a minute a user has; None:
    any number. Goes after what tells who calls."""

    def __init__(
        self, limit_of: Callable[[str], int | None], buckets: Buckets | None = None
    ) -> None:
        self._limit_of = limit_of
        self._buckets = buckets or Buckets()

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        user_id = getattr(req.context, "user_id", "")
        limit = self._limit_of(user_id) if user_id else None
        # A request that has waited comes again, and has been counted.
        if not limit or waiting.has_waited(req):
            return
        left = req.context.rate = self._buckets.take(user_id, limit)
        if left.is_over:
            name = "requests_per_minute"
            detail = f"You may send {limit} requests a minute; the next one in {left.reset} s."
            raise OverLimit([Reached(name, limit, limit, 1)], left.reset, detail)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        left: Left | None = getattr(req.context, "rate", None)
        if left is None or waiting.is_paused(req):
            return
        if resp.status_code == 304:
            self._buckets.give_back(req.context.user_id, left.limit)
        for name, value in left.headers().items():
            resp.set_header(name, value)
