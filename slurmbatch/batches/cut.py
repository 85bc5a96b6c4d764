"""Cuts a batch into arrays that Slurm takes: by how many tasks one may have, and how long its
script may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from slurmbatch import script
from slurmbatch.accounts import own_home
from slurmbatch.batches.resolve import Resolved
from slurmbatch.batches.rules import Rules
from slurmbatch.batches.throttle import shared
from slurmbatch.drafts import Copy
from slurmbatch.errors import Fault, Invalid
from slurmbatch.model import ArgValue, Batch, Filesystem, Gate, Tool
from slurmbatch.store import NewArray, Store, new_tag

DEFAULT_MAX_ARRAY_SIZE = 1001
# Stands for a home, of which only the length counts until it is known.
_SOMEBODYS_HOME = Path("/" + 255 * "h")


@dataclass(frozen=True, slots=True)
class Cutter:
    """`instance` is the database's own id, for the arrays' names; `most` tasks one may have."""

    rules: Rules
    filesystems: Mapping[str, Filesystem]
    instance: str
    most: int

    def arrays(self, batch: Batch, resolved: Resolved) -> tuple[list[NewArray], Sequence[str]]:
        """Those of a new batch, and its tasks; no tasks where they are too many. Raises Invalid."""
        jobs = resolved.variable_args
        if isinstance(jobs, list):
            kept: Sequence[str] = script.tasks_of(resolved.tool, jobs)
            made = self._gated(batch, resolved, kept[: batch.canary], kept[batch.canary :])
        else:
            tasks = Copy(script.tasks_for(resolved.tool, enumerate(jobs)))
            each = iter(tasks)
            made = self._gated(batch, resolved, islice(each, batch.canary), each)
            kept = tasks.kept
        return list(shared(made, batch.max_parallel)), kept

    def sizes(
        self, tool: Tool, batch: Batch, fixed_args: Mapping[str, ArgValue],
        own: Iterable[tuple[int, Mapping[str, ArgValue]]],
    ) -> list[int]:  # fmt: skip
        """How many of the jobs, each with its index, go into each array. Raises ValueError."""
        return self._split(tool, batch, fixed_args, script.tasks_for(tool, own))

    def _gated(
        self, batch: Batch, resolved: Resolved, canaries: Iterable[str], others: Iterable[str]
    ) -> list[NewArray]:
        gates = (Gate.PARENTS,) if batch.depends_on else ()
        behind = (Gate.CANARY, *gates) if batch.canary else gates
        try:
            return [
                NewArray(new_tag(self.instance), size, kept)
                for kept, part in ((gates, canaries), (behind, others))
                for size in self._split(resolved.tool, batch, resolved.fixed_args, part)
            ]
        except ValueError as error:
            raise Invalid([Fault("/variable_args", f"{error}.")]) from error

    def _split(
        self, tool: Tool, batch: Batch, fixed_args: Mapping[str, ArgValue], tasks: Iterable[str]
    ) -> list[int]:
        filesystems = [self.filesystems[name] for name in batch.hardware.filesystems]
        rules = self.rules
        # Stands for every array's own: only the length counts here.
        claims = None
        if rules.claims_dir and not tool.requeue:
            claims = rules.claims_dir / new_tag(self.instance)
        work_dir = rules.work_dir or (_SOMEBODYS_HOME if rules.persons else own_home())
        umask = 0 if rules.persons else None
        setting = script.setting_for(
            tool, batch.batch_id, fixed_args, filesystems, work_dir, claims, umask
        )
        return list(
            script.split(
                tool, setting, tasks, max_tasks=self.most, max_bytes=rules.max_script_bytes
            )
        )


def most_tasks(store: Store, rules: Rules) -> int:
    """Task numbers go from 1 to MaxArraySize - 1. Kept across restarts, in case Slurm is down."""
    slurm = int(store.recall("max_array_size") or DEFAULT_MAX_ARRAY_SIZE) - 1
    return max(1, min(slurm, rules.array_size or slurm))
