"""gzip: for those who take it, where it pays, and never for what has bytes that count."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator

import pytest

from slurmbatch.api import gzipping
from tests.api.conftest import Api
from tests.api.fakes import FakeBatches

TAKES_IT = {"Accept-Encoding": "gzip, deflate, br"}


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("gzip ; q=0.001", True),
        ("gzip; Q=0.5", True),
        ("*", True),
        ("br, *;q=0.1", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("deflate, br, zstd", False),
        ("identity", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip", True),
        ("identity;q=0, gzip;q=0.1", True),
        ("gzip;q=much", False),
        ("gzip;q=nan", False),
        ("gzip;q=7", False),
        ("gzip;level=9", False),
        ("gzipped", False),
        (",,;,=;q,gzip", True),
        ("gzip" + "," * 300, False),
    ],
)
def test_who_takes_it(header: str | None, wanted: bool) -> None:
    assert gzipping.is_wanted(header) is wanted


@pytest.mark.parametrize(
    "path",
    ["/batches", "/batches/{}/jobs", "/batches/{}/jobs?limit=90", "/openapi.json"],
)
def test_long_answers(api: Api, batches: FakeBatches, path: str) -> None:
    for _ in range(20):
        batch_id = batches.add("anna", 1000).batch_id
    path = path.format(batch_id)
    plain, packed = api.get(path), api.get(path, headers=TAKES_IT)
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.content) == plain.content
    assert len(packed.content) * 4 < len(plain.content)
    assert "content-encoding" not in plain.headers
    for answer in (plain, packed):
        assert "Accept-Encoding" in answer.headers["vary"]
        length = answer.headers.get("content-length", str(len(answer.content)))
        assert length == str(len(answer.content))


def test_one_thing_that_is_long(api: Api, batches: FakeBatches) -> None:
    path = f"/batches/{batches.add('anna', name='n' * 2000).batch_id}"
    for accept in ("*/*", "application/vnd.slurmbatch.object+json"):
        plain = api.get(path, headers={"Accept": accept})
        packed = api.get(path, headers={"Accept": accept, **TAKES_IT})
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.content) == plain.content
        assert packed.headers["vary"] == plain.headers["vary"] == "Accept, Accept-Encoding"
        assert packed.headers["etag"] == plain.headers["etag"]
    same = api.get(path, headers={"If-None-Match": plain.headers["etag"], **TAKES_IT})
    assert (same.status_code, same.content) == (304, b"")
    assert "content-encoding" not in same.headers
    assert same.headers["vary"] == plain.headers["vary"]


def test_what_stays_as_it_is(api: Api, batches: FakeBatches) -> None:
    batch = batches.add("anna", 1000)
    batches.log_file(batch).write_bytes(b"again\n" * 1000)
    log = f"/logs/{batch.batch_id}-0.log"
    answers = [
        api.get(f"/batches/{batch.batch_id}", headers=TAKES_IT),  # short
        api.get("/batches/none", headers=TAKES_IT),
        api.get(log, headers=TAKES_IT),
        api.get(log, headers={"Range": "bytes=0-4999", **TAKES_IT}),
        *(api.ask("HEAD", f"/batches{end}", headers=TAKES_IT)
          for end in ("", f"/{batch.batch_id}/jobs", f"/{batch.batch_id}/jobs?limit=500")),
        api.delete("/batches", headers=TAKES_IT),
    ]  # fmt: skip
    for answer in answers:
        assert "content-encoding" not in answer.headers
    assert answers[2].content == b"again\n" * 1000


def test_the_first_chunk_can_be_read_before_there_is_a_second() -> None:
    asked = []

    def chunks() -> Iterator[bytes]:
        for number in range(3):
            asked.append(number)
            yield json.dumps([number]).encode()

    packed = gzipping.parts(chunks())
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert reader.decompress(next(packed)) == b"[0]"
    assert asked == [0]
    assert reader.decompress(b"".join(packed)) == b"[1][2]"
    assert reader.eof
