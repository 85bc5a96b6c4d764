"""The daemon under systemd: what it says over a real socket, and the socket that it is given."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.e2e.alone import wait_until
from tests.e2e.systemd import Manager, ended
from tests.ports import free_port

UNITS = Path(__file__).parents[2] / "systemd"


def test_it_says_when_it_is_ready_how_it_is_and_that_it_stops(manager: Manager) -> None:
    process = manager.start()
    # There is no Slurm here, and whoever looks at the service's status is told so.
    manager.hears("STATUS=slurmctld down since .*squeue.*")
    assert not any(line.startswith("WATCHDOG") for line in manager.heard)
    ended(process)
    manager.hears("STOPPING=1")
    assert manager.heard.index("READY=1") < manager.heard.index("STOPPING=1")


def test_the_watchdog_is_fed_while_all_is_alive(manager: Manager) -> None:
    process = manager.start(WATCHDOG_USEC="400000")
    wait_until(lambda: manager.heard.count("WATCHDOG=1") > 3)
    ended(process)


def test_a_process_that_was_stopped_feeds_no_watchdog(manager: Manager) -> None:
    process = manager.start(WATCHDOG_USEC="400000")
    manager.hears("WATCHDOG=1")
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    manager.heard.clear()
    time.sleep(0.5)
    assert manager.heard == []
    process.send_signal(signal.SIGCONT)
    manager.hears("WATCHDOG=1")
    ended(process)


def test_somebody_elses_sockets_and_watchdog_are_left_alone(manager: Manager) -> None:
    """As a child of a service would find them in its environment."""
    strange = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "1000"}
    process = subprocess.Popen(
        manager.site.command("serve"), stderr=subprocess.PIPE, text=True,
        env={**os.environ, "NOTIFY_SOCKET": str(manager.path), **strange},
    )  # fmt: skip
    manager.hears("READY=1")
    assert f"http://127.0.0.1:{manager.site.port}" in ended(process)
    assert "WATCHDOG=1" not in manager.heard


# --- a socket that is handed over ----------------------------------------------------------------


class Stream:
    """Requests without end, each on a connection of its own, from several threads."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.answers: list[int] = []
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]

    def __enter__(self) -> Stream:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection(*self.address, timeout=30)
            try:
                connection.request("GET", "/openapi.json")
                answer = connection.getresponse()
                answer.read()
                self.answers.append(answer.status)
            except OSError as error:
                self.failures.append(repr(error))
            finally:
                connection.close()


def test_a_restart_in_the_middle_of_a_stream_of_requests_refuses_none(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        process = manager.start(listener)
        with Stream(listener.getsockname()) as stream:
            for _ in range(3):
                before = len(stream.answers)
                wait_until(lambda: len(stream.answers) > before + 50)  # noqa: B023
                log = ended(process)
                assert f"http://127.0.0.1:{listener.getsockname()[1]}" in log
                process = manager.start(listener)
            before = len(stream.answers)
            wait_until(lambda: len(stream.answers) > before + 50)
        ended(process)
    assert stream.failures == []
    assert set(stream.answers) == {200}


def test_a_request_that_has_just_begun_when_it_is_told_to_stop_is_answered(
    manager: Manager,
) -> None:
    """It waits for what comes within a second: a machine that stands still for so long proves
    nothing, and is asked again."""
    for _ in range(5):
        took, texts = stopped_in_mid_request(manager)
        if took < 1 or all(texts):
            break
    for text in texts:
        assert text.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" in text


def stopped_in_mid_request(manager: Manager) -> tuple[float, list[bytes]]:
    """How many seconds there were between the requests' beginnings and ends, and the answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        manager.heard.clear()
        process = manager.start(listener)
        began = time.monotonic()
        connected = socket.create_connection(address, timeout=60)
        begun = socket.create_connection(address, timeout=60)
        begun.sendall(b"GET /openapi.json HTTP/1.1\r\n")
        # They are accepted in their order, so these two are when a third one is answered.
        with socket.create_connection(address, timeout=60) as third:
            third.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert third.recv(100).startswith(b"HTTP/1.1 200 ")
        process.terminate()
        manager.hears("STOPPING=1")
        texts = []
        with suppress(OSError):
            connected.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
            begun.sendall(b"Host: x\r\n\r\n")
        took = time.monotonic() - began
        for each in (connected, begun):
            with each, each.makefile("rb") as answer, suppress(OSError):
                texts.append(answer.read())  # to its end: the connection is let go
        assert process.wait(timeout=20) == 0
        process.communicate()
        return took, texts if len(texts) == 2 else [b"", b""]


def test_a_unix_socket_will_do(manager: Manager, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "http"))
        process = manager.start(listener)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "http"))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            with client.makefile("rb") as answer:
                assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
        assert f"url=unix:{tmp_path}/http" in ended(process)


# --- the units -----------------------------------------------------------------------------------

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as they would be installed, with a program that is there."""
    directory = tmp_path / "units"
    directory.mkdir()
    for unit in UNITS.glob("slurmbatch.*"):
        text = unit.read_text().replace("/opt/slurmbatch/bin/slurmbatch", sys.executable)
        (directory / unit.name).write_text(text)
    return directory


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(units: Path) -> None:
    done = analyze("verify", "--man=no", *map(str, sorted(units.iterdir())))
    assert (done.returncode, done.stderr.strip()) == (0, "")
    (units / "slurmbatch.service").write_text("[Service]\nExecStart=/nowhere\nColour=red\n")
    assert "Colour" in analyze("verify", "--man=no", str(units / "slurmbatch.service")).stderr


@needs_systemd
@pytest.mark.parametrize("name", sorted(each.name for each in UNITS.glob("drop-ins/*.conf")))
def test_systemd_finds_nothing_wrong_with_a_drop_in(units: Path, name: str) -> None:
    beside = units / "slurmbatch.service.d"
    beside.mkdir()
    shutil.copy(UNITS / "drop-ins" / name, beside / name)
    done = analyze("verify", "--man=no", str(units / "slurmbatch.service"))
    assert (done.returncode, done.stderr.strip()) == (0, "")


@needs_systemd
def test_systemd_finds_the_service_well_hardened(units: Path) -> None:
    unit = str(units / "slurmbatch.service")
    # Its limit is ten times the level that it shows: 25 is 2.5.
    done = analyze("security", "--offline=1", "--no-pager", "--threshold=25", unit)
    assert done.returncode == 0, done.stdout


@needs_systemd
def test_systemd_understands_the_account_and_the_directories() -> None:
    account = subprocess.run(
        ["systemd-sysusers", "--dry-run", "--root=/", str(UNITS / "sysusers.conf")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert account.returncode == 0, account.stderr
    assert "slurmbatch" in account.stderr + account.stdout


# --- settings that are read anew -----------------------------------------------------------------


def test_on_sighup_it_reads_settings_and_tools_anew_all_or_nothing(
    manager: Manager, tmp_path: Path
) -> None:
    site = manager.site
    process = manager.start()
    headers = {"Authorization": site.key()}

    def tools() -> list[str]:
        answer = httpx.get(f"{site.url}/tools", headers=headers, timeout=60)
        return [each["id"] for each in answer.json()]

    def told() -> dict[str, object]:
        return dict(httpx.get(f"{site.url}/readyz", timeout=60).json()["settings"])

    assert tools() == ["t"]
    (tmp_path / "tools.d" / "bad.toml").write_text("colour = 1\n")
    (tmp_path / "tools.d" / "t.toml").rename(tmp_path / "tools.d" / "u.toml")
    process.send_signal(signal.SIGHUP)
    manager.hears("RELOADING=1")
    manager.hears("STATUS=.*the new settings have mistakes, the old ones stay: .*bad.toml.*")
    assert tools() == ["t"]
    assert told()["ok"] is False
    (tmp_path / "tools.d" / "bad.toml").unlink()
    site.write(tmp_path, tmp_path / "logs", '[log]\nlevel = "debug"\n')
    site.config.write_text(site.config.read_text().replace("port = ", "threads = 3\nport = "))
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: tools() == ["u"])
    assert told()["ok"] is True
    assert told()["restart_needed"] == ["server.threads"]
    manager.hears("STATUS=.*needs a restart for server.threads")
    log = ended(process)
    assert log.count("settings read anew") == 1
    assert " debug " in log


def test_the_running_daemon_tells_its_metrics(manager: Manager, tmp_path: Path) -> None:
    port = free_port()
    manager.site.write(tmp_path, tmp_path / "logs", f"[metrics]\nport = {port}\n")
    process = manager.start()
    manager.hears("STATUS=slurmctld down since .*")
    httpx.get(f"{manager.site.url}/openapi.json", timeout=60)
    httpx.get(f"{manager.site.url}/nowhere", timeout=60)
    page = ""

    def both_have_been_at_work() -> bool:
        nonlocal page
        page = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
        return all(re.search(each, page) for each in (
            r'slurm_call_failures_total\{call="live",error="SlurmUnreachable"\} [1-9]',
            r'worker_rounds_total\{outcome="done",worker="submitter"\} [1-9]',
        ))  # fmt: skip

    wait_until(both_have_been_at_work)
    for line in (
        'slurmbatch_requests_total{code="200",method="GET",route="/openapi.json"} 1.0',
        'slurmbatch_requests_total{code="401",method="GET",route="unknown"} 1.0',
        'slurmbatch_source_up{source="slurmctld"} 0.0',
        "slurmbatch_database_up 1.0",
    ):
        assert line in page
    ended(process)
