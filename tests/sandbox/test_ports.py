"""Sandboxes that come up at the same moment must not take each other's ports."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from slurmbatch.sandbox.ports import BLOCK, is_free, is_listening, reserved


def test_reservations_that_are_held_together_do_not_overlap() -> None:
    with ExitStack() as held:
        starts = [held.enter_context(reserved(14)) for _ in range(20)]
        assert len({start // BLOCK for start in starts}) == 20


def test_a_big_sandbox_holds_all_its_blocks() -> None:
    with ExitStack() as held:
        start = held.enter_context(reserved(2 * BLOCK + 1))
        others = [held.enter_context(reserved(1)) for _ in range(60)]
        assert not [other for other in others if start <= other < start + 3 * BLOCK]


def test_a_port_that_something_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
        assert is_listening(port)
    assert is_free(port)
    assert not is_listening(port)
