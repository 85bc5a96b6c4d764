"""Answers: JSON arrays, a single object for those who ask for one, and arrays as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice

import falcon

JSON = "application/json"
OBJECT = "application/vnd.slurmbatch.object+json"
_ROWS_PER_CHUNK = 250
# Kept, since json.dumps makes an encoder for each call that does not take the defaults.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def json_bytes(value: object) -> bytes:
    """JSON in UTF-8. Half a surrogate pair, which UTF-8 has no form for, stays an escape."""
    return _encode(value).encode("utf-8", "backslashreplace")


def send_one(req: falcon.Request, resp: falcon.Response, element: object) -> None:
    """A single resource: an array of one, or the element itself."""
    resp.set_header("Vary", "Accept")
    if _wants_object(req):
        resp.content_type = OBJECT
        resp.data = json_bytes(element)
    else:
        send_all(resp, [element])


def send_all(resp: falcon.Response, elements: list[object]) -> None:
    resp.content_type = JSON
    resp.data = json_bytes(elements)


def send_stream(resp: falcon.Response, elements: Iterable[object]) -> None:
    """An array of any length, made while it is sent."""
    chunks = array_chunks(elements)
    # Made before the answer begins, so that trouble there is still told with a status of its own.
    first = next(chunks)
    resp.content_type = JSON
    resp.stream = chain((first,), chunks)


def array_chunks(elements: Iterable[object]) -> Iterator[bytes]:
    """The text of a JSON array, some hundreds of elements at a time."""
    rows = iter(elements)
    before = b"["
    while chunk := list(islice(rows, _ROWS_PER_CHUNK)):
        yield before + json_bytes(chunk)[1:-1]
        before = b","
    yield b"]" if before == b"," else b"[]"


def _wants_object(req: falcon.Request) -> bool:
    # Who names that type at all prefers it to a */* of the same weight.
    return OBJECT in req.accept and req.client_prefers((OBJECT, JSON)) == OBJECT
