"""Ids that sort by time: ULIDs (48 bits of milliseconds, 80 random), in lower case."""

from __future__ import annotations

import re
import secrets
import threading
import time

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_SHAPE = re.compile(f"[0-7][{_DIGITS}]{{25}}")
_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """26 characters; every one is greater than all before it, also when the clock steps back."""
    global _last
    with _lock:
        _last = max(int(time.time() * 1000) << 80 | secrets.randbits(80), _last + 1)
        number = _last
    return "".join(_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))


def new_tag(instance: str) -> str:
    """A name for an array that nobody can guess; `instance` is the database's own id."""
    return f"sb-{instance}-{secrets.token_hex(12)}"


def tag_like(tag: str) -> str:
    """Another name, of the same database."""
    return new_tag(tag.split("-")[1])


def is_id(text: str) -> bool:
    """Whether it could have been made here; there need not be anything under it."""
    return _SHAPE.fullmatch(text) is not None
