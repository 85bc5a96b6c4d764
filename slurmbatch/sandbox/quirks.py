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

# A slurmctld that is killed before it has once written how much has been used, as it does after
# some minutes and at its end, does not start again: "fatal: No Assoc usage file".
NEEDS_USAGE_SINCE = (26, 5)
USAGE = "assoc_usage"


def parse_version(printed: str) -> Version:
    """The version in what `slurmctld -V` printed, such as "slurm-wlm 22.05.8"."""
    found = re.search(r"(\d+)\.(\d+)", printed)
    if found is None:
        raise ValueError(f"no version of Slurm in {printed!r}")
    return int(found[1]), int(found[2])


def extra_files(version: Version) -> dict[str, str]:
    """Names and contents of the files that this version needs beside slurm.conf."""
    return {quirk.file: quirk.text for quirk in QUIRKS if version >= quirk.since}


def needs_usage(version: Version) -> bool:
    """Whether slurmctld, once killed, starts again only if it finds what it has written before."""
    return version >= NEEDS_USAGE_SINCE
