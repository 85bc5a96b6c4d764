"""The Debian package through its whole life, on the least Debian that boots, with no network."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slurmbatch import __version__
from slurmbatch.store.migrations import MIGRATIONS
from tests.machine import Machine, booted

from .conftest import run, the_debian

NEWER = "99.0.0"
DATABASE = "/var/lib/slurmbatch/slurmbatch.sqlite"
# What is not there any more when it is purged.
STATE = ("/var/lib/slurmbatch", "/var/spool/slurmbatch", "/run/slurmbatch", "/opt/slurmbatch")
ASK = """
import http.client, sys
method, path, key, *body = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1", 8765, timeout=60)
headers = {"Authorization": key, "Content-Type": "application/json"}
connection.request(method, path, *body, headers=headers)
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""
# Asks until a file is there, and tells whoever has not been answered.
KEEP_ASKING = """
import http.client, pathlib
answered = 0
while answered < 20 or not pathlib.Path("/run/enough").exists():
    connection = http.client.HTTPConnection("127.0.0.1", 8765, timeout=120)
    connection.request("GET", "/healthz")
    status = connection.getresponse().status
    if status != 200:
        raise SystemExit(status)
    answered += 1
    connection.close()
print(answered)
"""
BATCH = '{"tool_id": "montecarlo-pi", "fixed_args": {"samples": 1, "seed": 1}}'


@pytest.fixture(scope="module")
def newer(deb: Path) -> Path:
    """A release to come: another version, a step more of the schema, other sample settings."""
    tree = deb.parent / "newer"
    run("dpkg-deb", "--raw-extract", deb, tree)
    (package,) = tree.glob("opt/slurmbatch/lib/python3.*/site-packages/slurmbatch")
    append(package / "__init__.py", f'\n__version__ = "{NEWER}"\n')
    append(
        package / "store/migrations.py", '\nMIGRATIONS += ("CREATE TABLE later (x INTEGER);",)\n'
    )
    append(tree / "etc/slurmbatch/slurmbatch.toml", "\n# More than there was.\n")
    control = tree / "DEBIAN/control"
    control.write_text(re.sub("(?m)^Version: .*", f"Version: {NEWER}-1", control.read_text()))
    made = deb.parent / "newer.deb"
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, made)
    shutil.rmtree(tree)
    return made


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)
    # Python believes what was compiled with it.
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


@pytest.fixture
def head_node(deb: Path, newer: Path, tmp_path: Path) -> Iterator[Machine]:
    # The pages of others were left out there, those of this package are to be installed.
    prepare = 'rm etc/dpkg/dpkg.cfg.d/*; cp "$4" root/this.deb; cp "$5" root/newer.deb'
    with booted(tmp_path, the_debian(), prepare, str(deb), str(newer)) as machine:
        yield machine


class Admin:
    """Somebody who types commands on that machine, and looks at what comes."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def does(self, command: str) -> str:
        done = self.machine.run("sh", "-c", command, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def fails(self, command: str) -> str:
        done = self.machine.run("sh", "-c", command, timeout=300)
        assert done.returncode != 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def installs(self, package: str) -> None:
        self.does(f"dpkg --force-confold --install /root/{package}.deb")

    def as_the_account(self, command: str) -> str:
        return self.does(f"runuser -u slurmbatch -- {command}")

    def asks(self, method: str, path: str, key: str = "", *body: str) -> tuple[int, str]:
        done = self.machine.run("python3", "-c", ASK, method, path, key, *body, timeout=120)
        assert done.returncode == 0, done.stderr
        status, _, text = done.stdout.partition(" ")
        return int(status), text

    def has(self, path: str) -> bool:
        return self.machine.run("test", "-e", path).returncode == 0


@contextmanager
def a_stream_of_requests(machine: Machine) -> Iterator[None]:
    """None of which may be refused."""
    came = []
    asking = threading.Thread(
        target=lambda: came.append(machine.run("python3", "-c", KEEP_ASKING, timeout=300))
    )
    asking.start()
    try:
        yield
    finally:
        machine.run("touch", "/run/enough")
        asking.join()
    assert came[0].returncode == 0, came[0].stderr
    assert int(came[0].stdout) >= 20


def test_installed_upgraded_taken_back_removed_and_purged(head_node: Machine) -> None:
    admin = Admin(head_node)
    is_installed_and_starts(admin)
    key, batch = is_put_to_use(admin)
    is_upgraded(admin, key, batch)
    is_taken_back(admin, key, batch)
    is_removed_and_nothing_of_what_it_knew(admin, key, batch)
    is_purged(admin)
    is_not_mixed_with_one_made_by_hand(admin)


def is_installed_and_starts(admin: Admin) -> None:
    admin.installs("this")
    for unit in ("slurmbatch.socket", "slurmbatch.service"):
        assert admin.does(f"systemctl is-enabled {unit} && systemctl is-active {unit}").split() == [
            "enabled",
            "active",
        ]
    assert admin.asks("GET", "/healthz")[0] == 200
    assert admin.does("slurmbatch --version").split()[-1] == __version__
    admin.as_the_account("slurmbatch check-config")
    assert admin.does("stat -c '%U %a' /var/lib/slurmbatch").split() == ["slurmbatch", "700"]
    assert admin.does("stat -c '%U %a' /etc/slurmbatch/slurmbatch.toml").split() == ["root", "644"]
    # Nothing was written that the package does not know of, and all that it knows of is as it was.
    owned = "dpkg --listfiles slurmbatch | sort >/run/owned"
    assert admin.does(f"{owned}; find /opt/slurmbatch | sort | comm -23 - /run/owned") == ""
    assert admin.does("dpkg --verify slurmbatch") == ""


def is_put_to_use(admin: Admin) -> tuple[str, str]:
    """A key, and a batch that waits, as there is no Slurm."""
    share = "/opt/slurmbatch/share/slurmbatch"
    admin.does(f"cp {share}/etc/tools.d/montecarlo-pi.toml /etc/slurmbatch/tools.d/")
    admin.does("sed -i 's/^#threads = .*/threads = 3/' /etc/slurmbatch/slurmbatch.toml")
    admin.does("systemctl restart slurmbatch")
    made = admin.as_the_account("slurmbatch admin key create --user alice")
    key = made.splitlines()[-1]
    status, text = admin.asks("POST", "/batches", key, BATCH)
    assert status == 201, text
    found = re.search(r'"batch_id":\s*"([^"]+)"', text)
    assert found is not None
    return key, found[1]


def is_upgraded(admin: Admin, key: str, batch: str) -> None:
    before = admin.machine.show("MainPID")
    with a_stream_of_requests(admin.machine):
        admin.installs("newer")
    assert admin.does("slurmbatch --version").split()[-1] == NEWER
    assert admin.machine.show("ActiveState") == "active"
    assert admin.machine.show("MainPID") not in ("0", before)
    assert admin.asks("GET", f"/batches/{batch}", key)[0] == 200
    assert schema(admin) == len(MIGRATIONS) + 1
    assert admin.has(f"{DATABASE}.schema-{len(MIGRATIONS)}")
    # What was changed in the settings stays; the new sample lies beside it.
    assert "threads = 3" in admin.does("cat /etc/slurmbatch/slurmbatch.toml")
    assert "More than" in admin.does("cat /etc/slurmbatch/slurmbatch.toml.dpkg-dist")


def schema(admin: Admin) -> int:
    asked = (
        "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('PRAGMA user_version'))"
    )
    return int(admin.does(f'python3 -c "{asked}" {DATABASE}').strip("(),\n"))


def is_taken_back(admin: Admin, key: str, batch: str) -> None:
    """As docs/upkeep.md has it."""
    admin.does("systemctl stop slurmbatch.socket slurmbatch.service")
    admin.installs("this")
    # What systemd has started, and starts again, is to hold no lock.
    admin.does("systemctl stop slurmbatch.socket slurmbatch.service")
    refused = admin.fails("timeout 120 runuser -u slurmbatch -- slurmbatch serve")
    assert f"has schema {len(MIGRATIONS) + 1}" in refused
    admin.as_the_account(f"slurmbatch admin restore --yes {DATABASE}.schema-{len(MIGRATIONS)}")
    admin.does("systemctl reset-failed; systemctl start slurmbatch.socket slurmbatch.service")
    assert admin.does("slurmbatch --version").split()[-1] == __version__
    assert schema(admin) == len(MIGRATIONS)
    assert admin.asks("GET", f"/batches/{batch}", key)[0] == 200


def is_removed_and_nothing_of_what_it_knew(admin: Admin, key: str, batch: str) -> None:
    admin.does("dpkg --remove slurmbatch")
    refused = admin.machine.run("python3", "-c", ASK, "GET", "/healthz", "")
    assert "ConnectionRefused" in refused.stderr
    assert admin.does("find /proc -maxdepth 1 -user slurmbatch") == ""
    assert not admin.has("/opt/slurmbatch")
    assert not admin.has("/usr/bin/slurmbatch")
    assert admin.has("/etc/slurmbatch/slurmbatch.toml")
    assert admin.has(DATABASE)
    admin.installs("this")
    assert admin.asks("GET", f"/batches/{batch}", key)[0] == 200


def is_purged(admin: Admin) -> None:
    # A filesystem of others is nothing to empty.
    admin.does("mount -t tmpfs tmpfs /var/spool/slurmbatch && touch /var/spool/slurmbatch/theirs")
    said = admin.does("dpkg --purge slurmbatch 2>&1")
    assert "/var/spool/slurmbatch is left as it is" in said
    assert admin.has("/var/spool/slurmbatch/theirs")
    admin.does("umount /var/spool/slurmbatch")
    admin.installs("this")
    admin.does("dpkg --purge slurmbatch")
    assert [each for each in STATE if admin.has(each)] == []
    # What dpkg never gave it is the administrator's.
    left = "find / -xdev -name '*slurmbatch*' ! -path '/root/*' ! -path '/sys/*' ! -path '/proc/*'"
    assert admin.does(left).split() == ["/etc/slurmbatch"]
    assert admin.does("find /etc/slurmbatch -type f").split() == [
        "/etc/slurmbatch/tools.d/montecarlo-pi.toml"
    ]
    assert admin.fails("systemctl status slurmbatch.service slurmbatch.socket")


def is_not_mixed_with_one_made_by_hand(admin: Admin) -> None:
    admin.does("mkdir -p /opt/slurmbatch && touch /opt/slurmbatch/pyvenv.cfg")
    assert "was made by hand" in admin.fails("dpkg --install /root/this.deb")
    assert admin.does("find /opt/slurmbatch -type f").split() == ["/opt/slurmbatch/pyvenv.cfg"]
    admin.does("mv /opt/slurmbatch /opt/slurmbatch.by-hand")
    admin.installs("this")
    assert admin.asks("GET", "/healthz")[0] == 200
