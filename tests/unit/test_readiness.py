"""What /readyz makes of the health that the threads publish."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from slurmbatch.daemon import Readiness
from slurmbatch.errors import StoreUnavailable
from slurmbatch.health import Health
from slurmbatch.store import Store
from slurmbatch.web import Waits

from .world import World

NOW = 1_800_000_000.0


class Database:
    """A store of which only the check is asked for; it counts."""

    def __init__(self) -> None:
        self.checks, self.broken = 0, False

    def check(self) -> None:
        self.checks += 1
        if self.broken:
            raise StoreUnavailable("gone")


class Site:
    def __init__(self) -> None:
        self.now, self.database, self.health = NOW, Database(), Health()
        store = cast(Store, self.database)
        self.readiness = Readiness(store, self.health, 2.0, "commands", Waits(), lambda: self.now)

    def ask(self) -> tuple[bool, dict[str, Any]]:
        return self.readiness.readyz()


@pytest.fixture
def site() -> Site:
    made = Site()
    for name in ("poller", "slurmctld"):
        made.health.ok(name, NOW)
    return made


def test_all_is_well(site: Site) -> None:
    ready, report = site.ask()
    assert ready
    assert report["poll_age_seconds"] == 0.0


def test_before_the_first_look() -> None:
    site = Site()
    site.health.ok("poller", NOW)
    ready, report = site.ask()
    assert not ready
    assert report["poll_age_seconds"] is None


def test_through_an_outage_the_last_look_grows_older(site: Site) -> None:
    site.now += 100
    site.health.ok("poller", site.now)
    site.health.failed("slurmctld", NOW + 2, "no answer")
    ready, report = site.ask()
    assert not ready
    assert report["poll_age_seconds"] == 100.0


def test_a_poller_that_hangs(site: Site) -> None:
    site.now += 37
    ready, _ = site.ask()
    assert not ready


def test_with_nothing_to_look_for_it_is_ready_all_the_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    readiness = Readiness(
        world.store, world.health, 2.0, "commands", Waits(), lambda: world.slurm.now
    )
    ages = []
    for _ in range(60):
        world.tick(2)
        # As the thread that calls the poller does.
        world.health.ok("poller", world.slurm.now)
        ready, report = readiness.readyz()
        assert ready
        ages.append(report["poll_age_seconds"])
    world.store.close()
    assert 20 < max(ages) <= 30


def test_the_database_is_tried_once_a_second(site: Site) -> None:
    for _ in range(50):
        site.ask()
    assert site.database.checks == 1
    site.database.broken = True
    assert site.ask()[0]
    site.now += 1
    ready, report = site.ask()
    assert not ready
    assert report["database"] == {"ok": False, "error": "gone"}
    assert site.database.checks == 2


def test_a_clock_that_is_set_back_keeps_no_old_word(site: Site) -> None:
    site.ask()
    site.now -= 3600
    site.ask()
    assert site.database.checks == 2
