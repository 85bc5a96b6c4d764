"""Slurm's commands, as processes: what they are given, and what is made of what they say.

The commands are small scripts that write down how they were called; the processes are real.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import pytest

from slurmbatch.errors import (
    AccountingUnreachable,
    SlurmAmbiguous,
    SlurmbatchError,
    SlurmBusy,
    SlurmRefused,
    SlurmUnreachable,
)
from slurmbatch.model import SlurmFacts, SlurmOptions, Submission
from slurmbatch.poller.sources import IDS_A_QUESTION
from slurmbatch.slurm import parse, quirks
from slurmbatch.slurm.commands import CommandSlurm, submit_arguments
from slurmbatch.slurm.port import SubmitRequest

REQUEST = SubmitRequest(
    tag="sb-tag",
    script="#!/bin/bash\ntrue\n",
    n_tasks=3,
    cpu=2,
    memory=256,
    output=PurePath("/logs/b/0.0/%a.log"),
    work_dir=PurePath("/work dir"),
    options=SlurmOptions(),
    comment="slurmbatch batch=b user=u",
)
RECORD = """\
#!/bin/sh
cat /proc/$$/environ > {here}/{name}.env
printf '%s\\0' "$@" >> {here}/{name}.argv; printf '\\n' >> {here}/{name}.argv
nonce=$(printf '%s' "$*" | sed -n 's/.*|\\([0-9a-f]\\{{16\\}}\\)|.*/\\1/p')
"""


@dataclass(frozen=True)
class Commands:
    """A directory of commands whose answers the test writes."""

    here: Path

    def answers(self, name: str, body: str) -> None:
        """`body` is what the command does, in sh; `$nonce` is the word it was given."""
        path = self.here / name
        path.write_text(RECORD.format(here=self.here, name=name) + body + "\n")
        path.chmod(0o755)

    def calls(self, name: str) -> list[list[str]]:
        path = self.here / f"{name}.argv"
        if not path.exists():
            return []
        text = path.read_text().removesuffix("\0\n")
        return [call.split("\0") for call in text.split("\0\n")]

    def environment(self, name: str) -> dict[str, str]:
        pairs = (self.here / f"{name}.env").read_text().rstrip("\0").split("\0")
        return dict(pair.split("=", 1) for pair in pairs)


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


@pytest.fixture
def slurm(commands: Commands) -> CommandSlurm:
    return CommandSlurm(conf=Path("/etc/x/slurm.conf"), bin_dir=commands.here)


def sbatch_says(stdout: str = "", stderr: str = "", code: int = 0) -> str:
    return (f"cat > /dev/null; printf %s {shlex.quote(stdout)}; "
            f"printf %s {shlex.quote(stderr)} >&2; exit {code}")  # fmt: skip


# --- sbatch's options -----------------------------------------------------------------------------

ALWAYS = [
    "--parsable", "--hold", "--job-name=sb-tag", "--array=1-3", "--nodes=1-1", "--ntasks=1",
    "--cpus-per-task=2", "--mem=256M", "--output=/logs/b/0.0/%a.log", "--open-mode=append",
    "--chdir=/work dir", "--export=ALL", "--propagate=NONE",
    "--comment=slurmbatch batch=b user=u",
]  # fmt: skip
OPTIONS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["--no-requeue"]),
    ({"requeue": True}, ["--requeue"]),
    ({"features": ("scratch",)}, ["--no-requeue", "--constraint=scratch"]),
    ({"features": ("scratch", "fast")}, ["--no-requeue", "--constraint=scratch&fast"]),
    ({"licences": ("project:1",)}, ["--no-requeue", "--licenses=project:1"]),
    ({"licences": ("a:1", "b:2")}, ["--no-requeue", "--licenses=a:1,b:2"]),
    ({"options": SlurmOptions(time_limit=30)}, ["--no-requeue", "--time=30"]),
    ({"options": SlurmOptions(gpus=2)}, ["--no-requeue", "--gres=gpu:2"]),
    ({"options": SlurmOptions(partition="main")}, ["--no-requeue", "--partition=main"]),
    ({"options": SlurmOptions(account="phys")}, ["--no-requeue", "--account=phys"]),
    ({"options": SlurmOptions(qos="normal")}, ["--no-requeue", "--qos=normal"]),
    ({"options": SlurmOptions(5, "p", "a", "q", 1), "features": ("f",), "licences": ("l:1",)},
     ["--no-requeue", "--constraint=f", "--licenses=l:1", "--time=5", "--gres=gpu:1",
      "--partition=p", "--account=a", "--qos=q"]),
    # Values that look like options or lists stay one word, with their own name before it.
    ({"options": SlurmOptions(partition="--uid=0")}, ["--no-requeue", "--partition=--uid=0"]),
    ({"options": SlurmOptions(account="a b\n--wrap=x")},
     ["--no-requeue", "--account=a b\n--wrap=x"]),
    ({"options": SlurmOptions(time_limit=0)}, ["--no-requeue", "--time=0"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "more"), OPTIONS)
def test_the_options_of_sbatch(changes: dict[str, Any], more: list[str]) -> None:
    assert submit_arguments(replace(REQUEST, **changes)) == [*ALWAYS, *more]


def test_no_option_is_ever_one_that_would_run_as_somebody_else() -> None:
    names = {word.partition("=")[0] for changes, _ in OPTIONS
             for word in submit_arguments(replace(REQUEST, **changes))}  # fmt: skip
    assert not names & {"--uid", "--gid", "--wrap", "--mail-user", "--export-file", "--clusters"}
    assert all(name.startswith("--") for name in names)


# --- how it is run --------------------------------------------------------------------------------


def test_sbatch_gets_the_script_whole_and_nothing_else(
    commands: Commands, slurm: CommandSlurm
) -> None:
    commands.answers("sbatch", f"cat > {commands.here}/stdin; echo 7")
    text = "#!/bin/bash\n" + "# 🧪 é\n" * 30_000
    assert slurm.submit(replace(REQUEST, script=text)) == Submission(7)
    assert (commands.here / "stdin").read_text() == text
    assert commands.calls("sbatch") == [submit_arguments(REQUEST)]


def test_a_slow_sbatch_gets_all_of_a_long_script(commands: Commands, slurm: CommandSlurm) -> None:
    """It reads on after our first look at it, a second later."""
    commands.answers("sbatch", f"sleep 1.2; cat > {commands.here}/stdin; echo 7")
    text = "#!/bin/bash\n" + "x" * 1_000_000
    assert slurm.submit(replace(REQUEST, script=text)) == Submission(7)
    assert (commands.here / "stdin").read_text() == text


def test_an_sbatch_that_does_not_read_is_still_heard(
    commands: Commands, slurm: CommandSlurm
) -> None:
    commands.answers("sbatch", "echo 'sbatch: error: Invalid --mem specification' >&2; exit 255")
    with pytest.raises(SlurmRefused, match="Invalid --mem specification"):
        slurm.submit(replace(REQUEST, script="#!/bin/bash\n" + "x" * 1_000_000))


CLEAN = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LC_ALL": "C",
    "TZ": "UTC",
    "SLURM_TIME_FORMAT": "%s",
    "SLURM_BITSTR_LEN": "0",
    "SLURM_CONF": "/etc/x/slurm.conf",
}
# A process of ours with everything in its environment that would speak to Slurm or to a shell.
POLLUTED = {
    **os.environ, "SBATCH_PARTITION": "evil", "SLURM_CONF": "/evil", "SQUEUE_FORMAT": "evil",
    "SACCT_FORMAT": "evil", "SCANCEL_STATE": "evil", "SLURM_CLUSTERS": "evil", "SLURM_JWT": "x",
    "LC_ALL": "de_DE.UTF-8", "TZ": "Asia/Tokyo", "SECRET": "hunter2", "ENV": "/evil",
}  # fmt: skip
ASK_EVERYTHING = """
import sys
from pathlib import Path
from slurmbatch.slurm.commands import CommandSlurm
from tests.unit.test_commands import REQUEST
slurm = CommandSlurm(conf=Path("/etc/x/slurm.conf"), bin_dir=Path(sys.argv[1]))
slurm.submit(REQUEST), slurm.live(), slurm.ended([1]), slurm.release(1), slurm.cancel(1)
"""


def in_python(code: str, *arguments: str, env: dict[str, str]) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parents[2])
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=root,
                            env={**env, "PYTHONPATH": root})  # fmt: skip


def test_every_command_has_an_environment_built_from_nothing(commands: Commands) -> None:
    names = ("sbatch", "squeue", "sacct", "scontrol", "scancel")
    for name in names:
        commands.answers(name, f"cat > {commands.here}/{name}.stdin; pwd > {commands.here}/"
                         f"{name}.pwd; umask >> {commands.here}/{name}.pwd; echo 7")  # fmt: skip
    process = in_python(ASK_EVERYTHING, str(commands.here), env=POLLUTED)
    assert process.wait(30) == 0
    for name in names:
        # For jobs as well: where its commands are, first.
        path = f"{commands.here}:{CLEAN['PATH']}"
        assert commands.environment(name) == {**CLEAN, "PATH": path}, name
        if name != "sbatch":
            assert (commands.here / f"{name}.stdin").read_text() == ""
        assert (commands.here / f"{name}.pwd").read_text().splitlines()[0] == "/"
    assert (commands.here / "sbatch.pwd").read_text().splitlines()[1] == "0077"


def test_without_a_conf_none_is_named(commands: Commands) -> None:
    commands.answers("squeue", "")
    CommandSlurm(bin_dir=commands.here).live()
    assert "SLURM_CONF" not in commands.environment("squeue")


SUBMIT_FOR_EVER = """
import sys
from pathlib import Path
from slurmbatch.slurm.commands import CommandSlurm
from tests.unit.test_commands import REQUEST
CommandSlurm(bin_dir=Path(sys.argv[1])).submit(REQUEST)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_command_dies_with_the_process_that_ran_it(
    commands: Commands, number: signal.Signals
) -> None:
    pid_file = commands.here / "pid"
    commands.answers("sbatch", f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; "
                     "exec sleep 60")  # fmt: skip
    process = in_python(SUBMIT_FOR_EVER, str(commands.here), env=dict(os.environ))
    until(pid_file.exists)
    pid = int(pid_file.read_text())
    assert alive(pid)
    process.send_signal(number)
    process.wait(10)
    until(lambda: not alive(pid))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- time limits ----------------------------------------------------------------------------------


def lives(pid_file: Path) -> bool:
    """On a busy machine it may have been ended before it came to writing its number down."""
    number = pid_file.read_text() if pid_file.exists() else ""
    return bool(number) and alive(int(number))


def test_a_command_that_does_not_answer_is_ended(commands: Commands) -> None:
    pid_file = commands.here / "pid"
    for name in ("squeue", "sacct", "scontrol", "scancel"):
        commands.answers(name, f"echo $$ > {pid_file}; exec sleep 60")
    slurm = CommandSlurm(bin_dir=commands.here, timeout=0.2)
    asked: list[Callable[[], object]] = [
        slurm.live, lambda: slurm.find("t"), slurm.facts, lambda: slurm.ended([1]),
        lambda: slurm.release(1), lambda: slurm.cancel(1),
    ]  # fmt: skip
    for ask in asked:
        with pytest.raises(SlurmUnreachable, match=r"no answer in 0\.2 s"):
            ask()
        assert not lives(pid_file)


def test_an_sbatch_that_does_not_answer_is_ended_and_its_fate_unknown(commands: Commands) -> None:
    pid_file = commands.here / "pid"
    commands.answers("sbatch", f"echo $$ > {pid_file}; exec sleep 60")
    with pytest.raises(SlurmAmbiguous, match="no answer in time") as raised:
        CommandSlurm(bin_dir=commands.here, submit_timeout=0.3).submit(REQUEST)
    assert not raised.value.answered
    assert not lives(pid_file)


def test_an_sbatch_that_sleeps_by_itself_is_not_waited_for(
    commands: Commands, slurm: CommandSlurm
) -> None:
    words = "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying"
    pid_file = commands.here / "pid"
    commands.answers("sbatch", f"echo $$ > {pid_file}; echo '{words}' >&2; exec sleep 60")
    begun = time.monotonic()
    with pytest.raises(SlurmBusy, match="MaxJobCount"):
        slurm.submit(REQUEST)
    assert time.monotonic() - begun < 10
    assert not lives(pid_file)


@pytest.mark.parametrize("program", ["sbatch", "squeue"])
def test_commands_that_are_not_there_are_no_answer(tmp_path: Path, program: str) -> None:
    slurm = CommandSlurm(bin_dir=tmp_path)
    with pytest.raises(SlurmbatchError) as raised:
        slurm.submit(REQUEST) if program == "sbatch" else slurm.live()
    assert isinstance(raised.value, SlurmUnreachable | SlurmAmbiguous)
    assert program in raised.value.detail


# --- what sbatch says -----------------------------------------------------------------------------

FAILED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    "stdout", ["7\n", "7;cluster\n", "hello from a plugin\nand more 12\n7\n", "\xa0x\n7\n", "7"]
)
def test_an_accepted_submission(commands: Commands, slurm: CommandSlurm, stdout: str) -> None:
    commands.answers("sbatch", sbatch_says(stdout, "sbatch: a warning\n"))
    assert slurm.submit(REQUEST) == Submission(7)


def test_noise_need_not_be_utf8(commands: Commands, slurm: CommandSlurm) -> None:
    commands.answers("sbatch", "cat >/dev/null; printf '\\377\\376noise\\n7\\n'; "
                     "printf '\\377' >&2")  # fmt: skip
    assert slurm.submit(REQUEST) == Submission(7)
    commands.answers("sbatch", f"cat >/dev/null; printf '{FAILED}\\377 Invalid qos "
                     "specification' >&2; exit 1")  # fmt: skip
    with pytest.raises(SlurmRefused, match="Invalid qos"):
        slurm.submit(REQUEST)


@pytest.mark.parametrize("refusal", quirks.REFUSALS)
def test_a_refusal(commands: Commands, slurm: CommandSlurm, refusal: str) -> None:
    commands.answers("sbatch", sbatch_says(stderr=f"{FAILED}{refusal} (and more)\n", code=1))
    with pytest.raises(SlurmRefused) as raised:
        slurm.submit(REQUEST)
    assert raised.value.detail == f"Batch job submission failed: {refusal} (and more)"


POLICY = f"{FAILED}Job violates accounting/QOS policy (job submit limit, user's size and/or time"
LOCAL = [
    "sbatch: error: This does not look like a batch script.  The first\nsbatch: error: line must",
    "sbatch: error: The Slurm controller does not allow scripts that\n"
    "sbatch: error: contain a NULL character '\\0'.",
    "sbatch: fatal: Invalid numeric value \"0\" for --cpus-per-task.",
    "sbatch: error: invalid number of cpus per task (-c -727379968)",
    "sbatch: error: Batch script contains only whitespace!",
]  # fmt: skip


@pytest.mark.parametrize("stderr", LOCAL)
def test_what_sbatch_refuses_before_it_asks(
    commands: Commands, slurm: CommandSlurm, stderr: str
) -> None:
    commands.answers("sbatch", sbatch_says(stderr=stderr, code=1))
    with pytest.raises(SlurmRefused):
        slurm.submit(REQUEST)


@pytest.mark.parametrize(
    "stderr",
    [
        f"sbatch: error: AssocMaxSubmitJobLimit\n{POLICY}",
        f"sbatch: error: AssocGrpSubmitJobsLimit\n{POLICY}",
        f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{POLICY}",
        f"sbatch: error: QOSGrpSubmitJobsLimit\n{POLICY}",
        f"{FAILED}Resource temporarily unavailable",
        f"{FAILED}Required partition not available (inactive or drain)",
    ],
)
def test_a_limit_is_no_refusal(commands: Commands, slurm: CommandSlurm, stderr: str) -> None:
    commands.answers("sbatch", sbatch_says(stderr=stderr, code=1))
    with pytest.raises(SlurmBusy):
        slurm.submit(REQUEST)


AMBIGUOUS = [
    (f"{FAILED}Socket timed out on send/recv operation", "", 1, False),
    (f"{FAILED}Unable to contact slurm controller (connect failure)", "", 1, False),
    (f"{FAILED}Zero Bytes were transmitted or received", "", 1, False),
    (f"{FAILED}Protocol authentication error", "", 1, False),
    (f"{FAILED}Invalid authentication credential", "", 1, False),
    (f"{FAILED}Connection refused", "", 1, False),
    (f"{FAILED}Some words that are new in 2031", "", 1, True),
    ("sbatch: error: Some words that are new in 2031", "", 1, False),
    ("", "", 1, False),
    ("", "", 0, False),
    ("", "Submitted batch job 7\n", 0, False),
    ("", "7\na plugin says bye\n", 0, False),
    # An id and an error: there may be a job, whatever the error says.
    (f"{FAILED}Invalid qos specification", "7\n", 1, False),
    ("", "7\n", 1, False),
]


@pytest.mark.parametrize(("stderr", "stdout", "code", "answered"), AMBIGUOUS)
def test_anything_else_is_a_submission_of_unknown_fate(
    commands: Commands, slurm: CommandSlurm, stderr: str, stdout: str, code: int, answered: bool
) -> None:
    commands.answers("sbatch", sbatch_says(stdout, stderr, code))
    with pytest.raises(SlurmAmbiguous) as raised:
        slurm.submit(REQUEST)
    assert raised.value.detail
    if not stdout:
        assert raised.value.answered is answered


# --- questions ------------------------------------------------------------------------------------


def squeue_rows(*names: str, uid: int | None = None) -> str:
    """sh that prints one row each, framed by the word that squeue was given."""
    values = ["7", "1-3", "PENDING", "Priority", str(os.getuid() if uid is None else uid),
              "1800000000", "N/A", "N/A", "N/A", "", "0", "0", "5"]  # fmt: skip
    words = [" ".join(f"'{value}'" for value in [*values, name]) for name in names]
    return "\n".join(f"for v in {each}; do printf '%s|%s|' \"$v\" $nonce; done; echo"
                     for each in words)  # fmt: skip


def sacct_rows(*names: str, uid: int | None = None) -> str:
    values = ["7_1", "COMPLETED", "None", str(os.getuid() if uid is None else uid), "1800000000",
              "Unknown", "Unknown", "Unknown", "node1", "0:0", "5"]  # fmt: skip
    words = [" ".join(f"'{value}'" for value in values) for _ in names]
    return "\n".join(f"for v in {each}; do printf '%s|%s|' \"$v\" $nonce; done; echo '{name}'"
                     for each, name in zip(words, names, strict=True))  # fmt: skip


def test_live_asks_once_for_all_of_ours(commands: Commands, slurm: CommandSlurm) -> None:
    commands.answers("squeue", squeue_rows("sb-a", "sb-b"))
    assert [row.tag for row in slurm.live()] == ["sb-a", "sb-b"]
    slurm.live()
    (first, second) = commands.calls("squeue")
    assert first[:3] == ["--noheader", "--states=all", "--me"]
    fields = re.sub(r"[0-9a-f]{16}", "N", first[3])
    assert fields == "--Format=" + ",".join(f"{name}:|N|" for name in parse.LIVE_FIELDS)
    assert first != second, "the word between the fields must not be known beforehand"


def test_rows_that_stay_the_same_are_the_same_objects(
    commands: Commands, slurm: CommandSlurm
) -> None:
    commands.answers("squeue", squeue_rows("sb-a", "sb-b"))
    first = slurm.live()
    commands.answers("squeue", squeue_rows("sb-b", "sb-c"))
    second = slurm.live()
    assert [row.tag for row in second] == ["sb-b", "sb-c"]
    assert second[0] is first[1]


def test_ended_asks_for_ids_and_never_by_time(commands: Commands, slurm: CommandSlurm) -> None:
    commands.answers("sacct", sacct_rows("sb-a"))
    assert [row.state for row in slurm.ended([9, 7])] == ["COMPLETED"]
    (call,) = commands.calls("sacct")
    assert "--jobs=7,9" in call
    assert {"--allocations", "--noheader", "--parsable2"} <= set(call)
    assert not any(word.startswith(("-S", "--starttime", "-s", "--state")) for word in call)


def test_no_ids_are_no_question(commands: Commands, slurm: CommandSlurm) -> None:
    commands.answers("sacct", sacct_rows("sb-a"))
    assert slurm.ended([]) == []
    assert commands.calls("sacct") == []


def test_as_many_ids_as_are_ever_asked_for_are_one_question(
    commands: Commands, slurm: CommandSlurm
) -> None:
    commands.answers("sacct", "")
    ids = range(4_000_000_000, 4_000_000_000 + IDS_A_QUESTION)
    assert slurm.ended(ids) == []
    (call,) = commands.calls("sacct")
    assert f"--jobs={','.join(map(str, ids))}" in call


def test_find_takes_only_rows_of_that_name(commands: Commands, slurm: CommandSlurm) -> None:
    commands.answers("squeue", squeue_rows("sb-other", "sb-tag"))
    commands.answers("sacct", sacct_rows("sb-tag"))
    assert [row.tag for row in slurm.find("sb-tag")] == ["sb-tag"]
    assert "--name=sb-tag" in commands.calls("squeue")[0]
    assert commands.calls("sacct") == []


def test_accounting_is_asked_by_name_on_its_own(commands: Commands, slurm: CommandSlurm) -> None:
    commands.answers("sacct", sacct_rows("sb-tag", "sb-other"))
    found = [(row.tag, row.source) for row in slurm.find_ended("sb-tag")]
    assert found == [("sb-tag", "accounting")]
    commands.answers("sacct", "exit 1")
    with pytest.raises(AccountingUnreachable):
        slurm.find_ended("sb-tag")
    assert commands.calls("squeue") == []


def test_find_leaves_out_jobs_of_others(commands: Commands, slurm: CommandSlurm) -> None:
    stranger = os.getuid() + 1
    commands.answers("squeue", squeue_rows("sb-tag", uid=stranger))
    commands.answers("sacct", sacct_rows("sb-tag", uid=stranger))
    assert slurm.find("sb-tag") == slurm.find_ended("sb-tag") == []


def test_find_of_nothing_is_refused(commands: Commands, slurm: CommandSlurm) -> None:
    with pytest.raises(ValueError, match="everybody"):
        slurm.find("")
    with pytest.raises(ValueError, match="everybody"):
        slurm.find_ended("")
    assert commands.calls("squeue") == commands.calls("sacct") == []


@pytest.mark.parametrize("program", ["squeue", "sacct", "scontrol"])
def test_a_question_that_fails_is_no_answer(
    commands: Commands, slurm: CommandSlurm, program: str
) -> None:
    commands.answers(program, f"echo '{program}: error: Unable to contact slurm controller' >&2; "
                     "exit 1")  # fmt: skip
    ask = {"squeue": slurm.live, "sacct": lambda: slurm.ended([1]), "scontrol": slurm.facts}
    with pytest.raises(SlurmUnreachable, match=f"{program}: Unable to contact"):
        ask[program]()


def test_facts(commands: Commands, slurm: CommandSlurm) -> None:
    text = "BOOT_TIME = 5\\nMaxArraySize = 11\\nMaxJobCount = 3\\n"
    commands.answers("scontrol", f"printf '{text}'")
    facts = slurm.facts()
    assert (facts.max_array_size, facts.max_job_count, facts.boot_time) == (11, 3, "5")
    assert isinstance(facts, SlurmFacts)
    commands.answers("scontrol", "echo BOOT_TIME = 5")
    with pytest.raises(SlurmUnreachable, match="no limits"):
        slurm.facts()


# --- acts -----------------------------------------------------------------------------------------


def test_release_and_cancel_name_the_id_alone(commands: Commands, slurm: CommandSlurm) -> None:
    """scancel before 24.05 cancels every pending task where a filter stands beside an id."""
    for name in ("scontrol", "scancel"):
        commands.answers(name, "")
    slurm.release(7)
    slurm.cancel(7)
    assert commands.calls("scontrol") == [["release", "7"]]
    assert commands.calls("scancel") == [["7"]]


@pytest.mark.parametrize(
    "words",
    ["Job/step already completing or completed", "Invalid job id specified", "Access denied", ""],
)
def test_an_answered_error_of_an_act_is_an_answer(
    commands: Commands, slurm: CommandSlurm, words: str
) -> None:
    for name in ("scontrol", "scancel"):
        commands.answers(name, f"echo '{name}: error: {words}' >&2; exit 1")
    slurm.release(7)
    slurm.cancel(7)


@pytest.mark.parametrize(
    "words", ["Unable to contact slurm controller", "Socket timed out on send/recv operation"]
)
def test_an_act_without_an_answer_raises(
    commands: Commands, slurm: CommandSlurm, words: str
) -> None:
    for name in ("scontrol", "scancel"):
        commands.answers(name, f"echo '{name}: error: {words}' >&2; exit 1")
    with pytest.raises(SlurmUnreachable, match=words):
        slurm.release(7)
    with pytest.raises(SlurmUnreachable, match=words):
        slurm.cancel(7)
