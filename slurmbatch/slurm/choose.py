"""Which way to Slurm: the commands, or pyslurm where it is installed and fits the cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from typing import Literal

from slurmbatch.errors import SettingsError, SlurmUnreachable
from slurmbatch.slurm.binding import BindingSlurm
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.slurm.keeper import Keeper
from slurmbatch.slurm.quirks import version_tuple

Backend = Literal["auto", "commands", "pyslurm"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen back end and, in words, why."""

    slurm: CommandSlurm | BindingSlurm
    reason: str

    @property
    def backend(self) -> str:
        return self.slurm.backend

    def version(self) -> str:
        """That of Slurm's commands; "" where they do not tell."""
        commands = self.slurm.commands if isinstance(self.slurm, BindingSlurm) else self.slurm
        try:
            return commands.version()
        except SlurmUnreachable:
            return ""


def choose(wanted: Backend, commands: CommandSlurm, path: Sequence[str] = sys.path) -> Choice:
    """Raises SettingsError if pyslurm is wanted and there is none that fits.

    `path` is where pyslurm is looked for and, in its own process, imported from.
    """
    if wanted == "commands":
        return Choice(commands, "slurm.backend says so")
    if commands.persons is not None:
        return _without(wanted, commands, "jobs run as persons, which is for sbatch")
    # Found without being imported, which is quick, and does not end us where it ends a process.
    if PathFinder.find_spec("pyslurm", list(path)) is None:
        return _without(wanted, commands, "pyslurm is not installed")
    binding = bind(commands, path)
    fits, reason = _compare(binding)
    if fits:
        return Choice(binding, reason)
    binding.close()
    return _without(wanted, commands, reason)


def bind(commands: CommandSlurm, path: Sequence[str] = sys.path) -> BindingSlurm:
    """pyslurm, for all that it is good at, beside these commands."""
    environment = commands.environment()
    if libraries := os.environ.get("LD_LIBRARY_PATH"):
        environment["LD_LIBRARY_PATH"] = libraries
    return BindingSlurm(
        commands, Keeper("looking", environment, path), Keeper("handing over", environment, path)
    )


def _compare(binding: BindingSlurm) -> tuple[bool, str]:
    """Whether pyslurm can be imported here, and is made for this cluster's version."""
    try:
        ours = binding.looking.version(binding.commands.timeout)
    except SlurmUnreachable as error:
        return False, f"pyslurm cannot be used: {error.detail}"
    try:
        cluster = binding.commands.version()
    except SlurmUnreachable as error:
        return False, f"the cluster's version cannot be told: {error.detail}"
    fits = version_tuple(ours) == version_tuple(cluster) != (0, 0)
    verb = "fits" if fits else "does not fit"
    return fits, f"pyslurm {ours} {verb} {cluster}"


def _without(wanted: Backend, commands: CommandSlurm, reason: str) -> Choice:
    if wanted == "pyslurm":
        raise SettingsError([f"slurm.backend: found 'pyslurm', but {reason}"])
    return Choice(commands, reason)
