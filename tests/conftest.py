"""What tests of several rooms share."""

from __future__ import annotations

import logging
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmbatch.sandbox import Sandbox

# A line for each request drowns what a failed test has to say.
logging.getLogger("httpx").setLevel(logging.WARNING)


def pytest_configure() -> None:
    """Somebody who ends the tests politely gets the sandboxes taken down as well."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


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
