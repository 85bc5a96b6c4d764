"""What the measurements conclude from what they have found."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slurmbatch.store import open_store
from tests.benchmarks.bars import at_least, at_most
from tests.benchmarks.large import write_body
from tests.benchmarks.load import Counted, Target
from tests.benchmarks.page import page
from tests.benchmarks.reads import Cells, Row, in_turns
from tests.benchmarks.soak import verdict
from tests.benchmarks.stored import add_batch, end_all

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("samples", "flat", "small"),
    [
        ([60.0] * 10 + [80.0] * 30, True, True),  # the warm-up counts for nothing
        ([80.0] * 20 + [83.0] * 20, True, True),
        ([60.0 + n for n in range(40)], False, True),
        ([140.0] * 20 + [160.0] + [140.0] * 19, True, False),
        ([70.0], True, True),
    ],
)
def test_a_soak_is_flat_or_not(samples: list[float], flat: bool, small: bool) -> None:
    found = verdict(samples)
    assert (found["is_flat"], found["is_small"]) == (flat, small)


def test_a_bar_is_met_missed_or_not_measured() -> None:
    assert [at_least("x", 2, value).met for value in (2.0, 1.9, None)] == [True, False, None]
    assert [at_most("x", 2, value).met for value in (2.0, 2.1, None)] == [True, False, None]


@pytest.mark.parametrize("n_jobs", [1, 999, 1000, 1001, 2500])
def test_the_bodies_that_are_posted_have_so_many_jobs(tmp_path: Path, n_jobs: int) -> None:
    size = write_body(tmp_path / "body", n_jobs)
    text = (tmp_path / "body").read_text()
    assert (len(text), len(json.loads(text)["variable_args"])) == (size, n_jobs)


@dataclass(frozen=True, slots=True)
class Noted(Target):
    """Of so many requests a second, in each turn the next ones; `turns` is common to all."""

    rates: tuple[int, ...] = ()
    turns: list[str] = field(default_factory=list)

    def run(self, clients: int, seconds: float, most: float | None = None) -> Counted:
        count = self.turns.count(self.name)
        self.turns.append(self.name)
        return Counted(self.rates[count], 1.0, 0, 0, None, None)


def test_targets_take_turns_side_by_side_and_each_other_time_the_other_way_round() -> None:
    turns: list[str] = []
    rates = {"one": (9, 10, 20, 30, 40), "two": (1, 20, 10, 45, 80), "three": (1,) * 5}
    rows = [Row(Noted(name, "", rates=each, turns=turns), 5) for name, each in rates.items()]
    cells = Cells()
    in_turns(cells, rows, (8,), 4, 1.0, {})
    forth, back = ["one", "two", "three"], ["three", "two", "one"]
    assert turns == [*forth, *forth, *back, *forth, *back]
    # The median of 2, 0.5, 1.5 and 2: rounds are compared one by one.
    assert cells.ratio(("two", 5), ("one", 5), 8) == 1.75


def test_a_daemon_has_nothing_to_ask_of_what_is_stored(tmp_path: Path) -> None:
    store = open_store(tmp_path / "state" / "jobs.sqlite", exclusive=True)
    try:
        batch_id = add_batch(store, 1500)
        end_all(store, batch_id)
        batch = store.batches.get("demo", batch_id)
        assert batch is not None
        assert batch.finished_at is not None
        assert not store.usage.is_due(math.inf)
    finally:
        store.close()


def test_the_page_is_what_the_last_run_found() -> None:
    found = json.loads((ROOT / "docs" / "bench" / "results.json").read_text())
    assert (ROOT / "docs" / "speed.md").read_text() == page(found)
