"""A systemd, booted in namespaces of its own on top of files that it can't change.

Nothing of it reaches the machine: processes, mounts, network and control groups are its own, and
what it writes goes to a memory that is gone with it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BOOT = """\
set -eu
root=$1
mount --make-rprivate /
mount -t tmpfs tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/all"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$root/upper,workdir=$root/work" "$root/all"
cd "$root/all"
mount -t proc proc proc
mount -t sysfs sysfs sys
for each in run tmp dev sys/fs/cgroup; do mount -t tmpfs tmpfs $each; done
for each in null zero full random urandom tty; do
    touch dev/$each
    mount --bind /dev/$each dev/$each
done
mkdir dev/shm dev/pts
ln -s /proc/self/fd dev/fd
ln -s pts/ptmx dev/ptmx
touch dev/console
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
fi
. "$3"
mkdir old
pivot_root . old
umount -l old
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    /lib/systemd/systemd --system --unit=basic.target --log-target=null --show-status=0
"""
CGROUPS = Path("/sys/fs/cgroup")


class Machine:
    """A systemd, and what can be asked of it."""

    def __init__(self, directory: Path, lower: Path, prepare: str, *arguments: str) -> None:
        """On top of `lower`. `prepare` is shell, run among those files; arguments are $4 and on."""
        # One of its own in each hierarchy, so that what it makes there lies below that.
        roots = [each for each in (CGROUPS, *CGROUPS.iterdir()) if (each / "cgroup.procs").exists()]
        name = f"slurmbatch-test-{secrets.token_hex(4)}"
        self.groups = [each / name for each in roots]
        for group in self.groups:
            group.mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (group / name).exists() and (group.parent / name).exists():
                    (group / name).write_text((group.parent / name).read_text())
        script = directory / "boot"
        script.write_text(BOOT)
        (directory / "prepare").write_text(prepare)
        (directory / "root").mkdir()
        self._process = subprocess.Popen(
            ["unshare", "--fork", "--kill-child", "--pid", "--mount", "--cgroup", "--net", "--uts",
             "--ipc", "sh", str(script), str(directory / "root"), str(lower),
             str(directory / "prepare"), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=self._move, text=True,
        )  # fmt: skip

    def _move(self) -> None:
        for group in self.groups:
            (group / "cgroup.procs").write_text("0")

    def up(self) -> bool:
        """Whether it has come up."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            if "running" in self.run("systemctl", "is-system-running").stdout:
                return True
            time.sleep(0.2)
        return False

    def around(self, *command: str) -> list[str]:
        """What is typed outside to run a command inside."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        pid = (children.read_text().split() or ["0"])[0]
        return ["nsenter", "--target", pid, "--all", "--root", "env", "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *command]  # fmt: skip

    def run(self, *command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.around(*command), capture_output=True, text=True, check=False, timeout=timeout
        )

    def down(self) -> None:
        self._process.kill()
        self._process.communicate()
        deadline = time.monotonic() + 10
        for group in self.groups:
            for inner in sorted((each for each in group.rglob("*") if each.is_dir()), reverse=True):
                _remove(inner, deadline)
            _remove(group, deadline)

    def show(self, name: str) -> str:
        return self.run("systemctl", "show", "-P", name, "slurmbatch.service").stdout.strip()

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not done():
            assert time.monotonic() < deadline, self.run("systemctl", "status", "slurmbatch").stdout
            time.sleep(0.1)


def _remove(group: Path, deadline: float) -> None:
    while group.is_dir():
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                return
            time.sleep(0.1)


@contextmanager
def booted(directory: Path, lower: Path, prepare: str, *arguments: str) -> Iterator[Machine]:
    """One that has come up; where none can, the test is skipped."""
    if os.geteuid() or not shutil.which("unshare") or not (lower / "lib/systemd/systemd").exists():
        pytest.skip("a systemd can be booted by root alone, where there is one")
    machine = Machine(directory, lower, prepare, *arguments)
    try:
        if not machine.up():
            pytest.skip("no systemd can be booted in namespaces here")
        up = machine.run("ip", "link", "set", "lo", "up")
        assert up.returncode == 0, up.stderr
        yield machine
    finally:
        machine.down()
