"""Unix accounts that exist for some tests only, and a daemon that runs as one of them."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from slurmbatch.sandbox import Sandbox
from tests.e2e.alone import answers, wait_until
from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
SUDOERS = REPOSITORY / "etc/sudoers.d/slurmbatch"
LIMIT = 700
TOOL = """
description = "says who it is"
script = '''
#!/bin/bash
echo "uid $(id -u)"
echo "groups $(id -G)"
echo "home $HOME"
echo "in $PWD"
echo "umask $(umask)"
echo "limit $(ulimit -n)"
env | grep -E '^(SUDO_|SLURM_JWT)' | sed 's/^/leaked /'
touch made
sleep "${seconds:-0}"
'''
[[parameters]]
name = "seconds"
type = "integer"
[hardware]
cpu = 1
memory = 50
[slurm]
time_limit = 5
"""


class People:
    """Accounts with homes in a directory; `close` removes all of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stem = f"sbt{secrets.token_hex(3)}"
        self.group = f"{self.stem}g"
        self._names: list[str] = []
        directory.chmod(0o755)
        change("groupadd", self.group)

    def add(self, letter: str, gecos: str = "", *, member: bool = True) -> str:
        name = f"{self.stem}{letter}"
        groups = ["--groups", self.group] if member else []
        change(
            "useradd", "--create-home", "--base-dir", str(self.directory), "--shell", "/bin/bash",
            "--comment", gecos, *groups, name,
        )  # fmt: skip
        self._names.append(name)
        assert pwd.getpwnam(name).pw_uid >= 1000
        return name

    def remove(self, name: str) -> None:
        change("userdel", "--force", name)
        self._names.remove(name)

    def close(self) -> None:
        for name in [*self._names]:
            self.remove(name)
        subprocess.run(["groupdel", self.group], check=False)


def change(*command: str) -> None:
    """Changes the databases of accounts, which others may be changing as well."""
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        assert "lock" in done.stderr and time.monotonic() < deadline, done.stderr
        time.sleep(0.5)


def as_account(name: str, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    entry = pwd.getpwnam(name)
    return subprocess.run(
        command, user=entry.pw_uid, group=entry.pw_gid, cwd="/", capture_output=True, text=True,
        extra_groups=os.getgrouplist(name, entry.pw_gid), check=False, **options,
    )  # fmt: skip


def why_not() -> str:
    """Why there can be no such accounts here; empty where there can."""
    if os.geteuid() != 0:
        return "only root can make Unix accounts"
    missing = [each for each in ("useradd", "userdel", "usermod", "groupadd", "sudo", "visudo")
               if shutil.which(each) is None]  # fmt: skip
    if missing:
        return f"there is no {', '.join(missing)}"
    return "" if python() else "other accounts cannot run the checkout"


@cache
def python() -> str:
    """A Python that other accounts can run: perhaps the system's, where that of the tests lies in
    somebody's home."""
    nobody = pwd.getpwnam("nobody")
    for each in (sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"):
        try:
            done = subprocess.run(
                [each, "-c", "import slurmbatch.cli"], user=nobody.pw_uid, group=nobody.pw_gid,
                extra_groups=[], cwd="/", env=environment(), capture_output=True, check=False,
            )  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0:
            return each
    return ""


def environment() -> dict[str, str]:
    where = f"{REPOSITORY}:{sysconfig.get_paths()['purelib']}"
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": where}


class Service:
    """The daemon as an account of its own, which is an Operator in Slurm."""

    def __init__(self, box: Sandbox, directory: Path, account: str, way: str) -> None:
        self.box, self.directory, self.account = box, directory, account
        entry = pwd.getpwnam(account)
        directory.mkdir(mode=0o711)
        directory.chmod(0o711)
        os.chown(directory, entry.pw_uid, entry.pw_gid)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = directory / "slurmbatch.toml"
        tools = directory / "tools.d"
        tools.mkdir()
        (tools / "who.toml").write_text(TOOL)
        self.secret = secrets.token_hex(32)
        self._keep("portal.secret", self.secret.encode())
        key = ""
        if way == "slurm-jwt":
            self._keep("jwt.key", box.paths.jwt_key.read_bytes())
            key = 'jwt_key_file = "jwt.key"\n'
        bin_dir = f'bin_dir = "{box.bin_dir}"\n' if box.bin_dir else ""
        self.config.write_text(
            f'[server]\nport = {self.port}\n[store]\npath = "{directory}/state/x.sqlite"\n'
            f'[jobs]\nlog_dir = "{directory}/logs"\nclaims_dir = "{directory}/claims"\n'
            f'[slurm]\nconf = "{box.paths.slurm_conf}"\n{bin_dir}run_as = "{way}"\n{key}'
            f'poll_interval = 0.5\npoll_interval_most = 2.0\n[tools]\ndir = "{tools}"\n'
            '[[auth.jwt]]\nissuer = "portal"\naudience = "slurmbatch"\nalgorithms = ["HS256"]\n'
            'secret_file = "portal.secret"\n'
        )
        self.process: subprocess.Popen[bytes] | None = None

    def _keep(self, name: str, content: bytes) -> None:
        """A secret of the service's."""
        entry, file = pwd.getpwnam(self.account), self.directory / name
        file.touch(mode=0o600)
        file.write_bytes(content)
        os.chown(file, entry.pw_uid, entry.pw_gid)

    def command(self, *arguments: str) -> list[str]:
        return [python(), "-m", "slurmbatch", *arguments, "--config", str(self.config)]

    def start(self) -> None:
        entry = pwd.getpwnam(self.account)
        # With limits and a umask that are no person's.
        limited = ["sh", "-c", f'ulimit -n {LIMIT}; umask 077; exec "$@"', "sh"]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*limited, *self.command("serve")], user=entry.pw_uid, group=entry.pw_gid,
                extra_groups=[], cwd="/", stderr=log, stdin=subprocess.DEVNULL,
                env=environment(),
            )  # fmt: skip
        wait_until(lambda: answers(self.url), 60)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=30)
        self.process = None

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def client(self, user: str) -> httpx.Client:
        """Of somebody who comes with a token of a portal's."""
        now = int(time.time())
        claims = {"iss": "portal", "aud": "slurmbatch", "iat": now, "exp": now + 3600, "sub": user}
        token = jwt.encode(claims, self.secret, algorithm="HS256")
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)


def until(look: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def needs_people() -> None:
    why = why_not()
    if why:
        pytest.skip(why)
