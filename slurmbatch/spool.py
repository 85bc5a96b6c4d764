"""Many small objects that wait to be looked at, in a file: memory does not grow with them."""

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from slurmbatch.errors import StoreFull, StoreUnavailable

# Kept, since json.dumps makes an encoder for each call that does not take the defaults.
compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_PORTION = 64 * 1024


class Spool(Collection[Mapping[str, Any]]):
    """JSON objects, a line each, in a file without a name that goes with this object.

    Filled once, and then read as often as is needed; by one thread.
    """

    def __init__(self, directory: Path | None) -> None:
        try:
            self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 goes with the object
        except OSError as error:
            raise _honest(error) from error
        self._count = 0
        self._pending: list[str] = []

    def append(self, value: Mapping[str, Any]) -> None:
        self._pending.append(compact(value))
        self._count += 1
        if len(self._pending) >= 500:
            self._write()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return map(json.loads, self.texts())

    def __contains__(self, value: object) -> bool:
        return any(each == value for each in self)

    def texts(self) -> Iterator[str]:
        """Each object as compact JSON."""
        self._write()
        at, rest = 0, b""
        while portion := self._read(at):
            at += len(portion)
            *lines, rest = (rest + portion).split(b"\n")
            yield from (line.decode() for line in lines)

    def close(self) -> None:
        self._pending.clear()
        self._file.close()

    def _write(self) -> None:
        if not self._pending:
            return
        lines = "\n".join(self._pending) + "\n"
        self._pending.clear()
        try:
            self._file.seek(0, 2)
            self._file.write(lines.encode())
            self._file.flush()
        except OSError as error:
            raise _honest(error) from error

    def _read(self, at: int) -> bytes:
        try:
            self._file.seek(at)
            return self._file.read(_PORTION)
        except OSError as error:
            raise _honest(error) from error


def _honest(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull()
    return StoreUnavailable(f"A large batch cannot be written down just now: {error.strerror}")
