"""Files that lie in the package, for browsers: with an ETag, as gzip, and under a strict policy."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib import resources
from typing import NamedTuple

import falcon

from slurmbatch.api import render, tags
from slurmbatch.api.resources import Readable
from slurmbatch.errors import NotFound

# Scripts and styles of its own only; it asks nobody but this service, and nobody may frame it.
# Swagger UI has pictures in its style sheet.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",  # for browsers that don't know frame-ancestors
    "Vary": render.VARY,
}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
INDEX = "index.html"


class Part(NamedTuple):
    """A file, as it is and as gzip."""

    plain: bytes
    packed: bytes
    etag: str
    media_type: str


class Index(Readable):
    """The page itself."""

    def __init__(self, package: str) -> None:
        self._index = load(package)[INDEX]

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        send(req, resp, self._index)


class Parts(Readable):
    """What it consists of; without a name, at the path that ends with a slash, the page."""

    def __init__(self, package: str, *, nameless: bool = False) -> None:
        parts = dict(load(package))
        index = parts.pop(INDEX)
        self._parts = {"": index, **parts} if nameless else parts

    def on_get(self, req: falcon.Request, resp: falcon.Response, file: str) -> None:
        if file not in self._parts:
            raise NotFound
        send(req, resp, self._parts[file])


class WithSlash(Readable):
    """Leads to the same path with a slash at its end, also behind a proxy with one before it."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.status = falcon.HTTP_308
        resp.set_header("Location", f"{req.path.rpartition('/')[2]}/")


def send(req: falcon.Request, resp: falcon.Response, part: Part) -> None:
    for name, value in _HEADERS.items():
        resp.set_header(name, value)
    resp.set_header("ETag", f'"{part.etag}"')
    resp.set_header("Cache-Control", tags.CACHE_CONTROL)
    if tags.matches(req.get_header("If-None-Match") or "", part.etag):
        resp.status = falcon.HTTP_304
        return
    resp.content_type = part.media_type
    if render.takes_gzip(req):
        resp.set_header("Content-Encoding", "gzip")
        resp.data = part.packed
    else:
        resp.data = part.plain


@cache
def load(package: str) -> dict[str, Part]:
    """All files of a package that a browser may want; the large ones lie there compressed."""
    found = {}
    for file in resources.files(package).iterdir():
        name = file.name.removesuffix(".gz")
        media_type = _TYPES.get(f".{name.rpartition('.')[2]}")
        if media_type is not None:
            data = file.read_bytes()
            is_packed = file.name != name
            plain = gzip.decompress(data) if is_packed else data
            packed = data if is_packed else gzip.compress(plain, mtime=0)
            found[name] = Part(plain, packed, hashlib.sha256(plain).hexdigest()[:16], media_type)
    return found
