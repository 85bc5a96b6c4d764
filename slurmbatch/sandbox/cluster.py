"""A private, real Slurm in one directory, for trying out and for tests."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slurmbatch
from slurmbatch.sandbox import build, quirks
from slurmbatch.sandbox.components import (
    Component,
    Daemon,
    Mariadbd,
    Site,
    register,
    slurm_components,
)
from slurmbatch.sandbox.conf import ACCOUNT
from slurmbatch.sandbox.errors import ComponentFailed, SandboxError
from slurmbatch.sandbox.paths import Paths, default_root
from slurmbatch.sandbox.plan import Plan, Shape
from slurmbatch.sandbox.ports import reserved
from slurmbatch.sandbox.processes import Processes, send, wait_gone
from slurmbatch.sandbox.programs import find_programs, search_path
from slurmbatch.sandbox.root import Root
from slurmbatch.sandbox.supervise import ComponentStatus, Supervisor

KEY_VARIABLE = "SLURMBATCH_API_KEY"
STOPS_WITHIN = 15.0
KILLED_WITHIN = 10.0


class Sandbox:
    """The sandbox in a directory, be it up or not.

    The options are those of `Shape`. They are kept in the directory, so naming them again is not
    needed; naming others for a sandbox that exists is an error.
    """

    def __init__(self, directory: str | Path | None = None, **options: Any) -> None:
        root = Path(directory) if directory is not None else default_root()
        self.paths = Paths(root.expanduser().resolve())
        self._options = build.real_wishes(options)

    @property
    def dir(self) -> Path:
        """The directory that holds all of it."""
        return self.paths.root

    @property
    def exists(self) -> bool:
        """Whether there is a sandbox in the directory, up or not."""
        return self.paths.plan.exists()

    @property
    def plan(self) -> Plan:
        """Its ports, and what it was made to be like."""
        if not self.exists:
            raise SandboxError(f"There is no sandbox in {self.dir}.")
        return Plan.load(self.paths.plan)

    @property
    def env(self) -> dict[str, str]:
        """What makes Slurm's commands talk to this sandbox."""
        return {"SLURM_CONF": str(self.paths.slurm_conf), "PATH": search_path(first=self.paths.bin)}

    @property
    def bin_dir(self) -> Path | None:
        """Where Slurm's commands for it are, unless they are those that are installed."""
        return self.paths.bin if self.plan.shape.root else None

    @property
    def variables(self) -> dict[str, str]:
        """What a shell on it needs: the above, and where slurmbatch is and its key."""
        return {**self.env, **build.read_env(self.paths)}

    @property
    def url(self) -> str:
        """Where slurmbatch answers, once its daemon is started."""
        return self.plan.url

    @property
    def api_key(self) -> str | None:
        """The demo user's key, once there is one."""
        return build.read_env(self.paths).get(KEY_VARIABLE)

    # --- the whole ---------------------------------------------------------------------------

    def up(self, daemon: bool = False) -> None:
        """Brings it up; of one that is up, starts again what has died and changes nothing else."""
        shape = build.shape_for(self.paths, self._options)
        programs = self._programs(shape)
        self.paths.check(shape.nodes)
        with self._alone():
            # Again, since another may have made it in the meantime, and of another shape.
            shape = build.shape_for(self.paths, self._options)
            if self.exists:
                self._start_all()
            else:
                with reserved(shape.n_ports) as base_port:
                    build.build(self.paths, shape, base_port, programs["slurmctld"])
                    self._start_all()
            if daemon or self.api_key is not None:
                self.start_daemon()

    def down(self) -> None:
        """Ends every process and removes the directory; jobs that run are killed."""
        if not self.paths.marker.exists():
            self._end_processes()
            if self.dir.exists():
                raise SandboxError(f"{self.dir} is not a sandbox; it is left alone.")
            return
        with self._alone():
            self._end_processes()
            self.paths.remove()

    def status(self) -> list[ComponentStatus]:
        """Each component as it is now; slurmbatch only where it has been started before."""
        supervisor = self._supervisor()
        components = slurm_components(supervisor.site)
        if self.api_key is not None:
            components.append(Daemon(supervisor.site))
        return [supervisor.status(component) for component in components]

    def run(
        self, command: Sequence[str], *, check: bool = True, timeout: float = 60, **kwargs: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command on it, in its working directory unless another is given."""
        kwargs.setdefault("cwd", self.paths.work)
        kwargs.setdefault("env", {**without_slurm(), **self.env})
        return subprocess.run(
            list(command), check=check, timeout=timeout, capture_output=True, text=True, **kwargs
        )

    # --- one component -----------------------------------------------------------------------

    def pid(self, name: str) -> int | None:
        """The process of a component, such as slurmctld or slurmd-node1; None where it is dead."""
        return self._processes.pid(self.paths.pid_file(name))

    def kill(self, name: str, number: int, *, wait: bool = True) -> None:
        """Sends a signal to a component, and waits a while for the end of one that is to end."""
        pid = self.pid(name)
        if pid is None:
            raise SandboxError(f"{name} does not run.")
        send(pid, number)
        if wait and number in (signal.SIGKILL, signal.SIGTERM):
            wait_gone(pid, KILLED_WITHIN)

    def start(self, name: str) -> None:
        """Starts a component that is dead, and waits until it answers."""
        supervisor = self._supervisor()
        supervisor.start([self._component(supervisor.site, name)])

    def start_daemon(self) -> None:
        """Starts slurmbatch if it does not run; the first time, makes the demo user's key."""
        supervisor = self._supervisor()
        daemon = Daemon(supervisor.site)
        if self.api_key is None:
            self._write_env(self._make_key(daemon))
        supervisor.start([daemon])

    def stop_daemon(self) -> None:
        """Ends slurmbatch as its service manager would."""
        self._processes.stop(self.paths.pid_file(Daemon.name), STOPS_WITHIN)

    # --- inside ------------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two at once on one directory: the second waits for the first."""
        while True:
            if not self.paths.marker.exists():
                self.paths.create()
            with self.paths.marker.open() as marker:
                fcntl.flock(marker, fcntl.LOCK_EX)
                # Who waited for a `down` holds the lock of a file that is gone.
                if os.fstat(marker.fileno()).st_nlink:
                    yield
                    return

    @property
    def _processes(self) -> Processes:
        return Processes(self.dir, self.paths.slurm_conf)

    def _end_processes(self) -> None:
        self.stop_daemon()
        left = self._processes.end_all()
        if left:
            raise SandboxError(f"These processes did not end: {sorted(left)}")

    def _start_all(self) -> None:
        supervisor = self._supervisor()
        munged, database, slurmdbd, slurmctld, *nodes = slurm_components(supervisor.site)
        assert isinstance(database, Mariadbd)  # noqa: S101
        supervisor.prepare(database)
        supervisor.start([munged, database])
        supervisor.start([slurmdbd])
        register(supervisor.site, ACCOUNT)
        supervisor.start([slurmctld])
        self._make_killable(supervisor, slurmctld)
        supervisor.start(nodes)
        if not self.paths.env.exists():
            self._write_env(None)

    def _make_killable(self, supervisor: Supervisor, slurmctld: Component) -> None:
        """A new one that could not start again after a kill is ended and started once in peace."""
        if (self.paths.slurmctld_state / quirks.USAGE).exists():
            return
        if quirks.needs_usage(build.version_of(supervisor.site.programs["slurmctld"])):
            supervisor.processes.stop(slurmctld.pid_file, STOPS_WITHIN)
            supervisor.start([slurmctld])

    def _supervisor(self) -> Supervisor:
        python_path = str(Path(slurmbatch.__file__).resolve().parent.parent)
        env = {**self.env, "LANG": "C.UTF-8", "PYTHONPATH": python_path}
        plan = self.plan
        return Supervisor(Site(self.paths, plan, self._programs(plan.shape), env))

    def _programs(self, shape: Shape) -> dict[str, str]:
        if not shape.root:
            return find_programs()
        Root(Path(shape.root)).check()
        return find_programs(scripts=self.paths.bin)

    def _component(self, site: Site, name: str) -> Component:
        for component in (*slurm_components(site), Daemon(site)):
            if component.name == name:
                return component
        raise SandboxError(f"The sandbox has no {name}.")

    def _make_key(self, daemon: Daemon) -> str:
        env = dict(daemon.site.env)
        done = self.run(daemon.key_command(), check=False, env=env)
        if done.returncode or not done.stdout.strip():
            daemon.log.write_text(done.stderr)
            raise ComponentFailed(daemon.name, "could not make a key for the demo user", daemon.log)
        return done.stdout.splitlines()[-1].strip()

    def _write_env(self, key: str | None) -> None:
        variables = {"SLURM_CONF": str(self.paths.slurm_conf), "SLURMBATCH_URL": self.plan.url}
        if key is not None:
            variables[KEY_VARIABLE] = key
        build.write_env(self.paths, variables)


def without_slurm() -> dict[str, str]:
    """This process's environment without what would speak to Slurm's commands."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_"))
    }
