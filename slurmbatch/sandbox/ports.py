"""Free ports on the loopback interface, for several sandboxes that come up at the same moment.

Ports are taken in blocks. Who wants a block binds a Unix socket in the abstract namespace that
carries the block's number: it works across users, and it vanishes with the process that held it.
A block counts as free only when each of its ports can be bound, so one living daemon is enough to
keep the whole block for its sandbox.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from slurmbatch.sandbox.errors import SandboxError

LOOPBACK = "127.0.0.1"
BLOCK = 100
# Below the range from which the kernel takes the ports of outgoing connections.
FIRST, END = 20_000, 32_000


def is_free(port: int) -> bool:
    """Whether a daemon could listen on the port, on loopback and on all addresses."""
    return all(_can_bind(port, where) for where in (LOOPBACK, "0.0.0.0"))  # noqa: S104


def _can_bind(port: int, address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        return True


def is_listening(port: int) -> bool:
    """Whether something listens there, on whatever address. No connection is made: Slurm would log
    it as an error."""
    return not _can_bind(port, "0.0.0.0")  # noqa: S104


@contextmanager
def reserved(count: int) -> Iterator[int]:
    """The first of `count` free ports in a row, kept from other sandboxes inside the block."""
    blocks = -(-count // BLOCK)
    starts = list(range(FIRST, END - (blocks - 1) * BLOCK, BLOCK))
    random.shuffle(starts)
    for start in starts:
        with ExitStack() as held:
            if all(_claim(start + i * BLOCK, held) for i in range(blocks)) and all(
                is_free(port) for port in range(start, start + blocks * BLOCK)
            ):
                yield start
                return
    raise SandboxError(f"There are no {count} free ports in a row between {FIRST} and {END}.")


def _claim(start: int, held: ExitStack) -> bool:
    claim = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    try:
        claim.bind(f"\0slurmbatch-sandbox-ports-{start}")
    except OSError:
        return False
    return True
