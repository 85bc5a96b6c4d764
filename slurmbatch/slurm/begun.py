"""An sbatch that is started before there is a script for it: half of its time goes by till then."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

# fcntl(2), "Changing the capacity of a pipe"; Python has the name from 3.10 on, on Linux alone.
_CAPACITY = fcntl.F_SETPIPE_SZ


class Begun:
    """Waits for its script on a pipe, and submits nothing before the end of that.

    From any thread; it ends with the thread that has made it.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Raises OSError."""
        self._command, self._environment = list(command), dict(environment)
        self._lock = threading.Lock()
        self._is_over = False
        stdin, self._script = os.pipe()
        try:
            self._process = started(command, environment, stdin)
        except OSError:
            os.close(self._script)
            raise
        finally:
            os.close(stdin)

    def take(
        self, command: Sequence[str], environment: Mapping[str, str], script: bytes
    ) -> subprocess.Popen[bytes] | None:
        """Gives it its script, once. None where it is another command, or has ended, or the script
        is too long for a pipe: then it submits nothing."""
        with self._lock:
            if self._is_over or self._command != command or self._environment != environment:
                return None
            if self._process.poll() is not None or not self._is_fed(script):
                return None
            self._is_over = True
            os.close(self._script)
            return self._process

    def _is_fed(self, script: bytes) -> bool:
        """All of it at once: one that dies in between shall leave no half of a script."""
        with suppress(OSError):  # too much for this account; or it has just ended
            return fcntl.fcntl(self._script, _CAPACITY, len(script)) >= len(script) and os.write(
                self._script, script
            ) == len(script)
        return False

    def drop(self) -> None:
        """Nobody wants it. One that was taken is left alone."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            self._process.kill()
            with self._process:  # which closes its pipes, and waits for its end
                os.close(self._script)


def started(
    command: Sequence[str], environment: Mapping[str, str], stdin: int
) -> subprocess.Popen[bytes]:
    """sbatch with its script from there. Raises OSError."""
    return subprocess.Popen(
        command, env=environment, cwd="/", umask=0o077, stdin=stdin,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
