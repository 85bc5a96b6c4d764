"""The OpenAPI document as a page for people: Swagger UI, with nothing from elsewhere."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib import resources
from typing import NamedTuple

import falcon

from slurmbatch.api import render
from slurmbatch.api.resources import Readable
from slurmbatch.errors import NotFound

_PARTS = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "start.js": "text/javascript; charset=utf-8",
}
# Scripts and styles of its own only; it asks nobody but this service, and nobody may frame it.
# Swagger UI has pictures in its style sheet.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Part(NamedTuple):
    """A file of the page, as it is and as gzip."""

    plain: bytes
    packed: bytes
    etag: str


class Page(Readable):
    """/docs"""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        _send(req, resp, "index.html", "text/html; charset=utf-8")


class PagePart(Readable):
    """/docs/{file}"""

    def on_get(self, req: falcon.Request, resp: falcon.Response, file: str) -> None:
        if file not in _PARTS:
            raise NotFound
        _send(req, resp, file, _PARTS[file])


def _send(req: falcon.Request, resp: falcon.Response, name: str, media_type: str) -> None:
    part = load(name)
    resp.set_header("Content-Security-Policy", POLICY)
    resp.set_header("Referrer-Policy", "no-referrer")
    resp.set_header("ETag", f'"{part.etag}"')
    resp.set_header("Vary", render.VARY)
    resp.cache_control = ["private", "no-cache"]
    if req.get_header("If-None-Match") == f'"{part.etag}"':
        resp.status = falcon.HTTP_304
        return
    resp.content_type = media_type
    if render.takes_gzip(req):
        resp.set_header("Content-Encoding", "gzip")
        resp.data = part.packed
    else:
        resp.data = part.plain


@cache
def load(name: str) -> Part:
    """The large ones lie compressed in the package."""
    directory = resources.files("slurmbatch.api") / "page"
    packed = directory / f"{name}.gz"
    if packed.is_file():
        data = packed.read_bytes()
        plain = gzip.decompress(data)
    else:
        plain = (directory / name).read_bytes()
        data = gzip.compress(plain, mtime=0)
    return Part(plain, data, hashlib.sha256(plain).hexdigest()[:16])
