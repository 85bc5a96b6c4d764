"""The tutorial, typed word by word on a real Slurm, and what comes compared with what it shows."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmbatch.sandbox import Sandbox

from .conftest import Api

pytestmark = pytest.mark.slurm
PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()


def steps(page: str) -> Iterator[tuple[str, str]]:
    """Each command with the lines that go on with it, and what the page shows to come of it."""
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            typed, shown = [], []
            for number, line in enumerate(step.splitlines()):
                if number == 0 or (line.startswith("> ") and not shown):
                    typed.append(line.removeprefix("> ") if number else line)
                else:
                    shown.append(line)
            yield "\n".join(typed), "\n".join(shown)


def fits(shown: str, came: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in shown.split("…"))
    return re.fullmatch(pattern, came.strip("\n"), re.DOTALL) is not None


class Terminal:
    """A bash that is told one thing after the other."""

    def __init__(self, env: dict[str, str], place: Path) -> None:
        self._bash = subprocess.Popen(
            [str(shutil.which("bash")), "--norc"], env=env, cwd=place, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def type(self, text: str) -> str:
        """What comes of it."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        end = secrets.token_hex(8)
        self._bash.stdin.write(f"{text}\nprintf '\\n{end}\\n'\n")
        self._bash.stdin.flush()
        came = []
        for line in self._bash.stdout:
            if line == f"{end}\n":
                return "".join(came).removesuffix("\n")
            came.append(line)
        raise AssertionError("".join(came))

    def close(self) -> None:
        self._bash.kill()
        self._bash.communicate()


def test_word_by_word(service: Sandbox, api: Api, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "slurmbatch").write_text(f'#!/bin/sh\nexec {sys.executable} -m slurmbatch "$@"\n')
    (programs / "slurmbatch").chmod(0o755)
    root = str(Path(__file__).parents[2])
    env = {**os.environ, **service.variables, "PATH": f"{programs}:{os.environ['PATH']}",
           "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": root, "COLUMNS": "80"}  # fmt: skip
    terminal = Terminal(env, tmp_path)
    try:
        done = 0
        for typed, shown in steps(PAGE):
            came = terminal.type(typed)
            assert fits(shown, came), f"$ {typed}\n--- expected:\n{shown}\n--- came:\n{came}"
            done += 1
        assert done > 20
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
