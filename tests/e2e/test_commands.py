"""The users' commands, each as a process of its own, on the real daemon and a real Slurm."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from slurmbatch.sandbox import Sandbox
from tests.e2e.conftest import Api
from tests.e2e.gate import Gate

pytestmark = pytest.mark.slurm
SLURMBATCH = [sys.executable, "-m", "slurmbatch"]


class Shell:
    """Somebody who has logged in."""

    def __init__(self, box: Sandbox, home: Path) -> None:
        without = {name: value for name, value in os.environ.items() if "SLURMBATCH" not in name}
        self.env = {**without, "XDG_CONFIG_HOME": str(home), "TERM": "xterm", "COLUMNS": "80"}
        self.env.pop("NO_COLOR", None)
        self.run("login", box.url, given=f"{box.api_key}\n")

    def run(self, *words: str, code: int = 0, given: str = "") -> str:
        done = subprocess.run(
            [*SLURMBATCH, *words], env=self.env, input=given, capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*SLURMBATCH, *words], env=self.env, text=True, bufsize=1, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, **options,
        )  # fmt: skip

    def submit(self, *words: str) -> str:
        return self.run("submit", "probe", *words).strip()


@pytest.fixture
def shell(service: Sandbox, api: Api, tmp_path: Path) -> Shell:
    return Shell(service, tmp_path)


def until(found: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 90
    while not (value := found()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return value


def line_of(stream: IO[str] | None, wanted: str) -> str:
    """The first line that has this in it; it is waited for."""
    assert stream is not None
    for line in stream:
        if wanted in line:
            return line
    raise AssertionError(f"no line with {wanted!r} in it")


def restarted(box: Sandbox) -> None:
    box.kill("slurmbatch", signal.SIGKILL)
    time.sleep(2)
    box.start_daemon()


def test_from_the_tools_to_the_logs_and_away(shell: Shell, service: Sandbox) -> None:
    assert service.url in shell.run("profiles")
    assert "montecarlo-pi" in shell.run("tools")
    assert "samples" in shell.run("tools", "montecarlo-pi")
    assert "scratch" in shell.run("filesystems")
    batch_id = shell.submit(
        "--sweep", "exit_code=0,3", "--sweep", "print=a,b", "--fs", "scratch", "--mem", "32M",
        "--time", "5m", "--name", "four",
    )  # fmt: skip
    assert shell.run("wait", "@", code=3) == f"{batch_id}  2 of 4 failed\n"
    assert re.search(r"probe +4 +2 of 4 failed +four\n", shell.run("ls"))
    shown = shell.run("show")
    assert "1 CPU, 32 MiB, 5 minutes" in shown
    assert "2 of 4 jobs failed" in shown
    # Of the two that failed the service names one, whichever it saw first.
    (why,) = json.loads(shell.run("show", "@", "--json"))["reasons"]
    printed = {f"{batch_id}-2": "a", f"{batch_id}-3": "b"}[why["job_id"]]
    assert f"ended with exit code 3 (FAILED)\n    {printed}\n" in shown
    failed = [line.split()[:2] for line in shell.run("jobs", "--failed").splitlines()]
    assert failed == [["JOB", "STATUS"], ["2", "FAILED"], ["3", "FAILED"]]
    assert shell.run("logs", "@", "1") == "b\n"
    assert shell.run("logs", "--failed").count("==> ") == 2

    assert shell.run("retry", batch_id[:20], "--job", "3").startswith(f"{batch_id}  runs again")
    shell.run("wait", batch_id, code=3)
    assert json.loads(shell.run("show", "@", "3", "--json"))["attempt"] == 2
    assert shell.run("logs", "@", "3", "--attempt", "1") == "b\n"

    shell.run("rm", batch_id)
    shell.run("show", batch_id, code=5)


def test_the_same_key_makes_one_batch(shell: Shell, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("print,sleep\none,\ntwo,0.5\n")
    words = ("--sweep-file", str(rows), "--idempotency-key", str(tmp_path))
    assert shell.submit(*words) == shell.submit(*words)
    shell.run("wait", "@")
    jobs = json.loads(shell.run("jobs", "--json"))
    assert [job["args"] for job in jobs] == [{"print": "one"}, {"print": "two", "sleep": 0.5}]


def test_what_is_refused_leaves_nothing(shell: Shell, api: Api) -> None:
    refused = shell.start("submit", "probe", "--cpu", "0", "-a", "exit_code=999")
    _, told = refused.communicate(timeout=60)
    assert refused.returncode == 2
    assert "--cpu: Expected at least 1, not 0." in told
    assert "-a exit_code: Expected at most 255." in told
    assert api.http.get("/batches").json() == []


class TestKilledServiceMeanwhile:
    """slurmbatch is killed, and started again while somebody looks on."""

    def test_watch_and_wait_go_on(self, shell: Shell, service: Sandbox, tmp_path: Path) -> None:
        gates, rows = [Gate(tmp_path / str(code)) for code in (0, 1, 3)], tmp_path / "rows.csv"
        codes = zip(gates, (0, 0, 3), strict=True)
        rows.write_text("trace,exit_code\n" + "".join(f"{gate},{code}\n" for gate, code in codes))
        batch_id = shell.submit("--sweep-file", str(rows))
        watching, waiting = shell.start("watch"), shell.start("wait", batch_id, "--timeout", "5m")
        line_of(watching.stdout, "3 RUNNING")
        restarted(service)
        for gate in gates:
            gate.open()
        seen, told = watching.communicate(timeout=120)
        assert watching.returncode == 3, told
        assert "2 SUCCEEDED, 1 FAILED" in seen
        assert seen.count("ended with exit code 3") == 1
        assert "trying again" in told
        waited, told = waiting.communicate(timeout=120)
        assert (waiting.returncode, waited) == (3, f"{batch_id}  1 of 3 failed\n"), told

    def test_a_followed_log_is_whole(self, shell: Shell, service: Sandbox, gate: Gate) -> None:
        batch_id = shell.submit("-a", "print=hello", "-a", f"trace={gate}")
        following = shell.start("logs", batch_id, "-f", "--tail", "5")
        assert line_of(following.stdout, "hello") == "hello\n"
        restarted(service)
        gate.open()
        more, told = following.communicate(timeout=120)
        assert (following.returncode, more) == (0, ""), told


class TestOnATerminal:
    """Of 80 columns."""

    @pytest.fixture
    def screen(self, shell: Shell) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
        self.shown = b""
        self.controller, terminal = pty.openpty()

        def start(*words: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [*SLURMBATCH, *words], env=shell.env, stdin=terminal, stdout=terminal,
                stderr=terminal, start_new_session=True,
            )  # fmt: skip

        os.set_blocking(self.controller, False)
        yield start
        os.close(terminal)
        os.close(self.controller)

    def look(self) -> str:
        """All that was drawn so far, one picture over the other."""
        try:
            while chunk := os.read(self.controller, 65536):
                self.shown += chunk
        except OSError:  # EAGAIN: nothing more just now
            pass
        return self.shown.decode()

    def ends(self, process: subprocess.Popen[bytes], code: int) -> str:
        """Reads on meanwhile: a full terminal holds who writes to it."""
        until(lambda: (self.look(), process.poll())[1] is not None, "it does not end")
        assert process.returncode == code
        return self.look()

    def test_watch_draws_what_fails_as_it_comes(self, screen: Any) -> None:
        process = screen(
            "submit", "probe", "--sweep", "exit_code=3,3,0", "--sweep", "sleep=1,25", "--name",
            "café", "--watch",
        )  # fmt: skip
        until(lambda: re.search(r"RUNNING +\S*█", self.look()), "no bars")
        until(lambda: "ended with exit code 3" in self.look(), "no failure")
        assert process.poll() is None
        printed = self.ends(process, 3)
        assert "café" in printed
        assert "6 of 6 ended" in printed
        assert re.search(r"4 of 6 jobs failed.*ended with exit code 3", printed)

    def test_leaving_watch_leaves_the_batch_alone(self, shell: Shell, screen: Any) -> None:
        batch_id = shell.submit("-a", "sleep=600")
        process = screen("watch", batch_id)
        until(lambda: "0 of 1 ended" in self.look(), "no board")
        os.killpg(process.pid, signal.SIGINT)
        printed = self.ends(process, 130)
        assert f"The batch goes on; `slurmbatch watch {batch_id}` looks again." in printed
        assert "Traceback" not in printed
        assert not json.loads(shell.run("show", "--json"))["cancelled"]
        assert shell.run("cancel", batch_id).startswith(batch_id)
        shell.run("wait", batch_id, code=3)
        assert "CANCELLED" in shell.run("jobs", batch_id)

    def test_rm_asks(self, shell: Shell, screen: Any) -> None:
        batch_id = shell.submit("-a", "sleep=600")
        process = screen("rm", batch_id)
        until(lambda: "[y/N]" in self.look(), "not asked")
        os.write(self.controller, b"n\n")
        self.ends(process, 1)
        shell.run("show", batch_id)
        shell.run("rm", batch_id, "--yes")
        shell.run("show", batch_id, code=5)
