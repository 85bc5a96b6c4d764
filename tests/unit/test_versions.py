"""What differs by Slurm's version, as far as it can be told without one."""

from __future__ import annotations

import io
import re
import threading
from pathlib import Path

import pytest

from slurmbatch.config import load
from slurmbatch.daemon import chosen_slurm
from slurmbatch.slurm import parse, quirks
from tests.record import NONCE

DOCS = Path(__file__).parents[2] / "docs/versions.md"


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("slurm-wlm 21.08.8", ["older than any", "128 off exit codes", "how often"]),
        ("slurm-wlm 22.05.8", ["128 off exit codes", "how often"]),
        ("slurm 24.11.5", ["128 off exit codes"]),
        ("slurm-wlm 26.05.5", []),
        ("slurm 26.11.0", ["newer than any"]),
        ("", []),
    ],
)
def test_what_does_not_work_on_a_version_is_said(version: str, said: list[str]) -> None:
    told = quirks.limits(version)
    assert len(told) == len(said)
    assert all(word in text for word, text in zip(said, told, strict=True))


def test_the_page_has_a_row_for_every_limit_and_version_that_is_tested() -> None:
    page = DOCS.read_text()
    rows = re.findall(r"^\| (\d\d\.\d\d) \|", page, re.MULTILINE)
    assert rows == ["22.05", "24.11", "26.05"]
    assert {each.name for each in (DOCS.parents[1] / "tests/recorded").iterdir()} == set(rows)
    for limit in quirks.LIMITS:
        assert " ".join(limit.text.split()) in " ".join(page.split())


def test_accounting_is_asked_for_restarts_only_where_it_knows_them() -> None:
    assert quirks.ended_fields(parse.ENDED_FIELDS, "slurm-wlm 22.05.8") == parse.ENDED_FIELDS
    assert quirks.ended_fields(parse.ENDED_FIELDS, "") == parse.ENDED_FIELDS
    more = quirks.ended_fields(parse.ENDED_FIELDS, "slurm-wlm 24.11.5")
    assert more == (*parse.ENDED_FIELDS[:-1], "Restarts", "JobName")
    values = {"JobID": "7_1", "State": "COMPLETED", "Restarts": "2", "JobName": "sb-a"}
    line = f"|{NONCE}|".join(values.get(name, "0") for name in more)
    assert [row.restarts for row in parse.ended(line, NONCE, more)] == [2]
    assert list(parse.ended(line, NONCE)) == []


def test_jobs_get_through_pyslurm_what_sbatch_of_that_version_gives() -> None:
    assert quirks.given_by_sbatch("22.5.0") == {}
    newer = quirks.given_by_sbatch("25.11.2")
    assert newer["HYDRA_BOOTSTRAP"] == "slurm"
    assert newer["PRTE_MCA_plm_slurm_args"] == "--external-launcher"


@pytest.mark.parametrize(("version", "n"), [("22.05.8", 2), ("26.05.5", 0), (None, 0)])
def test_the_daemon_says_so_at_its_start(
    tmp_path: Path, log: io.StringIO, version: str | None, n: int
) -> None:
    (tmp_path / "tools.d").mkdir()
    if version is not None:
        (tmp_path / "scontrol").write_text(f"#!/bin/sh\necho slurm-wlm {version}\n")
        (tmp_path / "scontrol").chmod(0o755)
    file = tmp_path / "slurmbatch.toml"
    file.write_text(
        f'[jobs]\nlog_dir = "{tmp_path}"\n[slurm]\nbackend = "commands"\nbin_dir = "{tmp_path}"\n'
    )
    chosen_slurm(load(file))
    for thread in [each for each in threading.enumerate() if each.name == "limits"]:
        thread.join(20.0)
    told = [line for line in log.getvalue().splitlines() if "has limits" in line]
    assert len(told) == n
    assert all(f'version="slurm-wlm {version}"' in line and " warning " in line for line in told)
