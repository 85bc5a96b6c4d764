"""The page at /docs, without credentials and without anything from elsewhere."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from slurmbatch.api.operations import OPERATIONS
from slurmbatch.config import Server
from slurmbatch.web import Web
from tests.api.conftest import Api
from tests.ports import free_port

PARTS = ("swagger-ui-bundle.js", "swagger-ui.css", "start.js")


@pytest.fixture(autouse=True)
def stranger(api: Api) -> None:
    api.user = None


def test_it_consists_of_what_is_there(api: Api) -> None:
    answer = api.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert {f"docs/{part}" for part in PARTS} < set(named)
    for each in named:
        if not each.startswith("data:"):
            assert api.get(f"/{each}").status_code == 200
    assert not re.search(r"https?://", answer.text)


@pytest.mark.parametrize("part", ["", *(f"/{each}" for each in PARTS)])
def test_its_policy_lets_nothing_in_from_elsewhere(api: Api, part: str) -> None:
    policy = api.get(f"/docs{part}").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("part", PARTS)
def test_a_part_as_gzip_as_it_is_and_not_again(api: Api, part: str) -> None:
    plain = api.get(f"/docs/{part}")
    packed = api.get(f"/docs/{part}", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.content) == plain.content
    again = api.get(f"/docs/{part}", headers={"If-None-Match": plain.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("file", ["other.js", "index.html", "LICENSE.swagger-ui", "..%2fapp.py"])
def test_nothing_else_is_there(api: Api, file: str) -> None:
    assert api.get(f"/docs/{file}").status_code == 404


def test_a_query_is_no_matter(api: Api) -> None:
    assert api.get("/docs?urls.primaryName=x").status_code == 200


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium here")
def test_a_browser_without_a_network_shows_it(api: Api, tmp_path: Path) -> None:
    port = free_port()
    web = Web(api.app, Server(port=port))
    web.start()
    try:
        seen = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
             "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--dump-dom",
             f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000",
             f"http://127.0.0.1:{port}/docs#/batches/create_batch"],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    finally:
        web.stop(time.monotonic() + 5)
    for each in OPERATIONS:
        assert each.summary in seen.stdout
    assert "Idempotency-Key" in seen.stdout  # of the operation that the address names
    assert "pi, two seeds" in seen.stdout
    assert "Content Security Policy" not in seen.stderr  # which would tell what it has kept out
