"""Coming up, being repaired, going down without a trace, and living side by side."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import slurmbatch
from slurmbatch.sandbox import ComponentFailed, Sandbox
from slurmbatch.sandbox.processes import Processes, process

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def pair() -> Iterator[list[Sandbox]]:
    """Two sandboxes that came up at the same moment, one of them asked to twice."""
    root = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    boxes = [Sandbox(root / name, nodes=1) for name in ("a", "b")]
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Sandbox.up, [*boxes, Sandbox(root / "a", nodes=1)]))
        yield boxes
    finally:
        for box in boxes:
            box.down()
        shutil.rmtree(root)


def files_of(box: Sandbox) -> dict[str, bytes]:
    """What must stay the same: the settings, the keys and the environment file."""
    found = [*(box.dir / "etc").rglob("*"), box.dir / "env"]
    return {str(path): path.read_bytes() for path in found if path.is_file()}


def started_at(pid: int | None) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def test_two_live_side_by_side(pair: list[Sandbox]) -> None:
    first, second = pair
    job = first.run(["sbatch", "--parsable", "--hold", "--wrap", "true"]).stdout.strip()
    assert first.run(["squeue", "-h", "-o", "%i"]).stdout.split() == [job]
    assert second.run(["squeue", "-h", "-o", "%i"]).stdout.split() == []
    assert first.plan.base_port != second.plan.base_port


def test_up_again_brings_back_what_died_and_changes_nothing_else(pair: list[Sandbox]) -> None:
    box = pair[0]
    before, files = {part.name: part.pid for part in box.status()}, files_of(box)
    for name in ("munged", "mariadbd", "slurmdbd", "slurmd-node1"):
        box.kill(name, signal.SIGKILL)
    assert box.pid("munged") is None
    assert [part.name for part in box.status() if part.state != "down"] == ["slurmctld"]

    box.up()

    after = {part.name: part.pid for part in box.status()}
    assert {part.state for part in box.status()} == {"running"}
    assert {name for name in before if after[name] == before[name]} == {"slurmctld"}
    assert files_of(box) == files
    assert box.run(["srun", "--quiet", "echo", "well"]).stdout == "well\n"


def test_one_component_is_killed_and_started(pair: list[Sandbox]) -> None:
    box = pair[0]
    job = box.run(["sbatch", "--parsable", "--hold", "--wrap", "true"]).stdout.strip()
    box.kill("slurmctld", signal.SIGTERM)
    assert box.run(["scontrol", "ping"], check=False).returncode == 1
    box.start("slurmctld")
    assert job in box.run(["squeue", "-h", "-o", "%i"]).stdout.split()


def test_a_component_that_hangs_is_told_from_one_that_is_down(pair: list[Sandbox]) -> None:
    box = pair[1]
    box.kill("slurmd-node1", signal.SIGSTOP)
    states = {part.name: part.state for part in box.status()}
    box.kill("slurmd-node1", signal.SIGCONT)
    assert states["slurmd-node1"] == "stopped"
    assert {part.state for part in box.status()} == {"running"}


def test_what_fails_names_its_log_and_shows_its_end(pair: list[Sandbox]) -> None:
    box = pair[1]
    box.kill("slurmd-node1", signal.SIGKILL)
    conf = box.paths.slurm_conf
    text = conf.read_text()
    conf.write_text(text + "NoSuchSetting=1\n")
    with pytest.raises(ComponentFailed) as caught:
        box.start("slurmd-node1")
    conf.write_text(text)
    assert str(box.dir / "log/slurmd-node1.log") in str(caught.value)
    assert "NoSuchSetting" in str(caught.value)
    box.start("slurmd-node1")


def test_a_port_that_somebody_took_is_named(pair: list[Sandbox]) -> None:
    box = pair[1]
    port = box.plan.slurmd_port("node1")
    box.kill("slurmd-node1", signal.SIGKILL)
    taken = pytest.raises(ComponentFailed, match=f"port {port}, which is taken")
    with socket.create_server(("127.0.0.1", port)), taken:
        box.start("slurmd-node1")
    box.start("slurmd-node1")


def test_down_leaves_no_process_and_no_file_and_no_harm(pair: list[Sandbox]) -> None:
    """Jobs that run end too, even what they sent to the background with no environment."""
    gone, other = pair
    script = "env -i setsid sleep 4242 & setsid sleep 4243 & sleep 4244"
    gone.run(["sbatch", "--output=/dev/null", "--export=NONE", "--wrap", script])
    others = {part.pid for part in other.status()}
    with subprocess.Popen(["sleep", "60"], env={"SLURM_CONF": gone.env["SLURM_CONF"]}) as shell:
        deadline = time.monotonic() + 60
        while len(sleepers()) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        before = Processes(gone.dir, gone.paths.slurm_conf).all()
        assert sleepers() <= before and len(sleepers()) == 3

        gone.down()

        assert shell.poll() is None, "a shell that only uses the sandbox was killed"
        shell.kill()
    assert [pid for pid in before if process(pid) is not None] == []
    assert not gone.dir.exists()
    assert {part.pid for part in other.status() if part.state == "running"} == others


def sleepers() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and process(int(entry.name)) is not None:
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if command.startswith(b"sleep\x00424"):
                found.add(int(entry.name))
    return found


AS_ORDINARY_USER = """
import os, sys
from slurmbatch.sandbox import Sandbox
assert os.geteuid() != 0
box = Sandbox(sys.argv[1], nodes=1)
box.up()
print(box.run(["srun", "--quiet", "id", "-un"]).stdout.strip())
print(box.run(["sacctmgr", "-nP", "show", "assoc", "user=" + sys.argv[2], "format=account"]).stdout)
box.down()
assert not os.path.exists(sys.argv[1])
"""


@pytest.fixture
def ordinary_user() -> Iterator[str]:
    """A user that is not root: a new one, or whoever runs the tests."""
    if os.geteuid() != 0:
        yield pwd.getpwuid(os.geteuid()).pw_name
        return
    name = f"sbtest{os.getpid()}"
    subprocess.run(["useradd", "--no-create-home", name], check=True)
    try:
        yield name
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)


def test_it_works_for_an_ordinary_user(ordinary_user: str) -> None:
    """With Debian's own Python and the sandbox's package alone: that user may see no more."""
    root = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    package = Path(slurmbatch.__file__).parent
    try:
        root.chmod(0o755)
        shutil.copytree(package / "sandbox", root / "lib/slurmbatch/sandbox")
        shutil.copy(package / "__init__.py", root / "lib/slurmbatch")
        home = root / "home"
        home.mkdir()
        entry = pwd.getpwnam(ordinary_user)
        os.chown(home, entry.pw_uid, entry.pw_gid)
        switch: dict[str, Any] = {
            "user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [],
        }  # fmt: skip
        done = subprocess.run(
            ["/usr/bin/python3", "-c", AS_ORDINARY_USER, str(home / "box"), ordinary_user],
            env={"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(root / "lib")},
            cwd="/",
            capture_output=True,
            text=True,
            **(switch if os.geteuid() == 0 else {}),
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [ordinary_user, "demo"]
    finally:
        shutil.rmtree(root)
