"""Memory and time as people write them: 4G, 500M; 1h, 90m, 1d12h, 02:30:00."""

from __future__ import annotations

import math
import re
from datetime import timedelta

_MIB = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
_MINUTES = {"d": 1440.0, "h": 60.0, "m": 1.0, "s": 1 / 60}
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_PARTS = re.compile(r"(\d+(?:\.\d+)?)\s*([dhms])", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d\d)(?::(\d\d))?")


def mebibytes(text: str | int) -> int:
    """Memory in MiB, never less than was meant; a number without a unit is MiB."""
    found = _MEMORY.fullmatch(str(text).strip())
    if found is None:
        raise ValueError(f"expected memory such as 4G, 500M or 256 (MiB), not {text!r}")
    return math.ceil(float(found[1]) * _MIB[found[2].upper() or "M"])


def minutes(text: str | int | timedelta) -> int:
    """A time in minutes, never less than was meant; a number without a unit is minutes.

    With colons it is as Slurm has it: hours:minutes:seconds, or days-hours:minutes.
    """
    if isinstance(text, timedelta):
        return math.ceil(text.total_seconds() / 60)
    given = str(text).strip()
    if given.isascii() and given.isdigit():
        return int(given)
    if clock := _CLOCK.fullmatch(given):
        return _of_clock(clock)
    parts = _PARTS.findall(given)
    if not parts or _PARTS.sub("", given).strip():
        raise ValueError(f"expected a time such as 1h, 90m, 1d12h or 02:30:00, not {text!r}")
    return math.ceil(sum(float(number) * _MINUTES[unit.lower()] for number, unit in parts) - 1e-9)


def _of_clock(clock: re.Match[str]) -> int:
    days, first, second, third = clock.groups()
    if days is None and third is None:
        # Slurm's own minutes:seconds is what nobody means by 02:30.
        raise ValueError(f"expected hours:minutes:seconds, not {clock[0]!r}, which could be either")
    seconds = int(first) * 3600 + int(second) * 60 + int(third or 0)
    return math.ceil((int(days or 0) * 86_400 + seconds) / 60)
