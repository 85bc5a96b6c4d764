"""Logging in with an account on the cluster: a real munged, a real daemon, several Unix users."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ports import free_port

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make credentials of several users"),
]
PATIENCE = 120.0
ADMINS = f"sbadmins{os.getpid()}"


def accounts(*command: str) -> None:
    """One of the commands on accounts, of which only one runs at a time on a machine."""
    until(
        " ".join(command),
        lambda: subprocess.run(command, check=False, capture_output=True).returncode == 0,
    )


def until(what: str, is_so: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < ends, what
        time.sleep(0.05)


@dataclass
class Site:
    """A munged of its own, and a daemon that has no Slurm, which it needs for none of this."""

    root: Path
    port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket(self) -> Path:
        return self.root / "munge" / "socket"

    def run_munged(self) -> None:
        place = self.root / "munge"
        self.processes["munged"] = subprocess.Popen([
            "munged", "--foreground", "--force", f"--key-file={place}/key",
            f"--socket={self.socket}", f"--pid-file={place}/pid", f"--seed-file={place}/seed",
            f"--log-file={place}/log",
        ], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        until("munged listens", self.socket.exists)

    def run_daemon(self) -> None:
        command = [sys.executable, "-m", "slurmbatch", "serve", "--config", str(self.settings)]
        with (self.root / "daemon.log").open("ab") as log:
            self.processes["daemon"] = subprocess.Popen(command, stderr=log)
        until("the daemon answers", self.is_up)

    @property
    def settings(self) -> Path:
        return self.root / "slurmbatch.toml"

    def is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def end(self, name: str, how: int = signal.SIGTERM) -> None:
        process = self.processes.pop(name, None)
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
            process.wait(60)

    def credential(self, user: str, url: str | None = None, ttl: int = 60) -> str:
        uid = pwd.getpwnam(user).pw_uid
        text = f"--string=slurmbatch:{self.url if url is None else url}"
        done = subprocess.run(
            ["munge", f"--socket={self.socket}", f"--ttl={ttl}", text],
            user=uid, group=pwd.getpwnam(user).pw_gid, extra_groups=[], capture_output=True,
            text=True, check=True, cwd="/",
        )  # fmt: skip
        return done.stdout.strip()

    def ask(self, method: str, path: str, header: str, **more: Any) -> httpx.Response:
        return httpx.request(
            method, f"{self.url}{path}", headers={"Authorization": header}, timeout=60, **more
        )

    def status(self, header: str, method: str = "GET", path: str = "/tools") -> int:
        """What comes of it, once munged has had the time to say so."""
        found: list[int] = []

        def has_answered() -> bool:
            found.append(self.ask(method, path, header).status_code)
            return found[-1] != 503

        until("munged answers", has_answered)
        return found[-1]

    def lets_in(self, user: str) -> None:
        """A credential that is good is taken, however busy the machine is."""
        until(
            "a fresh credential is taken",
            lambda: self.ask("GET", "/tools", f"Munge {self.credential(user)}").status_code == 200,
        )

    def new_key(self, user: str, **body: Any) -> str:
        """Made with a credential."""
        made: list[str] = []

        def is_made() -> bool:
            shown = f"Munge {self.credential(user)}"
            answer = self.ask("POST", "/keys", shown, json=body)
            made.extend(each["key"] for each in answer.json() if answer.status_code == 201)
            return bool(made)

        until("a key is made", is_made)
        return made[0]

    def login(self, user: str, *words: str) -> subprocess.CompletedProcess[str]:
        """The command, with a munge that runs as that user; again while there is no time for it."""
        found: list[subprocess.CompletedProcess[str]] = []

        def had_time() -> bool:
            found.append(self._login(user, *words))
            return found[-1].returncode != 6

        until(" ".join(words), had_time)
        return found[-1]

    def _login(self, user: str, *words: str) -> subprocess.CompletedProcess[str]:
        home = self.root / f"home-{user}"
        (home / "bin").mkdir(parents=True, exist_ok=True)
        shim, entry = home / "bin" / "munge", pwd.getpwnam(user)
        shim.write_text(
            f"#!/bin/sh\nexec setpriv --reuid={entry.pw_uid} --regid={entry.pw_gid}"
            f' --clear-groups {shutil.which("munge")} "$@"\n'
        )
        shim.chmod(0o755)
        environment = {
            "HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}",
            "SLURMBATCH_MUNGE_SOCKET": str(self.socket), "LANG": "C.UTF-8",
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, "-m", "slurmbatch", *words], env=environment, capture_output=True,
            text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def key_of(self, user: str) -> str:
        file = self.root / f"home-{user}" / ".config" / "slurmbatch" / "profiles.json"
        assert file.stat().st_mode & 0o777 == 0o600
        kept = json.loads(file.read_text())
        return str(kept["profiles"][kept["current"]]["key"])

    def log(self) -> str:
        return (self.root / "daemon.log").read_text()


@pytest.fixture(scope="module")
def users() -> Iterator[tuple[str, str]]:
    """The second one is in the administrators' group."""
    anna, berta = f"sbanna{os.getpid()}", f"sbberta{os.getpid()}"
    made = []
    accounts("groupadd", ADMINS)
    try:
        for name, more in ((anna, []), (berta, ["--groups", ADMINS])):
            accounts("useradd", "--no-create-home", "-s", "/bin/sh", *more, name)
            made.append(name)
        yield anna, berta
    finally:
        for name in made:
            accounts("userdel", name)
        accounts("groupdel", ADMINS)


@pytest.fixture(scope="module")
def site(users: tuple[str, str]) -> Iterator[Site]:
    root = Path(tempfile.mkdtemp(prefix="sb-munge-", dir="/tmp"))
    root.chmod(0o755)
    for name, mode in (("munge", 0o755), ("state", 0o700), ("logs", 0o755), ("tools.d", 0o755),
                       ("bin", 0o755)):  # fmt: skip
        (root / name).mkdir(mode=mode)
    key = root / "munge" / "key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    made = Site(root, free_port())
    made.settings.write_text(
        f'[server]\nport = {made.port}\n[store]\npath = "{root}/state/db.sqlite"\n'
        f'[jobs]\nlog_dir = "{root}/logs"\n[slurm]\nbin_dir = "{root}/bin"\n'
        f'[auth]\nadmin_groups = ["{ADMINS}"]\n[auth.munge]\n'
        f'urls = ["https://elsewhere.example", "{made.url}"]\n'
        f'socket = "{made.socket}"\n'
    )
    try:
        made.run_munged()
        made.run_daemon()
        yield made
    finally:
        made.end("daemon")
        made.end("munged", signal.SIGKILL)
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def test_each_gets_a_key_of_their_own_and_gives_it_up(site: Site, users: tuple[str, str]) -> None:
    for user in users:
        done = site.login(user, "login", "--munge", site.url)
        assert done.returncode == 0, done.stderr
        assert "slurmbatch logout revokes it" in done.stderr
    keys = [site.key_of(user) for user in users]
    assert keys[0] not in done.stdout + done.stderr + site.log()
    for user, key in zip(users, keys, strict=True):
        (mine,) = [each for each in site.ask("GET", "/keys", key).json() if each["current"]]
        assert mine["name"].startswith("slurmbatch login on ")
        assert mine["scopes"] == ["read", "submit"]
        audit = subprocess.run(
            [sys.executable, "-m", "slurmbatch", "admin", "audit", "--json", "--user", user],
            env={**os.environ, "SLURMBATCH_CONFIG": str(site.settings)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        row = json.loads(audit.stdout)[0]
        uid = pwd.getpwnam(user).pw_uid
        assert (row["what"], row["credential"], row["remote"]) == (
            "key.create", f"munge uid {uid}", "127.0.0.1",
        )  # fmt: skip
    gone = site.login(users[0], "logout")
    assert (gone.returncode, "The key is revoked." in gone.stderr) == (0, True), gone.stderr
    assert [site.ask("GET", "/keys", key).status_code for key in keys] == [401, 200]
    assert site.login(users[1], "logout").returncode == 0


def test_logging_in_again_leaves_no_key_behind(site: Site, users: tuple[str, str]) -> None:
    keys = []
    for _ in range(2):
        done = site.login(users[0], "login", "--munge", site.url)
        assert done.returncode == 0, done.stderr
        keys.append(site.key_of(users[0]))
    assert [site.ask("GET", "/keys", key).status_code for key in keys] == [401, 200]
    assert site.login(users[0], "logout").returncode == 0


def test_a_credential_is_good_once_and_for_any_request(site: Site, users: tuple[str, str]) -> None:
    site.lets_in(users[0])
    made: list[httpx.Response] = []

    def makes_a_key() -> bool:
        shown = site.credential(users[1])
        made.append(site.ask("POST", "/keys", f"munge {shown}"))
        assert shown not in site.log()
        is_made = made[-1].status_code == 201
        # One that could not be looked at in time is good still.
        assert not is_made or site.status(f"Munge {shown}") == 401
        return is_made

    until("a key is made", makes_a_key)
    assert site.ask("GET", "/keys", made[-1].json()[0]["key"]).status_code == 200


def test_who_is_in_the_administrators_group_sees_what_others_have(
    site: Site, users: tuple[str, str]
) -> None:
    anna, berta = users
    keys = {user: site.new_key(user) for user in users}
    # A key that was not asked for as one makes nobody an administrator.
    path = f"/batches?user={anna}"
    assert site.ask("GET", path, keys[berta]).status_code == 403
    assert site.ask("GET", path, keys[anna]).status_code == 200
    asked = {"scopes": ["read", "admin"]}
    assert site.ask("POST", "/keys", keys[anna], json=asked).status_code == 422
    assert site.ask("POST", "/keys", keys[berta], json=asked).status_code == 422

    admin = site.new_key(berta, **asked)
    assert site.ask("GET", path, admin).json() == []
    assert site.ask("DELETE", "/batches", admin).status_code == 403


def test_the_doctor_finds_it_well(site: Site) -> None:
    command = [sys.executable, "-m", "slurmbatch", "admin", "doctor", "--json"]

    def is_well() -> bool:
        done = subprocess.run(
            [*command, "--config", str(site.settings)], capture_output=True, text=True, check=False
        )
        found = [each for each in json.loads(done.stdout) if each["check"] == "login"]
        return [each["level"] for each in found] == ["ok"]

    until("the doctor finds munge well", is_well)


def test_no_secret_lies_about(site: Site, users: tuple[str, str]) -> None:
    """Neither in the log, the database, a copy of it, nor in what anybody sees of the process."""
    key, credential = site.new_key(users[0]), site.credential(users[0])
    secret = key.split("_", 2)[2]
    for header in (key, f"Bearer {key}", key[:-2] + "AA", f"Munge {credential}", "Munge " + key):
        site.ask("GET", "/batches", header)
    copy = site.root / "copy.sqlite"
    backup = [sys.executable, "-m", "slurmbatch", "admin", "backup", str(copy)]
    subprocess.run([*backup, "--config", str(site.settings)], check=True, capture_output=True)
    process = Path(f"/proc/{site.processes['daemon'].pid}")
    places = [*(site.root / "state").iterdir(), copy, site.root / "daemon.log",
              process / "cmdline", process / "environ"]  # fmt: skip
    held = b"".join(each.read_bytes() for each in places)
    assert users[0].encode() in held
    for each in (secret, credential, credential[6:60]):
        assert each.encode() not in held
    copy.unlink()


def test_one_that_is_not_as_it_should_be(site: Site, users: tuple[str, str]) -> None:
    user = users[0]
    for wrong in (
        site.credential("root"),
        site.credential(user, "https://evil.example"),
        site.credential(user, ""),
        site.credential(user, ttl=3600),
        "MUNGE:AwQF:",
        site.credential(user)[:-9] + "AAAAAAAA:",
    ):
        assert site.status(f"Munge {wrong}", "POST", "/keys") == 401, wrong
    site.lets_in(user)


def test_one_that_has_expired(site: Site, users: tuple[str, str]) -> None:
    short = site.credential(users[0], ttl=1)
    time.sleep(3)
    assert site.status(f"Munge {short}") == 401


def test_an_account_that_is_locked_or_gone(site: Site) -> None:
    name = f"sbgone{os.getpid()}"
    accounts("useradd", "--no-create-home", "-s", "/bin/sh", name)
    try:
        site.lets_in(name)
        locked, gone = site.credential(name, ttl=300), site.credential(name, ttl=300)
        accounts("usermod", "-s", "/usr/sbin/nologin", name)
        assert site.status(f"Munge {locked}") == 401
    finally:
        accounts("userdel", name)
    assert site.status(f"Munge {gone}") == 401


def test_a_munged_that_hangs_is_no_verdict_and_holds_up_nobody(
    site: Site, users: tuple[str, str]
) -> None:
    credential = site.credential(users[0])
    with stopped(site.processes["munged"]):
        answer = site.ask("GET", "/tools", f"Munge {credential}")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert site.ask("GET", "/healthz", "").status_code == 200
    site.lets_in(users[0])


def test_neither_start_makes_one_good_again(site: Site, users: tuple[str, str]) -> None:
    used: list[str] = []

    def takes_one() -> bool:
        used.append(site.credential(users[0], ttl=300))
        return site.ask("GET", "/tools", f"Munge {used[-1]}").status_code == 200

    until("one is taken", takes_one)
    # munged has forgotten, and the daemon has not.
    site.end("munged")
    assert site.ask("GET", "/tools", f"Munge {used[-1]}").status_code == 503
    site.socket.unlink(missing_ok=True)
    site.run_munged()
    assert site.status(f"Munge {used[-1]}") == 401
    # Both have.
    site.end("munged")
    site.end("daemon")
    site.socket.unlink(missing_ok=True)
    time.sleep(1)  # a credential has whole seconds
    site.run_munged()
    site.run_daemon()
    assert site.status(f"Munge {used[-1]}") == 401
    site.lets_in(users[0])
