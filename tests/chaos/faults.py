"""Kills and stops parts of Slurm and the daemon, and brings them back."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from slurmbatch.sandbox import SandboxError
from tests.chaos.actors import Actor
from tests.chaos.site import Site

PARTS = ("munged", "mariadbd", "slurmdbd", "slurmctld")
HOW = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "hang": signal.SIGSTOP}
# No job of these naps takes as long.
LONG_OVER = 90.0
# What the sbatch in between can be told to do, see site.
ORDERS = ("unread", "no-reply", "late 3", "late 14")


@dataclass
class Outage:
    part: str
    how: str
    since: float
    until: float = float("inf")


@dataclass
class Faults:
    """What was done to whom, and when. For all threads."""

    site: Site
    outages: list[Outage] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    spared: frozenset[str] = frozenset()
    _silent: dict[str, float] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _starting: defaultdict[str, threading.RLock] = field(
        default_factory=lambda: defaultdict(threading.RLock)
    )

    def is_down(self, since: float, until: float) -> bool:
        """Whether some part was down for all of that time."""
        with self._lock:
            return any(each.since <= since and until <= each.until for each in self.outages)

    def last_end(self, before: float) -> float:
        """When the last outage that began before that time was over; 0 if there was none."""
        with self._lock:
            return max((each.until for each in self.outages if each.since <= before), default=0.0)

    def crashes(self) -> list[float]:
        """When slurmctld was killed, and so may have forgotten its last seconds."""
        with self._lock:
            return [each.since for each in self.outages
                    if (each.part, each.how) == ("slurmctld", "kill")]  # fmt: skip

    # --- parts of Slurm -------------------------------------------------------------------------

    def strike(self, part: str, how: str) -> bool:
        """False where it is dead already, or is to be spared."""
        if f"{how} {part}" in self.spared or self.site.box.pid(part) is None:
            return False
        self.noted(part, how)
        with contextlib.suppress(SandboxError):
            self.site.box.kill(part, HOW[how])
        return True

    def noted(self, part: str, how: str) -> None:
        """Notes what is done to it."""
        with self._lock:
            self.outages.append(Outage(part, how, time.time()))
            self.kinds[f"{how} {part}"] += 1

    def mend(self, part: str) -> bool:
        """Brings it back; False where that did not work yet."""
        try:
            self._start(part, signal.SIGCONT)
        except SandboxError:
            return False
        with self._lock:
            for outage in self.outages:
                if outage.part == part:
                    outage.until = min(outage.until, time.time())
        return True

    def mend_all(self, patience: float = 600.0) -> None:
        """Until all of Slurm answers again."""
        nodes = [f"slurmd-{name}" for name in self.site.box.plan.shape.node_names]
        deadline = time.monotonic() + patience
        while not (all(map(self.mend, PARTS)) and all(map(self._mend_node, nodes))):
            assert time.monotonic() < deadline, "Slurm does not come back"
            time.sleep(0.5)

    def _mend_node(self, part: str) -> bool:
        """As `mend`; one that slurmctld takes for silent or has drained gives work again."""
        self.resume_nodes()
        self.renew_silent_nodes(3.0)
        return self.mend(part)

    def fail_node(self, name: str) -> None:
        """All jobs there end; `resume_nodes` brings it back."""
        change = f"nodename={name}"
        self.site.box.run(["scontrol", "update", change, "state=down", "reason=chaos"])
        self.count("fail a node")

    def resume_nodes(self) -> None:
        """As an administrator would: Slurm drains a node that was given the same job twice, which
        is what a slurmctld does that has been killed and has forgotten."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            drained = self.site.box.run(["sinfo", "-h", "-N", "-t", "drain,down", "-o", "%N"],
                                        check=False, timeout=10).stdout.split()  # fmt: skip
            if drained:
                change = f"nodename={','.join(sorted(set(drained)))}"
                self.site.box.run(["scontrol", "update", change, "state=resume"], check=False,
                                  timeout=10)  # fmt: skip

    def renew_nodes(self) -> None:
        """As an administrator would, too: a slurmctld that was killed has forgotten ends, shows
        those jobs as running, and finds out only when a node registers again."""
        with contextlib.suppress(subprocess.TimeoutExpired, SandboxError):
            ask = ["env", "SLURM_TIME_FORMAT=%s", "squeue", "-h", "-t", "running", "-o", "%S"]
            running = self.site.box.run(ask, check=False, timeout=10).stdout.split()
            starts = [int(word) for word in running if word.isdigit()]
            if starts and time.time() - min(starts) > LONG_OVER:
                for name in self.site.box.plan.shape.node_names:
                    self._renew_node(name)

    def renew_silent_nodes(self, after: float = 8.0) -> None:
        """Has slurmd start anew where slurmctld has taken its node for silent for so long.

        Asked to register while munged hung, a node did not answer; slurmctld asks it again after a
        third of SlurmdTimeout, and gives it nothing to do until then.
        """
        with contextlib.suppress(subprocess.TimeoutExpired, SandboxError):
            told = self.site.box.run(["sinfo", "-h", "-N", "-o", "%N %T"], check=False, timeout=10)
            rows = (line.split() for line in told.stdout.splitlines())
            silent = {row[0] for row in rows if len(row) == 2 and row[1].endswith("*")}
            now = time.monotonic()
            with self._lock:
                self._silent = {name: self._silent.get(name, now) for name in silent}
                due = [name for name, since in self._silent.items() if now - since >= after]
            for name in due:
                self._renew_node(name)

    def _renew_node(self, name: str) -> None:
        self._start(f"slurmd-{name}", signal.SIGTERM)

    def _start(self, part: str, first: int) -> None:
        """One at a time: of two of the same that are started at once one ends, and takes the pid
        file of the other along."""
        with self._lock:
            starting = self._starting[part]
        with starting:
            if self.site.box.pid(part) is not None:
                self.site.box.kill(part, first)
            self.site.box.start(part)

    # --- the daemon -----------------------------------------------------------------------------

    def kill_daemon(self) -> None:
        if self.site.send(signal.SIGKILL):
            self.count("kill daemon")

    def end_daemon(self) -> None:
        if self.site.send(signal.SIGTERM):
            self.count("term daemon")

    def hang_daemon(self, seconds: float) -> None:
        if self.site.send(signal.SIGSTOP):
            self.count("hang daemon")
            time.sleep(seconds)
            self.site.send(signal.SIGCONT)

    def count(self, kind: str) -> None:
        with self._lock:
            self.kinds[kind] += 1


class Keeper(Actor):
    """Starts the daemon again some moment after its death, as a service manager would."""

    def __init__(self, site: Site, rng: random.Random, longest: float = 2.0) -> None:
        self._site = site
        self._rng = rng
        self._longest = longest
        self.starts = 0
        super().__init__(self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            if not self._site.is_alive:
                self._stop.wait(self._rng.uniform(0, self._longest))
                self.starts += 1
                self._site.start()


class Storm(Actor):
    """One fault after another, from the seed. `shoot` has the daemon shot at a named point.

    Stopped, what it has struck is mended, or left to `Faults.mend_all`.
    """

    def __init__(
        self,
        faults: Faults,
        rng: random.Random,
        shoot: Callable[[random.Random], None],
        *,
        pause: tuple[float, float] = (0.5, 4.0),
        longest_outage: float = 10.0,
    ) -> None:
        self._faults = faults
        self._rng = rng
        self._shoot = shoot
        self._pause = pause
        self._longest = longest_outage
        self._deck: list[tuple[str, str]] = []
        super().__init__(self._run, self._watch_nodes)

    def mend_later(self, part: str, seconds: float) -> None:
        thread = threading.Thread(target=self._mend, args=(part, seconds))
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._rng.uniform(*self._pause)):
            self._one(self._rng)

    def _watch_nodes(self) -> None:
        while not self._stop.wait(2.0):
            self._faults.resume_nodes()
            self._faults.renew_nodes()
            self._faults.renew_silent_nodes()

    def _one(self, rng: random.Random) -> None:
        draw, seconds = rng.random(), self._longest * rng.random() ** 2
        if draw < 0.30:
            self._faults.kill_daemon()
        elif draw < 0.60:
            self._shoot(rng)
        elif draw < 0.64:
            self._faults.end_daemon()
        elif draw < 0.67:
            self._faults.hang_daemon(seconds / 3)
        elif draw < 0.73:
            what = rng.choice(ORDERS)
            self._faults.site.order(what)
            self._faults.count(f"sbatch {what}")
        else:
            # Each part in each way once, and then again, in another order.
            if not self._deck:
                self._deck = [(part, how) for part in PARTS for how in HOW]
                rng.shuffle(self._deck)
            part, how = self._deck.pop()
            if self._faults.strike(part, how):
                self.mend_later(part, seconds)

    def _mend(self, part: str, seconds: float) -> None:
        self._stop.wait(seconds)
        while not self._faults.mend(part) and not self._stop.wait(0.5):
            continue
