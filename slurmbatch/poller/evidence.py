"""What jobs have left of themselves: their claims and their logs, whatever Slurm tells of them.

The names of an array's claims are read once in a tick, since their directory is shared by the
cluster and may be large; what a claim holds is read when it is asked for.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from slurmbatch.claims import Board, Claim, Claims
from slurmbatch.logs import JobLog, is_there, last_bytes
from slurmbatch.model import ArraySpec, JobReport
from slurmbatch.places import log_parts

# What slurmstepd writes into a job's log when it kills it for its memory. 26.05 puts the time
# before it and not its name.
_OUT_OF_MEMORY = re.compile(
    rb"(?:slurmstepd[^\n]*:|\[[\d:.T+-]+\]) error: "
    rb"[^\n]*(?:[Ee]xceeded [^\n]*memory limit|oom[-_ ]kill|OOM)"
)


@dataclass
class Evidence:
    log_dir: Path
    claims: Claims | None = None
    _boards: dict[str, Board | None] = field(default_factory=dict)

    def forget(self) -> None:
        """What was read of claims is out of date."""
        self._boards.clear()

    def claim(self, array: ArraySpec, task: int) -> Claim | None:
        """None: it makes none, or they cannot be looked at just now."""
        board = self._board(array)
        return board.look(task) if board is not None else None

    def has_run(self, array: ArraySpec, task: int, report: JobReport) -> bool | None:
        """Whether the job has left any sign of the run that Slurm says has ended. False: it would
        have, so there was none; None: it has left none that can be seen.

        A claim is the first thing that a fenced job makes: what has made none has not run, though
        it may have a log, since slurmd makes that before, also where all of an array is cancelled
        because one job of it is not launched. One that failed before its claim has said in its log
        why.
        """
        log = self._log(array, task)
        board = self._board(array)
        if board is None or not (board.fenced or board.started(task)):
            return is_there(log) or None
        return board.started(task) or (report.state == "FAILED" and bool(last_bytes(log, 1)))

    def ran_out_of_memory(self, array: ArraySpec, task: int) -> bool:
        return bool(_OUT_OF_MEMORY.search(last_bytes(self._log(array, task), 4096)))

    def _board(self, array: ArraySpec) -> Board | None:
        if self.claims is None:
            return None
        if array.tag not in self._boards:
            self._boards[array.tag] = self.claims.board(array.tag, array.uid)
        return self._boards[array.tag]

    def _log(self, array: ArraySpec, task: int) -> JobLog:
        parts = log_parts(array.batch_id, array.ordinal, array.generation, task)
        return JobLog(self.log_dir, parts, os.getuid() if array.uid is None else array.uid)
