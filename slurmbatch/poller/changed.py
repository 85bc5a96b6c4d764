"""The log's lines about batches whose jobs have changed: one each, with what they have become."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from slurmbatch.journal import get, writes
from slurmbatch.model import ArraySpec, JobChange

_log = get("poller")


def tell(arrays: Iterable[ArraySpec], changes: Mapping[int, Sequence[JobChange]]) -> None:
    """`changes`: by array, none of them empty."""
    if not writes("info"):
        return
    of_batch: dict[str, list[ArraySpec]] = {}
    for array in arrays:
        if array.pk in changes:
            of_batch.setdefault(array.batch_id, []).append(array)
    for batch_id, those in of_batch.items():
        become = Counter(change.status for each in those for change in changes[each.pk])
        _log.info(
            "jobs changed", batch_id=batch_id, user=those[0].user_id,
            slurm_job=",".join(str(each.slurm_job_id) for each in those if each.slurm_job_id),
            **{status.value.lower(): n for status, n in become.items()},
            request_id=those[0].request_id,
        )  # fmt: skip
