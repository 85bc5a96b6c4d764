"""Whatever is in a request, no line of the log begins with it, ends in it or is hidden by it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from falcon import testing

from slurmbatch import journal
from tests.api.hostile.site import OWNER, Site
from tests.api.hostile.written import GOOD

POISONS = ("\n", "\r\n", "\x1b]0;owned\x07", "\u202e", "\x9b31m", "\u2028", "\x00", "\x08", "\x85")
FORGED = '2026-01-01T00:00:00.000Z info event="forged" user=root'


@pytest.mark.parametrize("poison", POISONS, ids=[ascii(each) for each in POISONS])
def test_every_place_of_a_request(site: Site, log: io.StringIO, poison: str) -> None:
    journal.configure("debug", log)
    text = f"{poison}{FORGED}{poison}"
    asked = 0
    for method, path, headers, body in requests(site, text):
        testing.simulate_request(site.app, method, path, headers=headers, body=body)
        asked += 1
    written = log.getvalue()
    lines = written.removesuffix("\n").split("\n")
    served = [line for line in lines if ' event="request served" ' in line]
    assert len(served) == asked
    for line in lines:
        # Of each line the time is ours, there is one event, and nothing but plain characters.
        assert line.count(" event=") <= 1 + line.count('\\" user=root') + line.count("forged")
        assert not line.startswith(FORGED[:30])
        assert line.isprintable()
        assert "\u202e" not in line


def requests(site: Site, text: str) -> Iterator[tuple[str, str, dict[str, str], bytes]]:
    """One for each place at which somebody may write something."""
    usual = {"Authorization": site.keys[OWNER], "Content-Type": "application/json"}
    for path in (
        f"/{quote(text)}", f"/batches/{quote(text)}", f"/logs/{quote(text)}",
        f"/keys/{quote(text)}",
        f"/tools/{quote(text)}", f"/batches?name={quote(text)}", f"/batches?{quote(text)}=1",
        f"/batches?after={quote(text)}",
    ):  # fmt: skip
        yield "GET", path, usual, b""
    header = text.encode("utf-8").decode("latin-1")
    for name in ("Authorization", "X-Request-Id", "User-Agent", "Idempotency-Key", "Referer",
                 "X-Forwarded-For", "Accept", "If-None-Match", "Content-Type"):  # fmt: skip
        yield "POST", "/batches", {**usual, name: header}, json.dumps(GOOD | {"x": 1}).encode()
    yield "POST", "/batches", {**usual, "Authorization": f"Bearer {header}"}, b"{}"
    for field in GOOD:
        for bad in (text, [text], {text: text}):
            yield "POST", "/batches", usual, json.dumps({**GOOD, field: bad}).encode()
    yield "POST", "/keys", usual, json.dumps({"name": text}).encode()
    yield "POST", f"/batches/{site.own}/retry", usual, json.dumps({"indices": text}).encode()
