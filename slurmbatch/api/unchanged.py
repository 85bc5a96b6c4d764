"""That a batch is still what it was, told before anything is set up for an answer.

To those who watch a batch that is told again and again. The caller and the version are all that is
looked at for it, with no request or response object around; whatever is out of the ordinary goes
the usual way, and is told there. To whoever has an API key the server tells it at once, in its own
loop, where nothing may be done that can take its time; to the others it is told in a thread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import falcon

from slurmbatch import journal
from slurmbatch.api import middleware, tags
from slurmbatch.api.ports import Batches, Identity
from slurmbatch.model import Caller, Scope

_BATCH = re.compile(r"/batches/([^/]+)")
_ROUTE = "/batches/{batch_id}"
# The status, and the headers.
Told = tuple[str, list[tuple[str, str]]]
_STATUS = "304 Not Modified"


class _Asked(NamedTuple):
    """What of a request counts here; `known` is the tag that the client has."""

    method: str
    path: str
    query: str
    known: str
    credential: str | None
    request_id: str


class Unchanged:
    """Both ways to tell it. `is_usual`: whether requests are taken as ever.

    `seen` is told of what was answered so, as `RequestLog` tells it of the rest.
    """

    def __init__(
        self, batches: Batches, identity: Identity, is_usual: Callable[[], bool],
        seen: middleware.Seen | None = None,
    ) -> None:  # fmt: skip
        self._batches, self._identity, self._is_usual = batches, identity, is_usual
        self._seen = seen

    def at_once(
        self, method: str, path: str, query: str, headers: Mapping[str, str]
    ) -> Told | None:
        """For the server's loop: waits for nothing and nobody, and so knows API keys only. The
        headers' names are as WSGI has them, but for `HTTP_`."""
        known = headers.get("IF_NONE_MATCH")
        if known is None:
            return None
        asked = _Asked(method, path, query, known, headers.get("AUTHORIZATION"),
                       headers.get("X_REQUEST_ID", ""))  # fmt: skip
        return self._told(asked, self._identity.by_key)

    def in_turn(self, env: Mapping[str, Any]) -> Told | None:
        """For a thread."""
        known = env.get("HTTP_IF_NONE_MATCH")
        if known is None:
            return None
        asked = _Asked(env["REQUEST_METHOD"], env["PATH_INFO"], env.get("QUERY_STRING", ""), known,
                       env.get("HTTP_AUTHORIZATION"),
                       env.get("HTTP_X_REQUEST_ID", ""))  # fmt: skip
        return self._told(asked, self._identity.known)

    def _told(self, asked: _Asked, who: Callable[[str | None], Caller | None]) -> Told | None:
        """None: there is something to be told."""
        began = time.perf_counter()
        etag = self._etag(asked, who)
        if etag is None or not tags.matches(asked.known, etag):
            return None
        if self._seen is not None:
            self._seen("GET", _ROUTE, 304, time.perf_counter() - began)
        return _STATUS, [
            ("Cache-Control", tags.CACHE_CONTROL), *tags.headers(etag),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Request-Id", middleware.new_id(asked.request_id)),
        ]  # fmt: skip

    def _etag(self, asked: _Asked, who: Callable[[str | None], Caller | None]) -> str | None:
        """The batch's, for a caller who may look at it and of whom nothing is kept for that."""
        found = _BATCH.fullmatch(asked.path)
        plain = asked.method == "GET" and not asked.query
        if found is None or not plain or not self._is_usual() or journal.writes("debug"):
            return None
        try:
            caller = who(asked.credential)
            # What administrators look at is kept, with the address that it was asked from.
            if caller is None or Scope.READ not in caller.scopes or caller.is_admin:
                return None
            return self._batches.etag(caller, found[1])
        except Exception:
            return None  # it will be told the usual way


class App(falcon.App[falcon.Request, falcon.Response]):
    """Falcon's, with that way beside it."""

    def __init__(self, unchanged: Unchanged, **options: Any) -> None:
        super().__init__(**options)
        self.unchanged = unchanged

    def __call__(self, env: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        told = self.unchanged.in_turn(env)
        if told is None:
            return super().__call__(env, start_response)
        start_response(*told)
        return []
