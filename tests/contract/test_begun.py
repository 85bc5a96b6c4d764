"""An sbatch that is started ahead, on a real Slurm: nothing is there before it gets its script."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from slurmbatch.errors import SlurmRefused
from slurmbatch.model import SlurmOptions
from slurmbatch.sandbox import Sandbox
from slurmbatch.slurm.commands import CommandSlurm
from tests.contract.sites import STAY, RealSite

pytestmark = pytest.mark.slurm


@pytest.fixture
def site(cluster: Sandbox) -> Iterator[RealSite]:
    made = RealSite(cluster)
    yield made
    made.close()


@pytest.fixture
def slurm(site: RealSite) -> CommandSlurm:
    assert isinstance(site.slurm, CommandSlurm)
    return site.slurm


@pytest.mark.parametrize("filling", [0, 150_000])
def test_it_submits_what_it_is_given(site: RealSite, slurm: CommandSlurm, filling: int) -> None:
    request = site.request(STAY)
    begun = slurm.begin(replace(request, script=""))
    assert begun is not None
    time.sleep(0.2)
    assert slurm.find(request.tag) == []
    script = f"{request.script}: {'x' * filling}\n"
    number = slurm.submit(replace(request, script=script, begun=begun)).slurm_job_id
    begun.drop()
    rows = slurm.find(request.tag)
    assert {row.array_job_id for row in rows} == {number}
    assert {row.reason for row in rows} == {"JobHeldUser"}
    slurm.release(number)
    site.until(lambda: site.states(request.tag) == {"RUNNING"})
    slurm.cancel(number)


def test_without_a_script_nothing_is_submitted(site: RealSite, slurm: CommandSlurm) -> None:
    request = site.request()
    begun = slurm.begin(request)
    assert begun is not None
    time.sleep(0.2)
    begun.drop()
    assert slurm.find(request.tag) == []


def test_a_refusal_is_told_as_ever(site: RealSite, slurm: CommandSlurm) -> None:
    request = site.request(options=SlurmOptions(partition="nowhere"))
    with pytest.raises(SlurmRefused, match="artition"):
        slurm.submit(replace(request, begun=slurm.begin(request)))
    assert slurm.find(request.tag) == []
