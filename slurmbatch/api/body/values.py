"""Strict JSON: values that mean the same to everybody who reads them."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, NoReturn

from slurmbatch.columns import INT64
from slurmbatch.errors import Malformed

MAX_DEPTH = 32
MAX_MEMBERS = 1000
MAX_VALUE = 4 * 1024 * 1024
EMPTY = "The body is empty; expected a JSON object."
NOT_UTF8 = "The body is not UTF-8: byte {} cannot be read."
TOO_DEEP = f"The body is nested more than {MAX_DEPTH} levels deep."
TOO_LONG = f"One value in the body is longer than {MAX_VALUE} characters."


def parse(raw: bytes) -> object:
    """Strict JSON (RFC 8259, UTF-8): no twin keys, no NaN, 64-bit integers, bounded depth."""
    try:
        value: object = decoder.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise Malformed(NOT_UTF8.format(error.start)) from None
    except json.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON: {error}.") from None
    except RecursionError:
        raise Malformed(TOO_DEEP) from None
    check_depth(value, MAX_DEPTH + 1)
    return value


def as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_MEMBERS:
        raise Malformed(f"An object in the body has more than {MAX_MEMBERS} members.")
    found = dict(pairs)
    if len(found) < len(pairs):
        twin = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise Malformed(f"The key {json.dumps(twin[:100])} stands twice in one object.")
    return found


def _integer(digits: str) -> int:
    if len(digits) > 20 or (value := int(digits)) not in INT64:
        raise Malformed(f"The number {digits[:30]} does not fit into 64 bits.")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Malformed(f"The number {text[:30]} is too large.")
    return value


def _constant(name: str) -> NoReturn:
    raise Malformed(f"The body is not JSON: {name} is no JSON value.")


def check_depth(value: object, levels: int) -> None:
    level = [value]
    for _ in range(levels):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise Malformed(TOO_DEEP)


# Without a call for each object and each whole number: those are looked at together, afterwards.
quick_decoder = json.JSONDecoder(parse_float=_float, parse_constant=_constant)
decoder = json.JSONDecoder(
    object_pairs_hook=as_object,
    parse_int=_integer,
    parse_float=_float,
    parse_constant=_constant,
)
