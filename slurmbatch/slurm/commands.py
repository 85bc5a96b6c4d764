"""Slurm through its own commands: complete by itself, for any version from 22.05 on.

The only room that starts processes. Every command runs in an environment built from nothing
(sbatch passes its own on to the job, and an inherited SBATCH_PARTITION would win), without a
shell, with a time limit, and dies with this process (prctl(2) PR_SET_PDEATHSIG), so that no
forgotten sbatch submits something after a restart.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from slurmbatch.accounts import Account
from slurmbatch.errors import (
    AccountingUnreachable,
    SlurmAmbiguous,
    SlurmBusy,
    SlurmRefused,
    SlurmUnreachable,
)
from slurmbatch.model import Estimate, JobReport, JobUsage, SlurmFacts, Submission
from slurmbatch.slurm import parse, quirks
from slurmbatch.slurm.persons import Way
from slurmbatch.slurm.port import SubmitRequest

# Seconds beside those that it has itself.
_ENDS_ITSELF_WITHIN = 5.0
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """The error in one line, without the command's own prefix."""
        lines = [line.split("error: ", 1)[-1].strip() for line in self.stderr.splitlines()]
        return "; ".join(line for line in lines if line)


@dataclass(frozen=True)
class CommandSlurm:
    """The port on sbatch, squeue, sacct, scontrol and scancel. Times are seconds."""

    backend: ClassVar[str] = "commands"

    conf: Path | None = None
    bin_dir: Path | None = None
    timeout: float = 20.0
    submit_timeout: float = 30.0
    # How sbatch is run as a person; None: all jobs are the service's own.
    persons: Way | None = None
    _wrapper: tuple[str, ...] = field(init=False)
    # The rows of the last look by their lines: most are the same in the next one.
    _rows: dict[str, JobReport] = field(init=False, default_factory=dict, compare=False, repr=False)
    # What accounting is asked for; more once the version is known.
    _fields: tuple[str, ...] = field(init=False, default=parse.ENDED_FIELDS, compare=False)

    def __post_init__(self) -> None:
        setpriv = shutil.which("setpriv", path=SYSTEM_PATH)
        wrapper = (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()
        object.__setattr__(self, "_wrapper", wrapper)

    @property
    def sees_others(self) -> bool:
        """Whether answers may have jobs of others."""
        return self.persons is not None

    # --- the port -----------------------------------------------------------------------------

    def facts(self) -> SlurmFacts:
        answer = self._ask("scontrol", "show", "config")
        version = self.version()
        facts = parse.facts(version, answer.stdout)
        if facts is None:
            raise SlurmUnreachable("scontrol show config gave no limits")
        # By that of the commands, since sacct takes no field that it does not know.
        object.__setattr__(self, "_fields", quirks.ended_fields(parse.ENDED_FIELDS, version))
        return facts

    def submit(self, request: SubmitRequest) -> Submission:
        answer = self._sbatch(self._submission(request), request, self.submit_timeout)
        slurm_job_id = parse.submitted_id(answer.stdout)
        if answer.code == 0 and slurm_job_id is not None:
            return Submission(slurm_job_id)
        words = answer.complaint or f"sbatch ended with {answer.code} and said nothing"
        if slurm_job_id is None and quirks.LIMITS_REACHED.search(words):
            raise SlurmBusy(words)
        if slurm_job_id is None and quirks.REFUSED_BY_SUDO.search(words):
            raise SlurmRefused(words)
        if slurm_job_id is None and any(refusal in words for refusal in quirks.REFUSALS):
            raise SlurmRefused(words)
        answered = "Batch job submission failed" in words and not quirks.NO_ANSWER.search(words)
        raise SlurmAmbiguous(words, answered=bool(answered))

    def estimate(self, request: SubmitRequest) -> Estimate:
        arguments = ["--test-only", *self._submission(request)]
        try:
            answer = self._sbatch(arguments, request, self.timeout)
        except SlurmAmbiguous as silence:
            raise SlurmUnreachable(silence.detail) from silence
        if answer.code == 0:
            return parse.estimate(answer.stderr)
        words = answer.complaint.replace(quirks.TEST_FAILED, "")
        if quirks.LIMITS_REACHED.search(words):
            raise SlurmBusy(words)
        answered = quirks.TEST_FAILED in answer.complaint and not quirks.NO_ANSWER.search(words)
        by_sudo = quirks.REFUSED_BY_SUDO.search(words)
        if answered or by_sudo or any(refusal in words for refusal in quirks.REFUSALS):
            raise SlurmRefused(words)
        raise SlurmUnreachable(f"sbatch: {words or f'exit {answer.code}'}")

    def find(self, tag: str, uid: int | None = None) -> list[JobReport]:
        whose = "--me" if uid is None else f"--user={uid}"
        rows = parse.live(*self._squeue(whose, f"--name={_named(tag)}"))
        return [row for row in rows if _is_ours(row, tag, uid)]

    def find_ended(self, tag: str, uid: int | None = None) -> list[JobReport]:
        # By name sacct needs a start time.
        whose = () if uid is None else (f"--user={uid}",)
        rows = self._sacct(*whose, f"--name={_named(tag)}", "--starttime=now-30days")
        return [row for row in rows if _is_ours(row, tag, uid)]

    def release(self, slurm_job_id: int) -> None:
        answer = self._run("scontrol", "release", str(slurm_job_id))
        # An error that slurmctld answers with (ended, unknown, cannot run just now) is no concern
        # here: whether the array is still held is for the next look to say.
        if answer.code and quirks.NO_ANSWER.search(answer.complaint):
            raise SlurmUnreachable(f"scontrol: {answer.complaint}")

    def throttle(self, slurm_job_id: int, most: int) -> None:
        answer = self._run(
            "scontrol", "update", f"JobId={slurm_job_id}", f"ArrayTaskThrottle={most}"
        )
        # As for a release: what has ended, or is unknown, needs no throttle.
        if answer.code and quirks.NO_ANSWER.search(answer.complaint):
            raise SlurmUnreachable(f"scontrol: {answer.complaint}")

    def cancel(self, slurm_job_id: int) -> None:
        # Only the id: scancel before 24.05 cancels every pending task when a filter stands
        # beside it. It answers 0 for an unknown id, so only a later look confirms anything.
        answer = self._run("scancel", str(slurm_job_id))
        if answer.code and quirks.NO_ANSWER.search(answer.complaint):
            raise SlurmUnreachable(f"scancel: {answer.complaint}")

    def live(self) -> list[JobReport]:
        whose = () if self.sees_others else ("--me",)
        rows = parse.live_by_line(*self._squeue(*whose), self._rows)
        if self.sees_others:
            rows = {line: row for line, row in rows.items() if row.tag.startswith("sb-")}
        object.__setattr__(self, "_rows", rows)
        return list(rows.values())

    def ended(self, slurm_job_ids: Collection[int]) -> list[JobReport]:
        ids = ",".join(str(number) for number in sorted(slurm_job_ids))
        return self._sacct(*self._whose, f"--jobs={ids}") if ids else []

    def usage(self, tasks: Collection[tuple[int, int]]) -> list[JobUsage]:
        ids = ",".join(f"{array}_{task}" for array, task in sorted(tasks))
        if not ids:
            return []
        nonce = secrets.token_hex(8)
        text = self._accounting(nonce, parse.USAGE_FIELDS, "--noconvert", *self._whose,
                                f"--jobs={ids}")  # fmt: skip
        return list(parse.usage(text, nonce))

    # --- what another way to Slurm borrows ------------------------------------------------------

    def version(self) -> str:
        """As the commands say it: `slurm-wlm 22.05.8`."""
        return self._ask("scontrol", "--version").stdout.strip()

    def ask(self, program: str, *arguments: str) -> str:
        """What another of Slurm's commands says. Raises SlurmUnreachable."""
        return self._ask(program, *arguments).stdout

    def admin_level(self, account: str) -> str:
        """What accounting lets this account do: None, Operator or Administrator; "": not known."""
        shown = ("show", "user", account, "format=AdminLevel")
        return self._ask("sacctmgr", "--noheader", "--parsable2", *shown).stdout.strip()

    def rules_of_sudo(self) -> str:
        """What sudo lets this account do without a password, as sudo says it; "": nothing."""
        answer = self._run("/usr/bin/sudo", "-n", "-l")
        return "" if answer.code else answer.stdout

    def try_token(self, account: Account) -> None:
        """Asks slurmctld with a token. Raises SlurmUnreachable where it takes none."""
        more = self.persons.environment(account, self.timeout) if self.persons else {}
        answer = self._run("squeue", "--noheader", "--me", "--states=running", more=more)
        if answer.code:
            raise SlurmUnreachable(answer.complaint)

    def clock(self) -> float | None:
        """The time by slurmctld's clock, in whole seconds; None where it is not told."""
        found = re.search(r"^sdiag output at .*\((\d+)\)", self._ask("sdiag").stdout, re.MULTILINE)
        return float(found[1]) if found else None

    def environment(self) -> dict[str, str]:
        """What Slurm's clients run in, and so what jobs get of it."""
        environment = {
            "PATH": f"{self.bin_dir}:{SYSTEM_PATH}" if self.bin_dir else SYSTEM_PATH,
            "LC_ALL": "C",
            "TZ": "UTC",
            "SLURM_TIME_FORMAT": "%s",
            "SLURM_BITSTR_LEN": "0",
        }
        return {**environment, "SLURM_CONF": str(self.conf)} if self.conf else environment

    # --- how it is asked ------------------------------------------------------------------------

    @property
    def _whose(self) -> tuple[str, ...]:
        """Of accounting, which else tells of one's own jobs alone."""
        return ("--allusers",) if self.sees_others else ()

    def _submission(self, request: SubmitRequest) -> list[str]:
        """sbatch's options. Of whoever runs it, it would pass on another PATH."""
        arguments = submit_arguments(request)
        if request.owner is None:
            return arguments
        path = f"--export=ALL,PATH={self.environment()['PATH']}"
        return [path if each == "--export=ALL" else each for each in arguments]

    def _squeue(self, *which: str) -> tuple[str, str]:
        """Its answer, and the word between the fields."""
        nonce = secrets.token_hex(8)
        fields = ",".join(f"{name}:|{nonce}|" for name in parse.LIVE_FIELDS)
        answer = self._ask("squeue", "--noheader", "--states=all", *which, f"--Format={fields}")
        return answer.stdout, nonce

    def _sacct(self, *which: str) -> list[JobReport]:
        # Never with -S: sacct then selects by eligible time and misses what is held or waits.
        nonce = secrets.token_hex(8)
        fields = self._fields
        text = self._accounting(nonce, fields, "--allocations", *which)
        return list(parse.ended(text, nonce, fields))

    def _accounting(self, nonce: str, fields: Sequence[str], *which: str) -> str:
        try:
            return self._ask(
                "sacct", "--noheader", "--parsable2", f"--delimiter=|{nonce}|",
                f"--format={','.join(fields)}", *which,
            ).stdout  # fmt: skip
        except SlurmUnreachable as error:
            raise AccountingUnreachable(error.detail) from error

    def _ask(self, program: str, *arguments: str) -> Answer:
        answer = self._run(program, *arguments)
        if answer.code:
            raise SlurmUnreachable(f"{program}: {answer.complaint or f'exit {answer.code}'}")
        return answer

    def _run(self, program: str, *arguments: str, more: Mapping[str, str] | None = None) -> Answer:
        try:
            done = subprocess.run(
                self._command(program, arguments), env=self.environment() | dict(more or {}),
                cwd="/", stdin=subprocess.DEVNULL, capture_output=True, timeout=self.timeout,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise SlurmUnreachable(f"{program}: no answer in {self.timeout:g} s") from error
        except OSError as error:
            raise SlurmUnreachable(f"{program}: {error.strerror}") from error
        return Answer(done.returncode, _decode(done.stdout), _decode(done.stderr))

    def _sbatch(self, arguments: Sequence[str], request: SubmitRequest, timeout: float) -> Answer:
        """Runs sbatch, but not longer than it has something to wait for."""
        command, environment = self._command("sbatch", arguments), self.environment()
        way, owner = self.persons, request.owner
        if owner is not None:
            if way is None:
                raise SlurmRefused("jobs run as the service's own account here, and as nobody else")
            sbatch = [self.program("sbatch"), *arguments]
            command = [*self._wrapper, *way.command(owner, sbatch, timeout)]
            environment |= way.environment(owner, timeout)
        is_killable = owner is None or way is None or way.is_killable
        # From a file in memory, not through a pipe, which Popen.communicate(timeout=…) would stop
        # feeding after its first wait (python/cpython, Lib/subprocess.py).
        with os.fdopen(os.memfd_create("script"), "wb+") as stdin:
            stdin.write(request.script.encode())
            stdin.seek(0)
            try:
                process = subprocess.Popen(
                    command, env=environment, cwd="/", umask=0o077, stdin=stdin,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                )  # fmt: skip
            except OSError as error:
                raise SlurmUnreachable(f"{command[0]}: {error.strerror}") from error
        if is_killable:
            with process:
                return self._heard(process, timeout)
        return self._heard_out(process, timeout + _ENDS_ITSELF_WITHIN)

    def _heard(self, process: subprocess.Popen[bytes], timeout: float) -> Answer:
        left = timeout
        while True:
            try:
                stdout, stderr = process.communicate(timeout=min(1.0, left))
                return Answer(process.returncode, _decode(stdout), _decode(stderr))
            except subprocess.TimeoutExpired as waiting:
                left -= 1.0
                sleeps = quirks.SLEEPS_BY_ITSELF in _decode(waiting.stderr or b"")
                if sleeps or left <= 0:
                    process.kill()
                    raise _gave_up(sleeps) from waiting

    def _heard_out(self, process: subprocess.Popen[bytes], timeout: float) -> Answer:
        """The same with one that cannot be killed: it is waited for as long as it may take, so that
        nothing of it is under way when it is tried again."""
        try:
            stdout, stderr = process.communicate(timeout=timeout)
            return Answer(process.returncode, _decode(stdout), _decode(stderr))
        except subprocess.TimeoutExpired as waiting:
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
            raise _gave_up(sleeps=False) from waiting

    def _command(self, program: str, arguments: Sequence[str]) -> list[str]:
        path = str(self.bin_dir / program) if self.bin_dir else program
        return [*self._wrapper, path, *arguments]

    def program(self, name: str) -> str:
        """By its full path, as the rule of sudo's has it."""
        if self.bin_dir:
            return str(self.bin_dir / name)
        return shutil.which(name, path=SYSTEM_PATH) or f"/usr/bin/{name}"


def submit_arguments(request: SubmitRequest) -> list[str]:
    """sbatch's options: a fixed list, each value in one word with its name."""
    options, maybe = request.options, []
    if request.features:
        maybe.append(f"--constraint={'&'.join(request.features)}")
    if request.licences:
        maybe.append(f"--licenses={','.join(request.licences)}")
    if options.time_limit is not None:
        maybe.append(f"--time={options.time_limit}")
    if request.exclude:
        maybe.append(f"--exclude={request.exclude}")
    if request.nodelist:
        maybe.append(f"--nodelist={request.nodelist}")
    if options.gpus:
        maybe.append(f"--gres=gpu:{options.gpus}")
    for name in ("partition", "account", "qos"):
        if value := getattr(options, name):
            maybe.append(f"--{name}={value}")
    return [
        "--parsable", "--hold", f"--job-name={request.tag}", f"--array={request.array}",
        "--nodes=1-1", "--ntasks=1", f"--cpus-per-task={request.cpu}", f"--mem={request.memory}M",
        f"--output={request.output}", "--open-mode=append", f"--chdir={request.work_dir}",
        "--export=ALL", "--propagate=NONE", f"--comment={request.comment}",
        "--requeue" if request.requeue else "--no-requeue", *maybe,
    ]  # fmt: skip


def _gave_up(sleeps: bool) -> SlurmBusy | SlurmAmbiguous:
    # It was about to try once more when it was killed, so even then: look before trying again.
    if sleeps:
        return SlurmBusy("Slurm takes no more jobs at present (MaxJobCount)")
    return SlurmAmbiguous("sbatch gave no answer in time")


def _named(tag: str) -> str:
    if not tag:
        raise ValueError("an empty name would list everybody's jobs")
    return tag


def _is_ours(row: JobReport, tag: str, uid: int | None) -> bool:
    # Anybody may give a job of theirs the same name. (uid None: not told.)
    return row.tag == tag and row.uid in (None, os.getuid() if uid is None else uid)


def _decode(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode(errors="replace")
