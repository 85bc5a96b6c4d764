"""The parts of a sandbox: how each is started, and how one sees that it answers."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmbatch.sandbox.conf import CLUSTER, current_user
from slurmbatch.sandbox.paths import Paths
from slurmbatch.sandbox.plan import Plan
from slurmbatch.sandbox.ports import LOOPBACK, is_listening
from slurmbatch.sandbox.processes import in_background

# A node in one of these states takes jobs; a star after it means that it does not answer.
WORKING_STATES = ("idle", "mixed", "allocated", "completing", "reserved", "planned", "draining")


@dataclass(frozen=True, slots=True)
class Site:
    """What the components share: where, how, with which programs and in which environment."""

    paths: Paths
    plan: Plan
    programs: Mapping[str, str]
    env: Mapping[str, str]

    @property
    def daemons_conf(self) -> Path:
        """The slurm.conf of slurmctld and slurmd."""
        return self.paths.daemons_conf if self.plan.daemons_apart else self.paths.slurm_conf

    def succeeds(self, *command: str) -> bool:
        return self.output(*command) is not None

    def output(self, *command: str) -> str | None:
        """What a command of Slurm's printed; None where it failed or did not answer in time."""
        if not self.has_munge():
            return None  # without it, a command would try for a quarter of a minute
        program, *arguments = command
        try:
            done = subprocess.run(
                [self.programs[program], *arguments],
                env=dict(self.env),
                capture_output=True,
                text=True,
                timeout=15,
            )
        except subprocess.TimeoutExpired:
            return None
        return done.stdout if done.returncode == 0 else None

    def has_munge(self) -> bool:
        """Whether munged takes questions."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            return probe.connect_ex(str(self.paths.munge_socket)) == 0


class Component(ABC):
    """One process that is started, watched and restarted on its own."""

    name: str
    port: int | None = None

    def __init__(self, site: Site) -> None:
        self.site = site

    @property
    def pid_file(self) -> Path:
        return self.site.paths.pid_file(self.name)

    @property
    def log(self) -> Path:
        return self.site.paths.log_file(self.name)

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What starts it, and then returns."""

    def is_ready(self) -> bool:
        """Whether it answers, as far as its port shows."""
        return self.port is not None and is_listening(self.port)


class Munged(Component):
    """Vouches for who sent a message, with a key of this sandbox alone."""

    name = "munged"

    def command(self) -> Sequence[str]:
        run = self.site.paths.root / "run"
        return [
            self.site.programs["munged"],
            "--force",
            f"--key-file={self.site.paths.munge_key}",
            f"--socket={self.site.paths.munge_socket}",
            f"--pid-file={self.pid_file}",
            f"--log-file={self.log}",
            f"--seed-file={run}/munge.seed",
            "--num-threads=4",
        ]

    def is_ready(self) -> bool:
        return self.site.has_munge()


class Mariadbd(Component):
    """Holds Slurm's accounting."""

    name = "mariadbd"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.port = site.plan.mariadb_port

    def _files(self) -> list[str]:
        """What the server, and what makes the empty database, must agree on."""
        return [
            f"--datadir={self.site.paths.database}",
            # A server that starts removes the temporary tables of all others from a shared one.
            f"--tmpdir={self.site.paths.database_tmp}",
            f"--user={current_user()}",
            "--innodb-log-file-size=64M",
            # io_uring wants locked memory, of which users have little.
            "--innodb-use-native-aio=OFF",
        ]

    def install(self) -> Sequence[str]:
        """What makes the empty database."""
        return [
            self.site.programs["mariadb-install-db"],
            "--no-defaults",
            "--force",
            "--skip-test-db",
            "--auth-root-authentication-method=socket",
            f"--auth-root-socket-user={current_user()}",
            *self._files(),
        ]

    def command(self) -> Sequence[str]:
        data = self.site.paths.database
        server = [
            self.site.programs["mariadbd"],
            "--no-defaults",
            *self._files(),
            f"--socket={data}/mariadb.socket",
            f"--pid-file={self.pid_file}",
            f"--port={self.port}",
            f"--bind-address={LOOPBACK}",
            f"--init-file={self.site.paths.database_init}",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=512M",
            "--innodb-lock-wait-timeout=900",
            "--innodb-flush-log-at-trx-commit=2",
            "--loose-innodb-snapshot-isolation=OFF",
        ]
        return in_background(self.site.programs["setsid"], self.pid_file, server)

    def is_ready(self) -> bool:
        """It greets; before that it listens already, but does not end when asked to."""
        if not super().is_ready():
            return False
        try:
            with socket.create_connection((LOOPBACK, self.port or 0), timeout=1) as connection:
                return bool(connection.recv(1))
        except OSError:
            return False


class Slurmdbd(Component):
    """Slurm's door to the accounting."""

    name = "slurmdbd"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.port = site.plan.slurmdbd_port

    def command(self) -> Sequence[str]:
        return [self.site.programs["slurmdbd"]]

    def is_ready(self) -> bool:
        return super().is_ready() and self.site.succeeds("sacctmgr", "-n", "show", "cluster")


class Slurmctld(Component):
    """The controller."""

    name = "slurmctld"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.port = site.plan.slurmctld_port

    def command(self) -> Sequence[str]:
        return [self.site.programs["slurmctld"], "-f", str(self.site.daemons_conf)]

    def is_ready(self) -> bool:
        return super().is_ready() and self.site.succeeds("scontrol", "ping")


class Slurmd(Component):
    """One node."""

    def __init__(self, site: Site, node: str) -> None:
        super().__init__(site)
        self.name, self.node = f"slurmd-{node}", node
        self.port = site.plan.slurmd_port(node)

    def command(self) -> Sequence[str]:
        command = [self.site.programs["slurmd"], "-N", self.node, "-f", str(self.site.daemons_conf)]
        # Else it would take the one that is installed here.
        stepd = ["-d", str(self.site.paths.bin / "slurmstepd")]
        return [*command, *stepd] if self.site.plan.shape.root else command

    def is_ready(self) -> bool:
        """It listens, and the controller, if there is one, gives it work."""
        if not super().is_ready():
            return False
        if not is_listening(self.site.plan.slurmctld_port):
            return True
        state = self.site.output("sinfo", "-h", "-N", "-n", self.node, "-o", "%T") or ""
        return bool(state.split()) and state.split()[0] in WORKING_STATES


class Daemon(Component):
    """slurmbatch itself."""

    name = "slurmbatch"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.port = site.plan.http_port

    def command(self) -> Sequence[str]:
        serve = self.slurmbatch("serve")
        return in_background(self.site.programs["setsid"], self.pid_file, serve)

    def key_command(self) -> Sequence[str]:
        """What makes the demo user's API key, and prints it."""
        return self.slurmbatch("admin", "key", "create", "--user", "demo")

    def slurmbatch(self, *arguments: str) -> list[str]:
        config = ["--config", str(self.site.paths.settings)]
        return [sys.executable, "-m", "slurmbatch", *arguments, *config]

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def slurm_components(site: Site) -> list[Component]:
    """All but slurmbatch, in the order in which they are started."""
    nodes = [Slurmd(site, node) for node in site.plan.shape.node_names]
    return [Munged(site), Mariadbd(site), Slurmdbd(site), Slurmctld(site), *nodes]


def register(site: Site, account: str) -> None:
    """Makes the cluster, an account and the user's place in it known to the accounting."""
    user = current_user()
    known = site.output("sacctmgr", "-nP", "show", "assoc", "format=cluster,account,user") or ""
    if f"{CLUSTER}|{account}|{user}" in known.splitlines():
        return
    for command in (
        ("cluster", CLUSTER),
        ("account", account, f"cluster={CLUSTER}", "description=sandbox", "organization=sandbox"),
        ("user", user, f"account={account}", f"cluster={CLUSTER}", f"defaultaccount={account}"),
    ):
        site.output("sacctmgr", "-i", "add", *command)
