"""How often Slurm is asked: its own counts, with nobody reading and with ten thousand reads."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from tests.benchmarks.machine import load_average
from tests.benchmarks.site import Live, Site

READS = 10_000
_COUNT = re.compile(r"^\s+(\w+)\s*\(\s*\d+\)\s+count:\s*(\d+)", re.MULTILINE)
# Ours by which we look at the counts, and what Slurm's own parts say to each other.
_NOT_ASKED = frozenset(("REQUEST_STATS_INFO", "DBD_GET_STATS", "REQUEST_PING",
                        "MESSAGE_NODE_REGISTRATION_STATUS"))  # fmt: skip


def questions(site: Site, live: Live, window: float) -> dict[str, object]:
    """Two windows of the same length: only the poller at work, and READS reads beside it."""
    quiet, _ = _window(site, live, window, 0)
    busy, reads = _window(site, live, window, READS)
    asked_quiet, asked_busy = sum(quiet.values()), sum(busy.values())
    return {
        "window_seconds": window,
        "reads": reads,
        "questions_without_reads": asked_quiet,
        "questions_with_reads": asked_busy,
        "without_reads": quiet,
        "with_reads": busy,
        "questions_per_read": round(max(0, asked_busy - asked_quiet) / max(1, reads), 5),
        "load_average": load_average(),
    }


def _window(site: Site, live: Live, seconds: float, wanted: int) -> tuple[dict[str, int], int]:
    """What was asked in the window, and how many reads there were in it."""
    before, began, reads = counts(site), time.monotonic(), 0
    target = site.service.target("status", live.path)
    while reads < wanted:
        reads += target.run(8, 1.0).requests
    time.sleep(max(0.0, seconds - (time.monotonic() - began)))
    passed = time.monotonic() - began
    return _scaled(difference(before, counts(site)), seconds / passed), reads


def _scaled(counts: Mapping[str, int], by: float) -> dict[str, int]:
    return {name: round(count * by) for name, count in counts.items()}


def difference(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    changed = {name: count - before.get(name, 0) for name, count in after.items()}
    return {name: count for name, count in changed.items() if count}


def counts(site: Site) -> dict[str, int]:
    """By the kind of the message, of slurmctld and of slurmdbd."""
    found: dict[str, int] = {}
    for command in (["sdiag"], ["sacctmgr", "show", "stats"]):
        text = site.box.run(command).stdout.partition("statistics by user")[0]
        for name, count in _COUNT.findall(text):
            if name not in _NOT_ASKED:
                found[name] = int(count)
    return found
