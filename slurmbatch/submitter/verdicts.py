"""What a dependency means for the batch that has it: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slurmbatch.model import DependencyType, job_id
from slurmbatch.store import Canaries, Decided, Parent
from slurmbatch.store.rows import CANARY_WAITS


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of what keeps a batch back. `fails`: it can never be, and why; `waits`: not yet, and why.
    Neither: nothing keeps it."""

    fails: str = ""
    waits: str = ""


def of_parent(parent: Parent) -> Verdict:
    """One dependency on a batch, as that is now. Job by job it never fails as a whole."""
    if parent.type is DependencyType.AFTERANY:
        return Verdict() if parent.is_finished else _waits(parent, "to end")
    if parent.n_jobs and parent.n_succeeded == parent.n_jobs:
        return Verdict()
    if parent.type is DependencyType.AFTERCORR:
        return _waits(parent, "to succeed, job by job")
    name = f"DEPENDENCY: batch {parent.batch_id}, on which it depends,"
    if parent.is_deleted:
        return Verdict(fails=f"{name} was deleted before it had succeeded")
    if not parent.is_finished:
        return _waits(parent, "to succeed")
    how = "was cancelled" if parent.is_cancelled else "has failed"
    return Verdict(fails=f"{name} {how}: {parent.n_failed} of its {parent.n_jobs} jobs failed")


def of_counterpart(decided: Decided) -> str:
    """The reason of a job whose counterpart has failed, or is gone."""
    counterpart = job_id(decided.fails or "", decided.index)
    return f"DEPENDENCY: job {counterpart}, on which it depends, has not succeeded"


def of_canaries(canaries: Canaries) -> Verdict:
    """What the first jobs of a batch mean for the others."""
    n_jobs = canaries.n_jobs
    if canaries.n_failed:
        failed = f"not run, because not all of the first {n_jobs} jobs of the batch succeeded"
        return Verdict(fails=f"CANARY: {failed}")
    if canaries.n_ended == n_jobs:
        return Verdict()
    return Verdict(waits=CANARY_WAITS)


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """Of all dependencies: one that fails decides, then one that waits."""
    fails = [each.fails for each in verdicts if each.fails]
    waits = [each.waits for each in verdicts if each.waits]
    if fails:
        return Verdict(fails=fails[0])
    if len(waits) > 1:
        others = len(waits) - 1
        return Verdict(waits=f"{waits[0]}, and for {others} other{'s' if others > 1 else ''}")
    return Verdict(waits=waits[0]) if waits else Verdict()


def _waits(parent: Parent, what: str) -> Verdict:
    ended = parent.n_succeeded + parent.n_failed
    return Verdict(
        waits=f"DEPENDENCY: waits for batch {parent.batch_id} {what}"
        f" ({ended} of its {parent.n_jobs} jobs have ended)"
    )
