"""A batch and its tool become the text of a job script: pure, no I/O.

The arguments travel inside the script, quoted so that any text survives, and are picked by
`SLURM_ARRAY_TASK_ID`. The tool runs in an environment built from nothing: its arguments,
`SLURMBATCH_*`, Slurm's own `SLURM_*`, and what a program may expect of any login (HOME, USER,
PATH, …). sbatch takes no script of more than 4 MiB and is slow with big ones: `split` keeps each
below a limit of bytes.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from slurmbatch.arguments import as_text, environment
from slurmbatch.columns import columns, types
from slurmbatch.model import ArgValue, Filesystem, Tool

# What needs no quotes, found out at once: shlex would come to the same.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+").fullmatch
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INTERPRETER = re.compile(r"#!\s*(/\S+)(?:[ \t]+(.*\S))?[ \t]*$")


@dataclass(frozen=True, slots=True)
class Setting:
    """What all tasks of an array share."""

    batch_id: str
    environment: Mapping[str, str]
    work_dir: PurePath | None
    filesystems: Mapping[str, str]
    claims: PurePath | None = None
    umask: int | None = None


def setting_for(
    tool: Tool,
    batch_id: str,
    fixed_args: Mapping[str, ArgValue],
    filesystems: Iterable[Filesystem],
    work_dir: PurePath | None,
    claims: PurePath | None = None,
    umask: int | None = None,
) -> Setting:
    """`claims` is the array's own directory for them; None: the job is not fenced. `umask` None:
    the one that it was submitted with."""
    paths = {filesystem.id: filesystem.path for filesystem in filesystems}
    return Setting(batch_id, environment(tool, fixed_args), work_dir, paths, claims, umask)


def tasks_for(tool: Tool, own: Iterable[tuple[int, Mapping[str, ArgValue]]]) -> Iterator[str]:
    """A task for each job's index and own arguments. There may be a million of them."""
    names = frozenset(each.name for each in tool.parameters)
    _check_names(names)
    for index, args in own:
        yield _task(index, [
            quote(f"{name}={as_text(value)}") for name, value in args.items() if name in names
        ])  # fmt: skip


def tasks_of(tool: Tool, jobs: Sequence[Mapping[str, ArgValue]]) -> list[str]:
    """The same for jobs 0 to N - 1, which are not too many to be looked at together."""
    found = columns(jobs)
    if found is None:
        return list(tasks_for(tool, enumerate(jobs)))
    names = frozenset(each.name for each in tool.parameters)
    _check_names(names)
    words = [_words(name, column) for name, column in found.items() if name in names]
    texts = map(" ".join, zip(*words, strict=True)) if words else [""] * len(jobs)
    return [f") i={index}; a=({text});;\n" for index, text in enumerate(texts)]


def _words(name: str, column: Sequence[ArgValue]) -> list[str]:
    """As `quote` makes them, for all jobs."""
    there = types(column)
    as_they_are = there == {int} or there == {str}
    words = [f"{name}={text}" for text in (column if as_they_are else map(as_text, column))]
    text = "".join(words)
    if _PLAIN(text):
        return words
    if "'" in text or "\r" in text:
        return [quote(each) for each in words]
    return [each if _PLAIN(each) else f"'{each}'" for each in words]


HEAD = """\
#!/bin/bash
unset SLURM_JWT BASH_ENV ENV
case "${SLURM_ARRAY_TASK_ID:-}" in
"""
MIDDLE = """\
*) echo "slurmbatch: this script has no task '${SLURM_ARRAY_TASK_ID:-}'" >&2; exit 1;;
esac
b=__BATCH_ID__
unset HOME
HOME=~
USER=$(id -un)
cd -- __WORK_DIR__ || { echo "slurmbatch: no working directory on $(uname -n)" >&2; exit 1; }
e=("HOME=$HOME" "USER=$USER" "LOGNAME=$USER" "SHELL=/bin/bash" "PATH=$PATH" "PWD=$PWD")
e+=("TMPDIR=${TMPDIR:-/tmp}" "LANG=C.UTF-8")
for name in "${!SLURM_@}"; do e+=("$name=${!name}"); done
e+=("SLURMBATCH_BATCH_ID=$b" "SLURMBATCH_JOB_ID=$b-$i" "SLURMBATCH_JOB_INDEX=$i")
"""
# Exit code of a run that did not take place, because an earlier one had begun; see claims.
NOT_RUN_AGAIN = 121
CLAIM = """\
c=__CLAIMS__/$SLURM_ARRAY_TASK_ID
if ! mkdir -- "$c"; then
  for n in 1 2 3 4 5 6 7 8 9 10; do [ -s "$c/code" ] && break; sleep 1; done
  if [ -s "$c/code" ]; then
    echo "slurmbatch: started again by Slurm, but it has ended before; nothing was run" >&2
    exit "$(cat -- "$c/code")"
  fi
  [ -d "$c" ] && : > "$c/again"
  echo "slurmbatch: not run on $(uname -n): its claim $c is taken or cannot be made" >&2
  exit __NOT_RUN_AGAIN__
fi
trap : TERM INT HUP USR1 USR2
"""
UNCLAIM = """\
r=$?
printf '%s\\n' "$r" > "$c/code.tmp" && sync -- "$c/code.tmp" && mv -- "$c/code.tmp" "$c/code"
exit "$r"
"""


def quote(text: str) -> str:
    """One word of bash. A carriage return is written as an escape: sbatch refuses CRLF."""
    if _PLAIN(text):
        return text
    if "\r" not in text:
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\r", "\\r")
    return f"$'{escaped}'"


def assignments(environment: Mapping[str, str]) -> str:
    """`name=value` words for env(1). Raises ValueError for a name that is no identifier."""
    _check_names(environment)
    return " ".join([quote(f"{name}={value}") for name, value in environment.items()])


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a name of an environment variable: {name!r}")


def task(index: int, environment: Mapping[str, str]) -> str:
    """One array task, as it stands in a script after its number: the index of its job in the batch,
    and its own environment variables."""
    return _task(index, [assignments(environment)])


def _task(index: int, words: Iterable[str]) -> str:
    return f") i={index}; a=({' '.join(words)});;\n"


def render(tool: Tool, setting: Setting, tasks: Sequence[str]) -> str:
    """The script for an array of `tasks`, numbered from 1."""
    lines = "".join([f"{number}{text}" for number, text in enumerate(tasks, start=1)])
    return HEAD + lines + _tail(tool, setting)


def _tail(tool: Tool, setting: Setting) -> str:
    shared = {
        **{f"SLURMBATCH_FS_{_variable(name)}": path for name, path in setting.filesystems.items()},
        **setting.environment,
    }
    work_dir = quote(str(setting.work_dir)) if setting.work_dir else '"$HOME"'
    middle = MIDDLE.replace("__BATCH_ID__", quote(setting.batch_id), 1)
    middle = middle.replace("__WORK_DIR__", work_dir, 1)
    umask = "" if setting.umask is None else f"umask {setting.umask:04o}\n"
    arrange = f"{middle}{umask}f=({assignments(shared)})\n"
    if setting.claims is None:
        return f"{arrange}exec {_command(tool)}"
    claim = CLAIM.replace("__CLAIMS__", quote(str(setting.claims)), 1)
    claim = claim.replace("__NOT_RUN_AGAIN__", str(NOT_RUN_AGAIN), 1)
    return f"{arrange}{claim}{_command(tool)}{UNCLAIM}"


def _command(tool: Tool) -> str:
    start = 'env -i "${e[@]}" "${f[@]}" "${a[@]}" '
    if tool.path:
        return f"{start}{quote(tool.path)}\n"
    text = tool.script if tool.script.endswith("\n") else tool.script + "\n"
    end = "END_OF_TOOL_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{start}{_interpreter(text)} /dev/fd/9 9<<'{end}'\n{text}{end}\n"


def _interpreter(script: str) -> str:
    """The words that the kernel would make of the first line (execve(2), "Interpreter scripts")."""
    match = _INTERPRETER.match(script.split("\n", 1)[0])
    if match is None:
        raise ValueError("the script must start with #! and an absolute path")
    return " ".join(quote(word) for word in match.groups() if word)


def _variable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def split(
    tool: Tool, setting: Setting, tasks: Iterable[str], *, max_tasks: int, max_bytes: int
) -> Iterator[int]:
    """How many of the tasks, in their order, go into each array.

    Raises ValueError if a single task's script would be over `max_bytes`.
    """
    room = max_bytes - len((HEAD + _tail(tool, setting)).encode())
    count = size = 0
    digits = len(str(max_tasks))
    if isinstance(tasks, Sequence) and 0 < len(tasks) <= max_tasks:
        whole = "".join(tasks)
        if whole.isascii() and digits * len(tasks) + len(whole) <= room:
            yield len(tasks)
            return
    for index, text in enumerate(tasks):
        need = digits + (len(text) if text.isascii() else len(text.encode()))
        if need > room:
            raise ValueError(f"the arguments of job {index} do not fit into a job script")
        if count == max_tasks or size + need > room:
            yield count
            count = size = 0
        count, size = count + 1, size + need
    if count:
        yield count
