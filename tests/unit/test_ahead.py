"""What is started for a new batch while it is still made is what will be submitted for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.batches.ahead import Ahead
from slurmbatch.errors import KeyReused, SlurmBusy
from slurmbatch.model import NewBatch
from slurmbatch.slurm.commands import submit_arguments
from slurmbatch.slurm.port import SubmitRequest

from .world import ALICE, World


class Begun:
    """Stands for an sbatch that waits for its script."""

    def __init__(self, request: SubmitRequest) -> None:
        self.request, self.dropped = request, 0

    def drop(self) -> None:
        self.dropped += 1


class Site:
    """A world whose submitter comes round while the request waits, as its thread would."""

    def __init__(self, directory: Path, **wishes: Any) -> None:
        self.world = World(directory, **wishes)
        self.begun: list[Begun] = []
        self.submitted: list[SubmitRequest] = []
        batches: Any = self.world.batches
        batches._ahead = Ahead(self._begin, self.world.health)
        submit, ring = self.world.slurm.submit, self.world.doorbell.ring

        def watched(request: SubmitRequest) -> Any:
            self.submitted.append(request)
            return submit(request)

        def rung() -> None:
            ring()
            self.world.submitter.tick(self.world.slurm.now)

        self.world.slurm.submit = watched  # type: ignore[method-assign]
        self.world.doorbell.ring = rung  # type: ignore[method-assign]

    def _begin(self, request: SubmitRequest) -> Begun:
        self.begun.append(Begun(request))
        return self.begun[-1]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.world.store.close()


@pytest.mark.parametrize("claims", [False, True])
@pytest.mark.parametrize("wishes", [
    {}, {"n_jobs": 1}, {"tool": "again"}, {"max_parallel": 2}, {"max_parallel": 5},
    {"time_limit": 7}, {"filesystems": ("scratch",)}, {"cpu": 3, "memory": 500}, {"name": "n"},
])  # fmt: skip
def test_it_is_the_very_same_command(tmp_path: Path, claims: bool, wishes: dict[str, Any]) -> None:
    site = Site(tmp_path, claims=claims)
    site.world.post(**wishes)
    [begun], [request] = site.begun, site.submitted
    assert request.begun is begun
    assert submit_arguments(begun.request) == submit_arguments(request)
    assert begun.request.script != request.script
    assert begun.dropped == 1
    site.world.store.close()


def test_a_batch_of_several_arrays_gets_none(tmp_path: Path) -> None:
    site = Site(tmp_path, array_size=7)
    site.world.post(20)
    assert (site.begun, len(site.submitted)) == ([], 3)
    site.world.store.close()


def test_a_script_that_would_be_near_its_limit_gets_none(tmp_path: Path) -> None:
    site = Site(tmp_path, max_script_bytes=2048)
    site.world.post(20)
    assert site.begun == []
    assert len(site.submitted) == 1
    site.world.store.close()


def test_what_waits_gets_none(site: Site) -> None:
    first = site.world.post(4, canary=1)
    site.world.batches.cancel(ALICE, first)
    site.world.health.failed("slurmctld", 0.0, "away")
    site.world.post(4)
    assert site.begun == []


def test_what_is_refused_is_not_left_behind(site: Site) -> None:
    site.world.post(2, key="k")
    other = NewBatch("t", variable_args=({"n": 1},))
    with pytest.raises(KeyReused):
        site.world.batches.submit(ALICE, other, idempotency_key="k", body_hash=b"other")
    assert [each.dropped for each in site.begun] == [1, 1]
    assert len(site.submitted) == 1


def test_the_same_request_again_submits_nothing(site: Site) -> None:
    assert site.world.post(2, key="k") == site.world.post(2, key="k")
    assert [each.dropped for each in site.begun] == [1, 1]
    assert len(site.submitted) == 1


def test_a_second_try_begins_anew(site: Site) -> None:
    site.world.slurm.fail_next("submit", SlurmBusy("AssocMaxSubmitJobLimit"))
    site.world.post(2)
    for _ in range(100):
        if len(site.submitted) < 2:
            site.world.tick()
    first, second = site.submitted
    assert (first.begun, second.begun) == (site.begun[0], None)
    assert replace(first, begun=None) == second
