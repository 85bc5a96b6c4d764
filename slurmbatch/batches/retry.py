"""What a retry means: checked against the batch and its tool, and cut into arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from slurmbatch.batches.resolve import Offer
from slurmbatch.errors import Conflict, Fault, Invalid
from slurmbatch.model import MAX_MEMORY, MAX_TIME_LIMIT, ArgValue, Batch, Retry, Tool
from slurmbatch.store import Caps, Plan

Sizes = Callable[
    [Tool, Batch, Mapping[str, ArgValue], Iterable[tuple[int, Mapping[str, ArgValue]]]], list[int]
]


def plan(
    batch: Batch, fixed: Mapping[str, ArgValue], wanted: Retry, offer: Offer, sizes: Sizes,
    tag: Callable[[], str],
) -> Plan:  # fmt: skip
    """How its failed jobs go to Slurm again. Raises Invalid, Conflict (its tool is gone)."""
    faults = list(_faults(batch, wanted))
    if faults:
        raise Invalid(faults)
    tool = offer.tools.get(batch.tool_id)
    if tool is None or any(name not in offer.filesystems for name in batch.hardware.filesystems):
        raise Conflict("Its tool, or a filesystem that it asks for, is no longer offered here.")
    return Plan(caps(tool), lambda own: _whole(sizes, tool, batch, fixed, own), tag)


def caps(tool: Tool) -> Caps:
    """The most that a retry may come to ask for."""
    return Caps(tool.hardware.max_memory or MAX_MEMORY, tool.slurm.max_time_limit or MAX_TIME_LIMIT)


def _faults(batch: Batch, wanted: Retry) -> Iterable[Fault]:
    beyond = sorted(index for index in wanted.indices or () if index >= batch.n_jobs)
    for index in beyond[:100]:
        yield Fault("/indices", f"Expected numbers from 0 to {batch.n_jobs - 1}, not {index}.")
    if wanted.time_factor != 1.0 and batch.slurm.time_limit is None:
        yield Fault("/time_factor", "Expected none: this batch has no time limit of its own.")


def _whole(
    sizes: Sizes, tool: Tool, batch: Batch, fixed: Mapping[str, ArgValue],
    own: Iterable[tuple[int, Mapping[str, ArgValue]]],
) -> list[int]:  # fmt: skip
    try:
        return sizes(tool, batch, fixed, own)
    except ValueError as error:  # the tool's script has grown since
        raise Conflict(f"It cannot be run again: {error}.") from error
