"""The Slurm in a sandbox is a real one, set up as the examples want it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from slurmbatch.client import Client
from slurmbatch.sandbox import Sandbox
from slurmbatch.sandbox.ports import is_listening

pytestmark = pytest.mark.slurm


def end_of(box: Sandbox, job: str) -> str:
    """The state and exit code of a job, once the accounting has its end."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        row = box.run(["sacct", "-X", "-n", "-P", "-o", "State,ExitCode", "-j", job]).stdout.strip()
        if row and not row.startswith(("PENDING", "RUNNING")):
            return row
        time.sleep(0.1)
    raise AssertionError(f"job {job} did not end: {row!r}")


def submit(box: Sandbox, script: str, *options: str) -> str:
    output = box.dir / "work" / "%j.out"
    command = ["sbatch", "--parsable", f"--output={output}", *options, "--wrap", script]
    return box.run(command).stdout.strip()


def test_a_job_runs_and_is_accounted_for(cluster: Sandbox) -> None:
    wanted = ["--constraint=scratch&project", "--licenses=project:1", "--account=demo"]
    job = submit(cluster, "echo hello from $SLURMD_NODENAME", *wanted)
    assert end_of(cluster, job) == "COMPLETED|0:0"
    assert (cluster.dir / f"work/{job}.out").read_text().startswith("hello from node")


def test_a_job_over_its_memory_is_killed(cluster: Sandbox) -> None:
    hungry = f"{sys.executable} -c 'x = bytes(1) * 300_000_000; import time; time.sleep(60)'"
    if not Path("/usr/bin/python3").exists():
        raise AssertionError("this test needs /usr/bin/python3")
    job = submit(cluster, hungry.replace(sys.executable, "/usr/bin/python3"), "--mem=50")
    assert end_of(cluster, job).startswith(("FAILED|0:9", "OUT_OF_MEMORY"))


def test_accounts_are_enforced(cluster: Sandbox) -> None:
    refused = cluster.run(["sbatch", "--account=nobodys", "--wrap", "true"], check=False)
    assert refused.returncode == 1
    assert "Invalid account" in refused.stderr


def test_there_are_two_partitions(cluster: Sandbox) -> None:
    listed = cluster.run(["sinfo", "-h", "-o", "%P %l %D"]).stdout.splitlines()
    assert listed == ["main* infinite 4", "short 1:00:00 4"]


def test_the_limits_asked_for_are_slurms(cluster: Sandbox) -> None:
    shown = cluster.run(["scontrol", "show", "config"]).stdout
    parts = (line.partition("=") for line in shown.splitlines() if "=" in line)
    settings = {name.strip(): value.strip() for name, _, value in parts}
    assert settings["MaxArraySize"] == str(cluster.plan.shape.max_array_size)
    assert settings["MinJobAge"] == f"{cluster.plan.shape.min_job_age} sec"
    assert settings["AccountingStorageEnforce"] == "associations,limits,qos"


def test_everything_runs_under_the_pid_that_its_file_names(cluster: Sandbox) -> None:
    parts = {part.name: part for part in cluster.status()}
    names = [f"slurmd-node{n}" for n in range(1, 5)]
    assert list(parts) == ["munged", "mariadbd", "slurmdbd", "slurmctld", *names]
    for name, part in parts.items():
        assert part.state == "running", part
        assert int((cluster.dir / f"run/{name}.pid").read_text()) == part.pid
        assert Path(f"/proc/{part.pid}/comm").read_text().strip() == name.partition("-")[0]


def test_it_listens_on_loopback_alone_where_the_hosts_name_allows_it(cluster: Sandbox) -> None:
    ports = [part.port for part in cluster.status() if part.port]
    assert all(is_listening(port) for port in ports)
    assert cluster.plan.mariadb_port not in open_to_all()
    if cluster.plan.loopback_only:
        assert not set(ports) & open_to_all()


def open_to_all() -> set[int]:
    """The ports that something listens on, whatever the address it is asked at."""
    return {
        int(line.split()[1].split(":")[1], 16)
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].startswith("00000000:") and line.split()[3] == "0A"
    }


def test_it_does_so_where_the_name_is_another_loopback_address(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give this host's name another address")
    # As Debian's installer has it.
    (tmp_path / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {socket.gethostname()}\n")
    bind = 'mount --bind "$0" /etc/hosts && exec "$@"'
    there = ["unshare", "--mount", "sh", "-c", bind, str(tmp_path / "hosts")]
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    box = Sandbox(directory, nodes=2)
    manage = [*there, sys.executable, "-m", "slurmbatch", "sandbox"]
    try:
        up = subprocess.run([*manage, "up", "--dir", directory, "--nodes", "2", "--daemon"],
                            capture_output=True, text=True)  # fmt: skip
        assert (up.returncode, "note:" in up.stdout) == (0, False), up.stderr
        assert (box.plan.loopback_only, box.plan.address) == (True, "127.0.1.1")
        parts = box.status()
        assert {part.state for part in parts} == {"running"}
        assert not {part.port for part in parts} & open_to_all()
        # Who is called back, and by whom, is what could go wrong; in a job, too.
        step = ["srun", "--nodes=2", "hostname"]
        assert len(box.run([*there, *step]).stdout.splitlines()) == 2
        inner = ["--wait", "--nodes=2", "--output=inner.out", f"--wrap={' '.join(step)}"]
        box.run([*there, "sbatch", *inner])
        assert len((box.paths.work / "inner.out").read_text().splitlines()) == 2
        with Client(box.url, str(box.api_key)) as client:
            batch = client.submit("probe", {"print": "here"})
            assert batch.wait(60).succeeded()
    finally:
        box.down()
        shutil.rmtree(directory, ignore_errors=True)
    assert not directory.exists()


def test_status_for_programs(cluster: Sandbox) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "slurmbatch", "sandbox", "status", "--json", "--dir", cluster.dir],
        capture_output=True,
        text=True,
    )
    told = json.loads(done.stdout)
    assert (done.returncode, told["up"], told["dir"]) == (0, True, str(cluster.dir))
    assert {part["state"] for part in told["components"]} == {"running"}


def test_a_shell_on_it_has_its_environment(cluster: Sandbox) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "slurmbatch", "sandbox", "shell", "--dir", cluster.dir],
        capture_output=True,
        text=True,
        env={**cluster.env, "SHELL": "/usr/bin/env"},
    )
    assert f"SLURM_CONF={cluster.dir}/etc/slurm.conf" in done.stdout.splitlines()
    assert f"SLURMBATCH_URL={cluster.url}" in done.stdout.splitlines()
    assert "for trying out and for tests" in done.stderr


def test_the_file_to_be_sourced_is_enough_for_the_commands(cluster: Sandbox) -> None:
    done = subprocess.run(
        ["sh", "-c", f". {cluster.dir}/env && scontrol ping"], capture_output=True, text=True
    )
    assert "is UP" in done.stdout
