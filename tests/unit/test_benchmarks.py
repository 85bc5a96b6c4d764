"""What the measurements conclude from what they have found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks.bars import at_least, at_most
from tests.benchmarks.large import write_body
from tests.benchmarks.page import page
from tests.benchmarks.soak import verdict

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


def test_the_page_is_what_the_last_run_found() -> None:
    found = json.loads((ROOT / "docs" / "bench" / "results.json").read_text())
    assert (ROOT / "docs" / "speed.md").read_text() == page(found)
