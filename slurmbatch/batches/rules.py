"""How batches are kept and handed over, as far as the settings say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from slurmbatch.health import late_after
from slurmbatch.limits import Quotas


@dataclass(frozen=True, slots=True)
class Rules:
    """Times are seconds.

    `persons`: jobs run as the account that has their user's name, and not as the service.
    `poll_late`: once the poller has not come round for so long, what is shown is out of date.
    `precedent`: for how long Slurm's having accepted a batch spares the like the wait for its word.
    """

    log_dir: Path
    work_dir: Path | None
    max_script_bytes: int
    array_size: int | None
    submit_wait: float
    claims_dir: Path | None = None
    persons: bool = False
    poll_late: float = late_after(15.0)
    precedent: float = 0.0
    quotas: Quotas = field(default_factory=Quotas)
