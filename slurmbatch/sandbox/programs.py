"""The programs that the sandbox is made of, and where they come from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from slurmbatch.sandbox.errors import MissingPrograms
from slurmbatch.sandbox.root import NEEDED

PACKAGES = {
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "slurmdbd": "slurmdbd",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sacctmgr": "slurm-client",
    "scontrol": "slurm-client",
    "sinfo": "slurm-client",
    "sbatch": "slurm-client",
    "squeue": "slurm-client",
    "sacct": "slurm-client",
    "scancel": "slurm-client",
    "setsid": "util-linux",
}

# Ordinary users on Debian do not have these in their PATH, and the daemons live there.
SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def search_path(path: str | None = None, first: Path | None = None) -> str:
    """PATH with the directories of the daemons added, behind one that is to come first."""
    known = (os.environ.get("PATH", os.defpath) if path is None else path).split(os.pathsep)
    before = [str(first)] if first else []
    return os.pathsep.join([*before, *known, *(d for d in SYSTEM_DIRECTORIES if d not in known)])


def find_programs(path: str | None = None, scripts: Path | None = None) -> dict[str, str]:
    """The full path of each program; all that are missing are named in one error.

    `scripts`: where those of Slurm are, or are going to be, if they are not those installed here.
    """
    where = search_path() if path is None else path
    found = {
        program: str(scripts / program)
        if scripts and program in NEEDED
        else shutil.which(program, path=where)
        for program in PACKAGES
    }
    missing = {program: PACKAGES[program] for program, at in found.items() if at is None}
    if missing:
        raise MissingPrograms(missing)
    return {program: at for program, at in found.items() if at is not None}
