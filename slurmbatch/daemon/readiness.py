"""Alive, and able to work: what `/healthz`, `/readyz` and `systemctl status` tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from slurmbatch import __version__
from slurmbatch.daemon.reload import Loaded
from slurmbatch.errors import SlurmbatchError
from slurmbatch.health import Health, late_after
from slurmbatch.store import Store
from slurmbatch.web import Waits

CHECK_DATABASE_EVERY = 1.0


@dataclass(slots=True)
class Readiness:
    """Alive, and able to work: for load balancers, watchdogs and people."""

    store: Store
    health: Health
    poll_interval_most: float
    backend: str
    waits: Waits
    clock: Callable[[], float] = time.time
    loaded: Loaded = field(default_factory=lambda: Loaded(time.time()))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _checked_at: float | None = None
    _trouble: str = ""

    def healthz(self) -> dict[str, Any]:
        return {"status": "alive", "version": __version__}

    def readyz(self) -> tuple[bool, dict[str, Any]]:
        now = self.clock()
        trouble = self._database(now)
        # Ticks go on through an outage, and with nothing to do few of them look.
        ticked, looked = (self._age(name, now) for name in ("poller", "slurmctld"))
        fresh = ticked is not None and ticked < late_after(self.poll_interval_most)
        slurm = {name: self._source(name) for name in ("slurmctld", "slurmdbd")}
        ready = not trouble and fresh and looked is not None and slurm["slurmctld"]["ok"]
        about = {"ok": not trouble, "error": trouble}
        queue = {"depth": self.waits.depth, "waited": self.waits.waited}
        return ready, {"status": "ready" if ready else "not ready", "database": about, **slurm,
                       "poll_age_seconds": looked, "looks": self.health.looks,
                       "backend": self.backend, "queue": queue,
                       "settings": self.loaded.report(_utc)}  # fmt: skip

    def summary(self) -> str:
        """One line that only changes when something does. Costs nothing."""
        names = ("database", "slurmctld", "slurmdbd", "poller", "submitter")
        sources = {name: self.health.source(name) for name in names}
        down = [
            f"{name} down since {_utc(each.down_since)}: {each.error}"
            for name, each in sources.items() if each.down_since is not None
        ]  # fmt: skip
        ready = "ready" if sources["slurmctld"].ok_at is not None else "looks at Slurm first"
        return "; ".join(filter(None, (*(down or [ready]), self.loaded.summary())))

    def _database(self, now: float) -> str:
        """Why the database can't be written; "" if it can. Looked at once a second at most: it
        costs a write to the disk, and whoever asks needs no credentials."""
        with self._lock:
            if self._checked_at is None or not 0 <= now - self._checked_at < CHECK_DATABASE_EVERY:
                self._trouble = _trouble(self.store)
                self._checked_at = now
            return self._trouble

    def _age(self, name: str, now: float) -> float | None:
        ok_at = self.health.source(name).ok_at
        return None if ok_at is None else round(now - ok_at, 1)

    def _source(self, name: str) -> dict[str, Any]:
        source = self.health.source(name)
        since = source.down_since
        text = "" if since is None else _utc(since)
        return {"ok": since is None, "down_since": text, "error": source.error if text else ""}


def _trouble(store: Store) -> str:
    try:
        store.check()
    except SlurmbatchError as error:
        return error.detail
    return ""


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
