"""The composition root: picks the parts, wires them, runs them, stops them.

The only place that names concrete classes. Threads: the server's event loop, its workers, one
submitter, one poller; the main thread only waits for signals and sees to it that none is missing.
"""

from __future__ import annotations

import os
import pwd
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slurmbatch import __version__, journal
from slurmbatch.api import create_app
from slurmbatch.batches import Batches, Rules
from slurmbatch.batches.resolve import Offer
from slurmbatch.claims import Claims
from slurmbatch.config import Settings
from slurmbatch.doorbell import Doorbell
from slurmbatch.errors import SettingsError, SlurmbatchError
from slurmbatch.health import Health, late_after
from slurmbatch.identity import Identity
from slurmbatch.poller import Poller
from slurmbatch.poller.pace import Pace
from slurmbatch.poller.sources import Sources
from slurmbatch.slurm.choose import choose
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.slurm.port import SlurmPort
from slurmbatch.store import Store, open_store
from slurmbatch.submitter import Submitter, Terms
from slurmbatch.web import Waits, Web
from slurmbatch.worker import Worker

_log = journal.get("daemon")
STOP_WITHIN = 8.0
SUBMITTER_INTERVAL = 1.0
# How long a look at Slurm waits for accounting before it goes on without.
ACCOUNTING_WAIT = 2.0
CHECK_DATABASE_EVERY = 1.0


def open_own_store(settings: Settings) -> Store:
    return open_store(settings.store.path, exclusive=True)


def command_slurm(settings: Settings) -> CommandSlurm:
    return CommandSlurm(
        conf=settings.slurm.conf,
        bin_dir=settings.slurm.bin_dir,
        timeout=settings.slurm.command_timeout,
        submit_timeout=settings.slurm.submit_timeout,
    )


def chosen_slurm(settings: Settings) -> SlurmPort:
    choice = choose(settings.slurm.backend, command_slurm(settings))
    _log.info("way to Slurm chosen", backend=choice.backend, reason=choice.reason)
    return choice.slurm


@dataclass(frozen=True, slots=True)
class Parts:
    """How the parts are made that a test may want to make otherwise."""

    store: Callable[[Settings], Store] = open_own_store
    slurm: Callable[[Settings], SlurmPort] = chosen_slurm


def run(settings: Settings, parts: Parts | None = None) -> int:
    """Serves until SIGTERM or SIGINT. Raises SlurmbatchError if it cannot start."""
    parts = parts or Parts()
    journal.configure(settings.log.level)
    _prepare("jobs.log_dir", settings.jobs.log_dir)
    if settings.jobs.claims_dir is not None:
        _prepare("jobs.claims_dir", settings.jobs.claims_dir)
    store = parts.store(settings)
    try:
        return _serve(settings, store, parts.slurm(settings))
    finally:
        store.close()


def _serve(settings: Settings, store: Store, slurm: SlurmPort) -> int:
    health, doorbell = Health(), Doorbell(max(1, settings.server.threads // 2))
    workers = _workers(settings, store, slurm, health, doorbell)
    backend = str(getattr(slurm, "backend", "another"))
    waits = Waits()
    readiness = Readiness(store, health, settings.slurm.poll_interval_most, backend, waits)
    drain = threading.Event()
    app = create_app(
        _batches(settings, store, health, doorbell),
        Identity(store.keys, settings.auth.jwt),
        readiness,
        max_body_bytes=settings.server.max_body_bytes,
        draining=drain.is_set,
        spool_dir=settings.store.path.parent,
    )
    with Signals() as signals:
        web = Web(app, settings.server, waits)
        for worker in workers:
            worker.start()
        web.start()
        store.on_commit(web.ring)
        _log.info("ready", version=__version__, url=web.url, database=str(settings.store.path))
        _watch(signals, workers)
        _log.info("stopping", hint="finishes the requests it has")
        drain.set()
        deadline = time.monotonic() + STOP_WITHIN
        web.stop(deadline)
        clean = [worker.stop(max(0.1, deadline - time.monotonic())) for worker in workers]
    _log.info("stopped", clean=all(clean))
    return 0


def _watch(signals: Signals, workers: Sequence[Worker]) -> None:
    while not signals.wait(1.0):
        for worker in workers:
            if not worker.is_alive():
                _log.error("a worker has died and is replaced", worker=worker.name)
                worker.start()


def _batches(settings: Settings, store: Store, health: Health, doorbell: Doorbell) -> Batches:
    offer = Offer(
        tools=settings.tools,
        filesystems={each.id: each for each in settings.filesystems},
        max_jobs=settings.jobs.max_jobs_per_batch,
        max_args_bytes=settings.jobs.max_args_bytes,
    )
    rules = Rules(
        log_dir=settings.jobs.log_dir,
        work_dir=_work_dir(settings),
        max_script_bytes=settings.slurm.max_script_bytes,
        array_size=settings.slurm.array_size,
        submit_wait=settings.server.submit_wait,
        poll_late=late_after(settings.slurm.poll_interval_most),
        claims_dir=settings.jobs.claims_dir,
    )
    return Batches(store, offer, rules, doorbell, health)


def _workers(
    settings: Settings, store: Store, slurm: SlurmPort, health: Health, doorbell: Doorbell
) -> tuple[Worker, Worker]:
    claims = Claims(settings.jobs.claims_dir) if settings.jobs.claims_dir else None
    terms = Terms(
        tools=settings.tools,
        filesystems={each.id: each for each in settings.filesystems},
        log_dir=settings.jobs.log_dir,
        work_dir=_work_dir(settings),
        claims=claims,
        absence_grace=settings.slurm.absence_grace,
    )
    pace = Pace(settings.slurm.poll_interval, settings.slurm.poll_interval_most)
    bell = Doorbell()
    submitter = Submitter(
        store, slurm, terms, doorbell, health, newest_at_start=store.arrays.newest(),
        look=bell.ring,
    )  # fmt: skip
    poller = Poller(
        store, Sources(store, slurm, health, doorbell, ACCOUNTING_WAIT), doorbell,
        submitter.end_stray,
        settings.jobs.log_dir, claims, settings.slurm.absence_grace, pace=pace,
    )  # fmt: skip
    return (
        Worker("submitter", submitter.tick, SUBMITTER_INTERVAL, health,
               wait=doorbell.wait, wake=doorbell.ring),
        Worker("poller", poller.tick, settings.slurm.poll_interval, health,
               wait=bell.wait, wake=bell.ring, pause=lambda: pace.floor),
    )  # fmt: skip


def _work_dir(settings: Settings) -> Path:
    return settings.jobs.work_dir or Path(pwd.getpwuid(os.getuid()).pw_dir)


def _prepare(key: str, directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError([f"{key}: {directory}: {error.strerror}"]) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise SettingsError([f"{key}: {directory}: is not writable for this account"])


@dataclass(slots=True)
class Readiness:
    """Alive, and able to work: for load balancers, watchdogs and people."""

    store: Store
    health: Health
    poll_interval_most: float
    backend: str
    waits: Waits
    clock: Callable[[], float] = time.time
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _checked_at: float | None = None
    _trouble: str = ""

    def healthz(self) -> dict[str, Any]:
        return {"status": "alive", "version": __version__}

    def readyz(self) -> tuple[bool, dict[str, Any]]:
        now = self.clock()
        trouble = self._database(now)
        # Ticks go on through an outage, and with nothing to do few of them look.
        ticked, looked = (self._age(name, now) for name in ("poller", "slurmctld"))
        fresh = ticked is not None and ticked < late_after(self.poll_interval_most)
        slurm = {name: self._source(name) for name in ("slurmctld", "slurmdbd")}
        ready = not trouble and fresh and looked is not None and slurm["slurmctld"]["ok"]
        about = {"ok": not trouble, "error": trouble}
        queue = {"depth": self.waits.depth, "waited": self.waits.waited}
        return ready, {"status": "ready" if ready else "not ready", "database": about, **slurm,
                       "poll_age_seconds": looked, "looks": self.health.looks,
                       "backend": self.backend, "queue": queue}  # fmt: skip

    def _database(self, now: float) -> str:
        """Why the database can't be written; "" if it can. Looked at once a second at most: it
        costs a write to the disk, and whoever asks needs no credentials."""
        with self._lock:
            if self._checked_at is None or not 0 <= now - self._checked_at < CHECK_DATABASE_EVERY:
                self._trouble = _trouble(self.store)
                self._checked_at = now
            return self._trouble

    def _age(self, name: str, now: float) -> float | None:
        ok_at = self.health.source(name).ok_at
        return None if ok_at is None else round(now - ok_at, 1)

    def _source(self, name: str) -> dict[str, Any]:
        source = self.health.source(name)
        since = source.down_since
        text = "" if since is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
        return {"ok": since is None, "down_since": text, "error": source.error if text else ""}


def _trouble(store: Store) -> str:
    try:
        store.check()
    except SlurmbatchError as error:
        return error.detail
    return ""


class Signals:
    """SIGTERM and SIGINT as something to wait for, with nothing done inside of a handler."""

    def __enter__(self) -> Signals:
        self._read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._write = write
        self._wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        wanted = (signal.SIGTERM, signal.SIGINT)
        self._old = {number: signal.signal(number, lambda *_: None) for number in wanted}
        return self

    def wait(self, seconds: float) -> bool:
        """True if one has come."""
        ready, _, _ = select.select([self._read], [], [], seconds)
        if not ready:
            return False
        numbers = os.read(self._read, 64)
        return any(number in self._old for number in numbers)

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)
