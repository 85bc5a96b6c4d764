"""The Slurm of another Debian system, unpacked in a directory, made to run on this one.

Its programs are started by the dynamic loader that lies beside them, and find its libraries alone,
so neither chroot nor mounts nor root are needed: daemons, jobs and whoever asks see the same files.
Each program gets a script in the sandbox's `bin`, which can be called as if it were the program.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slurmbatch.sandbox.errors import SandboxError

DAEMONS = ("slurmctld", "slurmd", "slurmdbd", "slurmstepd")
COMMANDS = (
    "sacct", "sacctmgr", "salloc", "sattach", "sbatch", "sbcast", "scancel", "scontrol", "sdiag",
    "sinfo", "sprio", "squeue", "sreport", "srun", "sshare", "sstat", "strigger",
)  # fmt: skip
NEEDED = (*DAEMONS, "sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")

# The name that a program has for itself is the script's, so one that starts itself again, as
# slurmctld does on `scontrol reconfigure`, comes this way, too.
SCRIPT = """\
#!/bin/sh
exec {loader} --inhibit-cache --library-path {libraries} --argv0 "$0" {program} "$@"
"""


@dataclass(frozen=True, slots=True)
class Root:
    """Such a directory."""

    path: Path

    def check(self) -> None:
        """Refuses a directory in which something is missing; names all of it."""
        programs = self.programs()
        missing = [f"usr/sbin/{name} or usr/bin/{name}" for name in NEEDED if name not in programs]
        if self._loader is None:
            missing.append("usr/lib/*/ld-linux-*.so.*")
        if self._plugins is None:
            missing.append("usr/lib/*/slurm*/auth_munge.so")
        if missing:
            raise SandboxError(
                f"{self.path} is no Debian system with Slurm in it. It lacks "
                f"{', '.join(missing)}.\nIn a checkout, `make slurm-24.11` or `make slurm-26.05` "
                "makes one in .cache."
            )

    def programs(self) -> dict[str, Path]:
        """Where each of Slurm's programs is, of those that are there."""
        found = {name: self._program(name) for name in (*DAEMONS, *COMMANDS)}
        return {name: path for name, path in found.items() if path is not None}

    @property
    def plugins(self) -> Path:
        """What Slurm's setting PluginDir has to be."""
        assert self._plugins is not None  # noqa: S101 - checked
        return self._plugins

    def write_scripts(self, target: Path) -> None:
        """Makes the scripts by which the programs can be called."""
        for name, program in self.programs().items():
            script = target / name
            script.write_text(self.script(program))
            script.chmod(0o755)

    def script(self, program: Path) -> str:
        """What runs a program of this system."""
        libraries = f"{self.plugins.parent}:{self.plugins}"
        return SCRIPT.format(loader=self._loader, libraries=libraries, program=program)

    def _program(self, name: str) -> Path | None:
        # In a whole system the plain name may be a link to /etc/alternatives, out of the directory.
        places = (f"usr/{d}/{n}" for n in (f"{name}-wlm", name) for d in ("sbin", "bin"))
        return next((self.path / each for each in places if (self.path / each).is_file()), None)

    @property
    def _loader(self) -> Path | None:
        return next(iter(sorted(self.path.glob("usr/lib/*/ld-linux-*.so.*"))), None)

    @property
    def _plugins(self) -> Path | None:
        found = sorted(self.path.glob("usr/lib/*/slurm*/auth_munge.so"))
        return found[0].parent if found else None
