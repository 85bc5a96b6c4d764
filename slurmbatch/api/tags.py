"""Entity tags: what is sent with an answer, and what is compared with it."""

from __future__ import annotations

import falcon

from slurmbatch.api import render

CACHE_CONTROL = "private, no-cache"


def headers(etag: str) -> list[tuple[str, str]]:
    # Weak: the array of one and the object have the same version, and not the same bytes.
    return [("ETag", f'W/"{etag}"'), ("Vary", render.VARY_OF_ONE)]


def put(resp: falcon.Response, etag: str) -> None:
    resp.set_header("Cache-Control", CACHE_CONTROL)
    for name, value in headers(etag):
        resp.set_header(name, value)


def matches(header: str, etag: str) -> bool:
    """Whether an If-None-Match names this version."""
    tags = [each.strip().removeprefix("W/") for each in header.split(",")]
    return f'"{etag}"' in tags or "*" in tags


def unchanged(req: falcon.Request, resp: falcon.Response, etag: str) -> bool:
    """Whether the client knows this version; then the answer, which is made here, says no more."""
    known = req.get_header("If-None-Match")
    if known is None or not matches(known, etag):
        return False
    put(resp, etag)
    resp.status = falcon.HTTP_304
    return True
