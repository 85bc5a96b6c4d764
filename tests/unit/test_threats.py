"""Each threat in the table of the page on security has a defence, and tests that are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text().partition("\n## Each threat")[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| threat", "| ---"))
]


@cache
def names(file: str) -> set[str]:
    """Of the tests in a file, and of its classes of tests that have any."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            found.add(node.name)
        tests = getattr(node, "body", []) if isinstance(node, ast.ClassDef) else []
        if any(getattr(each, "name", "").startswith("test_") for each in tests):
            found.add(node.name)  # type: ignore[attr-defined]
    return found


def test_no_threat_is_missing() -> None:
    assert len(ROWS) >= 24
    assert len({row[0] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:50] for row in ROWS])
def test_its_tests_are_there(row: list[str]) -> None:
    _threat, defence, tests = row
    assert defence
    told = re.findall(r"`(tests/[a-z0-9_/]+\.py)::([A-Za-z0-9_]+)`", tests)
    assert told
    assert len(told) == tests.count("::")
    assert [f"{file}::{name}" for file, name in told if name not in names(file)] == []
