"""What tests of several rooms share."""

from __future__ import annotations

import io
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from slurmbatch import journal
from slurmbatch.sandbox import Sandbox
from slurmbatch.sandbox.build import ROOT_VARIABLE

# A line for each request drowns what a failed test has to say.
logging.getLogger("httpx").setLevel(logging.WARNING)


MEMORY = Path("/dev/shm")
_ENOUGH = 4 << 30


def has_room(directory: Path) -> bool:
    """Whether tests can have their files there: scripts, too."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    room = found.f_bavail * found.f_frsize
    return room > _ENOUGH and not found.f_flag & os.ST_NOEXEC and os.access(directory, os.W_OK)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slurm-root",
        type=Path,
        help="run the tests that need a real Slurm, and only those, on the one unpacked there; "
        "where it is not, skip them, with the reason that stands in DIRECTORY.why",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Somebody who ends the tests politely gets the sandboxes taken down as well."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if has_room(MEMORY):
        # Where `tmp_path` lies: thousands of databases, of which each commit waits for the disk.
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    if find_spec("hypothesis") and not os.environ.get("FUZZ_EXAMPLES"):
        from hypothesis import HealthCheck, settings

        # A test finds the same each time; to look for more is what `make fuzz` is for.
        # How long it takes says something of the machine.
        settings.register_profile("same", derandomize=True, database=None, deadline=None,
                                  suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
        settings.load_profile("same")
    if root := config.getoption("--slurm-root"):
        # Every sandbox of the tests is made of it, and those of the programs that they start.
        os.environ[ROOT_VARIABLE] = str(root.absolute())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    root = config.getoption("--slurm-root")
    if root is None:
        return
    elsewhere = [item for item in items if not on_any_slurm(item)]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if on_any_slurm(item)]
    if not root.is_dir():
        why = Path(f"{root}.why")
        reason = " ".join(why.read_text().split()) if why.exists() else f"there is no {root}"
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


def on_any_slurm(item: pytest.Item) -> bool:
    """Whether the test is about a real Slurm, and not about the installed one alone."""
    return item.get_closest_marker("slurm") is not None and not item.get_closest_marker("installed")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the service says while a test runs."""
    stream = io.StringIO()
    journal.configure("info", stream)
    yield stream
    journal.configure("info")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Sandbox]:
    """A real Slurm of its own, up once for all the tests that ask for it."""
    # The sockets inside need a short path, which tmp_path is not.
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    box = Sandbox(directory, min_job_age=60)
    try:
        box.up()
        yield box
    finally:
        box.down()
        shutil.rmtree(directory, ignore_errors=True)
