"""From a sweep, as a program writes it, to the arguments of each job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, Literal, Protocol

from slurmbatch.client.shapes import ArgValue


class Boxed(Protocol):
    """What numpy and pandas wrap a number in."""

    def item(self) -> Any: ...


class Table(Protocol):
    """One of pandas, say: a row a job."""

    def to_dict(self, orient: Literal["records"]) -> Iterable[Mapping[Any, Any]]: ...


# None, as NaN, is a value that is missing.
Value = ArgValue | Boxed | None
Sweep = Mapping[str, Iterable[Value]] | Iterable[Mapping[str, Value]] | Table


def rows(sweep: Sweep | None) -> list[dict[str, ArgValue]]:
    """One element a job: of a mapping the product, the last parameter changing fastest; of
    anything else its rows as they are.
    """
    if sweep is None:
        return []
    if not isinstance(sweep, Mapping):
        table = sweep.to_dict("records") if hasattr(sweep, "to_dict") else sweep
        return [plain(each) for each in table]
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
