"""One POST to an address that was looked up and checked before.

With the standard library's client: it follows no redirect, uses no proxy and reads no environment,
and lets the connection be made here, to that address and no other, while the certificate is checked
against the host's name.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress

from slurmbatch.targets import Target

# For all of it: a server that sends a byte now and then gets no longer.
WITHIN = 10.0


def post(target: Target, address: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status of the answer, of which nothing else is read. Raises OSError, HTTPException."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=WITHIN)
    raw = socket.create_connection((address, target.port), timeout=WITHIN)
    # A descriptor of its own: TLS takes the socket over.
    watched = raw.dup()
    watchdog = threading.Timer(WITHIN, _end, [watched])
    watchdog.daemon = True
    watchdog.start()
    try:
        connection.sock = _secured(raw, target)
        connection.request("POST", target.path, body, {**headers, "Connection": "close"})
        return connection.getresponse().status
    finally:
        watchdog.cancel()
        connection.close()
        raw.close()
        watched.close()


def _secured(raw: socket.socket, target: Target) -> socket.socket:
    if target.scheme != "https":
        return raw
    return ssl.create_default_context().wrap_socket(raw, server_hostname=target.host)


def _end(watched: socket.socket) -> None:
    with suppress(OSError):  # it may be over already
        watched.shutdown(socket.SHUT_RDWR)
