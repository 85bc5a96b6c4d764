"""The doorbell, the worker and the health that they share."""

from __future__ import annotations

import threading
import time

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


class TestHealth:
    def test_an_outage_has_a_beginning_and_a_length(self) -> None:
        health = Health()
        assert health.ok("x", 1.0) is None
        assert health.failed("x", 2.0, "one")
        assert not health.failed("x", 3.0, "two")
        assert health.source("x").error == "two"
        assert health.ok("x", 5.0) == 3.0
        assert not health.is_down("x")
