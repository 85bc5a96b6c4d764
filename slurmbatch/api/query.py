"""Query parameters, as strict as bodies: what is unknown or not readable is named."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode

import falcon

from slurmbatch.errors import Malformed
from slurmbatch.model import Status
from slurmbatch.states import END_CLASSES

MAX_PAGE = 10_000
_STATUSES = ", ".join(Status)


def check_names(req: falcon.Request, known: Iterable[str]) -> None:
    """Raises Malformed for a parameter that this endpoint does not have."""
    allowed = tuple(known)
    for name in req.params:
        if name not in allowed:
            there = f"there are: {', '.join(allowed)}" if allowed else "there are none"
            raise Malformed(f"There is no query parameter {_shown(name)} here; {there}.")


def texts(req: falcon.Request, name: str) -> list[str]:
    """All values of a parameter."""
    value = req.params.get(name, [])
    return value if isinstance(value, list) else [value]


def text(req: falcon.Request, name: str) -> str | None:
    values = texts(req, name)
    if len(values) > 1:
        raise Malformed(f"The query parameter {name} stands there more than once.")
    return values[0] if values else None


def whole(req: falcon.Request, name: str, most: int = MAX_PAGE, least: int = 1) -> int | None:
    """A whole number from `least` on."""
    value = text(req, name)
    if value is None:
        return None
    is_number = value.isascii() and value.isdigit() and len(value) <= 18
    if not is_number or not least <= int(value) <= most:
        raise Malformed(
            f"Query parameter {name}: expected a whole number from {least} to {most}, "
            f"not {_shown(value)}."
        )
    return int(value)


def flag(req: falcon.Request, name: str) -> bool:
    """1 for yes; 0, or nothing at all, for no."""
    value = text(req, name)
    if value not in (None, "0", "1"):
        raise Malformed(f"Query parameter {name}: expected 1 or 0, not {_shown(value)}.")
    return value == "1"


def statuses(req: falcon.Request, name: str = "status") -> frozenset[Status]:
    return frozenset(_status(name, value) for value in texts(req, name))


def status(req: falcon.Request, name: str = "status") -> Status | None:
    value = text(req, name)
    return None if value is None else _status(name, value)


def _status(name: str, value: str) -> Status:
    try:
        return Status(value)
    except ValueError:
        detail = f"Query parameter {name}: expected one of {_STATUSES}, not {_shown(value)}."
        raise Malformed(detail) from None


def reasons(req: falcon.Request, name: str = "reason") -> frozenset[str]:
    """Classes of ends."""
    found = frozenset(texts(req, name))
    for value in sorted(found - END_CLASSES):
        there = ", ".join(sorted(END_CLASSES))
        raise Malformed(f"Query parameter {name}: expected one of {there}, not {_shown(value)}.")
    return found


def next_page(req: falcon.Request, after: str) -> str:
    """A Link header to the page that begins after this id, everything else as in this request."""
    pairs = [(name, value) for name in req.params for value in texts(req, name) if name != "after"]
    return f'<{req.root_path}{req.path}?{urlencode([*pairs, ("after", after)])}>; rel="next"'


def _shown(value: str | None) -> str:
    return f"“{(value or '')[:60]}”"
