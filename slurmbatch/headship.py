"""Which of several daemons on copies of one database may act: the one that took over last.

The database's lock is of one machine alone. So a mark lies beside the logs, where every head node
that may take over sees it: a token, a new one at each start of a daemon, which the database
remembers too. A daemon starts only if its database knows the token that is there, and takes the
next one. From then on whatever was copied before knows an old one: a head node that comes back is
refused, and one that was only cut off, or stopped for a while, finds a token that is not its own
before its next submission, release or cancellation, and ends.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slurmbatch.errors import Superseded
from slurmbatch.journal import get

_log = get("headship")
KEY = "head"
# What the database remembers where an admin has said that it is to take over, whoever was the head.
TAKES_OVER = "*"
_LARGEST = 4096


@dataclass(frozen=True, slots=True)
class Mark:
    """Who is the head: `token` is its own, the rest is for people."""

    token: str
    host: str
    since: str

    def __str__(self) -> str:
        return f"{self.host or 'another machine'} has taken over, at {self.since or 'some time'}"


class Headship:
    """Of the database `instance`. `recall` and `remember` are the database's.

    Every thread may ask. What cannot be read is no verdict: it may be the filesystem that is away.
    """

    def __init__(
        self,
        directory: Path,
        instance: str,
        recall: Callable[[str], str | None],
        remember: Callable[[str, str], object],
        host: Callable[[], str] = socket.gethostname,
    ) -> None:
        self._path = path_of(directory, instance)
        self._recall, self._remember, self._host = recall, remember, host
        self._lock = threading.Lock()
        self._mine: Mark | None = None
        self.lost: Mark | None = None

    def take(self) -> None:
        """Becomes the head. Raises Superseded if another one is, OSError where nobody can tell."""
        there, known = read(self._path), (self._recall(KEY) or "").split()
        if there is not None and there.token not in known and TAKES_OVER not in known:
            raise Superseded(
                f"{there}, on a newer copy of this database (so says {self._path}). If that one is "
                "down for good, and this is to be the head: slurmbatch admin take-over"
            )
        mine = Mark(secrets.token_hex(16), self._host(), _now())
        # Killed in between, the database knows both, and is let in with either.
        self._remember(KEY, f"{there.token if there else ''} {mine.token}")
        _write(self._path, mine)
        self._remember(KEY, mine.token)
        self._mine = mine

    def check(self) -> None:
        """Raises Superseded once another daemon has taken over."""
        there = None
        with suppress(OSError):
            there = read(self._path)
        with self._lock:
            if self.lost is None and there is not None and there != self._mine:
                self.lost = there
                _log.error("another daemon has taken over, this one ends", host=there.host,
                           since=there.since, mark=str(self._path))  # fmt: skip
        if self.lost is not None:
            raise Superseded(f"{self.lost}; this one hands nothing over any more")

    def tick(self, _now: float) -> None:
        """Looks, and puts the mark back if somebody has removed it."""
        with suppress(Superseded, OSError):
            self.check()
            if self._mine is not None and read(self._path) is None:
                _write(self._path, self._mine)
                _log.warning("the mark of the head was gone, and is put back", mark=str(self._path))


def path_of(directory: Path, instance: str) -> Path:
    return directory / f".head-{instance}"


def read(path: Path) -> Mark | None:
    """The mark; None if there is none. Raises OSError."""
    try:
        with path.open("rb") as file:
            said: Any = json.loads(file.read(_LARGEST))
            return Mark(str(said["token"]), str(said["host"]), str(said["since"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise OSError(f"{path} is no mark of a head: {error}") from error


def _write(path: Path, mark: Mark) -> None:
    """Whole or not at all."""
    partial = path.with_name(f"{path.name}.{mark.token[:8]}")
    text = {"token": mark.token, "host": mark.host, "since": mark.since}
    try:
        with partial.open("w") as file:
            json.dump(text, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
