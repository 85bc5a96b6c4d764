"""One GET of a small document, bounded in size and in the time of all of it.

With the standard library's client: it follows no redirect, uses no proxy and reads no environment.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

# For all of it: a server that sends a byte now and then gets no longer.
WITHIN = 10.0
LARGEST = 262_144
_HEADERS = {"Accept": "application/json", "Connection": "close"}


def fetch(url: str, within: float = WITHIN) -> Any:
    """What is there, in JSON. Raises OSError, HTTPException, ValueError."""
    parts = urlsplit(url)
    is_tls, host = parts.scheme == "https", parts.hostname or ""
    port = parts.port or (443 if is_tls else 80)
    connection = http.client.HTTPConnection(host, port, timeout=within)
    raw = socket.create_connection((host, port), timeout=within)
    # A descriptor of its own: TLS takes the socket over.
    watched = raw.dup()
    watchdog = threading.Timer(within, _end, [watched])
    watchdog.daemon = True
    watchdog.start()
    try:
        tls = ssl.create_default_context() if is_tls else None
        connection.sock = tls.wrap_socket(raw, server_hostname=host) if tls else raw
        connection.request(
            "GET", _target(parts.path, parts.query), headers={**_HEADERS, "Host": parts.netloc}
        )
        return _content(connection.getresponse())
    finally:
        watchdog.cancel()
        connection.close()
        raw.close()
        watched.close()


def _target(path: str, query: str) -> str:
    return f"{path or '/'}?{query}" if query else path or "/"


def _content(answer: http.client.HTTPResponse) -> Any:
    if answer.status != http.client.OK:
        raise ValueError(f"the answer is {answer.status}")
    body = answer.read(LARGEST + 1)
    if len(body) > LARGEST:
        raise ValueError(f"the answer has more than {LARGEST} bytes")
    return json.loads(body)


def _end(watched: socket.socket) -> None:
    with suppress(OSError):
        watched.shutdown(socket.SHUT_RDWR)
