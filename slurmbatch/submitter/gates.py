"""Opens the gates: what may be handed over from now on, and what never will be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from slurmbatch.journal import get
from slurmbatch.model import ArrayState, Gate
from slurmbatch.store import Store
from slurmbatch.store.gates import Blocked
from slurmbatch.submitter.handover import CANCELLED_EARLY

_log = get("submitter")
CANARY_FAILED = "CANARY: not run, because not all of the first {n} jobs of the batch succeeded"
# Arrays that are ended in one tick: the others are not to wait for it.
ENDED_A_TICK = 50


class Verdict(Enum):
    OPEN = "OPEN"
    WAIT = "WAIT"


@dataclass
class Gates:
    """What a gate says is its verdict, or the reason for which its arrays end."""

    store: Store

    def look(self, now: float) -> None:
        ended = 0
        for blocked in self.store.gates.blocked():
            says = CANCELLED_EARLY if blocked.cancel else self._says(blocked)
            if says is Verdict.OPEN:
                self.store.gates.open(blocked.arrays)
                _log.info("arrays may be handed over now", batch_id=blocked.batch_id,
                          n_arrays=len(blocked.arrays), gates=blocked.gates)  # fmt: skip
            elif isinstance(says, str):
                chosen = blocked.arrays[: ENDED_A_TICK - ended]
                ended += len(chosen)
                for pk in chosen:
                    self.store.arrays.end_all(pk, ArrayState.DONE, says, now)
                _log.info("arrays end without having run", batch_id=blocked.batch_id,
                          n_arrays=len(chosen), reason=says)  # fmt: skip

    def _says(self, blocked: Blocked) -> Verdict | str:
        verdicts = [_SAYS[gate](self.store, blocked.batch) for gate in blocked.gates]
        reason = next((each for each in verdicts if isinstance(each, str)), None)
        if reason is not None:
            return reason
        return Verdict.WAIT if Verdict.WAIT in verdicts else Verdict.OPEN


def _canary(store: Store, batch: int) -> Verdict | str:
    canaries = store.gates.canaries(batch)
    if canaries.n_failed:
        return CANARY_FAILED.format(n=canaries.n_jobs)
    return Verdict.OPEN if canaries.n_ended == canaries.n_jobs else Verdict.WAIT


_SAYS: Mapping[Gate, Callable[[Store, int], Verdict | str]] = {Gate.CANARY: _canary}
