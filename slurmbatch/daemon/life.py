"""Signs of life: what systemd's watchdog is fed with, and when it is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from slurmbatch import journal
from slurmbatch.config import Settings
from slurmbatch.health import Health, late_after
from slurmbatch.notify import Notifier
from slurmbatch.web import Web
from slurmbatch.worker import Worker

_log = journal.get("daemon")
# A transaction of another thread's, and what is done between two calls to Slurm.
_BETWEEN_CALLS = 60.0


def patience(settings: Settings) -> float:
    """For how many seconds a worker may not be heard of: it is when a round begins and when a call
    to Slurm ends, each of which has a time limit."""
    slurm = settings.slurm
    longest = max(slurm.command_timeout, slurm.submit_timeout, late_after(slurm.poll_interval_most))
    return longest + _BETWEEN_CALLS


class Watchdog:
    """Feeds the watchdog for as long as the API *and* all the workers are alive.

    In a thread of its own, since it waits for others. An outage of Slurm's or a full disk is no
    reason to be started again: what counts is that the threads come round.
    """

    def __init__(
        self,
        notifier: Notifier,
        web: Web,
        workers: Sequence[Worker],
        health: Health,
        patience: float,
    ) -> None:
        self._notifier = notifier
        self._is_api_alive: Callable[[float], bool] = web.is_alive
        self._workers = workers
        self._health = health
        self._patience = patience
        self._stop = threading.Event()

    def start(self) -> None:
        """Does nothing where nobody watches."""
        seconds = self._notifier.watchdog_seconds
        if seconds is not None:
            threading.Thread(
                target=self._run, args=(seconds / 4,), name="watchdog", daemon=True
            ).start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self, every: float) -> None:
        told = ""
        while True:
            trouble = self.trouble(every)
            if not trouble:
                self._notifier.alive()
            elif trouble != told:
                _log.error("the watchdog is not fed", reason=trouble)
            told = trouble
            if self._stop.wait(every):
                return

    def trouble(self, timeout: float) -> str:
        """What is not alive; "" if all is."""
        if not self._is_api_alive(timeout):
            return f"the API has answered nothing for {timeout:g} s"
        silent = {each.name: self._health.silence(each.name) for each in self._workers}
        late = [f"{name} for {age:.0f} s" for name, age in silent.items() if age > self._patience]
        return f"nothing was heard of {', '.join(late)}" if late else ""
