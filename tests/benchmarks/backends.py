"""The two ways to Slurm beside each other, in turns and on one cluster: its commands, and pyslurm.

Where no pyslurm is installed that fits the cluster, its stand-in is measured. That one asks the
commands itself, so it tells only what the way through a helper process adds; the result says which
it was.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

from slurmbatch.model import SlurmOptions
from slurmbatch.sandbox import Sandbox
from slurmbatch.slurm.binding import BindingSlurm
from slurmbatch.slurm.choose import bind, choose
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.slurm.port import SlurmPort, SubmitRequest
from tests.benchmarks.machine import load_average
from tests.benchmarks.processes import ROOT

STAND_IN = [str(ROOT / "tests" / "fakes"), *sys.path]


def backends(box: Sandbox, n_tasks: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of each question and deed, the median of the rounds, with arrays of so many
    tasks; ratios are pyslurm's to the commands', round by round."""
    commands = CommandSlurm(conf=box.paths.slurm_conf, bin_dir=box.bin_dir)
    with _binding(commands) as (pyslurm, which):
        ways: dict[str, SlurmPort] = {"commands": commands, "pyslurm": pyslurm}
        took: dict[str, dict[str, list[float]]] = {name: {} for name in ways}
        for number in range(rounds):
            for name, way in ways.items():
                tag = f"sb-bench-{os.getpid()}-{name}-{number}"
                _round(way, _request(box, tag, n_tasks), took[name])
    ours, theirs = took["commands"], took["pyslurm"]
    return {
        "pyslurm": which,
        "tasks": n_tasks,
        "load_average": load_average(),
        "calls": [
            {"call": call, "commands_ms": round(median(ours[call]), 2),
             "pyslurm_ms": round(median(theirs[call]), 2),
             "ratio": round(median(map(truediv, theirs[call], ours[call])), 2)}
            for call in ours
        ],
    }  # fmt: skip


@contextmanager
def _binding(commands: CommandSlurm) -> Iterator[tuple[BindingSlurm, str]]:
    choice = choose("auto", commands)
    if isinstance(choice.slurm, BindingSlurm):
        binding, which = choice.slurm, choice.reason
    else:
        binding, which = bind(commands, STAND_IN), f"its stand-in, since {choice.reason}"
    try:
        yield binding, which
    finally:
        binding.close()


def _round(way: SlurmPort, request: SubmitRequest, took: dict[str, list[float]]) -> None:
    def measured(call: str, deed: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        answer = deed()
        took.setdefault(call, []).append((time.perf_counter() - began) * 1000)
        return answer

    job = measured("submit", lambda: way.submit(request)).slurm_job_id
    measured("find", lambda: way.find(request.tag))
    measured("release", lambda: way.release(job))
    measured("live", way.live)
    measured("ended", lambda: way.ended({job}))
    measured("cancel", lambda: way.cancel(job))
    measured("facts", way.facts)


def _request(box: Sandbox, tag: str, n_tasks: int) -> SubmitRequest:
    return SubmitRequest(
        tag=tag, script="#!/bin/sh\nexec sleep 600\n", n_tasks=n_tasks, cpu=1, memory=16,
        output=box.paths.work / "%a", work_dir=box.paths.work, options=SlurmOptions(time_limit=20),
    )  # fmt: skip


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="sb-backends-", dir="/tmp"))
    box = Sandbox(directory / "box", nodes=1)
    try:
        box.up()
        print(json.dumps(backends(box, 500, 7), indent=1))
    finally:
        box.down()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
