"""The demo on the real daemon and a real Slurm."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from slurmbatch.sandbox import Sandbox

pytestmark = pytest.mark.slurm
DEMO = [sys.executable, "-m", "slurmbatch", "demo"]


class TestDemo:
    def test_in_lines_where_there_is_no_terminal(self, service: Sandbox) -> None:
        command = [*DEMO, "--dir", str(service.dir), "--end-with", "make demo-down"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
        assert "All 100 jobs have ended: 100 SUCCEEDED" in done.stdout
        assert "pi is about 3.14" in done.stdout
        shown = re.search(r"^\{\n.*?^\}", done.stdout, re.MULTILINE | re.DOTALL)
        assert shown is not None
        assert json.loads(shown[0])["status"] == "SUCCEEDED"
        for needed in (service.url, str(service.api_key), "curl", "make demo-down"):
            assert needed in done.stdout

    def test_in_bars_on_a_terminal_with_the_environment_saying_where(
        self, service: Sandbox
    ) -> None:
        env = {**os.environ, **service.variables, "TERM": "xterm", "COLUMNS": "80"}
        env.pop("NO_COLOR", None)
        controller, terminal = pty.openpty()
        with subprocess.Popen([*DEMO, "--jobs", "5"], env=env, stdout=terminal) as process:
            os.close(terminal)
            printed = b"".join(_until_the_end(controller)).decode()
        os.close(controller)
        assert process.returncode == 0
        assert re.search(r"SUCCEEDED \S*█{40}\S* +5\s", printed)
        assert "All 5 jobs have ended: 5 SUCCEEDED" in printed
        # The key of a real service is nobody's business who looks over one's shoulder.
        assert str(service.api_key) not in printed

    def test_says_what_is_missing(self) -> None:
        env = {name: value for name, value in os.environ.items() if "SLURMBATCH" not in name}
        done = subprocess.run(DEMO, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "SLURMBATCH_URL is not set" in done.stderr


def _until_the_end(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # EIO: the other side is closed
            return
        if not chunk:
            return
        yield chunk
