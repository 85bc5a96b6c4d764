"""The binding with the real pyslurm, beyond the contract: what it leaks, and what it does when it
hangs. Only where there is one: `.ci/pyslurm` builds it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from slurmbatch.errors import SlurmAmbiguous, SlurmUnreachable
from slurmbatch.sandbox import Sandbox
from slurmbatch.slurm.binding import BindingSlurm
from tests.contract.sites import REAL_PYSLURM, BoundSite

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(not REAL_PYSLURM, reason="pyslurm is not installed; .ci/pyslurm builds it"),
]
TICKS = 10_000
MB = 1 << 20


@pytest.fixture
def site(cluster: Sandbox) -> Iterator[BoundSite]:
    made = BoundSite(cluster)
    yield made
    made.close()


def helpers(name: str) -> list[int]:
    """The processes with pyslurm that are ours; there is one for each keeper that was asked."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().split(b"\0")
            if b"slurmbatch.slurm.helper" in command and command[-2].decode() == str(os.getpid()):
                found.append(int(process.name))
    assert found, name
    return found


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_ten_thousand_looks_leak_nothing(site: BoundSite) -> None:
    """Neither here, nor in the helpers, which are replaced before it amounts to anything."""
    request = site.request(n=50)
    number = site.submit(request)
    ours: list[int] = []
    most: dict[int, int] = {}
    for tick in range(TICKS):
        assert [row.array_job_id for row in site.slurm.live() if row.tag == request.tag]
        if tick % 100 == 50:
            ours.append(resident(os.getpid()))
            for pid in helpers("looking"):
                most[pid] = max(most.get(pid, 0), resident(pid))
    site.slurm.cancel(number)
    # That of the submission, and those of the looks.
    assert len(most) >= TICKS // 1000
    early, late = max(list(most.values())[:4]), max(list(most.values())[-4:])
    print(f"resident: here {ours[0] / MB:.1f} to {ours[-1] / MB:.1f} MB, "
          f"helpers at most {early / MB:.1f}, later {late / MB:.1f} MB")  # fmt: skip
    assert late < early + 4 * MB
    assert ours[-1] < ours[len(ours) // 5] + 4 * MB


def impatient(site: BoundSite) -> BindingSlurm:
    made = site.impatient()
    assert isinstance(made, BindingSlurm)
    return replace(made, commands=replace(made.commands, timeout=2.0, submit_timeout=2.0))


def test_one_that_hangs_is_replaced_by_one_that_answers(site: BoundSite) -> None:
    request = site.request()
    number = site.submit(request)
    assert site.slurm.live()
    stopped = helpers("both")
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    hurried = impatient(site)
    started = time.monotonic()
    with pytest.raises(SlurmUnreachable, match="no answer in time"):
        hurried.live()
    with pytest.raises(SlurmAmbiguous, match="no answer in time"):
        hurried.submit(site.request())
    assert time.monotonic() - started < 30
    assert number in {row.array_job_id for row in site.slurm.live()}
    assert [row.state for row in site.slurm.find(request.tag)] == ["PENDING"]
    assert not set(stopped) & set(helpers("both"))
    site.slurm.cancel(number)
    site.until(lambda: site.states(request.tag) <= {"CANCELLED"})


def test_held_released_and_run(site: BoundSite) -> None:
    request = site.request(n=4)
    number = site.submit(request)
    (row,) = site.live(request.tag)
    assert (row.state, row.reason, row.tasks) == ("PENDING", "JobHeldUser", ((1, 4),))
    site.slurm.release(number)
    site.until(lambda: site.states(request.tag) == {"COMPLETED"})
