"""What Slurm would say of a batch, of which nothing is kept."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from slurmbatch import script
from slurmbatch.accounts import Account, own_home
from slurmbatch.batches.resolve import Resolved
from slurmbatch.errors import RefusedBySlurm, SlurmBusy, SlurmRefused, SlurmUnreachable, Unavailable
from slurmbatch.health import Health
from slurmbatch.model import Batch, Estimate, Filesystem, Trial
from slurmbatch.places import log_pattern
from slurmbatch.slurm.port import SlurmPort, SubmitRequest
from slurmbatch.slurm.request import Wanted, request_for
from slurmbatch.store import NewArray


@dataclass
class Trials:
    """The only questions to Slurm that a request waits for: each with a time limit, and no more
    than `most` at once, so that others always find a thread."""

    slurm: SlurmPort
    health: Health
    log_dir: Path
    work_dir: Path | None
    most: int = 1
    _turns: threading.BoundedSemaphore = field(init=False)

    def __post_init__(self) -> None:
        self._turns = threading.BoundedSemaphore(self.most)

    def of(
        self, batch: Batch, resolved: Resolved, arrays: Sequence[NewArray],
        filesystems: Mapping[str, Filesystem], claims_dir: Path | None,
        owner: Account | None = None,
    ) -> Trial:  # fmt: skip
        """Slurm's word on the largest array: to Slurm all others are of the same kind.

        Raises RefusedBySlurm, Unavailable, SlurmUnreachable.
        """
        place = max(range(len(arrays)), key=lambda at: arrays[at].n_tasks)
        array, first = arrays[place], sum(each.n_tasks for each in arrays[:place])
        fenced = claims_dir is not None and not resolved.tool.requeue
        wanted = Wanted(
            batch_id=batch.batch_id,
            user_id=batch.user_id,
            tag=array.tag,
            hardware=batch.hardware,
            options=batch.slurm,
            fixed_args=resolved.fixed_args,
            output=log_pattern(self.log_dir, batch.batch_id, place, 1),
            work_dir=self.work_dir or (owner.home if owner else own_home()),
            owner=owner,
            claims=claims_dir / array.tag if claims_dir is not None and fenced else None,
            throttle=batch.max_parallel,
        )
        chosen = [filesystems[name] for name in batch.hardware.filesystems]
        own = islice(enumerate(resolved.variable_args), first, first + array.n_tasks)
        try:
            tasks = list(script.tasks_for(resolved.tool, own))
            estimate = self._ask(request_for(resolved.tool, chosen, wanted, tasks))
        except SlurmRefused as refusal:
            raise RefusedBySlurm(f"Slurm refuses the batch: {refusal.detail}") from refusal
        except SlurmBusy as busy:
            why = f"LIMIT: would wait for room in Slurm ({busy.detail})"
            return Trial(batch, len(arrays), Estimate(), why)
        return Trial(batch, len(arrays), estimate)

    def _ask(self, request: SubmitRequest) -> Estimate:
        if self.health.is_down("slurmctld"):
            why = self.health.source("slurmctld").error
            raise SlurmUnreachable(f"Slurm gives no answer: {why}")
        if not self._turns.acquire(blocking=False):
            raise Unavailable("Other dry runs are under way; try again in a moment.")
        try:
            return self.slurm.estimate(request)
        finally:
            self._turns.release()
