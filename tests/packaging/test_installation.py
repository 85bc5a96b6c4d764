"""The page on installing it, typed word by word on the least Debian that boots."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine import Machine, booted
from tests.pages import Terminal

from .conftest import ROOT, Built, the_debian

PAGE = (ROOT / "docs/installation.md").read_text()
PREPARE = 'cp "$4" root/; mkdir root/wheels; cp "$5"/*.whl root/wheels/; rm etc/dpkg/dpkg.cfg.d/*'


def sections(page: str) -> dict[str, str]:
    """By their headings, in their order."""
    parts = re.split(r"^##+ (.*)\n", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def after_the_program() -> str:
    """The check of the first step, and all steps after it."""
    found = sections(PAGE)
    return "".join(list(found.values())[list(found).index("The check") :])


@pytest.fixture(params=["The Debian package", "With pip"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def head_node(
    way: str, built: Built, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Machine]:
    given = built.wheel if way == "With pip" else request.getfixturevalue("deb")
    with booted(tmp_path, the_debian(), PREPARE, str(given), str(built.needed)) as machine:
        yield machine


def test_word_by_word(way: str, head_node: Machine, tmp_path: Path) -> None:
    # pip finds what it needs as it would in the network.
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/root/wheels", "HOME": "/root",
           "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}  # fmt: skip
    around = head_node.around("env", *(f"{name}={value}" for name, value in env.items()))
    terminal = Terminal(*around, env={}, place=tmp_path)
    try:
        terminal.type("cd /root")
        assert terminal.goes_through(sections(PAGE)[way]) >= 1
        assert terminal.goes_through(after_the_program()) > 12
    finally:
        terminal.close()
