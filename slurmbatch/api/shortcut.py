"""The status of a batch, told before anything is set up for an answer.

To those who watch a batch it is told again and again. The caller and the batch are all that is
looked at for it, with no request or response object around; whatever is out of the ordinary goes
the usual way, and is told there. That a batch is still what it was the server tells to whoever has
an API key at once, in its own loop, where nothing may be done that can take its time; all else is
told in a thread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import falcon

from slurmbatch import journal
from slurmbatch.api import gzipping, middleware, render, tags
from slurmbatch.api.ports import Batches, Identity
from slurmbatch.api.texts import Texts
from slurmbatch.model import Caller, Scope

_BATCH = re.compile(r"/batches/([^/]+)")
_ROUTE = "/batches/{batch_id}"
# The status, and the headers.
Told = tuple[str, list[tuple[str, str]]]
_UNCHANGED, _WHOLE = "304 Not Modified", "200 OK"


class _Asked(NamedTuple):
    """What of a request counts here; `known` is the tag that the client has, if any."""

    batch_id: str
    known: str | None
    credential: str | None
    request_id: str
    began: float


class Shortcut:
    """All ways to tell it. `is_usual`: whether requests are taken as ever; `limit_of` gives how
    many a minute a user may send, None: any number, since those have to be counted.

    `seen` is told of what was answered so, as `RequestLog` tells it of the rest.
    """

    def __init__(
        self, batches: Batches, identity: Identity, texts: Texts, is_usual: Callable[[], bool],
        limit_of: Callable[[str], int | None], seen: middleware.Seen | None = None,
    ) -> None:  # fmt: skip
        self._batches, self._identity, self._texts = batches, identity, texts
        self._is_usual, self._limit_of, self._seen = is_usual, limit_of, seen

    def at_once(
        self, method: str, path: str, query: str, headers: Mapping[str, str]
    ) -> Told | None:
        """For the server's loop: waits for nothing and nobody, and so knows API keys only. The
        headers' names are as WSGI has them, but for `HTTP_`."""
        known = headers.get("IF_NONE_MATCH")
        if known is None:
            return None
        asked = self._asked(method, path, query, known, headers.get("AUTHORIZATION"),
                            headers.get("X_REQUEST_ID", ""))  # fmt: skip
        if asked is None:
            return None
        try:
            caller = self._caller(asked, self._identity.by_key)
            return self._unchanged(asked, caller) if caller is not None else None
        except Exception:
            return None  # it will be told the usual way

    def in_turn(self, env: dict[str, Any]) -> tuple[Told, bytes] | None:
        """For a thread: also the body. Where there is none, but it is known who asks, `env` says
        so, since a token's signature takes its time."""
        asked = self._asked(
            env["REQUEST_METHOD"], env["PATH_INFO"], env.get("QUERY_STRING", ""),
            env.get("HTTP_IF_NONE_MATCH"), env.get("HTTP_AUTHORIZATION"),
            env.get("HTTP_X_REQUEST_ID", ""),
        )  # fmt: skip
        if asked is None:
            return None
        try:
            caller = self._caller(asked, self._identity.known)
            if caller is None:
                return None
            env[middleware.CALLER] = caller
            told = self._unchanged(asked, caller)
            return self._whole(asked, caller, env) if told is None else (told, b"")
        except Exception:
            return None  # it will be told the usual way

    def _asked(
        self, method: str, path: str, query: str, known: str | None, credential: str | None,
        request_id: str,
    ) -> _Asked | None:  # fmt: skip
        """None: anything but the plain question for a batch."""
        found = _BATCH.fullmatch(path)
        if found is None or method != "GET" or query:
            return None
        return _Asked(found[1], known, credential, request_id, time.perf_counter())

    def _caller(self, asked: _Asked, who: Callable[[str | None], Caller | None]) -> Caller | None:
        """One who may look at batches, and of whom nothing is kept for that."""
        if not self._is_usual() or journal.writes("debug"):
            return None
        caller = who(asked.credential)
        # What administrators look at is kept, with the address that it was asked from.
        if caller is None or Scope.READ not in caller.scopes or caller.is_admin:
            return None
        return caller

    def _unchanged(self, asked: _Asked, caller: Caller) -> Told | None:
        """None: there is something to be told."""
        if asked.known is None:
            return None
        etag = self._batches.etag(caller, asked.batch_id)
        return self._told(_UNCHANGED, asked, etag) if tags.matches(asked.known, etag) else None

    def _whole(
        self, asked: _Asked, caller: Caller, env: Mapping[str, Any]
    ) -> tuple[Told, bytes] | None:
        """None: it is wanted in another form, or has to be counted."""
        if render.OBJECT in env.get("HTTP_ACCEPT", "") or self._limit_of(caller.user_id):
            return None
        batch = self._batches.get(caller, asked.batch_id)
        body = b"[" + self._texts.of(batch) + b"]"
        if len(body) >= gzipping.WORTH_IT and gzipping.is_wanted(env.get("HTTP_ACCEPT_ENCODING")):
            return None
        status, headers = self._told(_WHOLE, asked, batch.etag)
        headers += [("Content-Type", render.JSON), ("Content-Length", str(len(body)))]
        return (status, headers), body

    def _told(self, status: str, asked: _Asked, etag: str) -> Told:
        if self._seen is not None:
            self._seen("GET", _ROUTE, int(status[:3]), time.perf_counter() - asked.began)
        return status, [
            ("Cache-Control", tags.CACHE_CONTROL), *tags.headers(etag),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Request-Id", middleware.new_id(asked.request_id)),
        ]  # fmt: skip


class App(falcon.App[falcon.Request, falcon.Response]):
    """Falcon's, with that way beside it."""

    def __init__(self, shortcut: Shortcut, **options: Any) -> None:
        super().__init__(**options)
        self.shortcut = shortcut

    def __call__(self, env: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        told = self.shortcut.in_turn(env)
        if told is None:
            return super().__call__(env, start_response)
        (status, headers), body = told
        start_response(status, headers)
        return [body] if body else []
