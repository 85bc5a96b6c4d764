"""A munge credential of whoever runs this, for a service and no other."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from slurmbatch.client import ClientError

TTL = 60
_WITHIN = 10.0


def is_there() -> bool:
    return shutil.which("munge") is not None


def credential(url: str, socket: Path | None = None) -> str:
    """In it stands the address that it is for. Raises ClientError."""
    there = [f"--socket={socket}"] if socket else []
    command = ["munge", f"--ttl={TTL}", f"--string=slurmbatch:{url.rstrip('/')}", *there]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_WITHIN,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ClientError(f"munge gives no answer in {_WITHIN:.0f} s.") from None
    except OSError as error:
        raise ClientError(f"munge cannot be run here: {error.strerror}.") from None
    if done.returncode:
        raise ClientError(done.stderr.strip() or f"munge ended with {done.returncode}.")
    return done.stdout.strip()
