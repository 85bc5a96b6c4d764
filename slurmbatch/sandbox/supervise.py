"""Starts components and waits until they answer."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass

from slurmbatch.sandbox.components import Component, Mariadbd, Site
from slurmbatch.sandbox.errors import ComponentFailed
from slurmbatch.sandbox.ports import is_free
from slurmbatch.sandbox.processes import MARK, Processes, launch, process

PATIENCE = 30.0
PORT_PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """One component as it is now: running, silent (runs, does not answer), stopped or down."""

    name: str
    state: str
    pid: int | None
    port: int | None
    log: str


class Supervisor:
    """Knows which of the components live, and brings back those that do not."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.processes = Processes(site.paths.root, site.paths.slurm_conf)

    def pid(self, component: Component) -> int | None:
        return self.processes.pid(component.pid_file)

    def start(self, components: Sequence[Component]) -> None:
        """Starts those that are dead, all together, and waits until every one answers."""
        launched = [component for component in components if self._launch(component)]
        for component in components:
            self._wait(component, already=component in launched)

    def prepare(self, database: Mariadbd) -> None:
        """Makes the empty database, unless that was done to its end before."""
        done = self.site.paths.database_installed
        if done.exists():
            return
        shutil.rmtree(self.site.paths.database)
        self.site.paths.database.mkdir(mode=0o700)
        self._run(database, database.install())
        done.touch()

    def status(self, component: Component) -> ComponentStatus:
        pid = self.pid(component)
        entry = process(pid) if pid is not None else None
        if entry is None:
            state = "down"
        elif entry.state in "Tt":
            state = "stopped"
        else:
            state = "running" if component.is_ready() else "silent"
        return ComponentStatus(component.name, state, pid, component.port, str(component.log))

    def _launch(self, component: Component) -> bool:
        """Starts it if it is dead."""
        if self.pid(component) is not None:
            return False
        component.pid_file.unlink(missing_ok=True)
        if component.port is not None and not self._becomes_free(component.port):
            raise ComponentFailed(
                component.name, f"needs port {component.port}, which is taken", component.log
            )
        self._run(component, component.command())
        return True

    @staticmethod
    def _becomes_free(port: int) -> bool:
        """Gives the one that has just been killed a moment to let go of the port."""
        deadline = time.monotonic() + PORT_PATIENCE
        while not is_free(port):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _run(self, component: Component, command: Sequence[str]) -> None:
        env = {
            **self.site.env,
            "HOME": os.environ.get("HOME", "/"),
            MARK: str(self.site.paths.root),
        }
        code = launch(command, env=env, log=component.log, cwd=self.site.paths.work)
        if code:
            raise ComponentFailed(
                component.name, f"could not be started (exit {code})", component.log
            )

    def _wait(self, component: Component, already: bool) -> None:
        """Waits until it answers; one that was ending when we came is started once more."""
        deadline = time.monotonic() + PATIENCE
        seen = False
        while not (component.is_ready() and self.pid(component) is not None):
            alive = self.pid(component) is not None
            if not alive and not already:
                already = self._launch(component)
            elif not alive and seen:
                raise ComponentFailed(component.name, "ended soon after its start", component.log)
            seen = seen or alive
            if time.monotonic() > deadline:
                raise ComponentFailed(
                    component.name, f"does not answer after {PATIENCE:.0f} s", component.log
                )
            time.sleep(0.02)
