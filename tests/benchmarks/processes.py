"""Processes that a measurement starts and, whatever happens, ends."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def running(
    command: Sequence[str], env: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, ended with the block."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            list(command), env=dict(env), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        yield process
    except TimeoutError as error:
        error.add_note("\n".join(log.read_text(errors="replace").splitlines()[-5:]))
        raise
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until_answered(
    port: int, path: str, headers: Mapping[str, str] | None = None, within: float = 20
) -> float:
    """Asks until the answer is 200; gives the seconds that it took."""
    began = time.monotonic()
    while not _answers(port, path, headers or {}):
        if time.monotonic() - began > within:
            raise TimeoutError(f"nothing answers on port {port}")
        time.sleep(0.005)
    return time.monotonic() - began


def _answers(port: int, path: str, headers: Mapping[str, str]) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
