"""Jobs whose arguments all have the same names, as in nearly every sweep, by name: what holds for a
whole column is found out at once, in a fraction of the time that it takes job by job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def columns(rows: Sequence[Mapping[str, T]]) -> dict[str, tuple[T, ...]] | None:
    """Per name, in their order, its values in the order of the rows. None where rows have other
    names than others, or in another order, or there are no rows."""
    if not rows or len(set(map(tuple, rows))) > 1:
        return None
    return dict(zip(rows[0], zip(*[row.values() for row in rows], strict=True), strict=True))


def types(column: Sequence[object]) -> set[type]:
    """Those of its values."""
    return set(map(type, column))
