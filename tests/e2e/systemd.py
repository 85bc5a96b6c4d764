"""What systemd is to the daemon: somebody who starts it, listens, and holds its socket."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from tests.e2e.alone import Site, wait_until

# As systemd does it: descriptors from 3 on, and the number of the process that they are for.
AS_SYSTEMD = 'export LISTEN_PID=$$ WATCHDOG_PID=$$; exec "$@"'


class Manager:
    """What systemd is to a service: somebody who listens, and holds the socket for it."""

    def __init__(self, directory: Path, site: Site) -> None:
        self.site = site
        self.path = directory / "notify"
        self.heard: list[str] = []
        self._inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._inbox.bind(str(self.path))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while message := self._inbox.recv(65536):
            self.heard += message.decode().splitlines()

    def close(self) -> None:
        self._inbox.shutdown(socket.SHUT_RDWR)
        self._inbox.close()

    def start(
        self, listener: socket.socket | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        """Starts the daemon and waits until it says that it is ready."""
        self.heard.clear()
        if listener is not None:
            environment["LISTEN_FDS"] = "1"
        process = subprocess.Popen(
            ["sh", "-c", AS_SYSTEMD, "sh", *self.site.command("serve")],
            stderr=subprocess.PIPE, text=True,
            env={**os.environ, "NOTIFY_SOCKET": str(self.path), **environment},
            preexec_fn=None if listener is None else _third(listener),
            pass_fds=() if listener is None else (3,),
        )  # fmt: skip
        wait_until(lambda: "READY=1" in self.heard or process.poll() is not None)
        assert process.poll() is None, process.communicate()[1]
        return process

    def hears(self, wanted: str) -> None:
        wait_until(lambda: any(re.fullmatch(wanted, line) for line in self.heard))


def _third(listener: socket.socket) -> Callable[[], None]:
    def move() -> None:
        os.dup2(listener.fileno(), 3, inheritable=True)

    return move


def ended(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> str:
    process.send_signal(number)
    log = process.communicate(timeout=20)[1]
    assert process.returncode == (0 if number == signal.SIGTERM else -number)
    return log
