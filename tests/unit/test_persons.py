"""Jobs that run as persons, with a Slurm in memory that shows what is others' as well."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath

import jwt
import pytest

from slurmbatch import acl, daemon
from slurmbatch.accounts import Account
from slurmbatch.batches import Batches, Rules
from slurmbatch.batches.resolve import Offer
from slurmbatch.batches.trial import Trials
from slurmbatch.claims import Claims
from slurmbatch.config import load
from slurmbatch.daemon.directories import prepare
from slurmbatch.errors import (
    AccountRefused,
    AccountsUnreachable,
    SettingsError,
    SlurmAmbiguous,
    SlurmBusy,
    SlurmRefused,
)
from slurmbatch.model import ArraySpec, Caller, NewBatch, Retry, SlurmOptions, Status
from slurmbatch.slurm import commands
from slurmbatch.slurm.choose import choose
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.slurm.persons import Sudo, Tokens
from slurmbatch.slurm.port import SubmitRequest
from slurmbatch.submitter import Terms

from .world import ALICE, BOB, TOOL, World

MALLORY_UID = 4666


class Accounts:
    """Those of a system, which may change."""

    def __init__(self) -> None:
        self.uids = {"alice": 4001, "bob": 4002}
        self.locked: set[str] = set()
        self.down = False

    def __call__(self, name: str) -> Account:
        if self.down:
            raise AccountsUnreachable("Accounts cannot be looked up just now (down).")
        if name not in self.uids or name in self.locked:
            raise AccountRefused(f"The account {name!r} is locked.")
        return Account(name, self.uids[name], 100, PurePath("/home", name), 0o027)


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


@pytest.fixture
def world(tmp_path: Path, accounts: Accounts) -> Iterator[World]:
    made = World(tmp_path)
    made.slurm.sees_others = True
    tools = {"t": TOOL}
    offer = Offer(tools, {}, 10_000, 65_536)
    rules = Rules(tmp_path / "logs", None, 262_144, None, submit_wait=0.0, persons=True)
    made.batches = Batches(
        made.store, offer, rules, made.doorbell, made.health, lambda: made.slurm.now,
        Trials(made.slurm, made.health, tmp_path / "logs", None), account=accounts,
    )  # fmt: skip
    made.submitter.adopt(
        Terms(tools, {}, tmp_path / "logs", None, account=accounts, longest_backoff=2.0)
    )
    yield made
    made.store.close()


def post(world: World, caller: Caller = ALICE, n: int = 1) -> str:
    batch, _ = world.batches.submit(caller, NewBatch("t", variable_args=({},) * n))
    return batch.batch_id


def array_of(world: World, batch_id: str) -> ArraySpec:
    (array,) = world.store.arrays.where("b.batch_id = ?", batch_id)
    return array


class TestHandingOver:
    def test_each_is_submitted_as_its_person(self, world: World) -> None:
        post(world, ALICE)
        post(world, BOB)
        world.tick()
        owners = [each.request.owner for each in world.slurm.arrays]
        assert [each.uid for each in owners if each] == [4001, 4002]
        first = world.slurm.arrays[0].request
        assert first.work_dir == PurePath("/home/alice")
        assert "\numask 0027\n" in first.script
        assert "\ncd -- /home/alice " in first.script

    def test_it_runs_to_its_end(self, world: World) -> None:
        batch_id = post(world)
        world.tick()
        array = world.slurm.arrays[0]
        assert not array.held
        world.slurm.start(array.job_id, 1)
        world.tick()
        world.slurm.finish(array.job_id, 1)
        for _ in range(3):
            world.tick()
        assert world.job(batch_id).status is Status.SUCCEEDED

    def test_directories_are_for_the_person_and_the_service(
        self, world: World, tmp_path: Path
    ) -> None:
        batch_id = post(world)
        array = array_of(world, batch_id)
        claims = Claims(tmp_path / "claims")
        Terms({"t": TOOL}, {}, tmp_path / "logs", None, claims).make_directories(array)
        for directory in (tmp_path / "logs" / batch_id / "0.1", tmp_path / "claims" / array.tag):
            access = os.getxattr(directory, "system.posix_acl_access")
            assert access == acl._encoded([(4001, acl.ALL)])
            inherited = os.getxattr(directory, "system.posix_acl_default")
            assert inherited == acl._encoded([(os.getuid(), acl.ALL)])
        above = os.getxattr(tmp_path / "logs" / batch_id, "system.posix_acl_access")
        assert above == acl._encoded([(4001, acl.ENTER)])
        assert (tmp_path / "logs" / batch_id).stat().st_mode & 0o007 == 0

    @pytest.mark.parametrize("change", ["locked", "deleted", "another"])
    def test_an_account_is_looked_at_again(
        self, world: World, accounts: Accounts, change: str
    ) -> None:
        batch_id = post(world)
        if change == "locked":
            accounts.locked.add("alice")
        elif change == "deleted":
            del accounts.uids["alice"]
        else:
            accounts.uids["alice"] = 4009
        for _ in range(3):
            world.tick()
        job = world.job(batch_id)
        assert job.status is Status.FAILED
        assert job.reason.startswith("REFUSED: The account 'alice' is")
        assert not world.slurm.arrays
        assert world.slurm.calls["submit"] == 0

    def test_while_accounts_cannot_be_looked_up_it_waits(
        self, world: World, accounts: Accounts
    ) -> None:
        batch_id = post(world)
        accounts.down = True
        world.tick()
        assert world.job(batch_id).reason.startswith("WAITING: Accounts cannot be looked up")
        accounts.down = False
        for _ in range(5):
            world.tick()
        assert len(world.slurm.arrays) == 1

    def test_who_may_not_is_refused_at_once_and_nothing_is_kept(
        self, world: World, accounts: Accounts
    ) -> None:
        batch_id = post(world)
        accounts.locked.add("alice")
        with pytest.raises(AccountRefused):
            post(world)
        with pytest.raises(AccountRefused):
            world.batches.try_out(ALICE, NewBatch("t", variable_args=({},)))
        with pytest.raises(AccountRefused):
            world.batches.retry(ALICE, batch_id, Retry())
        assert [each.batch_id for each in world.batches.list(ALICE)[0]] == [batch_id]

    def test_a_dry_run_is_the_persons(self, world: World) -> None:
        world.batches.try_out(BOB, NewBatch("t", variable_args=({},)))
        (request,) = [what for call, what in world.slurm.log if call == "estimate"]
        assert isinstance(request, SubmitRequest)
        assert request.owner is not None and request.owner.uid == 4002

    def test_logs_have_to_be_the_persons(self, world: World) -> None:
        batch_id = post(world)
        log, _ = world.batches.log_of(ALICE, batch_id, f"{batch_id}-0")
        assert log.owner_uid == 4001


class TestForgedNames:
    """Names of jobs can be read by others where Slurm shows them, and given to a job of theirs."""

    def forge(self, world: World, tag: str, **changes: object) -> int:
        request = replace(world.slurm.arrays[0].request, tag=tag, owner=None)
        array = world.slurm.add(request, uid=MALLORY_UID)
        for name, value in changes.items():
            setattr(array, name, value)
        return array.job_id

    def test_a_running_job_of_anothers_is_not_taken_for_it(self, world: World) -> None:
        batch_id = post(world)
        world.submitter.tick(world.slurm.now)
        ours = array_of(world, batch_id)
        forged = self.forge(world, ours.tag, held=False)
        world.slurm.start(forged, 1)
        for _ in range(5):
            world.tick()
        assert array_of(world, batch_id).slurm_job_id == ours.slurm_job_id
        world.slurm.finish(forged, 1)
        for _ in range(5):
            world.tick()
        assert not world.job(batch_id).status.ended

    def test_what_is_anothers_is_never_cancelled(self, world: World) -> None:
        batch_id = post(world)
        world.tick()
        tag = array_of(world, batch_id).tag
        forged = self.forge(world, tag)
        world.batches.cancel(ALICE, batch_id)
        for _ in range(20):
            world.tick()
        assert world.job(batch_id).status is Status.FAILED
        world.batches.delete(ALICE, batch_id)
        for _ in range(20):
            world.tick()
        cancelled = {what for call, what in world.slurm.log if call == "cancel"}
        assert forged not in cancelled
        # What is ours of what was deleted is, also once its records are gone.
        assert world.store.graves.whose(tag) == 4001
        array = world.slurm.add(replace(world.slurm.arrays[0].request, tag=tag), uid=4001)
        for _ in range(40):
            world.tick()
        assert array.job_id in {what for call, what in world.slurm.log if call == "cancel"}

    def test_an_intent_does_not_adopt_what_is_anothers(self, world: World) -> None:
        batch_id = post(world)
        tag = array_of(world, batch_id).tag
        world.slurm.slurmctld_down = True
        world.submitter.tick(world.slurm.now)
        world.slurm.slurmctld_down = False
        own = SubmitRequest(tag, "#!/bin/bash\n", 1, 1, 1, PurePath("/x"), PurePath("/"),
                            SlurmOptions())  # fmt: skip
        forged = world.slurm.add(own, uid=MALLORY_UID).job_id
        for _ in range(30):
            world.tick()
        taken = array_of(world, batch_id).slurm_job_id
        assert taken is not None and taken != forged


REQUEST = SubmitRequest(
    tag="sb-x-1", script="#!/bin/bash\nexit\n", n_tasks=1, cpu=1, memory=1, output=PurePath("/o"),
    work_dir=PurePath("/w"), options=SlurmOptions(),
    owner=Account("alice", 4001, 100, PurePath("/home/alice")),
)  # fmt: skip
RULE = Path(__file__).parents[2] / "etc/sudoers.d/slurmbatch"


def runs(pid: int) -> bool:
    """Whether a process does anything: what is killed may wait for long for being looked after."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(") ")[2][0] not in "ZX"


class TestSudo:
    def test_the_rule_of_the_sample_matches_the_command_and_little_else(self) -> None:
        words = RULE.read_text().split("Cmnd_Alias SLURMBATCH_SUBMITS = ")[1].splitlines()[0]
        program, _, pattern = words.partition(" ")
        slurm = CommandSlurm(persons=Sudo())
        for more in ((), ("--test-only",)):
            sbatch = ["/usr/bin/sbatch", *more, *slurm._submission(REQUEST)]
            command = Sudo().command(REQUEST.owner, sbatch, 30.0)  # type: ignore[arg-type]
            assert command[:5] == ["sudo", "-n", "-u", "#4001", "--"]
            assert command[5] == program == "/usr/bin/timeout"
            assert re.fullmatch(pattern, " ".join(command[6:]))
        for other in (
            "30 /usr/bin/sbatch --parsable --hold --job-name=sb-x",
            "--signal=KILL 30 /bin/sh -c x",
            "--signal=KILL 30 /usr/bin/sbatch /home/x",
            "--signal=KILL 30 /usr/bin/sbatch --uid=0 --parsable --hold --job-name=sb-x",
            "--signal=KILL 30 /usr/bin/sbatch --parsable --job-name=sb-x",
            "--signal=KILL 30 /usr/bin/sbatchx --parsable --hold --job-name=sb-x",
        ):
            assert not re.fullmatch(pattern, other), other

    @pytest.mark.skipif(shutil.which("visudo") is None, reason="there is no visudo")
    def test_visudo_finds_nothing_wrong_with_the_sample(self, tmp_path: Path) -> None:
        for text, is_right in ((RULE.read_text(), True), ("slurmbatch ALL = nonsense(", False)):
            copy = tmp_path / "rule"
            copy.write_text(text)
            copy.chmod(0o440)
            done = subprocess.run(
                ["visudo", "-c", "-f", str(copy)], capture_output=True, check=False
            )
            assert (done.returncode == 0) == is_right, done.stderr

    @pytest.fixture
    def bin(self, tmp_path: Path) -> Path:
        (tmp_path / "bin").mkdir()
        return tmp_path / "bin"

    def fake_sudo(self, monkeypatch: pytest.MonkeyPatch, bin: Path, text: str) -> CommandSlurm:
        (bin / "sudo").write_text(f"#!/bin/sh\n{text}\n")
        (bin / "sudo").chmod(0o755)
        monkeypatch.setenv("PATH", f"{bin}:{os.environ['PATH']}")
        return CommandSlurm(bin_dir=bin, persons=Sudo())

    @pytest.mark.parametrize(
        "words",
        [
            "sudo: a password is required",
            "Sorry, user slurmbatch is not allowed to execute '/usr/bin/timeout' as alice on head.",
            "sudo: unknown user #4001",
            "slurmbatch is not in the sudoers file.",
        ],
    )
    def test_what_sudo_refuses_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, bin: Path, words: str
    ) -> None:
        slurm = self.fake_sudo(monkeypatch, bin, f'echo "{words}" >&2; exit 1')
        for act in (slurm.submit, slurm.estimate):
            with pytest.raises(SlurmRefused) as refusal:
                act(REQUEST)
            assert refusal.value.detail == words

    def test_the_environment_is_made_from_nothing(
        self, monkeypatch: pytest.MonkeyPatch, bin: Path, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("SECRET", "x")
        slurm = self.fake_sudo(monkeypatch, bin, f"env > {tmp_path}/env; cat > {tmp_path}/in; "
                               f'echo "$@" > {tmp_path}/args; echo 12')  # fmt: skip
        assert slurm.submit(REQUEST).slurm_job_id == 12
        assert "SECRET" not in (tmp_path / "env").read_text()
        assert (tmp_path / "in").read_text() == REQUEST.script
        args = (tmp_path / "args").read_text()
        assert " -E" not in args
        assert f"--export=ALL,PATH={bin}:" in args

    @pytest.mark.parametrize(
        ("says", "error"),
        [("", SlurmAmbiguous), ("echo 'sbatch: error: sleeping and retrying' >&2; ", SlurmBusy)],
    )
    def test_one_that_takes_too_long_has_ended_when_that_is_told(
        self, monkeypatch: pytest.MonkeyPatch, bin: Path, tmp_path: Path, says: str,
        error: type[Exception],
    ) -> None:  # fmt: skip
        """Nobody can kill a sudo: what it runs ends itself, and nothing is tried again before."""
        slurm = self.fake_sudo(monkeypatch, bin, 'shift 4; exec "$@"')
        (bin / "sbatch").write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid; {says}exec sleep 600\n")
        (bin / "sbatch").chmod(0o755)
        with pytest.raises(error):
            replace(slurm, submit_timeout=3.0).submit(REQUEST)
        pid, deadline = int((tmp_path / "pid").read_text()), time.monotonic() + 60
        while runs(pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def test_one_that_hangs_before_is_given_up_and_nobody_waits(
        self, monkeypatch: pytest.MonkeyPatch, bin: Path, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(commands, "_ENDS_ITSELF_WITHIN", 0.5)
        slurm = self.fake_sudo(monkeypatch, bin, f"echo $$ >{tmp_path}/pid; exec sleep 600")
        with pytest.raises(SlurmAmbiguous):
            replace(slurm, submit_timeout=0.5).submit(REQUEST)
        deadline = time.monotonic() + 60
        while not (pid := tmp_path / "pid").exists() or not pid.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(int(pid.read_text()), signal.SIGKILL)

    def test_as_nobody_else_where_that_is_not_set_up(self) -> None:
        with pytest.raises(SlurmRefused, match="the service's own account"):
            CommandSlurm().submit(REQUEST)


class TestTokens:
    KEY = b"k" * 32

    def claims(self, tokens: Tokens) -> dict[str, object]:
        token = tokens.environment(REQUEST.owner, 30.0)["SLURM_JWT"]  # type: ignore[arg-type]
        claims: dict[str, object] = jwt.decode(
            token, self.KEY, algorithms=["HS256"],
            options={"verify_exp": False, "verify_iat": False},
        )  # fmt: skip
        return claims

    def test_one_is_for_the_person_alone_and_short(self) -> None:
        tokens = Tokens(self.KEY, lambda: "slurm 24.11.5", clock=lambda: 1000.9)
        assert self.claims(tokens) == {"iat": 1000, "exp": 1090, "sun": "alice"}
        assert "k" * 32 not in repr(tokens)

    @pytest.mark.parametrize(
        ("version", "mapped"),
        [("slurm-wlm 22.05.8", True), ("slurm 23.11.4", True), ("slurm 24.11.5", False),
         ("slurm 26.05.1", False)],
    )  # fmt: skip
    def test_an_old_sbatch_is_the_person_within_a_namespace(
        self, version: str, mapped: bool
    ) -> None:
        asked = []

        def told() -> str:
            asked.append(1)
            return version

        tokens = Tokens(self.KEY, told)
        for _ in range(2):
            command = tokens.command(REQUEST.owner, ["sbatch", "x"], 30.0)  # type: ignore[arg-type]
            assert command[-2:] == ["sbatch", "x"]
            assert (command[0] == "unshare") == mapped
        assert len(asked) == 1


class TestTheDaemon:
    def test_it_does_not_go_back_while_there_are_jobs_of_persons(
        self, world: World, tmp_path: Path
    ) -> None:
        post(world)
        world.store.close()
        file = tmp_path / "slurmbatch.toml"
        (tmp_path / "tools.d").mkdir()
        file.write_text(f'[jobs]\nlog_dir = "{tmp_path}/logs"\n'
                        f'[store]\npath = "{tmp_path}/state/x.sqlite"\n')  # fmt: skip
        with pytest.raises(SettingsError, match=r"slurm\.run_as: found 'service', but"):
            daemon.run(load(file))

    def test_pyslurm_is_not_taken(self) -> None:
        assert choose("auto", CommandSlurm(persons=Sudo())).backend == "commands"
        with pytest.raises(SettingsError, match="jobs run as persons"):
            choose("pyslurm", CommandSlurm(persons=Sudo()))


class TestDirectories:
    def test_it_is_made_so_that_others_get_through_and_see_nothing(self, tmp_path: Path) -> None:
        prepare("jobs.log_dir", tmp_path / "a" / "b", persons=True)
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o711
        prepare("jobs.log_dir", tmp_path / "c", persons=False)
        assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700
        assert list((tmp_path / "a" / "b").iterdir()) == []

    def test_one_that_nobody_gets_through_is_a_mistake(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir(mode=0o700)
        prepare("jobs.log_dir", tmp_path / "a", persons=False)
        with pytest.raises(SettingsError, match=r"found mode 0700, .* \(chmod 711"):
            prepare("jobs.log_dir", tmp_path / "a", persons=True)

    def test_a_filesystem_without_acls_is_a_mistake(self) -> None:
        place = Path("/proc/self/fd")
        with pytest.raises(SettingsError):
            prepare("jobs.log_dir", place, persons=True)
