"""Job scripts: rendered, and then run for real with bash."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurmbatch import script
from slurmbatch.model import Filesystem, Parameter, Tool
from slurmbatch.script import Setting, quote, render, setting_for, split, task, tasks_for

# Prints its environment, each variable ended by a NUL.
SHOW = "#!/bin/sh\nexec cat /proc/self/environ\n"
SLURMD = {"PATH": "/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": "1", "SLURM_JOB_ID": "77"}


def tool(text: str = SHOW, path: str = "") -> Tool:
    return Tool("t", "", script="" if path else text, path=path)


def setting(work_dir: Path | None, environment: Mapping[str, str] | None = None) -> Setting:
    return Setting("b1", environment or {}, work_dir, {})


def run(text: str, env: Mapping[str, str] = SLURMD) -> subprocess.CompletedProcess[bytes]:
    """As slurmd would: the script is a file, its environment is what sbatch had and SLURM_*."""
    return subprocess.run(
        ["/bin/bash", "/dev/stdin"], input=text.encode(), env=dict(env), capture_output=True,
        check=False, timeout=30,
    )  # fmt: skip


def environment_of(text: str, env: Mapping[str, str] = SLURMD) -> dict[str, str]:
    done = run(text, env)
    assert done.returncode == 0, done.stderr
    pairs = done.stdout.decode().rstrip("\0").split("\0")
    return dict(pair.split("=", 1) for pair in pairs)


def seen(tmp_path: Path, values: Mapping[str, str]) -> dict[str, str]:
    return environment_of(render(tool(), setting(tmp_path), [task(0, values)]))


# --- any text survives ----------------------------------------------------------------------------

NASTY = {
    "quotes": 'it\'s "quoted" \'\'\' """',
    "newlines": "a\nb\n\n",
    "command": "$(touch /tmp/pwned) `id` ${HOME} $HOME $'x'",
    "cr": "a\rb",
    "crlf": "a\r\nb\r\n",
    "cr-and-quotes": "a'\r'b\\r\\'\\\r",
    "backslashes": "\\ \\\\ \\n \\' \\",
    "unicode": "Grüße 你好 עברית",
    "emoji": "🧪👩‍🔬",
    "combining": "e\u0301\u202e\ufeff",
    "leading-dash": "-n --help",
    "empty": "",
    "space": "   ",
    "tab-and-control": "\t\x01\x1b[31m\x7f\x08",
    "sbatch": "\n#SBATCH --job-name=evil\n",
    "heredoc": "\nEND_OF_TOOL\nEOF\n",
    "case": "\n1) true;;\nesac\n",
    "exclamation": "!! !$ #comment",
    "glob": "* ? [a-z] ~ {1,2}",
    "long": "x'\"$\\\n" * 16_000,
}


@pytest.mark.parametrize("name", NASTY)
def test_nasty_text_survives(tmp_path: Path, name: str) -> None:
    assert seen(tmp_path, {"VALUE": NASTY[name]})["VALUE"] == NASTY[name]


def test_nasty_text_survives_as_a_shared_argument_too(tmp_path: Path) -> None:
    shared = {f"A_{index}": text for index, text in enumerate(NASTY.values())}
    found = environment_of(render(tool(), setting(tmp_path, shared), [task(0, {})]))
    assert {name: found[name] for name in shared} == shared


@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
                min_size=1, max_size=30))  # fmt: skip
def test_any_text_survives(tmp_path: Path, texts: list[str]) -> None:
    values = {f"V{index}": text for index, text in enumerate(texts)}
    found = seen(tmp_path, values)
    assert {name: found[name] for name in values} == values


@given(st.text(st.sampled_from("'\"\\\r\n$`ar x"), max_size=12))
def test_no_carriage_return_is_left_in_the_script(text: str) -> None:
    assert "\r" not in quote(text)


def test_carriage_returns_of_a_value_do_not_make_a_dos_script(tmp_path: Path) -> None:
    assert "\r" not in render(tool(), setting(tmp_path), [task(0, {"V": NASTY["crlf"]})])


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "A;id", "Ä", "A\n", "$A"])
def test_a_name_that_is_no_identifier_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="environment variable"):
        render(tool(), setting(tmp_path), [task(0, {name: "x"})])


# --- which task it is -----------------------------------------------------------------------------


def test_each_task_has_its_own_arguments_over_the_shared_ones(tmp_path: Path) -> None:
    tasks = [task(10, {"SEED": "1"}), task(11, {"SEED": "2", "SAMPLES": "9"})]
    text = render(tool(), setting(tmp_path, {"SAMPLES": "5", "SEED": "0"}), tasks)
    first = environment_of(text)
    second = environment_of(text, {**SLURMD, "SLURM_ARRAY_TASK_ID": "2"})
    assert (first["SEED"], first["SAMPLES"]) == ("1", "5")
    assert (second["SEED"], second["SAMPLES"]) == ("2", "9")
    assert first["SLURMBATCH_JOB_INDEX"] == "10"
    assert first["SLURMBATCH_JOB_ID"] == "b1-10"
    assert second["SLURMBATCH_JOB_ID"] == "b1-11"
    assert second["SLURMBATCH_BATCH_ID"] == "b1"


@pytest.mark.parametrize("number", ["0", "3", "", "1 ", "*", "01", "?", None])
def test_an_unknown_task_runs_nothing(tmp_path: Path, number: str | None) -> None:
    text = render(tool("#!/bin/sh\necho ran\n"), setting(tmp_path), [task(0, {}), task(1, {})])
    env = {name: value for name, value in SLURMD.items() if name != "SLURM_ARRAY_TASK_ID"}
    done = run(text, env if number is None else {**env, "SLURM_ARRAY_TASK_ID": number})
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"slurmbatch: this script has no task" in done.stderr


def test_a_missing_working_directory_says_so_and_runs_nothing(tmp_path: Path) -> None:
    text = render(tool("#!/bin/sh\necho ran\n"), setting(tmp_path / "gone"), [task(0, {})])
    done = run(text)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"slurmbatch: no working directory on " in done.stderr


@pytest.mark.parametrize("name", ["plain", "with space", "-dash", "q'uote", "dollar$HOME", "a;b"])
def test_the_tool_runs_in_the_working_directory(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    done = run(render(tool("#!/bin/sh\npwd\n"), setting(directory), [task(0, {})]))
    assert done.stdout.decode() == f"{directory}\n"


def test_without_a_working_directory_it_is_the_home() -> None:
    done = run(render(tool("#!/bin/sh\npwd\n"), setting(None), [task(0, {})]))
    assert done.stdout.decode().strip() == pwd.getpwuid(os.getuid()).pw_dir


# --- the environment ------------------------------------------------------------------------------

POLLUTED = {
    **SLURMD,
    "HOME": "/nonexistent",
    "USER": "somebody",
    "LD_LIBRARY_PATH": "/evil",
    "PYTHONPATH": "/evil",
    "ENV": "/evil",
    "IFS": "x",
    "SECRET_KEY": "hunter2",
    "SBATCH_PARTITION": "evil",
    "BASH_FUNC_helper%%": "() { echo evil; }",
    "SLURM_JWT": "token",
    "SLURMBATCH_API_KEY": "hunter2",
    "SLURMBATCH_JOB_ID": "forged",
}


def test_the_environment_is_built_from_nothing(tmp_path: Path) -> None:
    text = render(tool(), setting(tmp_path, {"ARG": "x"}), [task(4, {})])
    found = environment_of(text, POLLUTED)
    entry = pwd.getpwuid(os.getuid())
    assert found == {
        "HOME": entry.pw_dir,
        "USER": entry.pw_name,
        "LOGNAME": entry.pw_name,
        "SHELL": "/bin/bash",
        "PATH": SLURMD["PATH"],
        "PWD": str(tmp_path),
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "SLURM_ARRAY_TASK_ID": "1",
        "SLURM_JOB_ID": "77",
        "SLURMBATCH_BATCH_ID": "b1",
        "SLURMBATCH_JOB_ID": "b1-4",
        "SLURMBATCH_JOB_INDEX": "4",
        "ARG": "x",
    }


def test_bash_env_and_preloads_do_not_reach_the_tool(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text("echo trapped\n")
    text = render(tool("#!/bin/bash\necho \"$BASH_ENV|$LD_PRELOAD|$ENV\"\n"), setting(tmp_path),
                  [task(0, {})])  # fmt: skip
    env = {**SLURMD, "BASH_ENV": str(trap), "ENV": str(trap), "LD_PRELOAD": "libm.so.6"}
    # The outer bash is slurmd's to start; the tool's is ours, and must not read it again.
    assert run(text, env).stdout.decode().splitlines() == ["trapped", "||"]


def test_functions_of_the_parent_are_not_the_tools(tmp_path: Path) -> None:
    text = render(tool("#!/bin/bash\nhelper\n"), setting(tmp_path), [task(0, {})])
    done = run(text, POLLUTED)
    assert (done.returncode, done.stdout) == (127, b"")


def test_what_slurm_tells_a_job_reaches_it_whole(tmp_path: Path) -> None:
    env = {**SLURMD, "SLURM_JOB_NAME": "a 'b'\n$(id)", "SLURM_X": ""}
    found = environment_of(render(tool(), setting(tmp_path), [task(0, {})]), env)
    assert (found["SLURM_JOB_NAME"], found["SLURM_X"]) == ("a 'b'\n$(id)", "")


def test_filesystems_are_named_to_the_tool(tmp_path: Path) -> None:
    filesystems = [Filesystem("scratch", "/fs/a b"), Filesystem("my-data.2", "/fs/$x")]
    made = setting_for(tool(), "b1", {}, filesystems, tmp_path)
    found = environment_of(render(tool(), made, [task(0, {})]))
    assert found["SLURMBATCH_FS_SCRATCH"] == "/fs/a b"
    assert found["SLURMBATCH_FS_MY_DATA_2"] == "/fs/$x"


def test_only_declared_arguments_become_variables(tmp_path: Path) -> None:
    declared = Tool("t", "", script=SHOW, parameters=(
        Parameter("N", "integer"), Parameter("OK", "boolean"), Parameter("X", "number"),
    ))  # fmt: skip
    made = setting_for(declared, "b1", {"N": 3, "LD_PRELOAD": "evil.so"}, [], tmp_path)
    tasks = list(tasks_for(declared, [(0, {"OK": True, "X": 0.1, "PATH": "/evil"})]))
    found = environment_of(render(declared, made, tasks))
    assert (found["N"], found["OK"], found["X"]) == ("3", "true", "0.1")
    assert found["PATH"] == SLURMD["PATH"]
    assert "LD_PRELOAD" not in found


# --- the tool -------------------------------------------------------------------------------------


def output(text: str, tmp_path: Path) -> str:
    done = run(render(tool(text), setting(tmp_path, {"WHO": "it's me"}), [task(0, {})]))
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("#!/bin/sh\necho $WHO\n", "it's me\n"),
        ("#!/bin/bash -u\ncase $- in *u*) echo u;; esac\n", "u\n"),
        ("#! /bin/sh\necho a\n", "a\n"),
        ("#!/usr/bin/awk -f\nBEGIN { print ENVIRON[\"WHO\"] }\n", "it's me\n"),
        ("#!/usr/bin/env -S awk -f\nBEGIN { print 1 + 1 }\n", "2\n"),
        ("#!/bin/true", ""),
        ("#!/bin/sh\nprintf '%s ' 'a\\b' \"$((1+1))\" `echo c`; echo", "a\\b 2 c \n"),
        ("#!/bin/sh\ncat <<'EOF'\n$x\nEOF\n", "$x\n"),
        ("#!/bin/bash\nread -r line < <(echo in); echo $line", "in\n"),
    ],
)  # fmt: skip
def test_a_script_runs_under_its_interpreter(text: str, printed: str, tmp_path: Path) -> None:
    assert output(text, tmp_path) == printed


def test_a_long_script_with_anything_in_it_survives(tmp_path: Path) -> None:
    body = "".join(f"# '\"$`\\ {number} END_OF_TOOL\n" for number in range(20_000))
    assert output(f"#!/bin/sh\n{body}echo end\n", tmp_path) == "end\n"


@pytest.mark.parametrize("text", ["", "echo\n", "#!sh\n", "#! \n", "# !/bin/sh\n", "\n#!/bin/sh"])
def test_a_script_without_an_interpreter_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must start with #!"):
        render(tool(text), setting(tmp_path), [task(0, {})])


@pytest.mark.parametrize("name", ["tool", "with space", "q'uote", "$HOME", "-dash"])
def test_a_tool_can_be_a_program(tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    program.write_text('#!/bin/sh\necho "$#:$WHO"\n')
    program.chmod(0o755)
    made = tool(path=str(program))
    done = run(render(made, setting(tmp_path, {"WHO": "x y"}), [task(0, {})]))
    assert done.stdout.decode() == "0:x y\n"


def test_a_program_that_is_missing_is_said_to_be(tmp_path: Path) -> None:
    done = run(render(tool(path="/nonexistent/tool"), setting(tmp_path), [task(0, {})]))
    assert done.returncode == 127
    assert b"/nonexistent/tool" in done.stderr


@pytest.mark.parametrize("code", [0, 1, 3, 126, 127, 137, 255])
def test_the_exit_code_is_the_tools(tmp_path: Path, code: int) -> None:
    text = render(tool(f"#!/bin/sh\nexit {code}\n"), setting(tmp_path), [task(0, {})])
    assert run(text).returncode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGUSR1])
def test_a_signal_that_ends_the_tool_ends_the_job(tmp_path: Path, number: signal.Signals) -> None:
    text = render(tool(f"#!/bin/sh\nkill -{int(number)} $$\n"), setting(tmp_path), [task(0, {})])
    assert run(text).returncode == -number


# --- what sbatch makes of it ----------------------------------------------------------------------


def test_nothing_of_the_users_stands_where_sbatch_looks_for_options(tmp_path: Path) -> None:
    evil = "#!/bin/sh\n#SBATCH --job-name=evil\necho\n"
    shared = {"V": "\n#SBATCH --uid=0\n"}
    lines = render(tool(evil), setting(tmp_path, shared), [task(0, shared)]).split("\n")
    assert lines[0] == "#!/bin/bash"
    # sbatch(1): it stops at the first line that is neither a comment nor blank.
    assert re.match(r"[a-z]", lines[1])


# --- splitting ------------------------------------------------------------------------------------


def tasks_of(sizes: Sequence[int]) -> list[str]:
    return [task(index, {"V": "x" * size}) for index, size in enumerate(sizes)]


@given(st.lists(st.integers(0, 3000), max_size=60), st.integers(1, 20), st.integers(4000, 9000))
def test_split_covers_all_in_order_under_the_limit(
    sizes: list[int], max_tasks: int, max_bytes: int
) -> None:
    made, tasks = setting(Path("/w")), tasks_of(sizes)
    counts = list(split(tool(), made, tasks, max_tasks=max_tasks, max_bytes=max_bytes))
    assert sum(counts) == len(tasks)
    at = 0
    for count in counts:
        part = tasks[at : at + count]
        at += count
        assert 1 <= count <= max_tasks
        assert len(render(tool(), made, part).encode()) <= max_bytes
        following = tasks[at : at + 1]
        if following and count < max_tasks:
            # Not smaller than it need be: with the next one it would be too long, give or take
            # the digits of its number.
            longer = render(tool(), made, [*part, *following]).encode()
            assert len(longer) > max_bytes - 2 * (count + 1)


def test_split_counts_bytes_not_letters() -> None:
    made, tasks = setting(Path("/w")), [task(n, {"V": "🧪" * 500}) for n in range(20)]
    counts = list(split(tool(), made, tasks, max_tasks=1000, max_bytes=8000))
    at = 0
    for count in counts:
        assert len(render(tool(), made, tasks[at : at + count]).encode()) <= 8000
        at += count
    assert at == 20


def test_a_task_that_fits_no_script_is_an_error() -> None:
    tasks = tasks_of([10, 20, 9000, 10])
    with pytest.raises(ValueError, match="job 2 "):
        list(split(tool(), setting(Path("/w")), tasks, max_tasks=10, max_bytes=8000))


def test_a_tool_that_fits_no_script_is_an_error() -> None:
    big = tool("#!/bin/sh\n" + "#\n" * 5000)
    with pytest.raises(ValueError, match="job 0 "):
        list(split(big, setting(Path("/w")), tasks_of([1]), max_tasks=10, max_bytes=8000))


def test_no_tasks_are_no_arrays() -> None:
    assert list(split(tool(), setting(Path("/w")), [], max_tasks=10, max_bytes=8000)) == []


def test_a_claimed_script_is_counted_whole(tmp_path: Path) -> None:
    made = Setting("b1", {}, tmp_path, {}, PurePath("/claims/tag"))
    tasks = tasks_of([900] * 12)
    at = 0
    for count in split(tool(), made, tasks, max_tasks=100, max_bytes=6000):
        assert len(render(tool(), made, tasks[at : at + count]).encode()) <= 6000
        at += count
    assert at == 12
    assert script.NOT_RUN_AGAIN == 121
