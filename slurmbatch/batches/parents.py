"""What a new batch depends on, checked against the batches that its maker has."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from slurmbatch.errors import Fault
from slurmbatch.model import Caller, Dependency, DependencyType, NewBatch
from slurmbatch.store import NO_SUCH_BATCH, Store, is_id


def faults(store: Store, caller: Caller, new: NewBatch, known: Collection[str]) -> list[Fault]:
    """Every fault in `depends_on`. The number of jobs is left alone where it is not known."""
    n_jobs = None if "/variable_args" in known else max(1, len(new.variable_args))
    return list(_faults(store, caller, new.depends_on, n_jobs))


def _faults(
    store: Store, caller: Caller, dependencies: Collection[Dependency], n_jobs: int | None
) -> Iterator[Fault]:
    named = set()
    for each in dependencies:
        # What is no id of ours need not even be text that a database takes.
        has = store.gates.find(caller.user_id, each.batch_id) if is_id(each.batch_id) else None
        if each.batch_id in named:
            yield Fault(each.pointer, "This batch stands here twice; name each one once.")
        elif has is None:
            yield Fault(each.pointer, NO_SUCH_BATCH)
        elif each.type is DependencyType.AFTERCORR and n_jobs not in (None, has):
            yield Fault(
                each.pointer,
                f"Job by job it takes as many jobs here as there: {has} there, {n_jobs} here.",
            )
        named.add(each.batch_id)
