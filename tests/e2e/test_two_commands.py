"""What `make demo` and `make test` run: a demo that leaves nothing behind, and what is missing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65_534


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody can reach, which pytest's own is not."""
    made = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


class TestPrepare:
    @pytest.fixture
    def tree(self, place: Path) -> Path:
        """One whose virtual environment is made already."""
        shutil.copytree(ROOT / ".ci", place / ".ci")
        (place / "setup.py").write_text("")
        program(place / ".venv" / "bin" / "python", "exit 1")
        return place

    def prepare(self, tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """As somebody who can install nothing."""
        somebody = NOBODY if os.geteuid() == 0 else None
        return subprocess.run(
            [tree / ".ci" / "prepare", *arguments], capture_output=True, text=True, timeout=30,
            user=somebody, group=somebody, extra_groups=None if somebody is None else [],
        )  # fmt: skip

    def test_who_is_not_root_is_told_the_exact_line(self, tree: Path) -> None:
        programs = ("no-such-x=wanted-b", "sh=dash", "no-such-y=wanted-a", "no-such-z=wanted-b")
        done = self.prepare(tree, "", *programs)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr == (
            "Some programs are missing. As root, on Debian 12 or newer:\n\n"
            "  apt-get install --no-install-recommends wanted-a wanted-b\n\n"
            "Then call make again.\n"
        )
        assert {each.name for each in tree.iterdir()} == {".ci", ".venv", "setup.py"}

    def test_daemons_are_found_where_only_root_looks(self, tree: Path) -> None:
        done = self.prepare(tree, "", "ldconfig=libc-bin", "no-such-x=wanted")
        assert "libc-bin" not in done.stderr

    @pytest.mark.parametrize("ready", ["", "dev"])
    def test_where_nothing_is_missing_it_does_and_says_nothing(
        self, tree: Path, ready: str
    ) -> None:
        with (tree / "setup.py").open() as setup:
            told = subprocess.run(["cksum"], stdin=setup, capture_output=True, text=True)
        (tree / ".venv" / f".ready-{ready}").write_text(f"{told.stdout.strip()} {tree}\n")
        done = self.prepare(tree, "", "sh=dash")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slurm
class TestDemo:
    @pytest.fixture
    def tree(self, place: Path) -> Iterator[Path]:
        """A checkout whose path is long, and not as Slurm would have it."""
        made = place / "a place with spaces" / ("x" * 60)
        for name in (".ci", "slurmbatch", "etc"):
            shutil.copytree(ROOT / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
        program(made / ".venv" / "bin" / "slurmbatch", f'exec {sys.executable} -m slurmbatch "$@"')
        yield made
        if (made / ".demo").exists():
            subprocess.run([made / ".ci" / "demo", "down"], timeout=60)

    def demo(self, tree: Path, what: str) -> subprocess.Popen[str]:
        """In a process group of its own, as a shell starts it."""
        return subprocess.Popen(
            [tree / ".ci" / "demo", what], text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def test_interrupted_then_twice_and_down(self, tree: Path) -> None:
        told = self.interrupted(tree)
        assert "is taken down" in told
        assert "Its logs are kept in .cache/demo-logs" in told
        assert (tree / ".cache" / "demo-logs" / "slurmctld.log").exists()

        first = self.to_its_end(tree)
        directory = (tree / ".demo").resolve()
        assert directory.parent == Path("/tmp")
        assert processes_of(directory)
        env = (tree / ".demo" / "env").read_text()
        again = self.to_its_end(tree)
        for printed in (first, again):
            assert "All 100 jobs have ended: 100 SUCCEEDED" in printed
            assert "make demo-down" in printed
        assert (tree / ".demo" / "env").read_text() == env

        down = self.demo(tree, "down")
        _, told = down.communicate(timeout=60)
        assert down.returncode == 0, told
        self.check_gone(tree, directory)
        down = self.demo(tree, "down")
        printed, _ = down.communicate(timeout=60)
        assert (down.returncode, printed) == (0, "There is no demo to take down.\n")

    def interrupted(self, tree: Path) -> str:
        """Ctrl-C in mid-run; gives what it said."""
        process = self.demo(tree, "up")
        deadline = time.monotonic() + 60
        while not (tree / ".demo" / "run" / "slurmctld.pid").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        directory = (tree / ".demo").resolve()
        assert processes_of(directory)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130, told
        self.check_gone(tree, directory)
        return told

    def to_its_end(self, tree: Path) -> str:
        process = self.demo(tree, "up")
        printed, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
        return printed

    def check_gone(self, tree: Path, directory: Path) -> None:
        assert processes_of(directory) == []
        assert not directory.exists()
        assert not (tree / ".demo").is_symlink()


def processes_of(directory: Path) -> list[str]:
    """The command lines of what runs with the directory's name in it, or in it."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            told = (each / "cmdline").read_bytes() + (each / "environ").read_bytes()
            at = str((each / "cwd").readlink())
        except OSError:
            continue
        if os.fsencode(directory) in told or at.startswith(f"{directory}/"):
            found.append(f"{each.name} {told[:100]!r}")
    return found
