"""Two questions a tick, and which."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmbatch.doorbell import Doorbell
from slurmbatch.health import Health
from slurmbatch.poller.sources import FACTS_EVERY, IDS_A_QUESTION, Accounting, Sources
from slurmbatch.store import open_store
from tests.fakes.slurm import FakeSlurm


class Asking:
    """The sources, and what they ask in each tick."""

    def __init__(self, directory: Path) -> None:
        self.slurm, self.health = FakeSlurm(), Health()
        self.store = open_store(directory / "x.sqlite", exclusive=True)
        self.sources = Sources(self.store, self.slurm, self.health, Doorbell())
        self.answers: list[Accounting | None] = []

    def tick(self, ids: set[int], *, seconds: float = 1.0, early: bool = False,
             late: bool = False) -> list[str]:  # fmt: skip
        """`early`, `late`: the boot time is wanted before, or after accounting is asked."""
        now, before = self.slurm.advance(seconds), len(self.slurm.log)
        self.sources.begin()
        self.sources.was_started_again(now)
        self.sources.live(now)
        if early:
            self.sources.boot_time(now)
        self.answers.append(self.sources.ended(ids, now))
        if late:
            self.sources.boot_time(now)
        return [call for call, _ in self.slurm.log[before:]]

    def asked_ids(self) -> list[frozenset[int]]:
        return [what for call, what in self.slurm.log
                if call == "ended" and isinstance(what, frozenset)]  # fmt: skip


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    made = Asking(tmp_path)
    yield made
    made.store.close()


def test_accounting_waits_for_a_tick_that_does_not_ask_for_facts(asking: Asking) -> None:
    assert asking.tick({1}) == ["facts", "live"]
    assert asking.tick({1}) == ["live", "ended"]
    assert asking.answers[0] is None


def test_neither_starves_when_both_are_always_wanted(asking: Asking) -> None:
    asked = [asking.tick({1}, seconds=FACTS_EVERY, early=True)[-2:] for _ in range(4)]
    assert asked == [["facts", "live"], ["live", "ended"]] * 2
    asking.tick(set(), seconds=2.0)
    asked = [asking.tick({1}, early=True) for _ in range(4)]
    assert asked == [["live", "facts"], ["live", "ended"]] * 2


def test_what_accounting_told_is_kept_for_the_boot_time_it_calls_for(asking: Asking) -> None:
    asking.tick(set())
    assert asking.tick({1}, late=True) == ["live", "ended"]
    assert asking.tick({1}, late=True) == ["live", "facts"]
    assert asking.answers[-1] is asking.answers[-2] is not None
    assert asking.tick({1}, late=True) == ["live", "ended"]
    assert asking.answers[-1] is not asking.answers[-2]


def test_a_look_that_took_two_questions_is_all_of_a_tick(asking: Asking) -> None:
    asking.tick(set())
    asking.slurm.looked_twice = True  # type: ignore[attr-defined]
    assert asking.tick({1}, early=True, late=True) == ["live"]
    asking.slurm.looked_twice = False  # type: ignore[attr-defined]
    assert asking.tick({1}) == ["live", "ended"]


def test_many_ids_take_turns(asking: Asking) -> None:
    asking.tick(set())
    ids = set(range(1, 2 * IDS_A_QUESTION + 11))
    for _ in range(4):
        asking.tick(ids)
    assert {len(each) for each in asking.asked_ids()} == {IDS_A_QUESTION}
    first, second, third, fourth = asking.asked_ids()
    assert first | second | third == ids
    assert not first & second
    assert {1, 2 * IDS_A_QUESTION + 10} < third
    assert not third & fourth
    answer = asking.answers[-1]
    assert answer is not None
    assert answer.asked == fourth


def test_looks_are_counted_answered_or_not(asking: Asking) -> None:
    asking.tick(set())
    asking.slurm.slurmctld_down = True
    asking.tick(set())
    assert asking.health.looks == 2
    assert len(asking.health.last_looks()) == 2
