"""The page of the measurements, written from what the last full run found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.benchmarks.report import number

_HEAD = """\
# How fast it is, and what bounds it

`make bench` measures it on your machine, beside its peers and in one run: a bare Falcon on waitress
that does nothing, slurmrestd, and a server that forks squeue or sacct for each request. This page
is written from the last full run of ours. Machines differ, and these are shared ones: believe the
ratios.

![Requests a second, beside the peers](bench/results.png)

"""
_BOUNDS = """
## Where the time goes

A status is one row of the database, and as long as nobody has written anything since, not even
that: each thread remembers what it has read until the next commit. Its text is kept as long, too.
What is left is mostly waitress (the event loop, the hand-over to a thread, parsing and writing
headers) and the interpreter's lock, which the two threads pass to and fro. With waitress, but
without the event loop, a status took 124 µs before its text was kept and headers and body went in
one piece, and then took 79; a 304 took 86, and took 52 once it was answered before there is a
request object; a Falcon that does nothing took 38. So is a status now: what is ours of it took
36 µs, and takes 22, where Falcon alone takes 6. To those with an API key a 304 is told in the event
loop itself, with no hand-over, and no other thread that wants the lock.

A new batch is bound by its jobs: of a thousand, some 3 ms to parse and check, and to put each into
the words of its script, which tells how long that is; 1.5 to write them down; and then by the disk.
What has been put into words is kept for the submitter, which would have to read and render it
again. The first of its kind waits for Slurm's word, too: as much again until the submitter has come
round, and sbatch, which takes 7, half of which is its own start; to start it ahead, before there is
a script, has gained nothing on two cores. One of which Slurm has accepted the like within
`server.precedent` (five minutes) is answered before that: so are all but the first of those who
send one batch after the other, all alike, and that is what the bar is about. The table has both.

A million jobs go through the same in portions: 25 s of CPU, while others are answered in between.

Short reads have one thread. More are slower together, since they contend for the lock. What bounds
the whole is one core: a second one serves the clients and Slurm.
"""


def page(found: dict[str, Any]) -> str:
    """All of it, in Markdown."""
    return _HEAD + "\n".join(_lines(found)) + "\n" + _BOUNDS


def _lines(found: dict[str, Any]) -> Iterator[str]:
    about, load = found["machine"], found["load_average"]
    yield (
        f"Measured on {about['cores']} cores shared by clients, servers and Slurm, with Python "
        f"{about['python']} and Slurm {about['slurm']}; load average {load['before']} before the "
        f"run, {load['after']} after it."
    )
    if "note" in found:
        yield f"\n**{found['note']}**"
    yield "\n## The bars\n"
    yield "| what | wanted | found | |\n| --- | --- | --- | --- |"
    words = {True: "met", False: "**not met**", None: "not measured"}
    for bar in found["bars"]:
        yield f"| {bar['name']} | {bar['wanted']} | {number(bar['value'])} | {words[bar['met']]} |"
    yield "\n## Reads, 8 clients\n"
    yield "| read | jobs | requests/s | p50 ms | p99 ms | CPU s per 1,000 reads: own, Slurm's |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for cell in found["reads"]:
        if cell["clients"] == 8:
            yield _read(cell)
    yield from _writes(found)
    yield from _large(found)
    yield from _backends(found)


def _writes(found: dict[str, Any]) -> Iterator[str]:
    yield "\n## New batches, beside `sbatch --array` of the same script\n"
    yield "| jobs | sbatch, ms | POST, ms | / sbatch | first of its kind, ms | / sbatch |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for each in found["writes"]:
        shown = ("jobs", "sbatch_ms", "post_ms", "ratio", "first_ms", "first_ratio")
        yield f"| {' | '.join(number(each[name]) for name in shown)} |"


def _large(found: dict[str, Any]) -> Iterator[str]:
    yield "\n## Batches in one POST\n"
    yield "| jobs | MiB of body | seconds | MiB at most | ms of a read meanwhile: p50, most |"
    yield "| --- | --- | --- | --- | --- |"
    for each in found["large"]:
        read = each.get("read_ms", {"median": None, "most": None})
        yield (
            f"| {each['jobs']:,} | {number(each['body_mib'])} | {number(each['seconds'])} "
            f"| {number(each['peak_mib'])} | {number(read['median'])}, {number(read['most'])} |"
        )


def _backends(found: dict[str, Any]) -> Iterator[str]:
    calls = found["backends"]
    yield "\n## pyslurm beside the commands\n"
    yield f"Arrays of {calls['tasks']} tasks; pyslurm is {calls['pyslurm']}.\n"
    yield "| call | commands, ms | pyslurm, ms | pyslurm / commands |\n| --- | --- | --- | --- |"
    for each in calls["calls"]:
        yield (
            f"| {each['call']} | {number(each['commands_ms'])} | {number(each['pyslurm_ms'])} "
            f"| {number(each['ratio'])} |"
        )


def _read(cell: dict[str, Any]) -> str:
    cpu = cell["cpu_seconds_per_1000"]
    slurm = sum(cpu.get(name) or 0.0 for name in ("slurmctld", "slurmdbd", "mariadbd"))
    return (
        f"| {cell['target']} | {number(cell['jobs'] or None)} "
        f"| {number(cell['requests_per_second'])} | {number(cell['p50_ms'])} "
        f"| {number(cell['p99_ms'])} | {number(cpu.get('own'))}, {number(slurm)} |"
    )
