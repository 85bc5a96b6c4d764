"""One slurmbatch on a sandbox: its settings, a tool that leaves traces, its users, its daemon."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from click.testing import CliRunner

from slurmbatch.cli import main as command
from slurmbatch.sandbox import Sandbox
from slurmbatch.sandbox.processes import MARK
from slurmbatch.sandbox.programs import search_path
from tests.chaos.ledger import MAX_MEMORY, MEMORY
from tests.chaos.points import Gun

# In so many of its runs a job fails that never heals.
ALWAYS = 1_000_000
# A job that has too little memory holds it for so long, unless Slurm kills it before: that may take
# an outage of slurmctld, which slurmstepd has to ask.
UNTIL_KILLED = 30
# MiB that shells, awk and sleep take beside what a job holds: 14 to 20, and some room.
OWN = 24
REPOSITORY = Path(__file__).resolve().parents[2]
MAX_ARRAY_SIZE = 21
# MessageTimeout: how long Slurm's commands wait for an answer. SlurmdTimeout: longer than any of
# our outages, because a node that is taken for dead has its jobs ended, which is no fault of ours.
SLURM_CONF = "MessageTimeout=4\nSlurmdTimeout=600\nBatchStartTimeout=60\n"

TOOL = """\
description = "Leaves a line when it starts and one when it ends."
script = '''
#!/bin/bash
say() {{ printf '%s %s %s %s %s %s %s\\n' "$1" "$label-$job" "$EPOCHREALTIME" \
"$SLURM_ARRAY_JOB_ID" "$SLURM_JOB_NAME" "$code" "$SLURM_MEM_PER_NODE" >> {trace}; }}
say start
if [ "$fails" -lt {always} ]; then  # the runs so far, this one among them
    [ "$(grep -c "^start $label-$job " {trace})" -gt "$fails" ] && code=0
fi
if [ "$needs" -gt 0 ]; then
    hold=1.5  # for somebody who looks once a second
    [ "$needs" -gt "$SLURM_MEM_PER_NODE" ] && hold={until_killed}
    awk -v mib="$((needs - {own}))" -v hold="$hold" 'BEGIN {{
        s = "x"; while (length(s) < 1048576) s = s s
        for (i = 0; i < mib; i++) held[i] = s i
        exit system("exec sleep " hold) }}' || exit
fi
sleep "$nap"
say end
exit "$code"
'''
hardware = {{cpu = 1, memory = {memory}, max_memory = {max_memory}}}
parameters = [
    {{name = "label", type = "string", required = true}},
    {{name = "job", type = "integer", required = true}},
    {{name = "nap", type = "number", default = 0}},
    {{name = "code", type = "integer", default = 0}},
    {{name = "fails", type = "integer", default = {always}}},
    {{name = "needs", type = "integer", default = 0}},
]
"""

SETTINGS = """\
[server]
port = {port}
submit_wait = 1.0
[store]
path = "{root}/state/slurmbatch.sqlite"
[jobs]
log_dir = "{root}/logs"
work_dir = "{root}/work"
{claims}
[slurm]
conf = "{slurm_conf}"
bin_dir = "{root}/bin"
command_timeout = 6
submit_timeout = 6
poll_interval = 0.3
poll_interval_most = 1.0
absence_grace = 8
[tools]
dir = "{root}/tools"
"""

# Takes an order by renaming it, so that each is carried out once.
SBATCH = """\
#!/bin/sh
mine={root}/order.$$
if mv {root}/order "$mine" 2>/dev/null; then
    read -r what seconds < "$mine"
    rm "$mine"
    case "$what" in
    unread)  # accepted, and the daemon dies before it has read the id
        {sbatch} "$@" > /dev/null
        kill -KILL "$(cat {root}/daemon.pid)"
        exit 1;;
    no-reply)  # accepted, and slurmctld's answer is lost
        {sbatch} "$@" > /dev/null 2>&1;;
    late)  # still under way when everybody takes it for dead
        cat > "$mine"
        setsid sh -c 'sleep "$0"; exec {sbatch} "$@"' "$seconds" "$@" \
            < "$mine" > /dev/null 2>&1 &
        ;;
    esac
    echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2
    exit 1
fi
exec {sbatch} "$@"
"""


def new_sandbox(directory: Path) -> Sandbox:
    return Sandbox(
        directory, nodes=2, cpus=32, max_array_size=MAX_ARRAY_SIZE, min_job_age=30,
        extra_conf=SLURM_CONF,
    )  # fmt: skip


@dataclass
class Site:
    """In the directory `root`, which is new."""

    box: Sandbox
    root: Path
    claims: bool
    users: Sequence[str] = ("alice", "bob", "carol", "dave")
    keys: dict[str, str] = field(default_factory=dict)
    gun: Gun = field(init=False)
    deaths: int = 0
    hide_ended: bool = False
    _process: subprocess.Popen[bytes] | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        for name in ("state", "logs", "work", "claims", "tools", "bin"):
            (self.root / name).mkdir(mode=0o700, parents=True)
        self.gun = Gun(self.root)
        self.trace.touch()
        (self.root / "tools/trace.toml").write_text(
            TOOL.format(trace=self.trace, always=ALWAYS, until_killed=UNTIL_KILLED, own=OWN,
                        memory=MEMORY, max_memory=MAX_MEMORY)
        )  # fmt: skip
        claims = f'claims_dir = "{self.root}/claims"' if self.claims else ""
        self.config.write_text(
            SETTINGS.format(root=self.root, port=self.box.plan.http_port, claims=claims,
                            slurm_conf=self.box.paths.slurm_conf)
        )  # fmt: skip
        self._make_commands()
        self.keys = {user: self._make_key(user) for user in self.users}

    @property
    def config(self) -> Path:
        return self.root / "slurmbatch.toml"

    @property
    def trace(self) -> Path:
        return self.root / "trace"

    @property
    def log(self) -> Path:
        return self.root / "daemon.log"

    @property
    def database(self) -> Path:
        return self.root / "state/slurmbatch.sqlite"

    @property
    def url(self) -> str:
        return self.box.plan.url

    def order(self, what: str) -> None:
        """What the next sbatch is to do: `unread`, `no-reply` or `late SECONDS`."""
        new = self.root / "order.new"
        new.write_text(f"{what}\n")
        new.replace(self.root / "order")

    @property
    def is_ordered(self) -> bool:
        return (self.root / "order").exists()

    def forget_order(self) -> None:
        (self.root / "order").unlink(missing_ok=True)

    def queue(self) -> list[str]:
        """What is in Slurm under names of this site's: `ID NAME STATE REASON`.

        An sbatch of an earlier site's that was late may have left something, too.
        """
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            ((instance,),) = db.execute("SELECT value FROM meta WHERE key = 'instance'").fetchall()
        asked = ["squeue", "-h", "-o", "%i %j %T %r"]
        deadline = time.monotonic() + 60
        while (told := self.box.run(asked, check=False)).returncode != 0:  # slow, and will answer
            assert time.monotonic() < deadline, told.stderr
        rows = told.stdout.splitlines()
        return [row for row in rows if f" sb-{instance}-" in row]

    # --- the daemon -----------------------------------------------------------------------------

    def start(self, wait: float = 30.0) -> None:
        """Starts the daemon if it is dead, and waits until it answers (or has died again)."""
        with self._lock:
            if self.is_alive:
                return
            self._launch()
        deadline = time.monotonic() + wait
        while self.is_alive and not self._answers():
            if time.monotonic() > deadline:
                raise AssertionError(f"the daemon does not answer; see {self.log}")
            time.sleep(0.02)

    @property
    def is_alive(self) -> bool:
        with self._lock:
            return self._process is not None and self._process.poll() is None

    def send(self, number: int) -> bool:
        """False if it was dead."""
        with self._lock:
            if not self.is_alive or self._process is None:
                return False
            self._process.send_signal(number)
            return True

    def end(self, number: int = signal.SIGTERM, wait: float = 60.0) -> int | None:
        """Sends the signal and waits for the end; gives the exit code."""
        self.send(number)
        return self.wait_dead(wait)

    def wait_dead(self, seconds: float) -> int | None:
        """The exit code; None if it still lives after that time."""
        if self._process is None:
            return None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def _launch(self) -> None:
        more = ["--hide-ended"] if self.hide_ended else []
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.killable", "--config", str(self.config),
                 "--gun", str(self.root), *more],
                cwd=REPOSITORY, env={"PATH": search_path(), MARK: str(self.box.dir)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        (self.root / "daemon.pid").write_text(str(self._process.pid))

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    # --- making it ------------------------------------------------------------------------------

    def _make_key(self, user: str) -> str:
        arguments = ["admin", "key", "create", "--user", user, "--config", str(self.config)]
        done = CliRunner().invoke(command, arguments)
        assert done.exit_code == 0, done.output
        return done.output.splitlines()[-1].strip()

    def _make_commands(self) -> None:
        for name in ("squeue", "sacct", "scontrol", "scancel"):
            (self.root / "bin" / name).symlink_to(self._found(name))
        wrapper = self.root / "bin/sbatch"
        wrapper.write_text(SBATCH.format(root=self.root, sbatch=self._found("sbatch")))
        wrapper.chmod(0o755)

    def _found(self, name: str) -> str:
        """The sandbox's own, or the one that is installed."""
        path = shutil.which(name, path=search_path(first=self.box.bin_dir))
        assert path is not None, f"{name} is not installed"
        return os.path.realpath(path)
