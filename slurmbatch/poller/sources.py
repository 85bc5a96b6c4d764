"""Asks slurmctld and accounting, notes outages, and keeps what the cluster says of itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from slurmbatch.doorbell import Doorbell
from slurmbatch.errors import SlurmUnreachable
from slurmbatch.health import Health
from slurmbatch.journal import get
from slurmbatch.model import JobReport
from slurmbatch.slurm.port import SlurmPort
from slurmbatch.store import Store

_log = get("poller")
FACTS_EVERY = 60.0


@dataclass
class Sources:
    """The two sources of what is known of jobs. An answer of None: could not be asked."""

    store: Store
    slurm: SlurmPort
    health: Health
    doorbell: Doorbell
    _facts_at: float = 0.0
    _asked_at: float = 0.0

    def live(self, now: float) -> dict[str, list[JobReport]] | None:
        """What slurmctld shows, by tag."""
        try:
            rows = self.slurm.live()
        except SlurmUnreachable as error:
            if self.health.failed("slurmctld", now, error.detail):
                _log.warning("Slurm does not answer, statuses stay as they are",
                             error=error.detail)  # fmt: skip
            return None
        down = self.health.ok("slurmctld", now)
        if down is not None:
            _log.info("Slurm answers again", down_seconds=round(down, 1))
            self._facts_at = 0.0
            self.doorbell.ring()
        return _by_tag(rows)

    def ended(self, ids: set[int], now: float) -> dict[str, list[JobReport]] | None:
        """What accounting says of these arrays, by tag. Without ids nothing is asked, unless to
        hear whether it is back."""
        if not ids and not self.health.is_down("slurmdbd"):
            return {}
        try:
            rows = self.slurm.ended(ids or {1})
        except SlurmUnreachable as error:
            if self.health.failed("slurmdbd", now, error.detail):
                _log.warning("Slurm's accounting does not answer, ends may be late",
                             error=error.detail)  # fmt: skip
            return None
        down = self.health.ok("slurmdbd", now)
        if down is not None:
            _log.info("Slurm's accounting answers again", down_seconds=round(down, 1))
        return _by_tag(rows)

    def was_started_again(self, now: float, *, afresh: bool = False) -> bool:
        """Whether slurmctld was started since it was last asked, which it is once a minute, or
        `afresh`; but never twice in one tick."""
        if now == self._asked_at or (not afresh and 0 <= now - self._facts_at < FACTS_EVERY):
            return False
        self._asked_at = now
        try:
            facts = self.slurm.facts()
        except SlurmUnreachable:
            return False
        self._facts_at = now
        self.store.remember("max_array_size", str(facts.max_array_size))
        if facts.boot_time == self.store.recall("boot_time"):
            return False
        self.store.remember("boot_time", facts.boot_time)
        _log.info("slurmctld was started, every job is looked at again",
                  boot_time=facts.boot_time, version=facts.version)  # fmt: skip
        return True


def _by_tag(rows: Sequence[JobReport]) -> dict[str, list[JobReport]]:
    tags: dict[str, list[JobReport]] = defaultdict(list)
    for row in rows:
        tags[row.tag].append(row)
    return tags
