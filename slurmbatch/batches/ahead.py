"""What is submitted for a new batch, before there is anything of it in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from slurmbatch.accounts import Account, own_home
from slurmbatch.batches.resolve import Resolved
from slurmbatch.drafts import Begun
from slurmbatch.health import Health
from slurmbatch.model import Batch, Filesystem
from slurmbatch.places import log_pattern
from slurmbatch.slurm.port import SubmitRequest
from slurmbatch.slurm.request import Wanted, request_for
from slurmbatch.store import NewArray

Begin = Callable[[SubmitRequest], Begun | None]


@dataclass(frozen=True, slots=True)
class Plan:
    """Where jobs run, print and make their claims, as the settings say."""

    log_dir: Path
    work_dir: Path | None
    claims_dir: Path | None
    filesystems: Mapping[str, Filesystem]

    def wanted(
        self, batch: Batch, resolved: Resolved, array: NewArray, ordinal: int,
        owner: Account | None = None,
    ) -> Wanted:  # fmt: skip
        """The array, but for its tasks."""
        fenced = self.claims_dir is not None and not resolved.tool.requeue
        return Wanted(
            batch_id=batch.batch_id,
            user_id=batch.user_id,
            tag=array.tag,
            hardware=batch.hardware,
            options=batch.slurm,
            fixed_args=resolved.fixed_args,
            output=log_pattern(self.log_dir, batch.batch_id, ordinal, 1),
            work_dir=self.work_dir or (owner.home if owner else own_home()),
            owner=owner,
            claims=self.claims_dir / array.tag if self.claims_dir and fenced else None,
            throttle=array.throttle,
        )

    def chosen(self, batch: Batch) -> list[Filesystem]:
        return [self.filesystems[name] for name in batch.hardware.filesystems]


@dataclass(frozen=True, slots=True)
class Ahead:
    """Has sbatch started while the batch is still put into words and written down."""

    begin: Begin
    health: Health

    @contextmanager
    def of(
        self, plan: Plan, batch: Batch, resolved: Resolved, array: NewArray
    ) -> Iterator[Begun | None]:
        """For this array, if it will be the batch's only one; what nobody has taken then is ended.

        Nothing of it is in Slurm before it gets its script, which is after the batch is written
        down; and should it be for another request than the one that comes, it gets none.
        """
        begun = None
        if not array.gates and not self.health.is_down("slurmctld"):
            wanted = plan.wanted(batch, resolved, array, 0)
            request = request_for(resolved.tool, plan.chosen(batch), wanted, ())
            begun = self.begin(replace(request, n_tasks=array.n_tasks))
        try:
            yield begun
        finally:
            if begun is not None:
                begun.drop()
