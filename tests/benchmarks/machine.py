"""What /proc says: CPU seconds and memory of processes, and how busy the machine is."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Mapping
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Of the process and of its children that have ended; resolution 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(each) for each in fields[11:15]) / TICKS


class CpuWatch:
    """CPU seconds of some processes since it was made."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = {name: cpu_seconds(pid) for name, pid in self._pids.items()}

    def used(self) -> dict[str, float]:
        return {
            name: round(cpu_seconds(pid) - self._before[name], 3)
            for name, pid in self._pids.items()
        }


def memory_mib(pid: int, field: str = "VmRSS") -> float:
    """VmRSS: resident now. VmHWM: the most it has been since `forget_peak`."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return round(int(found[1]) / 1024, 1) if found else 0.0


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def load_average() -> float:
    """Of the last minute."""
    return round(os.getloadavg()[0], 2)


def about() -> dict[str, object]:
    """The kind of machine, in general terms."""
    version = subprocess.run(["slurmctld", "-V"], capture_output=True, text=True)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "slurm": version.stdout.split()[-1] if version.stdout else "",
    }
