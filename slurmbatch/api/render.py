"""Answers: JSON arrays, a single object for those who ask for one, and arrays as a stream.

As gzip for those who take it, but for what is too short to gain by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice

import falcon

from slurmbatch.api import gzipping

JSON = "application/json"
OBJECT = "application/vnd.slurmbatch.object+json"
# What a single resource, and what a list, depends on beside its address.
VARY_OF_ONE = "Accept, Accept-Encoding"
VARY = "Accept-Encoding"
_ROWS_PER_CHUNK = 250
# Kept, since json.dumps makes an encoder for each call that does not take the defaults.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def json_bytes(value: object) -> bytes:
    """JSON in UTF-8. Half a surrogate pair, which UTF-8 has no form for, stays an escape."""
    return _encode(value).encode("utf-8", "backslashreplace")


def send_one(req: falcon.Request, resp: falcon.Response, element: object) -> None:
    """A single resource: an array of one, or the element itself."""
    send_text(req, resp, json_bytes(element))


def send_text(req: falcon.Request, resp: falcon.Response, element: bytes) -> None:
    """The same of what is JSON already."""
    if _wants_object(req):
        send_bytes(req, resp, element, OBJECT)
    else:
        send_bytes(req, resp, b"[" + element + b"]")
    resp.set_header("Vary", VARY_OF_ONE)


def send_all(req: falcon.Request, resp: falcon.Response, elements: list[object]) -> None:
    send_bytes(req, resp, json_bytes(elements))


def send_stream(req: falcon.Request, resp: falcon.Response, elements: Iterable[object]) -> None:
    """An array of any length, made while it is sent."""
    chunks = array_chunks(elements)
    # Made before the answer begins, so that trouble there is still told with a status of its own.
    first = next(chunks)
    resp.content_type = JSON
    resp.set_header("Vary", VARY)
    resp.stream = chain((first,), chunks)
    if takes_gzip(req):
        resp.set_header("Content-Encoding", "gzip")
        resp.stream = gzipping.parts(resp.stream)


def send_bytes(
    req: falcon.Request, resp: falcon.Response, body: bytes, media_type: str = JSON
) -> None:
    """JSON that is made already."""
    resp.content_type = media_type
    resp.set_header("Vary", VARY)
    if len(body) >= gzipping.WORTH_IT and takes_gzip(req):
        resp.set_header("Content-Encoding", "gzip")
        body = gzipping.whole(body)
    resp.data = body


def array_chunks(elements: Iterable[object]) -> Iterator[bytes]:
    """The text of a JSON array, some hundreds of elements at a time.

    The first one goes by itself, since the next may be long in coming.
    """
    rows = iter(elements)
    before, size = b"[", 1
    while chunk := list(islice(rows, size)):
        yield before + json_bytes(chunk)[1:-1]
        before, size = b",", _ROWS_PER_CHUNK
    yield b"]" if before == b"," else b"[]"


def _wants_object(req: falcon.Request) -> bool:
    # Who names that type at all prefers it to a */* of the same weight.
    return OBJECT in req.accept and req.client_prefers((OBJECT, JSON)) == OBJECT


def takes_gzip(req: falcon.Request) -> bool:
    # HEAD tells the length of the answer as it is, without making it.
    return req.method != "HEAD" and gzipping.is_wanted(req.get_header("Accept-Encoding"))
