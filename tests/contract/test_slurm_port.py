"""What holds of Slurm behind the port, on the fake as on the real one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurmbatch.errors import (
    AccountingUnreachable,
    SlurmAmbiguous,
    SlurmBusy,
    SlurmRefused,
    SlurmUnreachable,
)
from slurmbatch.model import JobReport
from slurmbatch.sandbox import Sandbox
from slurmbatch.script import quote
from slurmbatch.slurm.parse import LIVE_FIELDS
from tests.contract.conftest import MAX_JOBS
from tests.contract.sites import DIE, EXIT_3, EXIT_137, STAY, SUCCEED, WORK, RealSite, Site


def numbers(rows: list[JobReport]) -> list[int]:
    return sorted(n for row in rows for first, last in row.tasks for n in range(first, last + 1))


def test_facts(site: Site) -> None:
    facts = site.slurm.facts()
    assert facts.max_array_size == 1001
    assert facts.max_job_count >= 10_000
    assert facts.min_job_age >= 60
    assert facts.version and facts.cluster and facts.boot_time
    assert site.slurm.facts().boot_time == facts.boot_time


class TestSubmitting:
    def test_it_is_held_and_nothing_of_it_runs(self, site: Site) -> None:
        held, other = site.request(), site.request()
        before = site.now()
        number = site.submit(held)
        site.run(other)
        # What came later has run to its end, and this has not begun.
        site.until(lambda: site.states(other.tag) == {"COMPLETED"})
        (row,) = site.live(held.tag)
        assert (row.array_job_id, row.tasks, row.state) == (number, ((1, 3),), "PENDING")
        assert (row.reason, row.priority, row.uid) == ("JobHeldUser", 0, os.getuid())
        assert row.submit_time is not None and abs(row.submit_time - before) < 60
        site.slurm.cancel(number)

    def test_ids_are_new_each_time(self, site: Site) -> None:
        first, second = site.submit(site.request(n=1)), site.submit(site.request(n=1))
        assert first < second
        site.slurm.cancel(first)
        site.slurm.cancel(second)

    def test_an_array_that_is_too_large_is_refused(self, site: Site) -> None:
        request = site.request(n=site.slurm.facts().max_array_size)
        with pytest.raises(SlurmRefused, match="Invalid job array specification"):
            site.submit(request)
        assert site.slurm.find(request.tag) == []

    def test_the_largest_array_is_accepted(self, site: Site) -> None:
        request = site.request(n=1000)
        number = site.submit(request)
        assert numbers(site.live(request.tag)) == list(range(1, 1001))
        site.slurm.cancel(number)


class TestTrying:
    """What Slurm says of an array that it is not given."""

    def test_it_says_when_it_would_start_and_has_nothing_of_it(self, site: Site) -> None:
        request, before = site.request(), site.now()
        estimate = site.slurm.estimate(request)
        assert estimate.start is not None and estimate.start > before - 10
        assert estimate.nodes
        assert site.slurm.find(request.tag) == []

    def test_what_it_would_refuse(self, site: Site) -> None:
        with pytest.raises(SlurmRefused, match="Invalid job array specification") as raised:
            site.slurm.estimate(site.request(n=site.slurm.facts().max_array_size))
        assert not raised.value.detail.startswith("allocation failure")

    def test_slurmctld_hangs(self, fragile: Site) -> None:
        fragile.hang_slurmctld()
        try:
            with pytest.raises(SlurmUnreachable):
                fragile.impatient().estimate(fragile.request())
        finally:
            fragile.go_on()


class TestThrottling:
    def counts(self, site: Site, tag: str) -> dict[str, int]:
        rows = site.live(tag)
        return {state: len(numbers([row for row in rows if row.state == state]))
                for state in {row.state for row in rows}}  # fmt: skip

    def test_so_many_at_once_and_then_more(self, site: Site) -> None:
        request = site.request(STAY, n=4, throttle=1)
        number = site.run(request)
        site.until(lambda: self.counts(site, request.tag) == {"RUNNING": 1, "PENDING": 3})
        other = site.request()
        site.run(other)
        # What came later has run to its end: there is room, and still no more of it run.
        site.until(lambda: site.states(other.tag) == {"COMPLETED"})
        assert self.counts(site, request.tag) == {"RUNNING": 1, "PENDING": 3}
        site.slurm.throttle(number, 3)
        site.until(lambda: self.counts(site, request.tag) == {"RUNNING": 3, "PENDING": 1})
        site.slurm.cancel(number)

    def test_one_that_is_held_stays_held(self, site: Site) -> None:
        request = site.request(n=4, throttle=1)
        number = site.submit(request)
        site.slurm.throttle(number, 2)
        (row,) = site.live(request.tag)
        assert (row.state, row.reason, row.priority) == ("PENDING", "JobHeldUser", 0)
        assert row.tasks == ((1, 4),)
        site.slurm.cancel(number)

    def test_as_many_as_there_are_is_no_throttle(self, site: Site) -> None:
        assert site.request(n=4, throttle=4).array == "1-4"
        assert site.request(n=4, throttle=3).array == "1-4%3"

    def test_one_that_is_not_there(self, site: Site) -> None:
        site.slurm.throttle(4_000_000, 2)


class TestFinding:
    def test_by_tag_while_it_is_held_and_once_it_has_ended(self, site: Site) -> None:
        request = site.request()
        assert site.slurm.find(request.tag) == []
        number = site.submit(request)
        assert {row.array_job_id for row in site.slurm.find(request.tag)} == {number}
        site.slurm.release(number)
        site.until(lambda: site.states(request.tag) == {"COMPLETED"})
        found = site.slurm.find(request.tag)
        assert {row.array_job_id for row in found} == {number}
        assert numbers(found) == [1, 2, 3]

    def test_by_tag_in_accounting(self, site: Site) -> None:
        request = site.request(n=1)
        number = site.run(request)
        site.until(lambda: {row.state for row in site.slurm.find_ended(request.tag)}
                   == {"COMPLETED"})  # fmt: skip
        (row,) = site.slurm.find_ended(request.tag)
        assert (row.array_job_id, row.source, row.tag) == (number, "accounting", request.tag)
        assert site.slurm.find_ended(request.tag[:-1]) == []

    def test_every_submission_of_a_tag(self, site: Site) -> None:
        request = site.request()
        submitted = {site.submit(request), site.submit(request)}
        assert {row.array_job_id for row in site.slurm.find(request.tag)} == submitted
        for number in submitted:
            site.slurm.cancel(number)

    def test_a_part_of_a_tag_is_another(self, site: Site) -> None:
        request = site.request()
        number = site.submit(request)
        assert site.slurm.find(request.tag[:-1]) == []
        assert site.slurm.find(request.tag + "0") == []
        site.slurm.cancel(number)

    def test_no_tag_is_refused(self, site: Site) -> None:
        with pytest.raises(ValueError, match="everybody"):
            site.slurm.find("")

    def test_a_job_of_the_same_name_of_somebody_else_is_not_ours(self, site: Site) -> None:
        if isinstance(site, RealSite) and os.getuid() != 0:
            pytest.skip("only root can submit as somebody else")
        request = site.request()
        site.by_stranger(request)
        assert site.slurm.find(request.tag) == []
        assert site.live(request.tag) == []
        number = site.submit(request)
        assert {row.array_job_id for row in site.slurm.find(request.tag)} == {number}
        site.slurm.cancel(number)


class TestReleasing:
    def test_it_runs_then_and_a_second_release_is_harmless(self, site: Site) -> None:
        request = site.request(STAY, n=2)
        number = site.run(request)
        site.until(lambda: site.states(request.tag) == {"RUNNING"})
        site.slurm.release(number)
        assert site.states(request.tag) == {"RUNNING"}
        site.slurm.cancel(number)

    def test_of_one_that_has_ended_or_never_was(self, site: Site) -> None:
        request = site.request(n=1)
        number = site.run(request)
        site.until(lambda: site.states(request.tag) == {"COMPLETED"})
        site.slurm.release(number)
        site.slurm.release(99_999_999)
        assert site.states(request.tag) == {"COMPLETED"}


class TestCancelling:
    @pytest.mark.parametrize("released", [False, True])
    def test_all_of_an_array(self, site: Site, released: bool) -> None:
        request = site.request(STAY)
        number = site.submit(request)
        if released:
            site.slurm.release(number)
            site.until(lambda: site.states(request.tag) == {"RUNNING"})
        site.slurm.cancel(number)
        site.until(lambda: site.states(request.tag) == {"CANCELLED"})
        assert numbers(site.live(request.tag)) == [1, 2, 3]
        site.until(lambda: {r.state for r in site.slurm.ended([number])} == {"CANCELLED"})
        rows = site.slurm.ended([number])
        site.until(lambda: numbers(site.slurm.ended([number])) == [1, 2, 3])
        assert {row.cancelled_by for row in rows} == {os.getuid()}

    def test_of_one_that_has_ended_or_never_was(self, site: Site) -> None:
        request = site.request(n=1)
        number = site.run(request)
        site.until(lambda: site.states(request.tag) == {"COMPLETED"})
        site.slurm.cancel(number)
        site.slurm.cancel(99_999_999)
        assert site.states(request.tag) == {"COMPLETED"}


class TestLooking:
    def test_a_thousand_tasks_with_gaps(self, site: Site) -> None:
        request = site.request(n=1000)
        number = site.submit(request)
        dropped = set(range(2, 1000, 2))
        site.drop(number, dropped)
        left = sorted(set(range(1, 1001)) - dropped)
        site.until(lambda: numbers([r for r in site.live(request.tag) if r.state == "PENDING"])
                   == left)  # fmt: skip
        site.slurm.cancel(number)

    def test_a_single_task_that_was_cancelled_while_pending_is_in_no_record(
        self, site: Site
    ) -> None:
        request = site.request()
        number = site.submit(request)
        site.drop(number, [2])
        site.slurm.release(number)
        site.until(lambda: numbers(_with(site.slurm.ended([number]), "COMPLETED")) == [1, 3])
        assert 2 not in numbers(_with(site.slurm.ended([number]), "CANCELLED"))

    @pytest.mark.parametrize(
        ("does", "state", "code", "signal"),
        [
            (SUCCEED, "COMPLETED", 0, 0),
            (EXIT_3, "FAILED", 3, 0),
            (EXIT_137, "FAILED", 137, 0),
            (DIE, "FAILED", 0, 9),
        ],
    )
    def test_ends(self, site: Site, does: str, state: str, code: int, signal: int) -> None:
        request = site.request(does, n=2)
        number = site.run(request)
        site.until(lambda: site.states(request.tag) == {state})
        for row in site.live(request.tag):
            assert (row.state, row.exit_code, row.signal) == (state, code, signal)
            assert row.start_time and row.end_time and row.node_list and row.restarts == 0
        site.until(lambda: numbers(_with(site.slurm.ended([number]), state)) == [1, 2])
        for row in _with(site.slurm.ended([number]), state):
            # 22.05 and 24.11 lose bit 7 of the exit code.
            assert row.exit_code in (code, code & 0x7F)
            assert (row.signal, row.tag) == (signal, request.tag)

    def test_no_ids_are_no_rows(self, site: Site) -> None:
        assert site.slurm.ended([]) == []
        assert site.slurm.ended([99_999_999]) == []

    def test_ids_are_asked_together(self, site: Site) -> None:
        made = [site.request(n=1), site.request(n=1)]
        ids = [site.run(request) for request in made]
        site.until(lambda: len(_with(site.slurm.ended(ids), "COMPLETED")) == 2)
        assert {row.tag for row in site.slurm.ended(ids)} == {request.tag for request in made}


def _with(rows: list[JobReport], state: str) -> list[JobReport]:
    return [row for row in rows if row.state == state]


class TestUse:
    def test_of_tasks_that_have_ended(self, site: Site) -> None:
        request = site.request(WORK, n=3, memory=100)
        number = site.run(request)
        wanted = {(number, 1), (number, 3)}
        site.until(lambda: [each.complete for each in site.slurm.usage(wanted)] == [True, True])
        found = site.slurm.usage(wanted)
        assert {(each.array_job_id, each.task) for each in found} == wanted
        assert {each.tag for each in found} == {request.tag}
        for each in found:
            assert each.max_rss is not None and 1 < each.max_rss < 100
            assert each.cpu_time is not None and each.cpu_time > 0.1

    def test_of_one_that_runs_is_not_complete(self, site: Site) -> None:
        request = site.request(STAY, n=1)
        number = site.run(request)
        site.until(lambda: site.states(request.tag) == {"RUNNING"})
        assert not any(each.complete for each in site.slurm.usage({(number, 1)}))
        site.slurm.cancel(number)

    def test_no_tasks_are_no_question(self, site: Site) -> None:
        assert site.slurm.usage([]) == []


class TestTrouble:
    """On a Slurm of their own, mended at the end of each test."""

    def test_too_many_jobs(self, fragile: Site) -> None:
        request, begun = fragile.request(n=MAX_JOBS + 30), fragile.now()
        with pytest.raises(SlurmBusy):
            fragile.submit(request)
        # It is not tried again for as long as a submission may take.
        assert fragile.now() - begun < 25
        assert fragile.slurm.find(request.tag) == []

    def test_slurmctld_hangs(self, fragile: Site) -> None:
        request = fragile.request()
        fragile.hang_slurmctld()
        try:
            with pytest.raises(SlurmAmbiguous) as raised:
                fragile.submit(request)
            assert not raised.value.answered
        finally:
            fragile.go_on()
        fragile.until(lambda: len(fragile.slurm.find(request.tag)) == 1)
        (row,) = fragile.slurm.find(request.tag)
        assert (row.reason, row.tasks) == ("JobHeldUser", ((1, 3),))
        fragile.slurm.cancel(row.array_job_id)

    def test_slurmctld_is_down(self, fragile: Site) -> None:
        request = fragile.request(n=1)
        number = fragile.run(request)
        fragile.until(lambda: len(_with(fragile.slurm.ended([number]), "COMPLETED")) == 1)
        fragile.stop_slurmctld()
        try:
            slurm = fragile.impatient()
            for ask in (slurm.live, slurm.facts, lambda: slurm.find(request.tag),
                        lambda: slurm.release(number), lambda: slurm.cancel(number),
                        lambda: slurm.throttle(number, 2),
                        lambda: slurm.estimate(request)):  # fmt: skip
                with pytest.raises(SlurmUnreachable):
                    ask()
            with pytest.raises(SlurmAmbiguous):
                slurm.submit(request)
            (row,) = fragile.slurm.ended([number])
            assert row.state == "COMPLETED"
        finally:
            fragile.start_slurmctld()
        assert fragile.slurm.facts().max_array_size == 1001

    def test_slurmdbd_is_down(self, fragile: Site) -> None:
        fragile.stop_slurmdbd()
        try:
            with pytest.raises(SlurmUnreachable):
                fragile.slurm.ended([1])
            request = fragile.request(n=1)
            number = fragile.run(request)
            fragile.until(lambda: fragile.states(request.tag) == {"COMPLETED"})
            assert fragile.slurm.find("sb-never") == []
            with pytest.raises(AccountingUnreachable):
                fragile.slurm.find_ended("sb-never")
        finally:
            fragile.start_slurmdbd()
        fragile.until(lambda: len(_with(fragile.slurm.ended([number]), "COMPLETED")) == 1)


@pytest.mark.slurm
class TestTextOfOthers:
    """Names, arguments and scripts that try to be something else."""

    def test_a_name_forges_no_row(self, cluster: Sandbox) -> None:
        site = RealSite(cluster)
        request = site.request(n=2)
        number = site.submit(request)
        (row,) = site.live(request.tag)
        fields = ",".join(f"{name}:|x|" for name in LIVE_FIELDS)
        told = cluster.run(["squeue", "-h", "--me", "-O", fields]).stdout
        copied = next(line for line in told.splitlines() if request.tag in line)
        forged = copied.replace("PENDING", "COMPLETED").replace("|x|", "|")
        names = [f"x\n{forged}", f"{request.tag}\n{forged}", f"a|{forged}", "x\n" + "|" * 40]
        others = [
            cluster.run(["sbatch", "--parsable", "--hold", f"--job-name={name}", "--array=1-2",
                         "--wrap=true", "--time=5"]).stdout.strip() for name in names
        ]  # fmt: skip
        assert {r.state for r in site.slurm.live() if r.array_job_id == number} == {"PENDING"}
        ours = [r for r in site.live(request.tag) if r.array_job_id == number]
        assert ours == [row]
        assert [r.array_job_id for r in site.slurm.find(request.tag)] == [number]
        for other in (*others, str(number)):
            cluster.run(["scancel", other])

    @pytest.mark.parametrize("text", ["\r\n", "a\rb", "\n#SBATCH --job-name=evil\n", "$(id)\n'"])
    def test_arguments_are_taken_as_they_are(self, cluster: Sandbox, text: str) -> None:
        site = RealSite(cluster)
        check = f"printf %s {quote(text)} | od -An -tx1"
        request = site.request(check, n=1)
        site.run(request)
        site.until(lambda: site.states(request.tag) == {"COMPLETED"})
        log = str(request.output).replace("%a", "1")
        printed = bytes.fromhex(Path(log).read_text())
        assert printed == text.encode()
