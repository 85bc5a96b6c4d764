"""Load on one address, and what it counted: wrk over TCP, threads of our own over Unix sockets.

Only wrk is fast enough for answers within a tenth of a millisecond; it cannot speak over a Unix
socket, which is how slurmrestd knows who asks, so those reads, all slow, are counted here.
"""

from __future__ import annotations

import math
import re
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SCRIPT = Path(__file__).with_name("report.lua")
_COUNTED = re.compile(r"COUNTED (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)")


@dataclass(frozen=True, slots=True)
class Counted:
    """One turn: times in milliseconds, bytes with headers, as they went over the socket."""

    requests: int
    seconds: float
    size: int
    errors: int
    p50: float | None
    p99: float | None

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Target:
    """Something to be read. `pids` are the processes whose CPU time counts as this one's own."""

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    unix: Path | None = None
    pids: Mapping[str, int] = field(default_factory=dict)
    status: int = 200

    def run(self, clients: int, seconds: float, most: float | None = None) -> Counted:
        """Loads it for so long; up to `most` seconds where not even three answers have come."""
        if self.unix is not None:
            return _UnixLoad(self, self.unix, clients).run(seconds, most or seconds)
        return _wrk(self, clients, seconds)


def _wrk(target: Target, clients: int, seconds: float) -> Counted:
    headers = [word for each in target.headers.items() for word in ("-H", f"{each[0]}: {each[1]}")]
    # wrk takes whole seconds only.
    command = ["wrk", "-t1", f"-c{clients}", f"-d{math.ceil(seconds)}s", "--timeout", "30s",
               "-s", str(_SCRIPT), *headers, target.url]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    found = _COUNTED.search(done.stdout)
    if found is None:
        raise RuntimeError(f"wrk on {target.name}: {done.stdout} {done.stderr}")
    requests, micros, size, errors, p50, p99 = (int(each) for each in found.groups())
    return Counted(requests, micros / 1e6, size, errors, p50 / 1000, p99 / 1000)


class _UnixLoad:
    """So many threads, each with a connection of its own that asks again and again."""

    def __init__(self, target: Target, path: Path, clients: int) -> None:
        lines = [f"GET {target.url} HTTP/1.1", "Host: localhost", "Connection: keep-alive"]
        lines += [f"{name}: {value}" for name, value in target.headers.items()]
        self._request = "\r\n".join([*lines, "", ""]).encode()
        self._path, self._clients = path, clients
        self._times: list[float] = []
        self._size = self._errors = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def run(self, seconds: float, most: float) -> Counted:
        threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(self._clients)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        while (passed := time.monotonic() - began) < most:
            if passed >= seconds and len(self._times) >= 3:
                break
            time.sleep(0.02)
        self._stop.set()
        with self._lock:
            times, size, errors = sorted(self._times), self._size, self._errors
        return Counted(
            len(times), passed, size, errors, quantile(times, 0.5), quantile(times, 0.99)
        )

    def _ask(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(60)
            connection.connect(str(self._path))
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    size = self._one(connection)
                except OSError:
                    size = 0
                if self._stop.is_set():
                    return
                with self._lock:
                    self._errors += not size
                    if size:
                        self._size += size
                        self._times.append((time.monotonic() - began) * 1000)
                if not size:
                    return

    def _one(self, connection: socket.socket) -> int:
        """Asks once; gives the bytes of the answer, 0 if it was no success."""
        connection.sendall(self._request)
        head = b""
        while b"\r\n\r\n" not in head:
            head += (more := connection.recv(65536))
            if not more:
                return 0
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        whole = head.index(b"\r\n\r\n") + 4 + (int(length[1]) if length else 0)
        got, buffer = len(head), bytearray(1 << 20)
        while got < whole:
            more_bytes = connection.recv_into(buffer)
            if not more_bytes:
                return 0
            got += more_bytes
        return got if b" 200 " in head.split(b"\r\n", 1)[0] else 0


def quantile(ordered: list[float], share: float) -> float | None:
    """None where there are too few values to speak of such a share."""
    if len(ordered) < (1 if share <= 0.5 else 20):
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
