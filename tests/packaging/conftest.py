"""What is built, once for all tests that look at it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What a command prints; that it went well is told where it didn't."""
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Built:
    """What is given to others, and the wheels of what it needs."""

    wheel: Path
    sdist: Path
    needed: Path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    place = tmp_path_factory.mktemp("dist")
    run(ROOT / ".ci/dist", place)
    (wheel,) = place.glob("*.whl")
    (sdist,) = place.glob("*.tar.gz")
    needed = run(ROOT / ".ci/wheels", wheel, sys.executable).strip()
    return Built(wheel, sdist, Path(needed))


def tracked() -> set[str]:
    """The files of the checkout."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("there is no git, or this is no checkout")
    # Those that are not committed yet as well.
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    return {each for each in listed.splitlines() if (ROOT / each).exists()}


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("dh") or not Path("/usr/bin/python3").exists():
        pytest.skip("a Debian package is built on Debian alone, with debhelper")
    place = tmp_path_factory.mktemp("deb")
    run("env", "LEVEL=1", ROOT / ".ci/deb", place)
    (made,) = place.glob("*.deb")
    return made


def the_debian() -> Path:
    """One that is unpacked; where it can't be had, the test is skipped."""
    done = subprocess.run([ROOT / ".ci/debian-root"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr)
    return Path(done.stdout.strip())
