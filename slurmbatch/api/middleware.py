"""What happens around every request: its id and log line, the end of service, and who calls."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import falcon

from slurmbatch import journal
from slurmbatch.api import query, waiting
from slurmbatch.api.ports import Identity
from slurmbatch.errors import Forbidden, Unavailable
from slurmbatch.model import Caller, Scope

PUBLIC = frozenset(("/healthz", "/readyz", "/openapi.json", "/docs", "/ui"))
_QUIET = frozenset(("/healthz", "/readyz"))
_METHODS = frozenset(("GET", "HEAD", "POST", "DELETE", "OPTIONS"))
_READS = frozenset(("GET", "HEAD", "OPTIONS"))
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# An id has to be another one than all others, and need not be hard to guess.
_OURS = secrets.token_hex(4)
_number = itertools.count(1)
_ID, _STARTED = "slurmbatch.request_id", "slurmbatch.started"
CALLER = "slurmbatch.caller"

log = journal.get("slurmbatch.access")


Seen = Callable[[str, str, int, float], None]
Forbade = Callable[[Caller, str, str], None]


class RequestLog:
    """Gives each request an id, each response the headers that all have, and writes one line.

    `seen` is told of each answer: method, route, code and seconds; `refused`, of each limit that
    was reached.
    """

    def __init__(
        self, seen: Seen | None = None, refused: Callable[[str], None] | None = None
    ) -> None:
        self._seen, self._refused = seen, refused

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        # A request that has waited comes again, as it was.
        request_id = req.env.setdefault(_ID, "") or new_id(req.get_header("X-Request-Id") or "")
        req.env[_ID] = request_id
        req.context.started = req.env.setdefault(_STARTED, time.perf_counter())
        req.context.request_id = request_id
        journal.of_request.set(request_id)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        if waiting.is_paused(req):
            journal.of_request.set("")
            return
        if self._seen is not None:
            _tell(self._seen, req, resp)
        for limit in getattr(req.context, "limits", ()) if self._refused else ():
            self._refused(limit)  # type: ignore[misc]
        resp.set_header("X-Request-Id", getattr(req.context, "request_id", ""))
        resp.set_header("X-Content-Type-Options", "nosniff")
        if resp.get_header("Cache-Control") is None:
            resp.set_header("Cache-Control", "no-store")
        stream = resp.stream
        if stream is None:
            _write_line(req, resp, len(resp.data or b"") if req.method != "HEAD" else 0)
        elif req.method == "HEAD":
            # Falcon lets go of the stream without closing it.
            _close(stream)
            resp.stream = iter(())
            _write_line(req, resp, 0)
        else:
            resp.stream = _Counted(stream, lambda size: _write_line(req, resp, size))


def _tell(seen: Seen, req: falcon.Request, resp: falcon.Response) -> None:
    started = getattr(req.context, "started", None)
    seconds = 0.0 if started is None else time.perf_counter() - started
    # Methods and paths that we don't know are the client's to invent.
    method = req.method if req.method in _METHODS else "other"
    seen(method, req.uri_template or "unknown", resp.status_code or 0, seconds)


def new_id(theirs: str) -> str:
    """A request's id: the client's own where that is a sane one."""
    return theirs if _SANE_ID.fullmatch(theirs) else f"{_OURS}{next(_number):08x}"


class _Counted:
    """A body on its way; tells how much of it went once it is closed, at the end or before."""

    def __init__(self, chunks: object, done: Callable[[int], None]) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)  # type: ignore[call-overload]
        self._done: Callable[[int], None] | None = done
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self._size += len(chunk)
        return chunk

    def close(self) -> None:
        _close(self._chunks)
        done, self._done = self._done, None
        if done:
            done(self._size)


def _close(stream: object) -> None:
    close = getattr(stream, "close", None)
    if close is not None:
        close()


def _write_line(req: falcon.Request, resp: falcon.Response, size: int) -> None:
    # A thousand watchers are not a thousand events: a read that went well is told at debug only.
    quiet = (req.method in ("GET", "HEAD") and (resp.status_code or 0) < 400) or req.path in _QUIET
    if not quiet or journal.writes("debug"):
        _say(log.debug if quiet else log.info, req, resp, size)
    # What this thread does next is no longer for this request.
    journal.of_request.set("")


def _say(
    write: Callable[..., object], req: falcon.Request, resp: falcon.Response, size: int
) -> None:
    started = getattr(req.context, "started", None)
    write(
        "request served",
        method=req.method,
        path=req.path[:200],
        status=resp.status_code,
        ms=round((time.perf_counter() - started) * 1000, 1) if started else None,
        user=getattr(req.context, "user_id", ""),
        # The client's where `server.trusted_proxy` says whom to believe about it.
        remote=req.remote_addr,
        bytes=size,
        request_id=getattr(req.context, "request_id", ""),
    )


def _is_public(path: str) -> bool:
    return path in PUBLIC or path.startswith(("/docs/", "/ui/"))


class Draining:
    """While the service goes down: no new request is begun, and connections are let go."""

    def __init__(self, draining: Callable[[], bool], *, refuses: bool = True) -> None:
        self._draining = draining
        self._refuses = refuses

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        down = self._refuses and self._draining() and not waiting.has_waited(req)
        if down and req.path != "/healthz":
            raise Unavailable("The service is going down; it takes no new requests.")

    def process_response(
        self, _req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        # An application may not set `Connection` itself (PEP 3333). Without a Content-Length
        # waitress says `Connection: close` and closes.
        if resp.data and self._draining():
            resp.stream = iter((resp.data,))
            resp.data = None


class Authentication:
    """Sets `req.context.user_id` and `req.context.caller`; nothing else does.

    Refuses what the credentials are not good for, but for the methods that a resource decides on
    itself (`scopes_by_itself`). `forbade` is told of it.
    """

    def __init__(self, identity: Identity, forbade: Forbade | None = None) -> None:
        self._identity = identity
        self._forbade = forbade

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        if not _is_public(req.path):
            # One that has waited comes again; a credential that is good once must do for that. And
            # of one that the shortcut left to us it is known who asks.
            caller = req.env.get(CALLER) or self._identity.authenticate(
                req.get_header("Authorization")
            )
            if caller.once:
                req.env[CALLER] = caller
            if req.method not in _READS or caller.is_admin:
                # What is kept in the audit trail says where it came from.
                caller = replace(caller, remote=req.remote_addr)
            req.context.caller = caller
            req.context.user_id = caller.user_id

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, resource: object, _params: object
    ) -> None:
        if req.method in getattr(resource, "scopes_by_itself", ()) or _is_public(req.path):
            return
        needed = scope_of(req.method)
        if needed not in req.context.caller.scopes:
            if self._forbade is not None:
                what = f"{req.method} {req.uri_template}"
                self._forbade(req.context.caller, what, req.context.request_id)
            raise Forbidden(needed)


def scope_of(method: str) -> Scope:
    """What credentials have to be good for."""
    return Scope.READ if method in _READS else Scope.SUBMIT


class KnownParameters:
    """Refuses query parameters that the documented endpoint does not have."""

    def __init__(self, known: Mapping[tuple[str, str], tuple[str, ...]]) -> None:
        self._known = known

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, _resource: object, _params: object
    ) -> None:
        if req.query_string and not _is_public(req.path):
            method = "GET" if req.method == "HEAD" else req.method
            known = self._known.get((method, req.uri_template or ""))
            if known is not None:  # else it is the method that is wrong
                query.check_names(req, known)
