"""The tutorial, typed word by word on a real Slurm, and what comes compared with what it shows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from slurmbatch.sandbox import Sandbox
from tests.pages import Terminal, fits

from .conftest import Api

pytestmark = pytest.mark.slurm
PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()


def test_word_by_word(service: Sandbox, api: Api, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "slurmbatch").write_text(f'#!/bin/sh\nexec {sys.executable} -m slurmbatch "$@"\n')
    (programs / "slurmbatch").chmod(0o755)
    root = str(Path(__file__).parents[2])
    env = {**os.environ, **service.variables, "PATH": f"{programs}:{os.environ['PATH']}",
           "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": root, "COLUMNS": "80"}  # fmt: skip
    terminal = Terminal(env=env, place=tmp_path)
    try:
        assert terminal.goes_through(PAGE) > 20
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("shown", "came", "is_so"),
    [
        ("a\nb", "a\nb\n", True),
        ("a\n…\nd", "a\nb\nc\nd\n", True),
        ("3.1… (x)", "3.14 (x)", True),
        ("3.1… (x)", "3.24 (x)", False),
        ("", "error", False),
        ("a.b", "axb", False),
    ],
)
def test_it_can_tell_what_differs(shown: str, came: str, is_so: bool) -> None:
    assert fits(shown, came) is is_so
