"""The watchdog is fed only while the API, the submitter and the poller are all alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from slurmbatch.daemon.life import Watchdog

WORKERS = ("submitter", "poller")
PATIENCE = 60.0


class Service:
    """Of which one part or another may hang."""

    def __init__(self) -> None:
        self.api, self.silent, self.fed = True, dict.fromkeys(WORKERS, 0.0), 0
        self.rounds: list[Callable[[], None]] = []
        self.done = threading.Event()
        health: Any = SimpleNamespace(silence=self.silent.__getitem__)
        web: Any = SimpleNamespace(is_alive=self._is_alive)
        notifier: Any = SimpleNamespace(watchdog_seconds=0.004, alive=self._fed)
        workers: Any = [SimpleNamespace(name=name) for name in WORKERS]
        self.watchdog = Watchdog(notifier, web, workers, health, PATIENCE)

    def _is_alive(self, _timeout: float) -> bool:
        if self.rounds:
            self.rounds.pop(0)()
        elif not self.done.is_set():
            self.done.set()
            self.watchdog.stop()
        return self.api

    def _fed(self) -> None:
        self.fed += 1

    def go_through(self, *rounds: Callable[[], None]) -> None:
        self.rounds = list(rounds)
        self.watchdog.start()
        assert self.done.wait(60)


def test_all_alive_is_no_trouble() -> None:
    service = Service()
    assert service.watchdog.trouble(1.0) == ""
    service.silent["poller"] = PATIENCE
    assert service.watchdog.trouble(1.0) == ""


def test_an_api_that_hangs_is_trouble_though_the_workers_get_on() -> None:
    service = Service()
    service.api = False
    assert service.watchdog.trouble(1.0) == "the API has answered nothing for 1 s"


@pytest.mark.parametrize("which", WORKERS)
def test_so_is_one_worker_that_hangs_though_the_api_answers(which: str) -> None:
    service = Service()
    service.silent[which] = PATIENCE + 1
    assert service.watchdog.trouble(1.0) == f"nothing was heard of {which} for 61 s"


def test_it_is_fed_again_once_what_hung_gets_on_and_each_trouble_is_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    service = Service()
    counts: list[int] = []

    def note() -> None:
        counts.append(service.fed)

    def hang() -> None:
        note()
        service.silent["poller"] = PATIENCE + 1

    def get_on() -> None:
        note()
        service.silent["poller"] = 0.0

    service.go_through(note, hang, note, note, get_on, note)
    # Fed after the first look, not in the three while it hung, and again after that.
    assert counts == [0, 1, 1, 1, 1, 2]
    assert capsys.readouterr().err.count("the watchdog is not fed") == 1
