"""Jobs as a table of pandas, where pandas is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

_TIMES = ("create_time", "start_time", "stop_time")


def frame(jobs: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """A row a job, indexed by its place in the batch; times as times."""
    import pandas

    made = pandas.DataFrame.from_records([flat(job) for job in jobs])
    for name in _TIMES:
        if name in made:
            made[name] = pandas.to_datetime(made[name], utc=True, errors="coerce")
    return made if made.empty else made.set_index("index")


def flat(job: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments beside the fields, which keep their names."""
    row = {name: value for name, value in job.items() if name != "args"}
    for name, value in job["args"].items():
        row[f"args.{name}" if name in row else name] = value
    return row
