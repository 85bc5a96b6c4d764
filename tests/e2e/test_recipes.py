"""What the pages show to be typed, typed: on the real daemon and a real Slurm."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slurmbatch.sandbox import Sandbox
from tests.e2e.conftest import Api

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).parents[2]


def sections(page: str, *, only: str = "") -> list[tuple[str, str]]:
    """The parts of a page by their headings."""
    parts = re.split(r"^#+ (.+)$", (ROOT / page).read_text(), flags=re.MULTILINE)
    found = list(zip(parts[1::2], parts[2::2], strict=True))
    return [(title, text) for title, text in found if not only or title == only]


def code(text: str, language: str) -> str:
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL))


COOKBOOK = sections("docs/cookbook.md")
PYTHON = [
    *((f"cookbook: {title}", text) for title, text in COOKBOOK),
    *((f"client: {title}", text) for title, text in sections("docs/client.md")),
    *(("front page", text) for _, text in sections("README.md", only="From Python")),
]


@pytest.fixture
def env(service: Sandbox, api: Api, tmp_path: Path) -> dict[str, str]:
    """Somebody with the demo up, and slurmbatch in the PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "slurmbatch").write_text(f'#!/bin/sh\nexec {sys.executable} -m slurmbatch "$@"\n')
    (programs / "slurmbatch").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    return {**os.environ, **service.variables, "PATH": path, "XDG_CONFIG_HOME": str(tmp_path)}


def run(command: list[str], text: str, env: dict[str, str], place: Path) -> str:
    done = subprocess.run(
        command, input=text, cwd=place, env={**env, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def bash(text: str, env: dict[str, str], place: Path) -> str:
    return run([str(shutil.which("bash")), "-euo", "pipefail"], text, env, place)


@pytest.mark.parametrize(
    "text", [text for _, text in COOKBOOK if "```sh" in text],
    ids=[title for title, text in COOKBOOK if "```sh" in text],
)  # fmt: skip
def test_of_the_cookbook(env: dict[str, str], tmp_path: Path, text: str) -> None:
    bash(code(text, "sh"), env, tmp_path)


@pytest.mark.parametrize(
    "text", [text for _, text in PYTHON if "```python" in text],
    ids=[title for title, text in PYTHON if "```python" in text],
)  # fmt: skip
def test_in_python(env: dict[str, str], tmp_path: Path, text: str) -> None:
    run([sys.executable, "-W", "error", "-"], code(text, "python"), env, tmp_path)


def test_on_the_front_page(env: dict[str, str], tmp_path: Path) -> None:
    ((_, text),) = sections("README.md", only="From the command line")
    lines = [line for line in code(text, "sh").splitlines() if not line.startswith("alias ")]
    printed = bash("\n".join(lines), env, tmp_path)
    assert "100 SUCCEEDED" in printed
    assert "pi is about 3.1" in printed


def test_the_script_of_a_workflow(env: dict[str, str], tmp_path: Path) -> None:
    """What stands in the rule for Snakemake, twice: the second time finds the same batch."""
    ((_, text),) = sections("docs/cookbook.md", only="From Snakemake")
    (script,) = re.findall(r'"""\n(.*?)"""', text, re.DOTALL)
    script = script.replace("{input}", "params.csv").replace("{output}", "pi.json")
    (tmp_path / "params.csv").write_text("samples,seed\n10000,1\n10000,2\n")
    for _ in range(2):
        bash(f"{script}\nslurmbatch ls --json >ls.json", env, tmp_path)
        assert (tmp_path / "ls.json").read_text().count('"batch_id"') == 1
        assert (tmp_path / "pi.json").read_text().count("pi is about 3.1") == 2
    ((_, other),) = sections("docs/cookbook.md", only="From Nextflow")
    (nextflow,) = re.findall(r'"""\n(.*?)"""', other, re.DOTALL)
    plain = nextflow.replace("\\$", "$").replace("${params}", "params.csv")
    assert plain.split() == script.split()
