"""A request's body."""

from __future__ import annotations

import falcon

from slurmbatch.api.body.portions import PORTION, Elements, parse_long
from slurmbatch.api.body.values import EMPTY, parse
from slurmbatch.errors import Malformed, TooLarge, UnsupportedMediaType


def read_json(req: falcon.Request, max_bytes: int, empty: object = None) -> object:
    """The value that the body holds, or what no body stands for, where it may be left out.

    Raises UnsupportedMediaType, TooLarge or Malformed.
    """
    if empty is None or req.content_type is not None:
        _check_type(req)
    source = _Source(req, max_bytes)
    raw = b"".join(iter(source.read, b""))
    if empty is not None and not raw:
        return empty
    _check_type(req)
    if not raw:
        raise Malformed(EMPTY)
    return parse(raw)


def read_long_json(req: falcon.Request, max_bytes: int, member: str, elements: Elements) -> object:
    """The same in portions: where the body is an object whose `member` is an array, that one's
    elements go into `elements`, which then stands for it."""
    _check_type(req)
    return parse_long(_Source(req, max_bytes).read, member, elements)


class _Source:
    """The bytes of a body, portion by portion, and no more than it may have."""

    def __init__(self, req: falcon.Request, max_bytes: int) -> None:
        self._left = req.content_length
        self._max, self._seen = max_bytes, 0
        if self._left is None:
            # A body in chunks has no length; only some servers say that its end is marked for us.
            terminated = req.env.get("wsgi.input_terminated")
            self._read = req.env["wsgi.input"].read if terminated else lambda _: b""
        elif self._left > max_bytes:
            raise TooLarge(_too_large(max_bytes))
        else:
            self._read = req.bounded_stream.read

    def read(self) -> bytes:
        if self._left is not None:
            return self._rest(self._left)
        raw = bytes(self._read(PORTION))
        self._seen += len(raw)
        if self._seen > self._max:
            raise TooLarge(_too_large(self._max))
        return raw

    def _rest(self, left: int) -> bytes:
        raw = bytes(self._read(min(left, PORTION))) if left else b""
        if left and not raw:
            raise Malformed("The body is shorter than its Content-Length.")
        self._left = left - len(raw)
        return raw


def _check_type(req: falcon.Request) -> None:
    media_type, options = falcon.parse_header(req.content_type or "")
    charset = options.get("charset", "utf-8").lower()
    if media_type.lower() != "application/json" or charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaType
    encoding = req.get_header("Content-Encoding") or "identity"
    if encoding.strip().lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed or encoded in any other way.")


def _too_large(max_bytes: int) -> str:
    return f"The body is larger than the {max_bytes} bytes that this service accepts."
