"""What jobs printed, over HTTP, from real files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from falcon import testing

from tests.api.conftest import Api
from tests.api.fakes import FakeBatches

TEXT = b"".join(b"line %d\n" % number for number in range(100))


@pytest.fixture
def log_file(batches: FakeBatches) -> Path:
    file = batches.log_file(batches.add("anna", 2))
    file.write_bytes(TEXT)
    return file


@pytest.fixture
def path(log_file: Path) -> str:
    return f"/logs/{log_file.parent.name}-0.log"


def ranged(api: Api, path: str, value: str) -> testing.Result:
    return api.get(path, headers={"Range": value})


def test_the_whole(api: Api, log_file: Path, path: str) -> None:
    batch_id = log_file.parent.name
    for each in (path, f"/batches/{batch_id}/jobs/{batch_id}-0/log"):
        answer = api.get(each)
        assert answer.status_code == 200
        assert answer.content == TEXT
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["content-length"] == str(len(TEXT))
        assert answer.headers["accept-ranges"] == "bytes"


def test_nothing_yet(api: Api, log_file: Path) -> None:
    answer = api.get(f"/logs/{log_file.parent.name}-1.log")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "0"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("log_id", ["x", "01BATCH00000-9.log", "01BATCH00000-00.log", "..%2Fx.log"])
def test_logs_of_no_job(api: Api, log_file: Path, log_id: str) -> None:
    assert api.get(f"/logs/{log_id}").status_code == 404


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=10-19", 10, 20),
        ("bytes=10-", 10, len(TEXT)),
        ("bytes=0-999999", 0, len(TEXT)),
        ("bytes=-5", len(TEXT) - 5, len(TEXT)),
        ("bytes=-999999", 0, len(TEXT)),
        (f"bytes={len(TEXT) - 1}-", len(TEXT) - 1, len(TEXT)),
        ("BYTES=1-2", 1, 3),
        ("bytes= 1-2 ", 1, 3),
    ],
)
def test_a_range(api: Api, path: str, value: str, start: int, end: int) -> None:
    answer = ranged(api, path, value)
    assert answer.status_code == 206
    assert answer.content == TEXT[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(TEXT)}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize(
    "value",
    [
        "", "bytes", "bytes=", "bytes=-", "bytes=x-y", "bytes=5-1", "bytes=1-2,4-5", "bytes=0-0,-1",
        "lines=1-2", "bytes=1-2-3", "bytes=--1", "bytes=+1-2", "bytes=1.0-2", "bytes=\u00b2-",
        "bytes=0x1-0x2", "bytes=" + "9" * 2000 + "-",
    ],
)  # fmt: skip
def test_ranges_that_count_as_none(api: Api, path: str, value: str) -> None:
    answer = ranged(api, path, value)
    assert (answer.status_code, answer.content) == (200, TEXT)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize(
    "value", [f"bytes={len(TEXT)}-", "bytes=99999999999999999999-", "bytes=-0"]
)
def test_ranges_outside(api: Api, path: str, value: str) -> None:
    answer = ranged(api, path, value)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(TEXT)}"


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-0", "bytes=7-", "bytes=-0", "bytes=-5"])
@pytest.mark.parametrize("is_made", [True, False])
def test_the_range_of_an_empty_log(
    api: Api, log_file: Path, path: str, value: str, is_made: bool
) -> None:
    log_file.unlink()
    if is_made:
        log_file.touch()
    answer = ranged(api, path, value)
    assert (answer.status_code, answer.content) == (200, b"")
    assert "content-range" not in answer.headers


def test_a_range_that_is_for_something_else(api: Api, path: str) -> None:
    headers = {"Range": "bytes=0-0", "If-Range": '"x"'}
    assert api.get(path, headers=headers).content == TEXT
    head = api.ask("HEAD", path, headers={"Range": "bytes=0-0"})
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(TEXT)))


@pytest.mark.parametrize("n", [1, 2, 99, 100, 10_000])
def test_the_last_lines(api: Api, path: str, n: int) -> None:
    answer = api.get(f"{path}?tail={n}")
    assert answer.status_code == 200
    assert answer.content == b"".join(TEXT.splitlines(keepends=True)[-n:])
    assert answer.headers["content-length"] == str(len(answer.content))


def test_bytes_are_sent_as_they_are(api: Api, log_file: Path, path: str) -> None:
    log_file.write_bytes(bytes(range(256)) + b"<script>alert(1)</script>")
    answer = api.get(path)
    assert answer.content == log_file.read_bytes()
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("kind", ["link", "fifo", "hard link", "directory"])
def test_what_is_no_plain_file(api: Api, log_file: Path, path: str, kind: str) -> None:
    log_file.unlink()
    if kind == "link":
        log_file.symlink_to("/etc/passwd")
    elif kind == "fifo":
        os.mkfifo(log_file)
    elif kind == "directory":
        log_file.mkdir()
    else:
        other = log_file.with_name("other")
        other.write_bytes(b"other")
        os.link(other, log_file)
    answer = api.get(path)
    assert answer.status_code == 409
    assert answer.json["type"] == "urn:slurmbatch:problem:log-unreadable"


def test_no_descriptor_is_left_open(api: Api, log_file: Path, path: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    api.get(path)
    api.ask("HEAD", path)
    ranged(api, path, "bytes=9999-")
    ranged(api, path, "bytes=1-2")
    api.get(f"{path}?tail=3")
    assert len(os.listdir("/proc/self/fd")) == before
