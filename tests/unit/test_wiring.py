"""What the daemon puts together, where a mistake would only show as slowness."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmbatch.config import Settings, load
from slurmbatch.daemon import Readiness, _batches, _workers
from slurmbatch.doorbell import Doorbell
from slurmbatch.health import Health
from slurmbatch.poller import Poller
from slurmbatch.store import Store, open_store
from slurmbatch.submitter import Submitter
from slurmbatch.web import Waits
from slurmbatch.worker import Worker
from tests.fakes.slurm import FakeSlurm


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "tools.d").mkdir()
    file = tmp_path / "slurmbatch.toml"
    file.write_text(
        f'[jobs]\nlog_dir = "{tmp_path}"\n[slurm]\npoll_interval = 3\npoll_interval_most = 200\n'
    )
    return load(file)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "x.sqlite", exclusive=True)
    yield made
    made.close()


def parts(settings: Settings, store: Store) -> tuple[Submitter, Poller, Worker]:
    (submitting, polling, *_), _ = _workers(settings, store, FakeSlurm(), Health(), Doorbell())
    submitter = getattr(submitting._tick, "__self__", None)
    poller = getattr(polling._tick, "__self__", None)
    assert isinstance(submitter, Submitter)
    assert isinstance(poller, Poller)
    return submitter, poller, polling


def test_the_submitter_wakes_the_poller(settings: Settings, store: Store) -> None:
    submitter, _, polling = parts(settings, store)
    submitter.look()
    began = time.monotonic()
    polling._wait(120)
    assert time.monotonic() - began < 60


def test_the_poller_keeps_within_the_admins_bounds(settings: Settings, store: Store) -> None:
    _, poller, polling = parts(settings, store)
    assert (poller.pace.least, poller.pace.most) == (3, 200)
    poller.pace.after(soon=True, took=1.0, failed=False)
    assert polling._pause() == 10


def test_a_wait_within_these_bounds_is_not_late(settings: Settings, store: Store) -> None:
    health = Health()
    health.ok("poller", time.time() - 200)
    health.ok("slurmctld", time.time())
    most = settings.slurm.poll_interval_most
    assert Readiness(store, health, most, "commands", Waits()).readyz()[0]
    batches = _batches(settings, store, FakeSlurm(), health, Doorbell())
    assert batches._rules.poll_late > most
