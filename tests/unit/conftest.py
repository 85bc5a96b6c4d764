"""A service and a Slurm in memory, moved on by hand; with claims, and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .world import World


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """A module's ARRAY_SIZE is how many tasks an array may have at most; without, there is room."""
    made = World(tmp_path, array_size=getattr(request.module, "ARRAY_SIZE", None))
    yield made
    made.store.close()


@pytest.fixture
def fenced(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, claims=True)
    yield made
    made.store.close()
