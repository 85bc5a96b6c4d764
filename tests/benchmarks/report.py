"""What was found, as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def table(found: dict[str, Any]) -> str:
    """Everything that was measured, and the bars at the end."""
    return "\n\n".join((
        _heading(found),
        _reads(found["reads"]),
        _of("Lists of all jobs", found["lists"]),
        _of("Beside others", found["crowd"]),
        _of("New batches", found["writes"], leave=("posts_ms", "firsts_ms", "sbatches_ms")),
        _of("Large batches in one POST", found["large"], leave=("read_ms", "write_ms")),
        _of("Looks of the poller", found["ticks"]),
        _backends(found["backends"]),
        _of("From a change in Slurm to ours", [found["delay"]]),
        _of("The daemon on the large database", [found["daemon"]]),
        _questions(found["questions"]),
        _bars(found["bars"]),
    ))  # fmt: skip


def _heading(found: dict[str, Any]) -> str:
    about, load = found["machine"], found["load_average"]
    idle = ", ".join(f"{name} {used}" for name, used in found["idle_cpu_per_second"].items())
    return (
        f"{about['cores']} cores, Python {about['python']}, Slurm {about['slurm']}; load average "
        f"{load['before']} before, {load['after']} after; {found['seconds']} s.\n"
        f"CPU seconds a second while nobody reads: {idle}"
    )


def _reads(cells: Iterable[dict[str, Any]]) -> str:
    head = ("read", "jobs", "clients", "requests/s", "p50 ms", "p99 ms", "bytes",
            "CPU s/1,000: own", "slurmctld", "slurmdbd", "mariadbd", "errors", "load")  # fmt: skip
    rows = []
    for cell in cells:
        cpu = cell["cpu_seconds_per_1000"]
        rows.append((
            cell["target"], number(cell["jobs"] or None), cell["clients"],
            number(cell["requests_per_second"]), number(cell["p50_ms"]), number(cell["p99_ms"]),
            number(cell["bytes"]), *(number(cpu.get(name)) for name in
                                      ("own", "slurmctld", "slurmdbd", "mariadbd")),
            cell["errors"], cell["load_average"],
        ))  # fmt: skip
    return "Reads\n" + _columns(head, rows)


def _of(title: str, found: Sequence[dict[str, Any]], leave: Sequence[str] = ()) -> str:
    names = [name for name in found[0] if name not in leave]
    head = [name.replace("_", " ") for name in names]
    return f"{title}\n" + _columns(head, [[number(row[name]) for name in names] for row in found])


def _backends(found: dict[str, Any]) -> str:
    title = f"pyslurm beside the commands, arrays of {found['tasks']} tasks ({found['pyslurm']})"
    return _of(title, found["calls"])


def _questions(found: dict[str, Any]) -> str:
    return (
        f"Questions to Slurm in {found['window_seconds']:g} s\n"
        f"  {found['questions_without_reads']} with no reads: {found['without_reads']}\n"
        f"  {found['questions_with_reads']} with {found['reads']:,} reads: {found['with_reads']}"
    )


def _bars(found: Iterable[dict[str, Any]]) -> str:
    words = {True: "met", False: "NOT MET", None: "not measured"}
    rows = [(each["name"], each["wanted"], number(each["value"]), words[each["met"]])
            for each in found]  # fmt: skip
    return "Bars\n" + _columns(("what", "wanted", "found", ""), rows)


def _columns(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [[str(each) for each in line] for line in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  " + "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )  # fmt: skip


def number(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return (
            f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 10 else f"{value:.1f}"
        )
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
