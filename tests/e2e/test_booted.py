"""The units under a real systemd, on top of this machine's files."""

from __future__ import annotations

import shutil
import site
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine import Machine, booted

ROOT = Path(__file__).parents[2]
PREPARE = """\
rm -rf opt/slurmbatch etc/systemd/system etc/slurmbatch var/lib/slurmbatch
mkdir -p opt/slurmbatch/bin opt/slurmbatch/lib opt/slurmbatch/site etc/systemd/system
mkdir -p etc/slurmbatch/tools.d usr/lib/sysusers.d usr/lib/tmpfiles.d
mount --bind "$4" opt/slurmbatch/site
cp -r "$5/slurmbatch" opt/slurmbatch/lib/
cp "$5"/systemd/slurmbatch.* etc/systemd/system/
cp "$5/systemd/sysusers.conf" usr/lib/sysusers.d/slurmbatch.conf
cp "$5/systemd/tmpfiles.conf" usr/lib/tmpfiles.d/slurmbatch.conf
cat >opt/slurmbatch/bin/slurmbatch <<END
#!/bin/sh
PYTHONPATH=/opt/slurmbatch/lib:/opt/slurmbatch/site exec $6 -m slurmbatch "\\$@"
END
chmod 755 opt/slurmbatch/bin/slurmbatch
printf '[jobs]\\nlog_dir = "/var/spool/slurmbatch/logs"\\n' >etc/slurmbatch/slurmbatch.toml
chmod go+x root
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    arguments = (site.getsitepackages()[0], str(ROOT), str(Path(sys.executable).resolve()))
    with booted(tmp_path_factory.mktemp("machine"), Path("/"), PREPARE, *arguments) as made:
        for command in ("systemd-sysusers", "systemd-tmpfiles --create slurmbatch.conf",
                        "systemctl start slurmbatch.socket slurmbatch.service"):  # fmt: skip
            done = made.run(*command.split())
            assert done.returncode == 0, done.stderr
        yield made


def test_it_is_ready_as_an_account_of_its_own_and_says_how_it_is(machine: Machine) -> None:
    assert machine.show("ActiveState") == "active"
    status = machine.run("stat", "-c", "%U", f"/proc/{machine.show('MainPID')}")
    assert status.stdout.strip() == "slurmbatch"
    # There is no Slurm in there.
    machine.until(lambda: "slurmctld down since" in machine.show("StatusText"))
    # But its commands can be run: it is they who find no slurm.conf.
    assert "setpriv" not in machine.show("StatusText")
    answer = ask(machine)
    assert answer == "200", answer


def ask(machine: Machine) -> str:
    """The status of an answer, asked for inside."""
    program = ("import http.client as h; c = h.HTTPConnection('127.0.0.1', 8765, timeout=30);"
               " c.request('GET', '/healthz'); print(c.getresponse().status)")  # fmt: skip
    done = machine.run(str(Path(sys.executable).resolve()), "-c", program)
    return done.stdout.strip() or done.stderr


def test_it_may_not_do_what_it_need_not(machine: Machine) -> None:
    status = machine.run("cat", f"/proc/{machine.show('MainPID')}/status").stdout
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert {fields[name].strip() for name in ("CapEff", "CapBnd", "CapPrm")} == {"0" * 16}
    assert (fields["NoNewPrivs"].strip(), fields["Seccomp"].strip()) == ("1", "2")


def test_it_is_reloaded_and_restarted(machine: Machine) -> None:
    pid = machine.show("MainPID")
    machine.run("sh", "-c", "echo colour = 1 >> /etc/slurmbatch/slurmbatch.toml")
    assert machine.run("systemctl", "reload", "slurmbatch").returncode == 0
    machine.until(lambda: "the old ones stay" in machine.show("StatusText"))
    machine.run("sed", "-i", "/colour/d", "/etc/slurmbatch/slurmbatch.toml")
    assert machine.run("systemctl", "reload", "slurmbatch").returncode == 0
    machine.until(lambda: "the old ones stay" not in machine.show("StatusText"))
    assert machine.show("MainPID") == pid
    assert machine.run("systemctl", "restart", "slurmbatch").returncode == 0
    assert machine.show("MainPID") != pid
    assert machine.show("Result") == "success"
    assert ask(machine) == "200"


def test_killed_it_is_started_again_and_whoever_asks_meanwhile_is_answered(
    machine: Machine,
) -> None:
    pid = machine.show("MainPID")
    machine.run("kill", "-KILL", pid)
    assert ask(machine) == "200"
    assert machine.show("MainPID") not in (pid, "0")
    assert machine.show("NRestarts") == "1"


def test_one_that_hangs_is_found_out_by_the_watchdog(machine: Machine) -> None:
    machine.run(
        "sh",
        "-c",
        "mkdir -p /run/systemd/system/slurmbatch.service.d && printf "
        "'[Service]\\nWatchdogSec=3s\\n' > /run/systemd/system/slurmbatch.service.d/w.conf",
    )
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "slurmbatch")

    def is_fed() -> bool:
        before = machine.show("NRestarts")
        time.sleep(4)  # longer than the watchdog waits
        return machine.show("NRestarts") == before

    machine.until(is_fed)
    pid, restarts = machine.show("MainPID"), machine.show("NRestarts")
    machine.run("kill", "-STOP", pid)
    machine.until(lambda: machine.show("NRestarts") != restarts)
    machine.until(lambda: machine.show("ActiveState") == "active")
    assert machine.show("MainPID") != pid
    assert ask(machine) == "200"


def test_only_with_its_drop_in_sudo_can_be_used(machine: Machine) -> None:
    """What a start of the service does by sudo. Last, since it changes units."""
    if not shutil.which("sudo"):
        pytest.skip("there is no sudo")
    where = "/etc/systemd/system/slurmbatch.service.d"
    rule = "slurmbatch ALL = (games) NOPASSWD: /usr/bin/id -u"
    tries = "ExecStartPre=-/bin/sh -c 'sudo -n -u games -- /usr/bin/id -u >%S/slurmbatch/who 2>&1'"
    for path, text in (
        ("/etc/sudoers.d/slurmbatch", rule),
        (f"{where}/z.conf", f"[Service]\n{tries}"),
    ):
        done = machine.run("sh", "-c", f'mkdir -p {where}; printf "%s\\n" "$0" >{path}', text)
        assert done.returncode == 0, done.stderr
    machine.run("chmod", "440", "/etc/sudoers.d/slurmbatch")

    def told() -> str:
        assert machine.run("systemctl", "daemon-reload").returncode == 0
        assert machine.run("systemctl", "restart", "slurmbatch").returncode == 0
        return machine.run("cat", "/var/lib/slurmbatch/who").stdout.strip()

    assert "no new privileges" in told()
    drop_in = (ROOT / "systemd/drop-ins/sudo.conf").read_text()
    assert machine.run("sh", "-c", f'printf "%s" "$0" >{where}/sudo.conf', drop_in).returncode == 0
    games = machine.run("id", "-u", "games").stdout.strip()
    assert told() == games != ""
    machine.until(lambda: ask(machine) == "200")
