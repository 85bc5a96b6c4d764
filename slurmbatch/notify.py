"""What systemd and the daemon tell each other: sd_notify(3) and sd_listen_fds(3).

Three environment variables and a datagram: less than the libraries for it, which either want a C
compiler (python-systemd) or have no socket activation (sdnotify). With no systemd around, nothing
is sent and no socket is found.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

_FIRST_FD = 3
_PASSED_ON = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID",
              "LISTEN_FDNAMES")  # fmt: skip


class Notifier:
    """Says how the service is to whoever has started it. Thread-safe; never raises."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of Linux's abstract addresses.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = _datagrams() if address.startswith(("/", "@")) else None
        self.watchdog_seconds = _watchdog(environ) if self._socket else None
        self._status = ""

    def ready(self, status: str) -> None:
        self._say("READY=1", self._noted(status))

    def reloading(self) -> None:
        # With the time since boot a Type=notify-reload service can be told from an older one.
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._say("STOPPING=1", self._noted("stopping: finishes the requests that it has"))

    def status(self, text: str) -> None:
        """One line for `systemctl status`; said again only when it has changed."""
        if text != self._status:
            self._say(self._noted(text))

    def alive(self) -> None:
        self._say("WATCHDOG=1")

    def _noted(self, text: str) -> str:
        self._status = text
        return f"STATUS={text.replace(chr(10), '; ')}"

    def _say(self, *lines: str) -> None:
        if self._socket is not None:
            try:
                self._socket.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                return  # nobody listens (any more), or not fast enough: no reason to fail


def _datagrams() -> socket.socket:
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.settimeout(1.0)
    return sender


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Within how many seconds a sign of life is expected each time; None: none is."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    meant = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
    return int(microseconds) / 1e6 if meant and microseconds.isdecimal() else None


def inherited_sockets(environ: Mapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening sockets that systemd has opened for us, in the order of its unit."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return []
    found = []
    for descriptor in range(_FIRST_FD, _FIRST_FD + int(count)):
        os.set_inheritable(descriptor, False)
        found.append(socket.socket(fileno=descriptor))
    return found


def forget() -> None:
    """Takes what was meant for us alone out of the environment, so that no child speaks for us."""
    for name in _PASSED_ON:
        os.environ.pop(name, None)
