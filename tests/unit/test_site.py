"""The pages as a site: built without a warning, with every endpoint as it was first documented."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slurmbatch.api.operations import OPERATIONS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    made = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html",
         "-d", str(place / "doctrees"), str(ROOT / "docs"), str(place / "html")],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    return place / "html"


def text_of(page: Path) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page.read_text())).split())


def test_every_page_is_there(site: Path) -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file()
    assert "Nothing accepted is ever lost or run twice" in text_of(site / "front.html")
    assert "Keep a Changelog" in text_of(site / "changelog.html")


def test_the_reference_has_every_endpoint_in_the_form_that_users_know(site: Path) -> None:
    reference = text_of(site / "reference.html")
    for each in OPERATIONS:
        path = re.sub(r"{(\w+)}", r"(\1)", each.path)
        assert f"{each.method} {path}" in reference
    entry = reference.partition("GET /batches/(batch_id)")[2].partition("DELETE /batches/")[0]
    for part in (
        "The user is identified by the ‘user_id’ in the request context.",
        "Request Headers:",
        "Authorization – API key or Bearer token for user authentication",
        "Status Codes:",
        'Response Syntax: [ { "batch_id": "string", "tool_id": "string", "n_jobs": 123, '
        '"hardware": { "filesystems": [ "id" ], "memory": 123, "cpu": 123 }, "n_submitted": 123,',
        "May raise exceptions related to database operations or service availability",
    ):
        assert part in entry, part


def test_links_between_pages_stay_within_the_site(site: Path) -> None:
    for page in site.glob("*.html"):
        for link in re.findall(r'href="([^"#:]+\.(?:md|rst))', page.read_text()):
            pytest.fail(f"{page.name}: {link}")
