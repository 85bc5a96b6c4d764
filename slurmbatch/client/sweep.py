"""From a sweep, as a program writes it, to the arguments of each job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from slurmbatch.client.shapes import ArgValue

Sweep = Mapping[str, Iterable[ArgValue]] | Iterable[Mapping[str, ArgValue]]
"""A table of pandas will do, too: a row a job."""


def rows(sweep: Sweep | None) -> list[dict[str, ArgValue]]:
    """One element a job: of a mapping the product, the last parameter changing fastest; of
    anything else its rows as they are.
    """
    if sweep is None:
        return []
    if hasattr(sweep, "to_dict") and not isinstance(sweep, Mapping):
        sweep = sweep.to_dict("records")
    if not isinstance(sweep, Mapping):
        return [plain(each) for each in sweep]
    for name, values in sweep.items():
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):
            raise TypeError(f"sweep[{name!r}]: expected the values as a list, not {values!r}")
    names = list(sweep)
    made = [plain(dict(zip(names, each, strict=True))) for each in product(*sweep.values())]
    if names and not made:
        raise ValueError("sweep: a parameter without values leaves no jobs")
    return made


def plain(args: Mapping[str, Any]) -> dict[str, ArgValue]:
    """Without what numpy and pandas wrap numbers in, and without what is missing (None, NaN)."""
    values = {name: each.item() if hasattr(each, "item") else each for name, each in args.items()}
    return {name: each for name, each in values.items() if each is not None and each == each}
