"""Slurm, as this account sees it: programs, slurmctld and its limits, accounting, clocks."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator

from slurmbatch.config import Settings
from slurmbatch.doctor.finding import OK, Finding, warning, wrong
from slurmbatch.errors import SlurmUnreachable
from slurmbatch.model import SlurmFacts
from slurmbatch.slurm.commands import SYSTEM_PATH, CommandSlurm

PROGRAMS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sdiag")
_OLDEST = (22, 5)
_MOST_SKEW = 5.0
# What munge says of a credential that is too old, or of the future.
_SKEWED = re.compile(r"(?:expired|rewound) credential", re.IGNORECASE)


def programs(settings: Settings, _slurm: CommandSlurm) -> Iterator[Finding]:
    where = str(settings.slurm.bin_dir) if settings.slurm.bin_dir else SYSTEM_PATH
    missing = [name for name in PROGRAMS if shutil.which(name, path=where) is None]
    if missing:
        yield wrong(
            "commands",
            f"{', '.join(missing)} not found in {where}",
            "install Slurm's client programs, or set slurm.bin_dir",
        )
    else:
        yield Finding("commands", OK, f"all found in {where}")
    if shutil.which("setpriv", path=SYSTEM_PATH) is None:
        yield warning(
            "commands",
            "setpriv is not there",
            "install util-linux: with it, commands die with the daemon",
        )


def controller(settings: Settings, slurm: CommandSlurm) -> Iterator[Finding]:
    began = time.monotonic()
    try:
        facts = slurm.facts()
        slurm.live()
    except SlurmUnreachable as error:
        yield wrong(
            "slurmctld",
            error.detail,
            "systemctl status slurmctld munge; slurm.conf and munge's key have to be the "
            "cluster's; this account must be known there",
        )
        return
    took = time.monotonic() - began
    yield Finding("slurmctld", OK, f"{facts.version} answers two questions in {took:.2f} s")
    yield from _limits(settings, facts)


def _limits(settings: Settings, facts: SlurmFacts) -> Iterator[Finding]:
    numbers = tuple(int(part) for part in facts.version.split()[-1].split(".")[:2])
    if numbers < _OLDEST:
        yield wrong("slurmctld", f"Slurm {facts.version} is too old", "22.05 or newer is needed")
    size, most = settings.slurm.array_size, facts.max_array_size - 1
    if size is not None and size > most:
        yield warning(
            "slurmctld",
            f"slurm.array_size is {size}, MaxArraySize allows {most}",
            "leave slurm.array_size out, or raise MaxArraySize",
        )
    if facts.max_job_count < settings.jobs.max_jobs_per_batch:
        yield warning(
            "slurmctld",
            f"MaxJobCount is {facts.max_job_count}, a batch may have "
            f"{settings.jobs.max_jobs_per_batch} jobs",
            "such a batch goes in pieces, as there is room; raise MaxJobCount, or lower "
            "jobs.max_jobs_per_batch",
        )
    if facts.min_job_age < 3 * settings.slurm.poll_interval_most:
        yield warning(
            "slurmctld",
            f"MinJobAge is {facts.min_job_age} s",
            "raise it to three times slurm.poll_interval_most: what has ended is "
            "forgotten before it is seen, and costs a question to accounting",
        )


def accounting(_settings: Settings, slurm: CommandSlurm) -> Iterator[Finding]:
    try:
        slurm.ended([1])
    except SlurmUnreachable as error:
        yield wrong(
            "accounting",
            error.detail,
            # slurmdbd's own clock is told nowhere; it shows when munge refuses.
            "set slurmdbd's clock, and ours, by NTP"
            if _SKEWED.search(error.detail)
            else "systemctl status slurmdbd; AccountingStorageType in slurm.conf has to be "
            "accounting_storage/slurmdbd: how jobs ended is known there",
        )
    else:
        yield Finding("accounting", OK, "sacct answers")


def clocks(_settings: Settings, slurm: CommandSlurm) -> Iterator[Finding]:
    try:
        before, theirs, after = time.time(), slurm.clock(), time.time()
    except SlurmUnreachable as error:
        yield warning("clocks", error.detail, "sdiag should be allowed for this account")
        return
    if theirs is None:
        return
    # It is told in whole seconds.
    skew = max(before - theirs - 1, theirs - after, 0.0)
    if skew > _MOST_SKEW:
        yield warning(
            "clocks",
            f"slurmctld's clock is off by {skew:.0f} s",
            "run an NTP client on both machines; munge refuses from 300 s on",
        )
    else:
        yield Finding("clocks", OK, "slurmctld's clock agrees with ours")
