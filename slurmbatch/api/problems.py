"""From our errors to RFC 9457 problem+json, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

import falcon

from slurmbatch import errors, journal
from slurmbatch.api.render import json_bytes

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 5
TYPE = "urn:slurmbatch:problem:"
_BUG = "Something went wrong inside slurmbatch; its log says what, under this request id."

log = journal.get("slurmbatch.api")


class Kind(NamedTuple):
    """What a kind of error becomes. The `type` of the problem is built from `name`."""

    status: int
    name: str
    title: str


KINDS: dict[type[errors.SlurmbatchError], Kind] = {
    errors.Malformed: Kind(400, "malformed", "The request could not be read"),
    errors.Unauthenticated: Kind(401, "unauthenticated", "Credentials are needed"),
    errors.Forbidden: Kind(403, "forbidden", "Not allowed with these credentials"),
    errors.AccountRefused: Kind(403, "account-refused", "No jobs run as this account"),
    errors.NotFound: Kind(404, "not-found", "Not found"),
    errors.Conflict: Kind(409, "conflict", "Not possible in this state"),
    errors.LogUnreadable: Kind(409, "log-unreadable", "The log is not a plain file"),
    errors.TooLarge: Kind(413, "too-large", "The body is too large"),
    errors.UnsupportedMediaType: Kind(415, "unsupported-media-type", "Unsupported media type"),
    errors.RangeNotSatisfiable: Kind(416, "range-not-satisfiable", "Range not satisfiable"),
    errors.OverLimit: Kind(429, "over-limit", "A limit is reached"),
    errors.Invalid: Kind(422, "invalid", "Some fields are not acceptable"),
    errors.KeyReused: Kind(422, "key-reused", "The Idempotency-Key was used before"),
    errors.RefusedBySlurm: Kind(422, "refused-by-slurm", "Slurm refused the batch"),
    errors.Unavailable: Kind(503, "unavailable", "Not available just now"),
    errors.SlurmUnreachable: Kind(503, "slurm-unreachable", "Slurm gives no answer"),
    errors.StoreFull: Kind(507, "store-full", "The disk is full"),
}
METHOD_NOT_ALLOWED = Kind(405, "method-not-allowed", "Method not allowed")
BUG = Kind(500, "internal", "Internal error")
_OF_FALCON = {400: KINDS[errors.Malformed], 404: KINDS[errors.NotFound], 405: METHOD_NOT_ALLOWED}


def install(app: falcon.App[falcon.Request, falcon.Response]) -> None:
    """Have every error answered as a problem."""
    app.add_error_handler(Exception, _on_bug)
    app.add_error_handler(errors.SlurmbatchError, _on_ours)
    app.add_error_handler(falcon.HTTPError, _on_falcons)


def problem(req: falcon.Request, kind: Kind, detail: str, **members: Any) -> dict[str, Any]:
    return {
        "type": f"{TYPE}{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": quote(req.path, safe="/:@!$&'()*+,;=~", errors="replace"),
        "request_id": getattr(req.context, "request_id", ""),
        **members,
    }


def send(
    resp: falcon.Response, problem: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> None:
    """Answer with a problem, whatever was there of another answer."""
    resp.status = problem["status"]
    resp.content_type = MEDIA_TYPE
    resp.text = resp.media = resp.stream = None
    resp.data = json_bytes(problem)
    for name, value in (headers or {}).items():
        resp.set_header(name, value)


def _on_ours(
    req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]
) -> None:
    assert isinstance(error, errors.SlurmbatchError)  # noqa: S101
    kind = next((KINDS[each] for each in type(error).__mro__ if each in KINDS), None)
    if kind is None:
        _on_bug(req, resp, error, params)
        return
    if kind.status >= 500:
        log.warning("request failed", error=error.detail, cause=str(error.__cause__ or ""))
    members: dict[str, Any] = {}
    if isinstance(error, errors.Invalid):
        members["errors"] = [
            {"pointer": fault.pointer, "detail": fault.detail} for fault in error.faults
        ]
    if isinstance(error, errors.OverLimit):
        members["limits"] = [asdict(each) for each in error.reached]
        req.context.limits = [each.limit for each in error.reached]
    send(resp, problem(req, kind, error.detail, **members), _headers(error, kind))


def _headers(error: errors.SlurmbatchError, kind: Kind) -> dict[str, str]:
    if isinstance(error, errors.OverLimit):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, errors.RangeNotSatisfiable):
        return {"Content-Range": f"bytes */{error.size}"}
    if isinstance(error, errors.Forbidden):
        told = f'error="insufficient_scope", scope="{error.scope}"'
        return {"WWW-Authenticate": f'Bearer realm="slurmbatch", {told}'}
    if kind.status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": 'Bearer realm="slurmbatch"'}
    if kind.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(RETRY_AFTER)}
    return {}


def _on_falcons(
    req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]
) -> None:
    assert isinstance(error, falcon.HTTPError)  # noqa: S101
    status = error.status_code
    phrase = HTTPStatus(status).phrase
    kind = _OF_FALCON.get(status) or Kind(status, phrase.lower().replace(" ", "-"), phrase)
    detail = error.description or _DETAILS.get(status) or f"{phrase}."
    headers = error.headers or {}
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    send(resp, problem(req, kind, detail), dict(pairs))


_DETAILS = {
    404: errors.NotFound.__doc__,
    405: "This method is not there for this path; Allow names those that are.",
}


def _on_bug(
    req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]
) -> None:
    log.error("request failed through a mistake of ours", exc_info=error)
    send(resp, problem(req, BUG, _BUG))
