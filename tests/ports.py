"""Ports for daemons that bind them by themselves, later: nobody else takes them in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from slurmbatch.sandbox.ports import BLOCK, is_free, reserved

# Until this process ends. The kernel takes no port of theirs for an outgoing connection.
_held = ExitStack()


def _ports() -> Iterator[int]:
    while True:
        start = _held.enter_context(reserved(BLOCK))
        yield from range(start, start + BLOCK)


_left = _ports()


def free_port() -> int:
    """Another one each time."""
    return next(port for port in _left if is_free(port))
