"""Text of squeue, sacct, sbatch and scontrol -> our model. Pure; never raises on mangled input.

Rows are framed by a word that only the asker knows (a nonce), because a job's name may hold a
newline or a `|`: a row that somebody's job name forged does not have it and is dropped.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from sys import intern

from slurmbatch.model import Estimate, JobReport, JobUsage, SlurmFacts

# squeue -O fields, the tag (free text, anybody's) last. squeue(1).
LIVE_FIELDS = (
    "ArrayJobID",
    "ArrayTaskID",
    "State",
    "Reason",
    "UserID",
    "SubmitTime",
    "EligibleTime",
    "StartTime",
    "EndTime",
    "NodeList",
    "exit_code",
    "RestartCnt",
    "PriorityLong",
    "Name",
)
# sacct fields, likewise. sacct(1).
ENDED_FIELDS = (
    "JobID",
    "State",
    "Reason",
    "UID",
    "Submit",
    "Eligible",
    "Start",
    "End",
    "NodeList",
    "ExitCode",
    "TimelimitRaw",
    "JobName",
)

# Of each task and its steps; a step may have any name.
USAGE_FIELDS = ("JobID", "State", "MaxRSS", "TotalCPU", "JobName")

_RANGE = re.compile(r"(\d{1,10})(?:-(\d{1,10})(?::(\d{1,10}))?)?", re.ASCII)
_SACCT_ID = re.compile(r"(\d{1,10})_(?:\[([^\]]*)\]|(\d{1,10}))", re.ASCII)
_SUBMITTED = re.compile(r"(\d{1,10})(?:;[\w.-]+)?", re.ASCII)
_STEP_ID = re.compile(r"(\d{1,10})_(\d{1,10})(?:\.(.+))?", re.ASCII)
_STEP_ENDS = frozenset(
    {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL"}
)
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)([KMGTP]?)", re.ASCII)
_CPU_TIME = re.compile(r"(?:(?:(\d{1,6})-)?(\d{1,4}):)?(\d{1,4}):(\d{1,4}(?:\.\d{1,9})?)", re.ASCII)
# Stands for the nonce, which is another one in each answer.
_MARK = "\x1e"
_MAX_TASK = 4_000_001
_NO_VALUE = 0xFFFF_FFFE


def submitted_id(stdout: str) -> int | None:
    """The id in the last line of `sbatch --parsable`; other lines are a plugin's noise."""
    lines = stdout.strip().splitlines()
    match = _SUBMITTED.fullmatch(lines[-1].strip()) if lines else None
    return int(match[1]) if match else None


def task_ranges(text: str) -> tuple[tuple[int, int], ...] | None:
    """`65-76,78,80-90:5%10` -> inclusive ranges; None where it is anything else (or cut off)."""
    ranges: list[tuple[int, int]] = []
    for part in text.partition("%")[0].split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            return None
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if last < first or last > _MAX_TASK or step < 1:
            return None
        if step == 1:
            ranges.append((first, last))
        else:
            ranges.extend((n, n) for n in range(first, last + 1, step))
    return tuple(ranges)


def live(text: str, nonce: str) -> Iterator[JobReport]:
    """Rows of squeue -O with LIVE_FIELDS, each field followed by the nonce in bars."""
    yield from live_by_line(text, nonce, {}).values()


def live_by_line(text: str, nonce: str, known: Mapping[str, JobReport]) -> dict[str, JobReport]:
    """The same, each by its line without the nonce. Of a line that an earlier answer had, too,
    the report is that of `known`: the same object."""
    separator = f"|{nonce}|"
    mark = _MARK
    if mark in text:  # somebody's, and could pass for the word that nobody knows
        mark, known = separator, {}
    found = {}
    for line in text.split("\n"):
        # Line by line, since other threads have to wait for a single long step.
        key = line.replace(separator, mark)
        report = known.get(key) or _live_row(key, mark)
        if report is not None:
            found[key] = report
    return found


def _live_row(line: str, separator: str) -> JobReport | None:
    row = _row(line, separator, LIVE_FIELDS, trailing=True)
    ranges = task_ranges(row["ArrayTaskID"]) if row else None
    array_id = _int(row["ArrayJobID"]) if row else None
    if row is None or ranges is None or array_id is None:
        return None
    code, signal = _ended_with(row["exit_code"])
    # What many rows have alike is there once: they are kept from look to look.
    return JobReport(
        array_job_id=array_id,
        tasks=ranges,
        is_range=row["State"] == "PENDING" and not row["ArrayTaskID"].isdigit(),
        state=intern(row["State"]),
        source="live",
        reason=intern(row["Reason"]),
        tag=intern(row["Name"]),
        uid=_int(row["UserID"]),
        submit_time=_time(row["SubmitTime"]),
        eligible_time=_time(row["EligibleTime"]),
        start_time=_time(row["StartTime"]),
        end_time=_time(row["EndTime"]),
        exit_code=code,
        signal=signal,
        node_list=intern(_nodes(row["NodeList"])),
        restarts=_int(row["RestartCnt"]),
        priority=_int(row["PriorityLong"]),
    )


def ended(text: str, nonce: str, fields: tuple[str, ...] = ENDED_FIELDS) -> Iterator[JobReport]:
    """Rows of `sacct -X -n -P --delimiter=|nonce|` with these fields, ENDED_FIELDS at least."""
    for line in text.split("\n"):
        row = _row(line, f"|{nonce}|", fields, trailing=False)
        if row is None:
            continue
        match = _SACCT_ID.fullmatch(row["JobID"])
        ranges = task_ranges(match[2] or match[3]) if match else None
        if match is None or ranges is None:
            continue
        state, by = _sacct_state(row["State"])
        code, signal = _exit_code(row["ExitCode"])
        yield JobReport(
            array_job_id=int(match[1]),
            tasks=ranges,
            is_range=match[2] is not None,
            state=state,
            source="accounting",
            reason=row["Reason"],
            tag=row["JobName"],
            uid=_int(row["UID"]),
            submit_time=_time(row["Submit"]),
            eligible_time=_time(row["Eligible"]),
            start_time=_time(row["Start"]),
            end_time=_time(row["End"]),
            exit_code=code,
            signal=signal,
            node_list=_nodes(row["NodeList"]),
            restarts=_int(row.get("Restarts", "")),
            time_limit=_int(row["TimelimitRaw"]),
            cancelled_by=by,
        )


def usage(text: str, nonce: str) -> Iterator[JobUsage]:
    """Rows of `sacct -n -P --noconvert --delimiter=|nonce|` with USAGE_FIELDS: each task, followed
    by its steps. A task without a step has used nothing that is known."""
    names: dict[tuple[int, int], str] = {}
    steps: dict[tuple[int, int], list[Mapping[str, str]]] = defaultdict(list)
    for line in text.split("\n"):
        row = _row(line, f"|{nonce}|", USAGE_FIELDS, trailing=False)
        match = _STEP_ID.fullmatch(row["JobID"]) if row else None
        if row is None or match is None:
            continue
        task = int(match[1]), int(match[2])
        if match[3] is None:
            names[task] = row["JobName"]
        else:
            steps[task].append(row)
    for task, name in names.items():
        yield _used(task, name, steps[task])


def _used(task: tuple[int, int], name: str, steps: Sequence[Mapping[str, str]]) -> JobUsage:
    sizes = [size for row in steps if (size := _mebibytes(row["MaxRSS"])) is not None]
    times = [time for row in steps if (time := _cpu_seconds(row["TotalCPU"])) is not None]
    over = all(_sacct_state(row["State"])[0] in _STEP_ENDS for row in steps)
    return JobUsage(
        *task, name, max(sizes, default=None), round(sum(times), 3) if times else None,
        complete=bool(steps) and over,
    )  # fmt: skip


def facts(version: str, config: str) -> SlurmFacts | None:
    """`slurmctld -V`-like text and `scontrol show config`; None where the limits are missing."""
    values = {
        key.strip(): value.strip()
        for key, _, value in (line.partition("=") for line in config.splitlines())
    }
    array, jobs = _int(values.get("MaxArraySize", "")), _int(values.get("MaxJobCount", ""))
    age = re.match(r"[0-9]+", values.get("MinJobAge", ""))
    if array is None or jobs is None or "BOOT_TIME" not in values:
        return None
    return SlurmFacts(
        version=values.get("SLURM_VERSION") or version,
        max_array_size=array,
        max_job_count=jobs,
        min_job_age=int(age[0]) if age else 300,
        boot_time=values["BOOT_TIME"],
        cluster=values.get("ClusterName", ""),
    )


def _row(
    line: str, separator: str, fields: tuple[str, ...], *, trailing: bool
) -> Mapping[str, str] | None:
    values = line.split(separator)
    if trailing and values[-1:] == [""]:
        values.pop()
    if len(values) != len(fields):
        return None
    return dict(zip(fields, (value.strip() for value in values), strict=True))


def _int(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _time(text: str) -> float | None:
    """Epoch seconds, as SLURM_TIME_FORMAT=%s gives them; `Unknown`, `N/A`, `None`, `0`: None."""
    return float(text) if text.isascii() and text.isdigit() and 0 < len(text) < 12 and int(text) \
        else None  # fmt: skip


def _mebibytes(text: str) -> float | None:
    """`64933888`, or with a unit: `63412K`, `1.5G`. Nothing, or 0: it was not measured."""
    match = _SIZE.fullmatch(text)
    size = float(match[1]) * 1024.0 ** "BKMGTP".index(match[2] or "B") / 2**20 if match else 0.0
    return round(size, 1) or None


def _cpu_seconds(text: str) -> float | None:
    """`00:03.217`, `01:02:03`, `2-03:04:05` -> seconds."""
    match = _CPU_TIME.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (float(each or 0) for each in match.groups())
    return round(((days * 24 + hours) * 60 + minutes) * 60 + seconds, 3)


def _nodes(text: str) -> str:
    return "" if text in ("None assigned", "(null)", "n/a") else text


def _ended_with(text: str) -> tuple[int | None, int | None]:
    """squeue's exit_code -> exit code and signal. It is wait(2)'s status word, and since some
    version after 22.05 the two with a colon between them."""
    if ":" in text:
        return _exit_code(text)
    status = _int(text)
    if status is None or status >= _NO_VALUE:
        return None, None
    return status >> 8 & 0xFF, status & 0x7F


def _exit_code(text: str) -> tuple[int | None, int | None]:
    code, _, signal = text.partition(":")
    return _int(code), _int(signal)


def _sacct_state(text: str) -> tuple[str, int | None]:
    """`CANCELLED by 1000` -> the word and the uid; `OUT_OF_ME+` loses its plus and is unknown."""
    word, _, rest = text.partition(" ")
    by = _int(rest.removeprefix("by ").strip())
    return word.rstrip("+"), by


_TO_START = re.compile(r"Job \d+ to start at (\S+)(?:.*? on nodes (\S+))?")


def estimate(text: str) -> Estimate:
    """What `sbatch --test-only` says of when and where; nothing where that cannot be read."""
    match = _TO_START.search(text)
    if match is None:
        return Estimate()
    at, nodes = match.groups()
    return Estimate(float(at) if at.isascii() and at.isdigit() else None, nodes or "")
