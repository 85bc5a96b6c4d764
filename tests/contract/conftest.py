"""The two Slurms of the contract: one that is well, and one that may be broken."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmbatch.sandbox import Sandbox
from tests.contract.sites import THROUGH_PYSLURM, BoundSite, FakeSite, RealSite, Site

REAL = {"commands": RealSite, "pyslurm": BoundSite}
WAYS = [
    "fake",
    pytest.param("commands", marks=pytest.mark.slurm),
    pytest.param("pyslurm", marks=THROUGH_PYSLURM),
]
MAX_JOBS = 120
# One that refuses whatever Slurm can be told to refuse, and gives up on a message soon.
STRICT = """\
MessageTimeout=2
EnforcePartLimits=ALL
JobSubmitPlugins=require_timelimit
PartitionName=closed Nodes=ALL MaxTime=60 State=UP AllowAccounts=theirs
PartitionName=groups Nodes=ALL MaxTime=60 State=UP AllowGroups=daemon
PartitionName=wide Nodes=ALL MaxTime=60 State=UP MinNodes=2
PartitionName=little Nodes=ALL MaxTime=60 State=UP MaxMemPerNode=100
PartitionName=reserved Nodes=ALL MaxTime=60 State=UP ReqResv=YES
PartitionName=drained Nodes=ALL MaxTime=60 State=DRAIN
"""


@pytest.fixture(params=WAYS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """One that is well, and shared; for tests that leave it so."""
    if request.param == "fake":
        yield FakeSite()
        return
    made = REAL[request.param](request.getfixturevalue("cluster"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def strict() -> Iterator[Sandbox]:
    """A small real Slurm with as many limits as can be, for tests that break it and mend it."""
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    box = Sandbox(directory, nodes=1, max_job_count=MAX_JOBS, extra_conf=STRICT)
    try:
        box.up()
        # Newer versions let everybody in where none of a partition's accounts exists.
        box.run(["sacctmgr", "-i", "add", "account", "theirs"])
        yield box
    finally:
        box.down()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(params=WAYS)
def fragile(request: pytest.FixtureRequest) -> Iterator[Site]:
    """One that may be broken; the test mends it."""
    if request.param == "fake":
        yield FakeSite(max_job_count=MAX_JOBS)
        return
    made = REAL[request.param](request.getfixturevalue("strict"))
    yield made
    made.close()
