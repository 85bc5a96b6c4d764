"""What the versions of Slurm want differently from a private cluster, in one table."""

from __future__ import annotations

import re
from dataclasses import dataclass

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Quirk:
    """A file beside slurm.conf that Slurm needs from some version on, and why."""

    since: Version
    file: str
    text: str
    why: str


QUIRKS = (
    Quirk(
        since=(23, 11),
        file="cgroup.conf",
        text="CgroupPlugin=disabled\n",
        why="slurmd ends at its start where it finds no cgroups of its own",
    ),
)


def parse_version(printed: str) -> Version:
    """The version in what `slurmctld -V` printed, such as "slurm-wlm 22.05.8"."""
    found = re.search(r"(\d+)\.(\d+)", printed)
    if found is None:
        raise ValueError(f"no version of Slurm in {printed!r}")
    return int(found[1]), int(found[2])


def extra_files(version: Version) -> dict[str, str]:
    """Names and contents of the files that this version needs beside slurm.conf."""
    return {quirk.file: quirk.text for quirk in QUIRKS if version >= quirk.since}
