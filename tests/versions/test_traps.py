"""What Slurm does unlike what one would think, on each version of it, and that it harms nothing.

The commands themselves are asked first, so that a version that has changed its mind is noticed;
what stands in docs/versions.md comes from here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from slurmbatch.model import KnownJob, Status
from slurmbatch.poller.digest import by_task
from slurmbatch.sandbox import Sandbox
from slurmbatch.slurm.quirks import version_tuple
from tests.contract.sites import EXIT_137, STAY, RealSite

pytestmark = pytest.mark.slurm
NAP = "sleep 2"


@pytest.fixture
def site(cluster: Sandbox) -> Iterator[RealSite]:
    made = RealSite(cluster)
    yield made
    made.close()


def lines(site: RealSite, *command: str) -> list[str]:
    return site.box.run(command).stdout.splitlines()


def by_id(site: RealSite, number: int) -> list[str]:
    return lines(site, "sacct", "-X", "-n", "-P", "--format=JobID,State", f"--jobs={number}")


def pending(site: RealSite, number: int) -> set[str]:
    return set(lines(site, "squeue", "-h", "-r", "-t", "PENDING", "-o", "%K", f"--jobs={number}"))


def until(site: RealSite, seen: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "it was never seen"
        site.step()


def test_accounting_hides_by_name_what_is_held_and_the_port_finds_it(site: RealSite) -> None:
    request = site.request()
    number = site.submit(request)
    until(site, lambda: by_id(site, number) == [f"{number}_[1-3]|PENDING"])
    named = ["sacct", "-X", "-n", "-S", "now-1hour", f"--name={request.tag}"]
    assert lines(site, *named) == []
    assert site.slurm.find_ended(request.tag) == []
    assert [row.array_job_id for row in site.slurm.find(request.tag)] == [number]
    site.slurm.cancel(number)


def test_a_range_in_accounting_is_out_of_date_and_a_tasks_own_row_is_believed(
    site: RealSite,
) -> None:
    tasks = 60  # one after the other, and each start is another chance to see it
    number = site.submit(site.request(NAP, n=tasks))
    site.box.run(["scontrol", "update", f"jobid={number}", "arraytaskthrottle=1"])
    site.slurm.release(number)
    wanted = {n: KnownJob(n, Status.RUNNABLE, "", "PENDING", None, 0) for n in range(1, tasks + 1)}
    seen: list[set[int]] = []

    def overlap() -> bool:
        rows = site.slurm.ended([number])
        ranges = {n for row in rows if row.is_range for a, b in row.tasks for n in range(a, b + 1)}
        own = {row.tasks[0][0]: row for row in rows if not row.is_range}
        seen.append(ranges & set(own))
        believed = by_task(rows, wanted)
        assert all(believed[task] is own[task] for task in seen[-1])
        return bool(seen[-1])

    try:
        until(site, overlap)
    finally:
        site.slurm.cancel(number)


def test_scancel_with_a_filter_may_take_the_whole_array(site: RealSite) -> None:
    """So the port never gives it one; by the id alone it takes the task alone."""
    request = site.request(n=5)
    number = site.submit(request)
    site.box.run(["scancel", f"{number}_1"])
    until(site, lambda: pending(site, number) == {"2", "3", "4", "5"})
    site.box.run(["scancel", f"--name={request.tag}", f"{number}_2"])
    mended = version_tuple(lines(site, "scontrol", "--version")[0]) >= (24, 5)
    left = {"3", "4", "5"} if mended else set()
    until(site, lambda: pending(site, number) == left)
    site.slurm.cancel(number)


def test_a_singleton_waits_for_its_namesake_and_not_for_itself(site: RealSite) -> None:
    """A whole array counts as one, so that this could keep a duplicate from running beside it."""
    name = site.request().tag
    command = ["sbatch", "--parsable", "--dependency=singleton", f"--job-name={name}",
               "--array=1-3", "--output=/dev/null", "--time=5", f"--wrap={STAY}"]  # fmt: skip
    first, second = (int(lines(site, *command)[0]) for _ in range(2))

    def states(number: int) -> set[str]:
        shown = lines(site, "squeue", "-h", "-r", "-t", "all", "-o", "%T %r", f"--jobs={number}")
        return set(shown)

    until(site, lambda: states(first) == {"RUNNING None"})
    assert states(second) == {"PENDING Dependency"}
    site.slurm.cancel(first)
    until(site, lambda: states(second) == {"RUNNING None"})
    site.slurm.cancel(second)


def test_the_exit_code_of_accounting_may_lack_a_bit_and_slurmctlds_does_not(site: RealSite) -> None:
    request = site.request(EXIT_137, n=1)
    number = site.run(request)
    site.until(lambda: site.states(request.tag) == {"FAILED"})
    (row,) = site.live(request.tag)
    assert (row.exit_code, row.signal) == (137, 0)
    until(site, lambda: [row.state for row in site.slurm.ended([number])] == ["FAILED"])
    (told,) = site.slurm.ended([number])
    right = version_tuple(lines(site, "scontrol", "--version")[0]) >= (26, 5)
    assert told.exit_code == (137 if right else 9)


def test_accounting_tells_how_often_a_job_was_started_where_it_can(site: RealSite) -> None:
    request = site.request(STAY, n=1, requeue=True)
    number = site.run(request)
    site.until(lambda: site.states(request.tag) == {"RUNNING"})
    site.box.run(["scontrol", "requeue", f"{number}_1"])
    site.until(lambda: [row.restarts for row in site.live(request.tag)] == [1])
    can = version_tuple(site.slurm.facts().version) >= (24, 11)
    expected = [1] if can else [None]
    until(site, lambda: [row.restarts for row in site.slurm.ended([number])] == expected)
    site.slurm.cancel(number)
