"""How fast a batch goes, and when it may be through."""

from __future__ import annotations

from collections import deque

WINDOW = 60.0


class Pace:
    """Of the last minute: jobs that end do not do so evenly, and how it began tells little."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now: float, ended: int) -> None:
        # Fewer than before: some have been put back, so what was seen says nothing any more.
        if self._seen and ended < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, ended))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """Jobs that end in a second; 0 while that is not known."""
        if not self._seen:
            return 0.0
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now - began) if now > began else 0.0

    def left(self, n_jobs: int) -> float | None:
        """Seconds until the last one of them ends, if it goes on like this; None: who knows."""
        ended = self._seen[-1][1] if self._seen else 0
        if ended >= n_jobs:
            return 0.0
        return (n_jobs - ended) / self.rate if self.rate else None


def duration(seconds: float) -> str:
    """In at most two units: 4 s, 3m 20s, 2h 05m, 3d 4h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600}h"
