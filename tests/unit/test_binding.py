"""The way to Slurm through pyslurm, with a stand-in for pyslurm that does what it is told to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.errors import (
    SettingsError,
    SlurmAmbiguous,
    SlurmBusy,
    SlurmRefused,
    SlurmUnreachable,
)
from slurmbatch.model import SlurmOptions
from slurmbatch.slurm.binding import BindingSlurm
from slurmbatch.slurm.choose import choose
from tests.unit.slurm_site import FAKES, ME, Site, children, record, request, waiting


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.slurm.close()


class TestSubmitting:
    def test_all_that_sbatch_is_told_pyslurm_is_told(self, site: Site) -> None:
        site.tell(next_id=41)
        options = SlurmOptions(90, partition="main", account="phys", qos="low", gpus=2)
        wanted = request(options=options, features=("a", "b"), licences=("x:2", "y"), comment="c",
                         exclude="n1,n2")  # fmt: skip
        assert site.slurm.submit(wanted).slurm_job_id == 41
        (told,) = (each["description"] for each in site.calls("slurm.conf"))
        assert told == {
            "name": "sb-a-1", "script": "#!/bin/bash\ntrue\n", "array": "1-3", "priority": 0,
            "nodes": 1, "ntasks": 1, "cpus_per_task": 2, "memory_per_node": "64M",
            "standard_output": "/logs/%a.log", "log_files_open_mode": "append",
            "working_directory": "/home/sb", "comment": "c", "is_requeueable": False,
            "time_limit": "01:30:00", "partitions": ["main"], "account": "phys", "qos": "low",
            "gres_per_node": {"gpu": 2}, "constraints": "a&b", "licenses": ["x:2", "y"],
            "excluded_nodes": "n1,n2",
        }  # fmt: skip

    def test_nothing_of_our_own_environment_goes_along(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SLURM_PARTITION", "secret")
        monkeypatch.setenv("API_KEY", "secret")
        site.slurm.submit(request())
        (environment,) = (each["environment"] for each in site.calls("slurm.conf"))
        assert environment["SLURM_UMASK"] == "0077"
        # Where the commands are, first, for jobs as well.
        path = f"{site.slurm.commands.bin_dir}:/usr/local/bin:/usr/bin:/bin"
        assert environment["PATH"] == path
        assert not {"API_KEY", "SLURM_PARTITION", "PYTHONPATH"} & environment.keys()

    def test_a_script_of_a_megabyte(self, site: Site) -> None:
        script = "#!/bin/bash\n" + "# é\n" * 250_000
        site.slurm.submit(request(script=script))
        assert site.calls("slurm.conf")[0]["description"]["script"] == script

    @pytest.mark.parametrize(
        ("told", "error"),
        [
            ({"errno": 2000}, SlurmRefused),
            ({"errno": 2014}, SlurmRefused),
            ({"errno": 2050}, SlurmRefused),
            ({"errno": 2050, "stderr": "sbatch: error: AssocMaxSubmitJobLimit"}, SlurmBusy),
            ({"errno": 2050, "stderr": "error: QOSGrpSubmitJobsLimit"}, SlurmBusy),
            ({"errno": 11}, SlurmBusy),
            ({"errno": 2007}, SlurmBusy),
            ({"errno": 1800}, SlurmAmbiguous),
            ({"errno": 5004}, SlurmAmbiguous),
            ({"errno": 111}, SlurmAmbiguous),
            ({"errno": -1}, SlurmAmbiguous),
        ],
    )
    def test_what_an_error_means(
        self, site: Site, told: dict[str, Any], error: type[Exception]
    ) -> None:
        site.tell(submit=told)
        with pytest.raises(error) as caught:
            site.slurm.submit(request())
        assert not getattr(caught.value, "answered", False)
        assert told.get("stderr", "").split("error: ")[-1] in str(caught.value)

    @pytest.mark.parametrize("told", [{"errno": 2090}, {"raise": "an integer is required"}])
    def test_an_error_nobody_knows_is_not_asked_for_ever(
        self, site: Site, told: dict[str, Any]
    ) -> None:
        site.tell(submit=told)
        with pytest.raises(SlurmAmbiguous) as caught:
            site.slurm.submit(request())
        assert caught.value.answered

    def test_what_pyslurm_itself_refuses(self, site: Site) -> None:
        with pytest.raises(SlurmRefused, match="must start with"):
            site.slurm.submit(request(script="true"))
        assert site.calls("slurm.conf") == []

    @pytest.mark.parametrize("end", ["hang", "die"])
    def test_no_answer_in_the_middle_of_it(self, site: Site, end: str) -> None:
        site.slurm.find("warm-up")
        site.tell(submit={end: True})
        started = time.monotonic()
        with pytest.raises(SlurmAmbiguous) as caught:
            site.impatient().submit(request())
        assert time.monotonic() - started < 9  # the patient one waits for 10
        assert not caught.value.answered
        site.tell(next_id=5)
        assert site.slurm.submit(request()).slurm_job_id == 5
        assert len(set(site.helpers())) == 2

    @pytest.mark.parametrize("end", ["end", "hang", "fail"])
    def test_no_import_is_no_submission(self, site: Site, end: str) -> None:
        site.tell(**{"import": end})
        with pytest.raises(SlurmUnreachable):
            site.impatient().submit(request())
        site.tell()
        assert site.slurm.submit(request()).slurm_job_id == 1


class TestLooking:
    def test_records_become_reports(self, site: Site) -> None:
        site.tell(jobs=[
            waiting("3-5,8%2", priority=0, state_reason="JobHeldUser", submit_time=100),
            waiting("9", id=19),
            record(1, start_time=110, end_time=0, allocated_nodes="n1", requeue_count=2),
            record(2, state="TIMEOUT", exit_status=15),
        ])  # fmt: skip
        held, last, running, over = site.slurm.live()
        assert (held.tasks, held.is_range) == (((3, 5), (8, 8)), True)
        assert (held.priority, held.reason, held.submit_time) == (0, "JobHeldUser", 100.0)
        assert (last.tasks, last.is_range) == (((9, 9),), False)
        assert (running.tasks, running.state, running.start_time) == (((1, 1),), "RUNNING", 110.0)
        assert (running.end_time, running.node_list, running.restarts) == (None, "n1", 2)
        assert (over.state, over.exit_code, over.signal) == ("TIMEOUT", 0, 15)
        assert {row.array_job_id for row in (held, last, running, over)} == {7}
        assert {row.source for row in (held, last, running, over)} == {"live"}

    def test_what_is_not_ours_is_left_out(self, site: Site) -> None:
        odd = [0x66, 0xFF, 0x6F]
        site.tell(jobs=[record(1, user_id=ME + 1), record(2, name=odd), record(3, array_id=0),
                        waiting("1-...", id=10), record(5)])  # fmt: skip
        assert [row.tasks for row in site.slurm.live()] == [((5, 5),)]
        assert [row.tasks for row in site.slurm.find("sb-a-1")] == [((5, 5),)]

    def test_an_exit_code_that_pyslurm_spoils_is_squeues(self, site: Site) -> None:
        failed = record(1, state="FAILED", exit_status=137 << 8, end_time=50)
        site.tell(jobs=[failed])
        line = {"ArrayJobID": 7, "State": "FAILED", "EndTime": 50, "Name": "sb-a-1"}
        site.rows("squeue", {**line, "ArrayTaskID": 1, "exit_code": 137 << 8})
        assert [row.exit_code for row in site.slurm.live()] == [137]
        assert [row.exit_code for row in site.slurm.live()] == [137]
        assert len(site.calls("squeue")) == 1
        # It was requeued, and failed again; and another has been forgotten in between.
        site.tell(jobs=[{**failed, "end_time": 60}, record(2, state="FAILED", end_time=50)])
        site.rows("squeue", {**line, "EndTime": 60, "ArrayTaskID": 1, "exit_code": 2 << 8})
        assert [(row.tasks, row.exit_code) for row in site.slurm.live()] == [(((1, 1),), 2)]
        assert len(site.calls("squeue")) == 2

    def test_an_end_by_signal_needs_no_second_question(self, site: Site) -> None:
        site.tell(jobs=[record(1, state="FAILED", exit_status=9)])
        assert [row.signal for row in site.slurm.live()] == [9]
        assert site.calls("squeue") == []

    def test_without_an_answer_there_is_no_opinion(self, site: Site) -> None:
        site.tell(load={"errno": 1800, "stderr": "error: Unable to contact"})
        with pytest.raises(SlurmUnreachable, match="Unable to contact"):
            site.slurm.live()
        with pytest.raises(SlurmUnreachable):
            site.slurm.find("sb-a-1")

    def test_what_slurmctld_does_not_have_accounting_may(self, site: Site) -> None:
        site.rows("sacct", {"JobID": "7_1", "State": "COMPLETED", "JobName": "sb-a-1"},
                  {"JobID": "8_1", "State": "COMPLETED", "JobName": "sb-a-10"})  # fmt: skip
        assert site.slurm.find("sb-a-1") == []
        (row,) = site.slurm.find_ended("sb-a-1")
        assert (row.array_job_id, row.source) == (7, "accounting")
        assert [each.array_job_id for each in site.slurm.ended([7, 8])] == [7, 8]

    def test_an_empty_name_is_no_name(self, site: Site) -> None:
        with pytest.raises(ValueError, match="everybody"):
            site.slurm.find("")


ACTS = [("cancel", "kill", ["scancel", "7"]), ("release", "update", ["scontrol", "release", "7"])]


@pytest.mark.parametrize(("act", "call", "command"), ACTS)
class TestActing:
    def test_it_needs_no_command(self, site: Site, act: str, call: str, command: list[str]) -> None:
        getattr(site.slurm, act)(7)
        assert [(each["call"], each["id"]) for each in site.calls("slurm.conf")] == [(call, 7)]
        assert site.calls(command[0]) == []

    def test_asked_for_again_it_had_no_effect_and_a_command_does_it(
        self, site: Site, act: str, call: str, command: list[str]
    ) -> None:
        for slurm_job_id in (7, 8, 7):
            getattr(site.slurm, act)(slurm_job_id)
        assert len(site.calls("slurm.conf")) == 2
        assert site.calls(command[0]) == [command[1:]]

    def test_an_error_may_be_one_of_an_earlier_call(
        self, site: Site, act: str, call: str, command: list[str]
    ) -> None:
        site.tell(**{call: {"errno": 2002}})
        getattr(site.slurm, act)(7)
        assert site.calls(command[0]) == [command[1:]]

    @pytest.mark.parametrize("number", [1800, 5004, 1007])
    def test_without_an_answer_it_is_not_done(
        self, site: Site, act: str, call: str, command: list[str], number: int
    ) -> None:
        site.tell(**{call: {"errno": number}})
        with pytest.raises(SlurmUnreachable):
            getattr(site.slurm, act)(7)
        site.tell()
        getattr(site.slurm, act)(7)
        assert len(site.calls("slurm.conf")) == 2
        assert site.calls(command[0]) == []


class TestChoosing:
    def test_a_pyslurm_that_fits_is_taken_by_itself(self, site: Site) -> None:
        chosen = choose("auto", site.commands, FAKES)
        assert isinstance(chosen.slurm, BindingSlurm)
        assert (chosen.backend, chosen.reason) == (
            "pyslurm", "pyslurm 22.5.1 fits slurm-wlm 22.05.8")  # fmt: skip
        chosen.slurm.close()

    def test_not_where_the_settings_want_the_commands(self, site: Site) -> None:
        assert choose("commands", site.commands, FAKES).slurm is site.commands

    def test_none_is_installed(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr("slurmbatch.slurm.keeper.subprocess.Popen")  # no process is begun
        chosen = choose("auto", site.commands, [str(tmp_path)])
        assert (chosen.backend, chosen.reason) == ("commands", "pyslurm is not installed")
        assert site.calls("scontrol") == []

    @pytest.mark.parametrize(
        ("ours", "cluster"),
        [("25.11.2", "slurm 22.05.8"), ("22.5.1", "slurm 22.11.0"), ("0", "no version")],
    )
    def test_another_version(self, site: Site, ours: str, cluster: str) -> None:
        site.versions(ours, cluster)
        chosen = choose("auto", site.commands, FAKES)
        assert (chosen.backend, chosen.reason) == (
            "commands", f"pyslurm {ours} does not fit {cluster}")  # fmt: skip
        with pytest.raises(SettingsError, match=f"pyslurm {ours} does not fit"):
            choose("pyslurm", site.commands, FAKES)

    @pytest.mark.parametrize(
        ("told", "words"),
        [("end", "Could not establish a configuration source"), ("fail", "libslurm.so.43")],
    )
    def test_one_that_cannot_be_imported(self, site: Site, told: str, words: str) -> None:
        site.tell(**{"import": told})
        before = children()
        chosen = choose("auto", site.commands, FAKES)
        assert chosen.slurm is site.commands
        assert words in chosen.reason
        with pytest.raises(SettingsError, match=r"^slurm\.backend: found 'pyslurm', but "):
            choose("pyslurm", site.commands, FAKES)
        assert children() == before

    def test_a_cluster_that_does_not_tell_its_version(self, site: Site) -> None:
        (site.dir / "scontrol").write_text("#!/bin/sh\necho no >&2; exit 1\n")
        chosen = choose("auto", site.commands, FAKES)
        assert "version cannot be told: scontrol: no" in chosen.reason
        with pytest.raises(SettingsError):
            choose("pyslurm", site.commands, FAKES)
