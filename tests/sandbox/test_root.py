"""A Slurm that is unpacked in a directory: what makes it run here, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from slurmbatch.cli.sandbox import sandbox as command
from slurmbatch.sandbox import Sandbox, SandboxError, build, conf
from slurmbatch.sandbox.paths import Paths
from slurmbatch.sandbox.plan import Plan, Shape
from slurmbatch.sandbox.programs import find_programs
from slurmbatch.sandbox.root import NEEDED, Root

# Tells its arguments, one a line, as the loader would get them.
LOADER = '#!/bin/sh\nprintf "%s\\n" "$@"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """As Debian has it: the daemons under a name of their own, that of a link out of the tree."""
    made = tmp_path / "root"
    libraries = made / "usr/lib/x86_64-linux-gnu"
    (libraries / "slurm-wlm").mkdir(parents=True)
    (libraries / "slurm-wlm/auth_munge.so").touch()
    (libraries / "ld-linux-x86-64.so.2").write_text(LOADER)
    (libraries / "ld-linux-x86-64.so.2").chmod(0o755)
    for directory in ("usr/sbin", "usr/bin"):
        (made / directory).mkdir()
    for name in NEEDED:
        daemon = name.startswith("slurm") and name != "slurmdbd"
        (made / "usr" / (f"sbin/{name}-wlm" if daemon else f"bin/{name}")).touch()
    (made / "usr/sbin/slurmctld").symlink_to("/etc/alternatives/slurmctld")
    return made


def test_a_script_runs_the_program_with_its_own_loader_and_libraries(
    root: Path, tmp_path: Path
) -> None:
    scripts = tmp_path / "bin"
    scripts.mkdir()
    Root(root).check()
    Root(root).write_scripts(scripts)
    assert {path.name for path in scripts.iterdir()} == set(NEEDED)
    called = [str(scripts / "slurmctld"), "-f", "a b", ""]
    told = subprocess.run(called, capture_output=True, text=True, check=True).stdout.split("\n")
    libraries = root / "usr/lib/x86_64-linux-gnu"
    assert told[:-1] == [
        "--inhibit-cache", "--library-path", f"{libraries}:{libraries}/slurm-wlm",
        "--argv0", called[0], str(root / "usr/sbin/slurmctld-wlm"), *called[1:],
    ]  # fmt: skip


def test_all_that_a_directory_lacks_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/squeue").touch()
    place = tmp_path / "box"
    done = CliRunner().invoke(command, ["up", "--dir", str(place), "--root", str(tmp_path)])
    assert done.exit_code == 1
    assert f"{tmp_path} is no Debian system with Slurm in it" in done.output
    assert "usr/sbin/slurmctld or usr/bin/slurmctld" in done.output
    assert "usr/lib/*/slurm*/auth_munge.so" in done.output
    assert "squeue" not in done.output
    assert "make slurm-24.11" in done.output
    assert not place.exists()


def test_only_the_other_programs_have_to_be_installed(tmp_path: Path) -> None:
    for name in ("munged", "mariadbd", "mariadb-install-db", "setsid"):
        (tmp_path / name).touch(mode=0o755)
    found = find_programs(path=str(tmp_path), scripts=Path("/box/bin"))
    assert (found["sbatch"], found["munged"]) == ("/box/bin/sbatch", str(tmp_path / "munged"))


def test_the_settings_name_its_plugins_and_its_commands(root: Path, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "box")
    plan = Plan.draw_up(Shape(root=str(root)), 20_000)
    plugins = f"PluginDir={root}/usr/lib/x86_64-linux-gnu/slurm-wlm"
    assert plugins in conf.slurm_conf(paths, plan).splitlines()
    assert plugins in conf.slurmdbd_conf(paths, plan).splitlines()
    assert f'bin_dir = "{paths.bin}"' in conf.slurmbatch_toml(paths, plan).splitlines()
    assert "TaskProlog" not in conf.daemons_conf(paths, plan)
    installed = Plan.draw_up(Shape(), 20_000)
    assert "PluginDir" not in conf.slurm_conf(paths, installed)
    assert "bin_dir" not in conf.slurmbatch_toml(paths, installed)


def test_it_is_kept_with_its_full_path_and_may_come_from_the_environment(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    monkeypatch.setenv(build.ROOT_VARIABLE, "root")
    paths = Paths(tmp_path / "box")
    assert build.shape_for(paths, {}).root == str(root)
    assert build.shape_for(paths, build.real_wishes({"root": "other"})).root == str(
        root.parent / "other"
    )
    paths.create()
    Plan.draw_up(Shape(), 20_000).save(paths.plan)
    # One that exists stays as it is, whatever the environment says; not so what is asked for.
    assert build.shape_for(paths, {}).root == ""
    with pytest.raises(SandboxError, match="take it down first"):
        build.shape_for(paths, {"root": str(root)})


def test_the_environment_finds_its_commands_first(root: Path, tmp_path: Path) -> None:
    box = Sandbox(tmp_path / "box", root=root)
    box.paths.create()
    Root(root).write_scripts(box.paths.bin)
    build.write_env(box.paths, {"SLURM_CONF": "x"})
    assert build.read_env(box.paths) == {"SLURM_CONF": "x"}
    said = subprocess.run(
        ["sh", "-c", f". {box.paths.env} && command -v squeue"], capture_output=True, text=True
    )
    assert said.stdout.strip() == str(box.paths.bin / "squeue")
    assert box.env["PATH"].split(":")[0] == str(box.paths.bin)
