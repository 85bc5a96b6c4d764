"""Request bodies: read with a bound, and parsed more strictly than the standard library does."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, NoReturn

import falcon

from slurmbatch.errors import Malformed, TooLarge, UnsupportedMediaType

MAX_DEPTH = 32
MAX_MEMBERS = 1000
_INT64 = range(-(2**63), 2**63)


def read_json(req: falcon.Request, max_bytes: int) -> object:
    """The value that the body holds; raises UnsupportedMediaType, TooLarge or Malformed."""
    _check_type(req)
    raw = _read(req, max_bytes)
    if not raw:
        raise Malformed("The body is empty; expected a JSON object.")
    return parse(raw)


def parse(raw: bytes) -> object:
    """Strict JSON (RFC 8259, UTF-8): no twin keys, no NaN, 64-bit integers, bounded depth."""
    try:
        value: object = _decoder.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8: byte {error.start} cannot be read.") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON: {error}.") from None
    except RecursionError:
        raise Malformed(_TOO_DEEP) from None
    _check_depth(value)
    return value


def _check_type(req: falcon.Request) -> None:
    media_type, options = falcon.parse_header(req.content_type or "")
    charset = options.get("charset", "utf-8").lower()
    if media_type.lower() != "application/json" or charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaType
    encoding = req.get_header("Content-Encoding") or "identity"
    if encoding.strip().lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed or encoded in any other way.")


def _read(req: falcon.Request, max_bytes: int) -> bytes:
    length = req.content_length
    if length is not None:
        if length > max_bytes:
            raise TooLarge(_too_large(max_bytes))
        raw = req.bounded_stream.read(length)
        if len(raw) < length:
            raise Malformed("The body is shorter than its Content-Length.")
        return raw
    # A body in chunks has no length; only some servers say that its end is marked for us.
    if not req.env.get("wsgi.input_terminated"):
        return b""
    raw = req.env["wsgi.input"].read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise TooLarge(_too_large(max_bytes))
    return bytes(raw)


def _too_large(max_bytes: int) -> str:
    return f"The body is larger than the {max_bytes} bytes that this service accepts."


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_MEMBERS:
        raise Malformed(f"An object in the body has more than {MAX_MEMBERS} members.")
    members = dict(pairs)
    if len(members) < len(pairs):
        twin = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise Malformed(f"The key {json.dumps(twin[:100])} stands twice in one object.")
    return members


def _integer(digits: str) -> int:
    if len(digits) > 20 or (value := int(digits)) not in _INT64:
        raise Malformed(f"The number {digits[:30]} does not fit into 64 bits.")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Malformed(f"The number {text[:30]} is too large.")
    return value


def _constant(name: str) -> NoReturn:
    raise Malformed(f"The body is not JSON: {name} is no JSON value.")


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise Malformed(_TOO_DEEP)


_TOO_DEEP = f"The body is nested more than {MAX_DEPTH} levels deep."
_decoder = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_int=_integer,
    parse_float=_float,
    parse_constant=_constant,
)
