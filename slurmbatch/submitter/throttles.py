"""Tells Slurm how many tasks of each array may run at once, where that has become more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from slurmbatch.journal import get
from slurmbatch.slurm.port import SlurmPort
from slurmbatch.store import Share, Store
from slurmbatch.submitter.common import is_past, lives, of

_log = get("submitter")


@dataclass
class Throttles:
    """What it keeps in memory only saves time: when an array was last told. `repeat`: after how
    many seconds one is told again that could not be."""

    store: Store
    slurm: SlurmPort
    repeat: float
    look: Callable[[], None]
    _tried: dict[int, float] = field(default_factory=dict)

    def tick(self, now: float) -> None:
        # A slurmctld that is killed may have forgotten it, so each one is told anew.
        boot = self.store.recall("boot_time") or ""
        untold = self.store.throttles.untold(boot)
        for share in untold:
            if is_past(self._tried.get(share.array), self.repeat, now):
                self._tell(share, boot, now)
        waiting = {share.array for share in untold}
        self._tried = {pk: at for pk, at in self._tried.items() if pk in waiting}

    def _tell(self, share: Share, boot: str, now: float) -> None:
        self._tried[share.array] = now
        # By the tag, so that an id that Slurm has given to somebody else since is left alone.
        rows = of(self.slurm.find(share.tag, share.uid), share.slurm_job_id)
        if any(map(lives, rows)):
            self.slurm.throttle(share.slurm_job_id, share.most)
            self.store.throttles.told(share, boot)
            self.look()
            _log.info("more of an array may run at once", batch_id=share.batch_id,
                      slurm_job=share.slurm_job_id, most=share.most)  # fmt: skip
