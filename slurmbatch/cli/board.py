"""What `slurmbatch watch` draws: bars by status, how fast it goes, and what has failed so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from slurmbatch.cli.terminal import COLOURS, in_a_line
from slurmbatch.client import Batch
from slurmbatch.client.pace import Pace, duration

BAR = 40


class Board:
    """The batch as it was last seen; drawn anew each second, since time passes."""

    def __init__(self, batch: Batch, clock: Callable[[], float] = time.monotonic) -> None:
        self.batch = batch
        self.trouble = ""
        self._pace = Pace()
        self._clock = clock
        self._began = clock()

    def show(self, batch: Batch) -> None:
        self.batch = batch
        self._pace.add(self._clock(), batch.n_ended)

    def draw(self, console: Console) -> Group:
        block = "#" if console.options.ascii_only else "█"
        parts: list[Any] = [
            Text(title(self.batch), style="bold", no_wrap=True, overflow="ellipsis")
        ]
        parts.append(bars(self.batch, block))
        parts.append(Text(self._outlook(), no_wrap=True))
        for each in self.batch.get("reasons", ()):
            parts.append(Text(in_a_line(each["text"]), style=COLOURS.get(each["status"], "")))
        notes = [self.trouble, stale(self.batch)]
        parts += [Text(in_a_line(note), style="yellow") for note in notes if note]
        return Group(*parts)

    def _outlook(self) -> str:
        batch = self.batch
        told = [f"{batch.n_ended} of {batch.n_jobs} ended"]
        if batch.done():
            told.append(f"{duration(self._clock() - self._began)} watched")
        elif self._pace.rate:
            told.append(rate(self._pace.rate))
        left = self._left()
        if left:
            at = datetime.now().astimezone() + timedelta(seconds=left)
            told.append(f"about {duration(left)} left ({at:%H:%M:%S})")
        return ", ".join(told)

    def _left(self) -> float | None:
        """As the service expects, which knows what runs at once; else as it goes here."""
        end = self.batch.expected_end
        if end is None or self.batch.done():
            return self._pace.left(self.batch.n_jobs)
        return max(0.0, (end - datetime.now(UTC)).total_seconds())


def bars(batch: Batch, block: str) -> Table:
    table = Table.grid(padding=(0, 1))
    for status, count in batch.counts.items():
        # Not a single job may look like none.
        width = max(1, round(BAR * count / batch.n_jobs)) if count else 0
        bar = Text(block * width + "." * (BAR - width), style=COLOURS.get(status, ""))
        table.add_row(Text(status), bar, Text(f"{count:>6}"))
    return table


def title(batch: Batch) -> str:
    name = in_a_line(batch.name)
    return f"{batch.id}  {batch.tool_id}{f'  {name}' if name else ''}"


def summary(batch: Batch) -> str:
    """In a few words."""
    counts = batch.counts
    if batch.done():
        if batch.succeeded():
            return "succeeded"
        if batch.get("cancelled"):
            return f"cancelled, {counts['SUCCEEDED']} succeeded"
        return f"{counts['FAILED']} of {batch.n_jobs} failed"
    told = [f"{batch.n_ended}/{batch.n_jobs} ended"]
    told += [f"{counts[each]} {each.lower()}" for each in ("RUNNING", "FAILED") if counts[each]]
    return ", ".join(told)


def line(batch: Batch, seconds: float) -> str:
    """One for each change, where there is no terminal."""
    counts = [f"{n} {status}" for status, n in batch.counts.items() if n]
    return f"{duration(seconds):>7}  {', '.join(counts)}"


def stale(batch: Batch) -> str:
    since = batch.get("stale_since")
    return f"Slurm gives no answer since {since}: this may be out of date" if since else ""


def rate(of: float) -> str:
    """By the second, the minute or the hour: whichever gives a number of some size."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if of * seconds >= 1:
            return f"{of * seconds:.1f} jobs/{unit}"
    return f"{of * 3600:.1f} jobs/h"
