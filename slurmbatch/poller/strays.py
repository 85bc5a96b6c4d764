"""What is in Slurm under names of ours, and should not be."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from slurmbatch.errors import SlurmUnreachable
from slurmbatch.journal import get
from slurmbatch.model import ArraySpec, JobReport
from slurmbatch.states import ENDS
from slurmbatch.store import Standing, Store

_log = get("poller")
REPEAT = 10.0


class EndStray(Protocol):
    """Ends something in Slurm; `held`: it has not run."""

    def __call__(self, slurm_job_id: int, tag: str, *, held: bool) -> None: ...


@dataclass
class Strays:
    """Ends held duplicates, and what came back of something cancelled; tells of the unknown."""

    store: Store
    end: EndStray
    _told: set[str] = field(default_factory=set)
    _sent: dict[int, float] = field(default_factory=dict)

    def look(
        self, arrays: Sequence[ArraySpec], live: Mapping[str, Sequence[JobReport]], now: float
    ) -> None:
        """`arrays` are those that were handed over before Slurm was asked."""
        prefix = f"sb-{self.store.instance}-"
        ids = {array.tag: array.slurm_job_id for array in arrays}
        sent: dict[int, float] = {}
        for tag, rows in live.items():
            if not tag.startswith(prefix) or tag in self._told:
                continue
            strays = {row.array_job_id: row.reason == "JobHeldUser" for row in rows
                      if row.state not in ENDS and row.array_job_id != ids.get(tag)}  # fmt: skip
            for slurm_job_id, held in strays.items():
                if self._is_to_end(tag, slurm_job_id, handed_over=tag in ids, held=held):
                    sent[slurm_job_id] = self._end(slurm_job_id, tag, now, held=held)
        self._sent = sent

    def _is_to_end(self, tag: str, slurm_job_id: int, *, handed_over: bool, held: bool) -> bool:
        standing = self.store.graves.standing(tag)
        if standing is Standing.UNKNOWN:
            self.tell_once(tag, "a job in Slurm bears our name, but the database does not know it; "
                                "it is left alone", slurm_job=slurm_job_id, tag=tag)  # fmt: skip
        if standing is Standing.OPEN:
            # One that was handed over since is not in the list, and no stray.
            return held and handed_over
        return standing is Standing.BURIED or (held and standing is Standing.OVER)

    def _end(self, slurm_job_id: int, tag: str, now: float, *, held: bool) -> float:
        """When it was last asked to end."""
        sent = self._sent.get(slurm_job_id)
        if sent is not None and 0 <= now - sent < REPEAT:
            return sent
        with contextlib.suppress(SlurmUnreachable):
            self.end(slurm_job_id, tag, held=held)
        return now

    def tell_once(self, what: str, sentence: str, **fields: object) -> None:
        if what not in self._told:
            self._told.add(what)
            _log.warning(sentence, **fields)
