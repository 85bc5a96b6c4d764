"""Where a job's log lies below the directory of logs: by batch, by array, by task."""

from __future__ import annotations

from pathlib import PurePath


def array_parts(batch_id: str, ordinal: int, generation: int) -> tuple[str, ...]:
    """The directories, from the top. One for each array, so that none grows without bounds."""
    return (batch_id, f"{ordinal}.{generation}")


def log_parts(batch_id: str, ordinal: int, generation: int, task: int) -> tuple[str, ...]:
    return (*array_parts(batch_id, ordinal, generation), f"{task}.log")


def log_pattern(root: PurePath, batch_id: str, ordinal: int, generation: int) -> PurePath:
    """For `sbatch --output`: `%a` becomes the task's number."""
    return root.joinpath(*array_parts(batch_id, ordinal, generation), "%a.log")
