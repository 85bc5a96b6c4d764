"""What is published of outages and of looks at Slurm."""

from __future__ import annotations

import pytest

from slurmbatch.health import OUTAGES_KEPT, Health
from slurmbatch.model import Outage


def test_an_outage_has_its_begin_its_end_and_what_was_said_last() -> None:
    health = Health()
    health.ok("slurmctld", 1.0)
    assert health.outages() == []
    health.failed("slurmctld", 10.0, "no answer")
    health.failed("slurmctld", 11.0, "refused")
    assert health.outages() == [Outage("slurmctld", 10.0, None, "refused")]
    health.ok("slurmctld", 15.0)
    health.ok("slurmctld", 16.0)
    assert health.outages() == [Outage("slurmctld", 10.0, 15.0, "refused")]


def test_the_newest_come_first_whether_they_go_on_or_not() -> None:
    health = Health()
    health.failed("slurmdbd", 1.0, "a")
    for begin in (2.0, 4.0):
        health.failed("slurmctld", begin, "b")
        health.ok("slurmctld", begin + 1)
    assert [(each.source, each.began) for each in health.outages()] == [
        ("slurmctld", 4.0), ("slurmctld", 2.0), ("slurmdbd", 1.0),
    ]  # fmt: skip


def test_so_many_are_kept_and_no_more() -> None:
    health = Health()
    for begin in range(OUTAGES_KEPT + 20):
        health.failed("slurmctld", float(begin), "x")
        health.ok("slurmctld", begin + 0.5)
    kept = health.outages()
    assert len(kept) == OUTAGES_KEPT
    assert (kept[0].began, kept[-1].began) == (OUTAGES_KEPT + 19, 20.0)


def test_looks_of_the_last_minute_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("slurmbatch.health.time.monotonic", lambda: now[0])
    health = Health()
    health.looked(3.0)
    now[0] += 50.0
    health.looked(0.5)
    assert health.last_looks() == [3.0, 0.5]
    now[0] += 20.0
    assert health.last_looks() == [0.5]
