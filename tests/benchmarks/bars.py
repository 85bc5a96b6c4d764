"""The bars: what is promised as a ratio within one run, and whether this run held it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks.reads import Cells
from tests.benchmarks.scale import LARGE, SMALL


@dataclass(frozen=True, slots=True)
class Bar:
    """`value` None: this run did not measure it."""

    name: str
    wanted: str
    value: float | None
    met: bool | None

    def plain(self) -> dict[str, object]:
        return asdict(self)


def at_least(name: str, least: float, value: float | None) -> Bar:
    return Bar(
        name, f"at least {least:g}", _short(value), None if value is None else value >= least
    )


def at_most(name: str, most: float, value: float | None) -> Bar:
    return Bar(name, f"at most {most:g}", _short(value), None if value is None else value <= most)


def of_reads(cells: Cells, clients: Sequence[int], bare: Iterable[str], stored: int) -> list[Bar]:
    """For each number of clients; slurmrestd only where it was asked."""
    names = list(bare)
    found = []
    for number in clients:
        beside = f"{number} client{'s' * (number > 1)}"
        best = max((name for name in names if cells.has(name, 0, number)),
                   key=lambda name: cells.cell(name, 0, number).rate)  # fmt: skip
        ours = ("status", SMALL)
        found += [
            at_least(f"status / best bare Falcon+waitress ({best}), {beside}", 0.70,
                     cells.ratio(ours, (best, 0), number)),
            at_least(f"304 / 200, {beside}", 1.2,
                     cells.ratio(("status 304", SMALL), ours, number)),
            at_least(f"status with {stored:,} stored jobs / with {SMALL:,}, {beside}", 0.90,
                     cells.ratio(("status, stored", stored), ("status, stored", SMALL), number)),
        ]  # fmt: skip
        found += _slurmrestd(cells, number, beside)
    return found


def _slurmrestd(cells: Cells, clients: int, beside: str) -> list[Bar]:
    return [
        at_least(f"status / slurmrestd at {jobs:,} tasks, {beside}", least, ratio)
        for jobs, least in ((SMALL, 200), (LARGE, 2_000))
        if (ratio := cells.ratio(("status", jobs), ("slurmrestd", jobs), clients)) is not None
    ]


def of_the_rest(found: dict[str, Any], stored: int) -> list[Bar]:
    """Of what is no matter of reads a second."""
    by_size = {each["jobs"]: each for each in found["writes"]}
    few, *_, many = found["large"]
    whole = found["lists"][-1]
    changed = [each for each in found["ticks"] if "have ended" in each["step"]]
    return [
        at_most("questions to Slurm per read", 0.0005, found["questions"]["questions_per_read"]),
        at_most(f"POST of {SMALL:,} jobs, as Slurm has just accepted some, / sbatch --array", 2.0,
                by_size[SMALL]["ratio"]),
        at_most(f"seconds for a POST of {LARGE:,} jobs", 2.0, by_size[LARGE]["post_ms"] / 1000),
        at_most(f"MiB at most for a POST of {many['jobs']:,} jobs / of {few['jobs']:,}", 1.25,
                many["peak_mib"] / few["peak_mib"]),
        at_most(f"ms to the first byte of a list of {stored:,} jobs", 50, whole["first_byte_ms"]),
        at_most("MiB resident with it in the database, after the reads", 150,
                found["daemon"]["memory_after_reads_mib"]),
        at_most("seconds from the daemon's start to its first answer", 1.0,
                found["daemon"]["start_seconds"]),
        at_most("median of the delay of a status / slurm.poll_interval", 1.0,
                found["delay"]["median_per_interval"]),
        at_most("rows written for each changed task", 1.0,
                max(each["rows_written"] / each["changed"] for each in changed)),
    ]  # fmt: skip


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
