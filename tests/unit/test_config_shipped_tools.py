"""The tools that we ship, run for real: arguments in the environment, the script from a pipe."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from slurmbatch.arguments import check, environment
from slurmbatch.config import load
from slurmbatch.model import ArgValue

TOOLS = load(Path(__file__).parents[2] / "etc" / "slurmbatch.toml").tools
AWKS = [name for name in ("mawk", "gawk", "busybox") if shutil.which(name)]


class Runner:
    """Runs tools as a job script does, in a directory of their own."""

    def __init__(self, directory: Path, awk: str = "") -> None:
        self.directory = directory
        self.path = os.defpath
        if awk:
            (directory / "bin").mkdir()
            (directory / "bin" / "awk").symlink_to(str(shutil.which(awk)))
            self.path = f"{directory}/bin:{os.defpath}"

    def start(self, name: str, /, **arguments: ArgValue) -> subprocess.Popen[str]:
        tool = TOOLS[name]
        checked = check(tool, arguments, [], 65_536)
        assert checked.faults == []
        start = tool.script.splitlines()[0].removeprefix("#!")
        variables = {"PATH": self.path, **self.of_the_job(), **environment(tool, checked.fixed)}
        return subprocess.Popen(
            # As the job script does it: file descriptor 9 holds the text, and no file its name.
            ["bash", "-c", f'exec 9< <(printf %s "$0"); exec {start} /dev/fd/9', tool.script],
            env=variables,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, name: str, /, **arguments: ArgValue) -> tuple[int, str]:
        """The exit code (minus the signal, if one killed it) and what was printed."""
        process = self.start(name, **arguments)
        printed, _ = process.communicate(timeout=30)
        return process.returncode, printed

    def of_the_job(self) -> dict[str, str]:
        return {
            "SLURMBATCH_BATCH_ID": "b1",
            "SLURMBATCH_JOB_ID": "b1-3",
            "SLURMBATCH_JOB_INDEX": "3",
            "SLURMBATCH_FS_SCRATCH": str(self.directory / "scratch"),
        }


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


@pytest.fixture(params=AWKS)
def any_awk(request: pytest.FixtureRequest, tmp_path: Path) -> Runner:
    return Runner(tmp_path, request.param)


def test_they_need_no_hardware_in_the_batch() -> None:
    for tool in TOOLS.values():
        assert tool.hardware.cpu == 1
        assert tool.hardware.memory is not None
        assert 64 <= tool.hardware.memory <= 100


def test_pi(any_awk: Runner) -> None:
    code, printed = any_awk.run("montecarlo-pi", samples=100_000, seed=7)
    assert code == 0
    assert printed.endswith(" (100000 samples, seed 7)\n")
    assert abs(float(printed.split()[3]) - 3.14159) < 0.05
    assert any_awk.run("montecarlo-pi", samples=100_000, seed=7) == (0, printed)
    assert any_awk.run("montecarlo-pi", samples=100_000, seed=8)[1].split()[3] != printed.split()[3]


def test_a_result_file(any_awk: Runner) -> None:
    code, printed = any_awk.run("sweep-to-file", x=2)
    result = any_awk.directory / "scratch" / "sweep-to-file" / "b1" / "3.json"
    assert (code, printed) == (0, f"wrote {result}\n")
    made = json.loads(result.read_text())
    assert made == {"job_id": "b1-3", "x": 2, "square_root": pytest.approx(2**0.5)}
    assert os.listdir(result.parent) == ["3.json"]
    assert any_awk.run("sweep-to-file", x=9, folder="sweep-to-file")[0] == 0
    assert json.loads(result.read_text())["square_root"] == 3


def test_a_result_that_cannot_be_written_fails(runner: Runner) -> None:
    (runner.directory / "scratch").write_text("not a directory")
    code, printed = runner.run("sweep-to-file", x=2)
    assert code != 0
    assert "scratch" in printed


def test_a_folder_cannot_lead_elsewhere() -> None:
    for folder in ("..", "a/b", "", "../x", "a\n"):
        assert check(TOOLS["sweep-to-file"], {"x": 1, "folder": folder}, [], 1000).faults


def test_a_probe_told_nothing_succeeds(runner: Runner) -> None:
    assert runner.run("probe") == (0, "")


@pytest.mark.parametrize("text", ["hello", "", "-n", "%s\\n", "a'b\"c$(id)`id`\n\\\té 🦄"])
def test_a_probe_prints(runner: Runner, text: str) -> None:
    assert runner.run("probe", print=text) == (0, f"{text}\n")


def test_a_probe_exits_as_it_is_told(runner: Runner) -> None:
    assert runner.run("probe", exit_code=3, print="bye") == (3, "bye\n")


@pytest.mark.parametrize(
    ("name", "number"),
    [("KILL", signal.SIGKILL), ("SIGTERM", signal.SIGTERM), ("9", 9), ("SEGV", signal.SIGSEGV)],
)
def test_a_probe_dies_as_it_is_told(runner: Runner, name: str, number: int) -> None:
    assert runner.run("probe", signal=name, exit_code=3) == (-number, "")


@pytest.mark.parametrize("text", ["", "-KILL", "KILL; id", "0", "kill", "-9", "$(id)"])
def test_a_probe_takes_nothing_else_for_a_signal(text: str) -> None:
    assert check(TOOLS["probe"], {"signal": text}, [], 1000).faults


def test_a_probe_sleeps(runner: Runner) -> None:
    start = time.monotonic()
    assert runner.run("probe", sleep=0.3) == (0, "")
    assert 0.3 <= time.monotonic() - start < 3


def test_probes_leave_whole_lines_in_the_trace(runner: Runner) -> None:
    processes = [
        runner.start("probe", trace="trace", print=f"{letter * 15_000}\n\n{letter}")
        for letter in "abcdefgh"
    ]
    for process in processes:
        process.communicate(timeout=30)
        assert process.returncode == 0
    lines = (runner.directory / "trace").read_text().splitlines()
    assert sorted(lines) == [f"{letter * 15_000}  {letter}" for letter in "abcdefgh"]


def test_a_trace_that_cannot_be_written_fails_the_probe(runner: Runner) -> None:
    code, printed = runner.run("probe", trace="none/trace", print="x", exit_code=0)
    assert code != 0
    assert "none/trace" in printed


def test_a_probe_holds_memory_for_three_seconds(any_awk: Runner) -> None:
    start = time.monotonic()
    process = any_awk.start("probe", allocate=80)
    most, held_until, found = 0.0, start, 0.0
    while process.poll() is None:
        if held_now := own_memory(process.pid):
            found, most = held_now, max(most, held_now)
        held_until = time.monotonic() if found >= 80 else held_until
        time.sleep(0.1)
    if found >= 80:  # held to the end, and not looked at since
        held_until = time.monotonic()
    process.communicate()
    assert process.returncode == 0
    assert 80 <= most < 200
    assert held_until - start >= 2.5


def own_memory(pid: int) -> float:
    """MiB of a process and its children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    own = pages * os.sysconf("SC_PAGESIZE") / 2**20
    return own + sum(own_memory(int(child)) for child in children)
