"""`Range: bytes=…` of RFC 9110, as far as logs need it: one range."""

from __future__ import annotations

import re

from slurmbatch.errors import RangeNotSatisfiable

# Where something ends of which nobody knows yet how long it will be.
NO_END = 2**63 - 1
_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,1000})-([0-9]{0,1000})[ \t]*", re.IGNORECASE)


def select(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes [start, end) that a Range header asks for; None for the whole.

    A header that is malformed, of another unit or for several ranges counts as none, which the RFC
    allows; one that asks for what is not there raises RangeNotSatisfiable. Of an empty log the
    whole is sent, whatever is asked for: a job that has printed nothing and one that has not made
    its log yet are the same to whoever reads it.
    """
    part = select_growing(header, size)
    if part is not None and part[0] == size:
        raise RangeNotSatisfiable(size)
    return part and (part[0], min(part[1], size))


def select_growing(header: str | None, size: int) -> tuple[int, int] | None:
    """The same of what grows: a range may begin where it ends so far, and go on beyond that. One
    without an end goes on to NO_END, as RFC 8673 has it."""
    found = _ONE_RANGE.fullmatch(header) if header and size else None
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        return _suffix(int(found[2]), size)
    first = int(found[1])
    last = int(found[2]) if found[2] else NO_END - 1
    if found[2] and last < first:
        return None
    if first > size:
        raise RangeNotSatisfiable(size)
    return first, min(last, NO_END - 1) + 1


def _suffix(length: int, size: int) -> tuple[int, int]:
    if length == 0:
        raise RangeNotSatisfiable(size)
    return max(0, size - length), NO_END
