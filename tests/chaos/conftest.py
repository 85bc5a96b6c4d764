"""One sandbox for all chaos tests; each has a slurmbatch of its own on it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmbatch.sandbox import Sandbox
from tests.chaos.site import new_sandbox


@pytest.fixture(scope="session")
def chaos_box() -> Iterator[Sandbox]:
    directory = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    box = new_sandbox(directory)
    try:
        box.up()
        yield box
    finally:
        box.down()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def directory(chaos_box: Sandbox, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A new one, which is kept, with Slurm's logs, if the test fails."""
    root = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    failed_before = request.session.testsfailed
    yield root
    if request.session.testsfailed == failed_before:
        shutil.rmtree(root)
    else:
        shutil.copytree(chaos_box.dir / "log", root / "slurm-logs")
