"""How much is measured: a full run for the docs, a quick one while working."""

from __future__ import annotations

from dataclasses import dataclass

SMALL, LARGE = 1_000, 10_000


@dataclass(frozen=True, slots=True)
class Scale:
    """`rounds`: how often each fast target has its turn. Seconds are for one turn of one target;
    wrk knows whole ones only."""

    name: str
    clients: tuple[int, ...]
    slow_clients: tuple[int, ...]
    rounds: int
    seconds: float
    slow_seconds: float
    slow_most: float
    stored_jobs: int
    bare_threads: tuple[int, ...]
    posts: int
    live_tasks: int
    large_batches: tuple[int, ...]
    window: float


FULL = Scale(
    name="full",
    clients=(1, 8, 32),
    slow_clients=(1, 8, 32),
    rounds=8,
    seconds=1.0,
    slow_seconds=4.0,
    slow_most=20.0,
    stored_jobs=1_000_000,
    bare_threads=(1, 2, 4),
    posts=8,
    live_tasks=100_000,
    large_batches=(10_000, 100_000, 1_000_000),
    window=8.0,
)
QUICK = Scale(
    name="quick",
    clients=(1, 8),
    slow_clients=(8,),
    rounds=1,
    seconds=1.0,
    slow_seconds=2.0,
    slow_most=8.0,
    stored_jobs=100_000,
    bare_threads=(1,),
    posts=1,
    live_tasks=20_000,
    large_batches=(10_000, 50_000),
    window=3.0,
)
