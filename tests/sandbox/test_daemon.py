"""A sandbox with slurmbatch on it, as `make demo` starts it."""

from __future__ import annotations

import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from slurmbatch.cli.sandbox import sandbox as command
from slurmbatch.sandbox import Sandbox

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    """A sandbox with the daemon, brought up by the command."""
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    try:
        done = CliRunner().invoke(
            command, ["up", "--daemon", "--nodes", "1", "--dir", str(directory)]
        )
        assert done.exit_code == 0, done.output
        assert "for trying out and for tests" in done.output
        yield Sandbox(directory)
    finally:
        Sandbox(directory).down()
        shutil.rmtree(directory, ignore_errors=True)


def status_of(url: str, key: str | None) -> int:
    return httpx.get(f"{url}/batches", headers={"Authorization": key or ""}).status_code


def test_the_environment_file_leads_to_the_daemon(box: Sandbox) -> None:
    show = f". {box.dir}/env && echo $SLURMBATCH_URL $SLURMBATCH_API_KEY"
    printed = subprocess.run(["sh", "-c", show], capture_output=True, text=True, check=True)
    url, key = printed.stdout.split()
    assert (url, key) == (box.url, box.api_key)
    assert status_of(url, key) == 200
    assert status_of(url, "sbk_wrong") == 401
    assert stat.S_IMODE((box.dir / "env").stat().st_mode) == 0o600


def test_the_daemon_offers_the_example_tools_and_filesystems(box: Sandbox) -> None:
    headers = {"Authorization": box.api_key or ""}
    tools = httpx.get(f"{box.url}/tools", headers=headers).json()
    assert {"montecarlo-pi", "sweep-to-file", "probe"} <= {tool["id"] for tool in tools}
    filesystems = httpx.get(f"{box.url}/filesystems", headers=headers).json()
    paths = {each["id"]: each["path"] for each in filesystems}
    assert paths == {name: f"{box.dir}/fs/{name}" for name in ("scratch", "project")}


def test_a_daemon_that_died_comes_back_with_the_same_port_and_key(box: Sandbox) -> None:
    url, key, pid = box.url, box.api_key, box.pid("slurmbatch")
    box.kill("slurmbatch", signal.SIGKILL)
    assert {part.name: part.state for part in box.status()}["slurmbatch"] == "down"
    box.up()
    assert box.pid("slurmbatch") not in (None, pid)
    assert (box.url, box.api_key) == (url, key)
    assert status_of(url, key) == 200


def test_the_daemon_is_stopped_and_started_alone(box: Sandbox) -> None:
    slurmctld = box.pid("slurmctld")
    box.stop_daemon()
    assert box.pid("slurmbatch") is None
    box.start_daemon()
    assert box.pid("slurmbatch") is not None
    assert box.pid("slurmctld") == slurmctld
