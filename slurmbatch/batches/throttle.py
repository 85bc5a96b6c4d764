"""How the arrays of a new batch share its throttle: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from slurmbatch.model import Gate
from slurmbatch.store import NewArray


def shared(arrays: Iterable[NewArray], most: int | None) -> Iterator[NewArray]:
    """The first ones get as much as there is, the others wait until something of it is free."""
    left = most
    for array in arrays:
        if left is None:
            yield array
        elif array.gates or not left:
            yield replace(array, gates=(*array.gates, Gate.THROTTLE))
        else:
            share = min(left, array.n_tasks)
            left -= share
            yield replace(array, throttle=share)
