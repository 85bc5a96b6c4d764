"""A small server beside the API, for those who measure: one page, one thread, and an address of its
own, so that it answers also while the API is busy, and need not be where users can reach it."""

from __future__ import annotations

import hmac
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

_CONNECTIONS = 50


class Beside:
    """Serves one page under one path, to those who know the token if there is one."""

    def __init__(
        self,
        listener: socket.socket,
        path: str,
        page: Callable[[], tuple[str, bytes]],
        token: bytes = b"",
    ) -> None:
        self._path, self._page, self._token = path, page, token
        adjustments = Adjustments(
            sockets=[listener], threads=1, connection_limit=_CONNECTIONS, channel_timeout=30,
            cleanup_interval=10, asyncore_use_poll=True, ident=None, max_request_body_size=1024,
            expose_tracebacks=False, clear_untrusted_proxy_headers=True,
        )  # fmt: skip
        where = (listener.family, listener.type, listener.proto, listener.getsockname())
        self._server: Any = TcpWSGIServer(
            self._answer, _sock=listener, adj=adjustments, sockinfo=where, bind_socket=False
        )

    def start(self) -> None:
        threading.Thread(target=self._server.run, name="beside", daemon=True).start()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        status, kind, body, more = self._made(environ)
        start_response(
            status, [("Content-Type", kind), ("Content-Length", str(len(body))),
                     ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), *more],
        )  # fmt: skip
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _made(self, environ: dict[str, Any]) -> tuple[str, str, bytes, list[tuple[str, str]]]:
        text = "text/plain; charset=utf-8"
        if not self._may(environ.get("HTTP_AUTHORIZATION", "")):
            return (
                "401 Unauthorized",
                text,
                b"A token is needed.\n",
                [("WWW-Authenticate", "Bearer")],
            )
        if environ["PATH_INFO"] != self._path:
            return "404 Not Found", text, f"There is {self._path}.\n".encode(), []
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return "405 Method Not Allowed", text, b"It can be read.\n", [("Allow", "GET, HEAD")]
        return "200 OK", *self._page(), []

    def _may(self, header: str) -> bool:
        scheme, _, given = header.partition(" ")
        offered = given.strip().encode("latin-1", "replace") if scheme.lower() == "bearer" else b""
        return not self._token or hmac.compare_digest(offered, self._token)
