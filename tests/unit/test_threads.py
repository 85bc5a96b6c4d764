"""The doorbell, the worker and the health that they share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from slurmbatch.doorbell import Doorbell
from slurmbatch.errors import SlurmUnreachable
from slurmbatch.health import Health
from slurmbatch.worker import Worker


class TestDoorbell:
    def test_a_word_reaches_who_waits_for_it(self) -> None:
        bell = Doorbell()
        with bell.expect("b1") as word:
            assert word is not None
            threading.Thread(target=bell.tell, args=("b1", "no")).start()
            assert word.wait(5) == "no"

    def test_words_on_others_do_not(self) -> None:
        bell = Doorbell()
        with bell.expect("b1") as word:
            assert word is not None
            assert not bell.tell("b2", "no")
            assert word.wait(0) == ""

    def test_only_so_many_wait(self) -> None:
        bell = Doorbell(most_waiting=1)
        with bell.expect("b1") as first, bell.expect("b2") as second:
            assert first is not None
            assert second is None
        with bell.expect("b3") as third:
            assert third is not None

    def test_rung_before_it_is_waited_for_it_still_wakes(self) -> None:
        bell = Doorbell()
        bell.ring()
        begun = time.monotonic()
        bell.wait(30)
        assert time.monotonic() - begun < 20
        bell.wait(0)


class TestWorker:
    def test_a_failing_tick_is_tried_again_and_told_once(self) -> None:
        health, ticks = Health(), []

        def tick(now: float) -> None:
            ticks.append(now)
            if len(ticks) < 3:
                raise SlurmUnreachable("gone")

        worker = Worker("w", tick, 0.0, health)
        worker.run_once(1.0)
        assert health.source("w").down_since == 1.0
        worker.run_once(2.0)
        assert health.source("w").down_since == 1.0
        worker.run_once(3.0)
        assert not health.is_down("w")
        assert health.source("w").ok_at == 3.0

    def test_a_bug_is_not_its_end(self) -> None:
        health = Health()

        def tick(now: float) -> None:
            raise ZeroDivisionError

        worker = Worker("w", tick, 0.0, health)
        worker.run_once(1.0)
        assert "ZeroDivisionError" in health.source("w").error

    def test_stopped_it_ends_after_its_tick(self) -> None:
        begun, go_on, ended = threading.Event(), threading.Event(), []

        def tick(now: float) -> None:
            begun.set()
            go_on.wait(10)
            ended.append(now)

        worker = Worker("w", tick, 60.0, Health())
        worker.start()
        assert begun.wait(10)
        assert not worker.stop(0.05)
        go_on.set()
        assert worker.stop(10)
        assert len(ended) == 1


class Bell:
    """Notes how long is waited for it, and ends the worker after so many times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.waits: list[float] = []
        self.end: Callable[[], object] = lambda: None

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        if len(self.waits) >= self.times:
            self.end()


class TestWaiting:
    def waits(self, tick: Callable[[float], object], pause: float = 0.0) -> list[float]:
        bell = Bell(3)
        worker = Worker("w", tick, 7.0, Health(), wait=bell.wait, pause=lambda: pause)
        bell.end = worker._stop.set
        worker._run()
        return bell.waits

    def test_a_tick_may_say_how_long(self) -> None:
        wanted = iter([1.0, 2, 0.5])
        assert self.waits(lambda _: next(wanted)) == [1.0, 2, 0.5]

    def test_else_it_is_the_interval(self) -> None:
        assert self.waits(lambda _: None) == [7.0] * 3

    def test_after_a_failure_too(self) -> None:
        def tick(now: float) -> float:
            raise SlurmUnreachable("gone")

        assert self.waits(tick) == [7.0] * 3

    def test_a_part_of_it_is_waited_whatever_rings(self) -> None:
        assert self.waits(lambda _: 2.0, pause=0.25) == [1.75] * 3

    def test_no_more_than_was_wanted(self) -> None:
        ticks: list[float] = []

        def tick(now: float) -> float:
            ticks.append(now)
            if len(ticks) == 3:
                worker._stop.set()
            return 0.0

        worker = Worker("w", tick, 7.0, Health(), pause=lambda: 60.0)
        worker._run()
        assert len(ticks) == 3

    def test_the_end_shortens_it(self) -> None:
        began = threading.Event()
        worker = Worker("w", lambda _: began.set(), 600.0, Health(), pause=lambda: 600.0)
        worker.start()
        assert began.wait(10)
        assert worker.stop(10)


class TestHealth:
    def test_an_outage_has_a_beginning_and_a_length(self) -> None:
        health = Health()
        assert health.ok("x", 1.0) is None
        assert health.failed("x", 2.0, "one")
        assert not health.failed("x", 3.0, "two")
        assert health.source("x").error == "two"
        assert health.ok("x", 5.0) == 3.0
        assert not health.is_down("x")
