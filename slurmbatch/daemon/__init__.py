"""The composition root: picks the parts, wires them, runs them, stops them.

The only place that names concrete classes. Threads: the server's event loop, its workers, one
submitter, one poller; the main thread only waits for signals and sees to it that none is missing.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slurmbatch import __version__, journal, notify
from slurmbatch.api import create_app
from slurmbatch.batches import Batches, Rules
from slurmbatch.batches.resolve import Offer
from slurmbatch.batches.trial import Trials
from slurmbatch.claims import Claims
from slurmbatch.config import Settings
from slurmbatch.daemon import directories
from slurmbatch.daemon.access import Access
from slurmbatch.daemon.figures import Readings
from slurmbatch.daemon.life import Watchdog, patience
from slurmbatch.daemon.readiness import Readiness
from slurmbatch.daemon.reload import Reloader, Replaceable
from slurmbatch.daemon.signals import Signals
from slurmbatch.doorbell import Doorbell
from slurmbatch.errors import SettingsError
from slurmbatch.headship import Headship
from slurmbatch.health import Health, late_after
from slurmbatch.metrics import CONTENT_TYPE, Metrics
from slurmbatch.notify import Notifier
from slurmbatch.poller import Poller
from slurmbatch.poller.pace import Pace
from slurmbatch.poller.sources import Sources
from slurmbatch.slurm import quirks
from slurmbatch.slurm.choose import Choice, choose
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.slurm.guarded import guarded
from slurmbatch.slurm.observed import Seen, observed
from slurmbatch.slurm.persons import Sudo, Tokens, Way
from slurmbatch.slurm.port import SlurmPort
from slurmbatch.store import Store, open_store
from slurmbatch.submitter import Submitter, Terms
from slurmbatch.web import Waits, Web, listen
from slurmbatch.web.beside import Beside
from slurmbatch.webhooks import Sender
from slurmbatch.worker import Worker

__all__ = ["Parts", "Readiness", "command_slurm", "run"]

_log = journal.get("daemon")
STOP_WITHIN = 8.0
# How the process ends where another head node has taken over: to start it again helps nobody.
SUPERSEDED = 78
ENDS = frozenset((signal.SIGTERM, signal.SIGINT))
# Whose life the watchdog asks for; a webhook's receiver may keep the other one for long.
WATCHED = ("submitter", "poller")
SUBMITTER_INTERVAL = 1.0
WEBHOOKS_INTERVAL = 1.0
HEADSHIP_INTERVAL = 1.0
SETTLE = 10.0
_STILL_PERSONS = (
    "slurm.run_as: found 'service', but there are jobs that run as their users' accounts; "
    "expected 'sudo' or 'slurm-jwt' until they have ended"
)
# How long a look at Slurm waits for accounting before it goes on without.
ACCOUNTING_WAIT = 2.0


def open_own_store(settings: Settings) -> Store:
    return open_store(settings.store.path, exclusive=True)


def command_slurm(settings: Settings) -> CommandSlurm:
    return CommandSlurm(
        conf=settings.slurm.conf,
        bin_dir=settings.slurm.bin_dir,
        timeout=settings.slurm.command_timeout,
        submit_timeout=settings.slurm.submit_timeout,
        persons=_way(settings),
    )


def _way(settings: Settings) -> Way | None:
    if settings.slurm.run_as == "sudo":
        return Sudo()
    if settings.slurm.run_as == "slurm-jwt":
        asked = CommandSlurm(settings.slurm.conf, settings.slurm.bin_dir)
        return Tokens(settings.jwt_key, asked.version)
    return None


def chosen_slurm(settings: Settings) -> SlurmPort:
    choice = choose(settings.slurm.backend, command_slurm(settings))
    _log.info("way to Slurm chosen", backend=choice.backend, reason=choice.reason)
    # Aside: while Slurm's commands hang, the service is to answer all the same.
    threading.Thread(target=_tell_limits, args=(choice,), name="limits", daemon=True).start()
    return choice.slurm


def _tell_limits(choice: Choice) -> None:
    version = choice.version()
    for limit in quirks.limits(version):
        _log.warning("this version of Slurm has limits", version=version, limit=limit)


@dataclass(frozen=True, slots=True)
class Parts:
    """How the parts are made that a test may want to make otherwise."""

    store: Callable[[Settings], Store] = open_own_store
    slurm: Callable[[Settings], SlurmPort] = chosen_slurm


def run(settings: Settings, parts: Parts | None = None) -> int:
    """Serves until SIGTERM or SIGINT. Raises SlurmbatchError if it cannot start."""
    parts = parts or Parts()
    journal.configure(settings.log.level)
    notifier, listener = Notifier(), _inherited()
    persons = settings.slurm.runs_as_persons
    directories.prepare("jobs.log_dir", settings.jobs.log_dir, persons=persons)
    if settings.jobs.claims_dir is not None:
        directories.prepare("jobs.claims_dir", settings.jobs.claims_dir, persons=persons)
    store = parts.store(settings)
    try:
        if not persons and store.arrays.have_persons():
            raise SettingsError([_STILL_PERSONS])
        head = _headship(settings, store)
        slurm = guarded(parts.slurm(settings), head.check)
        return _serve(settings, store, slurm, notifier, listener, head)
    finally:
        store.close()


def _headship(settings: Settings, store: Store) -> Headship:
    """Taken. Raises Superseded if another head node has it."""
    head = Headship(settings.jobs.log_dir, store.instance, store.recall, store.remember)
    try:
        head.take()
    except OSError as error:
        raise SettingsError([f"jobs.log_dir: {error}"]) from error
    return head


def _inherited() -> socket.socket | None:
    """The socket that systemd listens on for us, if it does."""
    found = notify.inherited_sockets()
    notify.forget()
    if len(found) > 1:
        raise SettingsError([f"found {len(found)} sockets from systemd, expected one at most"])
    return found[0] if found else None


def _serve(
    settings: Settings,
    store: Store,
    slurm: SlurmPort,
    notifier: Notifier,
    listener: socket.socket | None,
    head: Headship,
) -> int:
    health, doorbell, waits = Health(), Doorbell(max(1, settings.server.threads // 2)), Waits()
    metrics = Metrics(Readings(store.figures, health, waits))
    slurm = observed(slurm, _told(metrics, health))
    workers, adopt = _workers(settings, store, slurm, health, doorbell, metrics)
    batches = Replaceable(_batches(settings, store, slurm, health, doorbell))
    access = Access(settings, store, health, metrics.round)
    workers = (*workers, *access.workers)

    def apply(new: Settings) -> None:
        made = _batches(new, store, slurm, health, doorbell)
        access.adopt(new)
        adopt(new)
        batches.now = made
        journal.configure(new.log.level)

    reloader = Reloader(settings, apply)
    backend = str(getattr(slurm, "backend", "another"))
    readiness = Readiness(
        store, health, settings.slurm.poll_interval_most, backend, waits, loaded=reloader.loaded
    )
    drain = threading.Event()
    app = create_app(
        batches, access.identity, readiness, keyring=access.keyring,
        max_body_bytes=settings.server.max_body_bytes, draining=drain.is_set,
        succeeded=listener is not None, seen=metrics.request, spool_dir=settings.store.path.parent,
        requests_per_minute=access.requests_per_minute, refused=metrics.refused,
    )  # fmt: skip
    with Signals() as signals:
        web = Web(app, settings.server, waits, listener, app.shortcut.at_once)
        _serve_metrics(settings, metrics)
        watched = [each for each in workers if each.name in WATCHED]
        watchdog = Watchdog(notifier, web, watched, health, patience(settings))
        workers = (*workers, Worker("headship", head.tick, HEADSHIP_INTERVAL, health))
        for worker in workers:
            worker.start()
        web.start()
        store.on_commit(web.ring)
        watchdog.start()
        _log.info("ready", version=__version__, url=web.url, database=str(settings.store.path))
        notifier.ready(readiness.summary())
        _until_told(signals, workers, reloader, readiness, notifier, head)
        drain.set()  # first: who hears that it stops finds that connections are let go
        notifier.stopping()
        clean = _stop(web, workers)
        watchdog.stop()
    _log.info("stopped", clean=clean)
    return SUPERSEDED if head.lost else 0


def _until_told(
    signals: Signals,
    workers: Sequence[Worker],
    reloader: Reloader,
    readiness: Readiness,
    notifier: Notifier,
    head: Headship,
) -> None:
    """What the main thread does until SIGTERM or SIGINT, or until another head has taken over."""
    while not (came := signals.wait(1.0)) & ENDS and head.lost is None:
        if signal.SIGHUP in came:
            notifier.reloading()
            reloader.reload()
            notifier.ready(readiness.summary())
        _replace_dead(workers)
        notifier.status(readiness.summary())
    _log.info("stopping", hint="finishes the requests it has")


def _stop(web: Web, workers: Sequence[Worker]) -> bool:
    deadline = time.monotonic() + STOP_WITHIN
    web.stop(deadline)
    clean = [worker.stop(max(0.1, deadline - time.monotonic())) for worker in workers]
    return all(clean)


def _told(metrics: Metrics, health: Health) -> Seen:
    """Who is told of each call to Slurm."""

    def told(call: str, seconds: float, error: BaseException | None) -> None:
        metrics.call(call, seconds, error)
        health.beat(threading.current_thread().name)

    return told


def _serve_metrics(settings: Settings, metrics: Metrics) -> None:
    """Until the process ends: how it goes down is worth a look, too."""
    wanted = settings.metrics
    if wanted.port is not None:
        listener = listen("metrics", wanted.host, wanted.port)
        page = lambda: (CONTENT_TYPE, metrics.render())  # noqa: E731
        Beside(listener, "/metrics", page, settings.metrics_token).start()


def _replace_dead(workers: Sequence[Worker]) -> None:
    for worker in workers:
        if not worker.is_alive():
            _log.error("a worker has died and is replaced", worker=worker.name)
            worker.start()


def _batches(
    settings: Settings, store: Store, slurm: SlurmPort, health: Health, doorbell: Doorbell
) -> Batches:
    offer = Offer(
        tools=settings.tools,
        filesystems={each.id: each for each in settings.filesystems},
        max_jobs=settings.jobs.max_jobs_per_batch,
        max_args_bytes=settings.jobs.max_args_bytes,
        hosts=settings.webhooks.hosts,
    )
    rules = Rules(
        log_dir=settings.jobs.log_dir,
        work_dir=settings.jobs.work_dir,
        max_script_bytes=settings.slurm.max_script_bytes,
        array_size=settings.slurm.array_size,
        submit_wait=settings.server.submit_wait,
        precedent=settings.server.precedent,
        poll_late=late_after(settings.slurm.poll_interval_most),
        claims_dir=settings.jobs.claims_dir,
        quotas=settings.limits,
        persons=settings.slurm.runs_as_persons,
    )
    trials = Trials(
        slurm, health, rules.log_dir, settings.jobs.work_dir, max(1, settings.server.threads // 4)
    )
    return Batches(store, offer, rules, doorbell, health, trials=trials)


def _workers(
    settings: Settings,
    store: Store,
    slurm: SlurmPort,
    health: Health,
    doorbell: Doorbell,
    metrics: Metrics | None = None,
) -> tuple[tuple[Worker, ...], Callable[[Settings], None]]:
    """The workers, and what tells them of other settings."""
    claims = Claims(settings.jobs.claims_dir) if settings.jobs.claims_dir else None
    pace = Pace(settings.slurm.poll_interval, settings.slurm.poll_interval_most)
    bell = Doorbell()
    submitter = Submitter(
        store, slurm, _terms(settings, claims), doorbell, health,
        newest_at_start=store.arrays.newest(), look=bell.ring,
    )  # fmt: skip
    poller = Poller(
        store, Sources(store, slurm, health, doorbell, ACCOUNTING_WAIT), doorbell,
        submitter.end_stray,
        settings.jobs.log_dir, claims, settings.slurm.absence_grace, pace=pace,
    )  # fmt: skip
    sender = Sender(
        store, settings.webhooks.hosts, settings.webhooks.secret,
        seen=metrics.notification if metrics else _nobody,
    )  # fmt: skip
    seen = metrics.round if metrics else None
    workers = (
        Worker("submitter", submitter.tick, SUBMITTER_INTERVAL, health,
               wait=doorbell.wait, wake=doorbell.ring, seen=seen),
        Worker("poller", poller.tick, settings.slurm.poll_interval, health,
               wait=bell.wait, wake=bell.ring, pause=lambda: pace.floor, seen=seen),
        Worker("webhooks", sender.tick, WEBHOOKS_INTERVAL, health, seen=seen),
    )  # fmt: skip

    def adopt(new: Settings) -> None:
        submitter.adopt(_terms(new, claims))
        sender.adopt(new.webhooks.hosts, new.webhooks.secret)

    return workers, adopt


def _nobody(_outcome: str) -> None:
    """Nobody counts."""


def _terms(settings: Settings, claims: Claims | None) -> Terms:
    return Terms(
        tools=settings.tools,
        filesystems={each.id: each for each in settings.filesystems},
        log_dir=settings.jobs.log_dir,
        work_dir=settings.jobs.work_dir,
        claims=claims,
        absence_grace=settings.slurm.absence_grace,
        keep_days=settings.store.keep_days,
        settle=_settle(settings),
    )


def _settle(settings: Settings) -> float:
    """How long a submission of unknown fate may still turn up: one by sudo does not die with us."""
    by_sudo = settings.slurm.run_as == "sudo"
    return SETTLE + (settings.slurm.submit_timeout if by_sudo else 0.0)
