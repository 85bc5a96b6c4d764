"""The directory of a sandbox, and what is refused before anything is started."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from slurmbatch.cli.sandbox import sandbox as command
from slurmbatch.sandbox import MissingPrograms, Sandbox, SandboxError, build, conf
from slurmbatch.sandbox.paths import Paths
from slurmbatch.sandbox.plan import Plan, Shape
from slurmbatch.sandbox.programs import find_programs
from slurmbatch.sandbox.quirks import extra_files, parse_version


def test_a_path_too_long_for_sockets_is_refused_and_says_by_how_much(tmp_path: Path) -> None:
    longest = "/" + "d" * 68
    Paths(Path(longest)).check(nodes=4)
    with pytest.raises(SandboxError, match=r"3 characters too long .* --dir"):
        Paths(Path(longest + "ddd")).check(nodes=4)
    # The nodes' names are part of the sockets', twice.
    with pytest.raises(SandboxError, match="2 characters too long"):
        Paths(Path(longest)).check(nodes=10)


@pytest.mark.slurm
def test_up_in_a_path_too_long_starts_and_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 20)
    done = CliRunner().invoke(command, ["up", "--dir", str(directory)])
    assert done.exit_code == 1
    assert "too long" in done.output
    assert not directory.exists()


@pytest.mark.parametrize("name", ["a b", "a#b", "a,b", "a%b", "ä", "a'b"])
def test_a_path_that_slurm_would_misread_is_refused(name: str) -> None:
    with pytest.raises(SandboxError, match="cannot hold this name"):
        Paths(Path("/tmp") / name).check(nodes=1)


def test_missing_programs_are_named_all_at_once_with_their_packages(tmp_path: Path) -> None:
    program = tmp_path / "munged"
    program.touch(mode=0o755)
    with pytest.raises(MissingPrograms) as caught:
        find_programs(path=str(tmp_path))
    message = str(caught.value)
    assert "slurmctld: Debian package slurmctld" in message
    assert "mariadbd: Debian package mariadb-server" in message
    assert "sbatch: Debian package slurm-client" in message
    assert "munged" not in message
    last = message.splitlines()[-1]
    assert last.endswith("mariadb-server slurmdbd slurmctld slurmd slurm-client util-linux")


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(SandboxError, match="not empty and not a sandbox"):
        Paths(tmp_path).create()
    with pytest.raises(SandboxError, match="not a sandbox"):
        Sandbox(tmp_path).down()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_stale_pid_is_nobody_and_is_not_killed(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "box")
    paths.create()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        paths.pid_file("slurmctld").write_text(f"{stranger.pid}\n")
        box = Sandbox(paths.root)
        assert box.pid("slurmctld") is None
        box.down()
        assert stranger.poll() is None
        stranger.kill()
    assert not paths.root.exists()


def test_down_where_there_is_nothing_says_so(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["down", "--dir", str(tmp_path / "none")])
    assert done.exit_code == 0
    assert "There is no sandbox" in done.output


def test_status_where_there_is_nothing_is_an_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["status", "--dir", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert "There is no sandbox" in done.output


def test_the_default_directory_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLURMBATCH_SANDBOX", str(tmp_path / "mine"))
    assert Sandbox().dir == tmp_path / "mine"
    monkeypatch.delenv("SLURMBATCH_SANDBOX")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Sandbox().dir == tmp_path / ".slurmbatch-sandbox"


def test_what_a_sandbox_was_made_with_is_kept_and_not_contradicted(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "box")
    paths.create()
    plan = Plan.draw_up(Shape(nodes=2, min_job_age=8, extra_conf="SlurmdTimeout=20"), 20_000)
    plan.save(paths.plan)
    assert Plan.load(paths.plan) == plan
    assert stat.S_IMODE(paths.plan.stat().st_mode) == 0o600
    assert build.shape_for(paths, {}) == plan.shape
    assert build.shape_for(paths, {"nodes": 2}) == plan.shape
    with pytest.raises(SandboxError, match="has nodes=2, not 3; take it down first"):
        build.shape_for(paths, {"nodes": 3})


def test_an_unknown_option_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no nodez"):
        Sandbox(tmp_path, nodez=3)


def test_the_environment_file_is_private_and_read_back(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    variables = {"SLURM_CONF": "/x/slurm.conf", "SLURMBATCH_API_KEY": "abc=="}
    build.write_env(paths, variables)
    assert stat.S_IMODE(paths.env.stat().st_mode) == 0o600
    assert build.read_env(paths) == variables


@pytest.mark.parametrize(
    ("printed", "version"),
    [("slurm-wlm 22.05.8", (22, 5)), ("slurm 24.11.5", (24, 11)), ("slurm 26.05.0-rc1", (26, 5))],
)
def test_versions_are_read_as_slurm_prints_them(printed: str, version: tuple[int, int]) -> None:
    assert parse_version(printed) == version


def test_newer_versions_are_told_to_leave_cgroups_alone() -> None:
    assert extra_files((22, 5)) == {}
    assert extra_files((23, 11)) == {"cgroup.conf": "CgroupPlugin=disabled\n"}
    assert "cgroup.conf" in extra_files((26, 5))


def test_a_host_whose_name_is_no_loopback_address_is_told_in_the_settings(tmp_path: Path) -> None:
    plan = Plan(Shape(nodes=1), 20_000, False, "secret")
    text = conf.slurm_conf(Paths(tmp_path), plan)
    assert "CommunicationParameters" not in text
    assert "listens on all of them" in text
