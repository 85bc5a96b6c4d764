"""Requests of those who mean no good.

What is in `REFUSED` is to be refused, and to change nothing; what is in `HARMLESS` may be answered
as well, but changes nothing either.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.api.hostile.bodies import bodies, giants
from tests.api.hostile.written import post, request

# --- what is no HTTP -----------------------------------------------------------------------------

_LINES: dict[str, bytes] = {
    "no line": b"\r\n\r\n",
    "no method": b" /batches HTTP/1.1",
    "no target": b"GET HTTP/1.1",
    "no version": b"GET /nothing",
    "three spaces": b"GET   /batches   HTTP/1.1",
    "another version": b"GET /nothing HTTP/9.9",
    "no number": b"GET /nothing HTTP/x.y",
    "a NUL in the method": b"G\0ET /nothing HTTP/1.1",
    "a NUL in the target": b"GET /no\0thing HTTP/1.1",
    "a method in lower case": b"get /batches HTTP/1.1",
    "a method of its own": b"BREW /batches HTTP/1.1",
    "a very long method": b"A" * 5000 + b" /batches HTTP/1.1",
    "a very long target": b"GET /" + b"a" * 60_000 + b" HTTP/1.1",
    "a target beyond the header's limit": b"GET /" + b"a" * 400_000 + b" HTTP/1.1",
    "bytes beyond ASCII": b"GET /\xff\xfe HTTP/1.1",
    "a tunnel": b"CONNECT evil.example:443 HTTP/1.1",
    "another host's target": b"GET http://evil.example/batches/@theirs@ HTTP/1.1",
    "a target that is no path": b"GET nothing HTTP/1.1",
    "a star": b"OPTIONS * HTTP/1.1",
    "a carriage return": b"GET /nothing\rX: y HTTP/1.1",
    "a tab": b"GET\t/nothing\tHTTP/1.1",
    "binary": bytes(range(256)),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM",
}
_FRAMES: dict[str, bytes] = {
    "a length of words": b"Content-Length: many",
    "a length below nothing": b"Content-Length: -1",
    "a length with a sign": b"Content-Length: +5",
    "a length in hexadecimal": b"Content-Length: 0x10",
    "a length with a space": b"Content-Length: 1 0",
    "a length with a fraction": b"Content-Length: 2.0",
    "a length of 400 digits": b"Content-Length: " + b"9" * 400,
    "a length beyond what is accepted": b"Content-Length: 99999999999999",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 5",
    "two lengths in one": b"Content-Length: 2, 5",
    "a length in other digits": "Content-Length: ٣".encode(),
    "a length and chunks": b"Content-Length: 2\r\nTransfer-Encoding: chunked",
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 2",
    "chunks twice": b"Transfer-Encoding: chunked, chunked",
    "an encoding of its own": b"Transfer-Encoding: cow",
    "gzip as an encoding": b"Transfer-Encoding: gzip, chunked",
    "identity as an encoding": b"Transfer-Encoding: identity",
    "an encoding with a tab": b"Transfer-Encoding:\tchunked",
    "an encoding with a vertical tab": b"Transfer-Encoding: \x0bchunked",
    "a space before the colon": b"Content-Length : 2",
    "a line that goes on": b"Content-Length:\r\n 2",
    "a header without a colon": b"Content-Length 2",
    "a header without a name": b": 2",
    "a NUL in a name": b"Content\0-Length: 2",
    "a NUL in a value": b"Content-Length: 2\0",
    "a bare newline": b"X: y\nContent-Length: 2",
    "a bare carriage return": b"X: y\rContent-Length: 2",
    "a promise to wait": b"Content-Length: 2\r\nExpect: 200-maybe",
    "a header of 300 kB": b"X: " + b"y" * 300_000,
    "10,000 headers": b"\r\n".join(b"X%d: y" % n for n in range(10_000)),
}
_CHUNKS: dict[str, bytes] = {
    "no number": b"xyz\r\n{}\r\n0\r\n\r\n",
    "a number below nothing": b"-2\r\n{}\r\n0\r\n\r\n",
    "a number with a sign": b"+2\r\n{}\r\n0\r\n\r\n",
    "a number with a prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
    "a number with an underscore": b"0_2\r\n{}\r\n0\r\n\r\n",
    "a very large number": b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n",
    "a number of 100,000 digits": b"0" * 100_000 + b"2\r\n{}\r\n0\r\n\r\n",
    "fewer bytes than told": b"2\r\n{}}}\r\n0\r\n\r\n",
    "an extension with a newline": b"2;a=\n\r\n{}\r\n0\r\n\r\n",
    "no newline": b"2{}0",
    "a body that is no batch": b"2\r\n{}\r\n0\r\n\r\n",
    "a trailer": b"2\r\n{}\r\n0\r\nAuthorization: x\r\n\r\n",
    "far too much": b"".join(b"1000\r\n" + b" " * 4096 + b"\r\n" for _ in range(40)) + b"0\r\n\r\n",
}


def _no_http() -> Iterator[tuple[str, bytes]]:
    end = b"\r\nHost: x\r\nAuthorization: @key@\r\nConnection: close\r\n\r\n"
    for name, line in _LINES.items():
        yield f"line: {name}", line + end
    head = b"POST /batches HTTP/1.1\r\nHost: x\r\nAuthorization: @key@\r\nConnection: close\r\n"
    for name, frame in _FRAMES.items():
        yield f"frame: {name}", head + b"Content-Type: application/json\r\n" + frame + b"\r\n\r\n{}"
    chunked = head + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    for name, chunks in _CHUNKS.items():
        yield f"chunks: {name}", chunked + chunks


# --- whose it is, and what is not there ----------------------------------------------------------

_NAMES = (
    "..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%252e%252e%252f", "..;", "%00", "a%00b", "%0a",
    "%0d%0aX:y",
    "%1b]0;x%07", "%E2%80%AE", "%c0%ae%c0%ae", "%ff", "'%20OR%20'1'='1",
    "'%3BDROP%20TABLE%20batch--",
    "%22", "%5c..%5c", "*", "%25s%25n", "$(id)", "`id`", "{{7*7}}", "%3Cscript%3E", "a" * 5000,
    "-1", "0",
    "null", "undefined", "NaN", "true", "%20", "+", "~", "@theirs@%00", "@theirs@%20", "@theirs@.",
    "@theirs@%2f", "@THEIRS@", "%EF%BC%8E%EF%BC%8E", "file:%2f%2f%2fetc%2fpasswd",
)  # fmt: skip
_AT = ("/batches/{}", "/batches/{}/jobs", "/batches/{}/reasons", "/batches/@own@/jobs/{}",
       "/batches/@own@/jobs/{}/log", "/logs/{}", "/tools/{}", "/keys/{}")  # fmt: skip
_OF_OTHERS = (
    ("GET", "/batches/@theirs@"), ("HEAD", "/batches/@theirs@"), ("DELETE", "/batches/@theirs@"),
    ("POST", "/batches/@theirs@/cancel"), ("POST", "/batches/@theirs@/retry"),
    ("GET", "/batches/@theirs@/reasons"), ("GET", "/batches/@theirs@/jobs"),
    ("GET", "/batches/@theirs@/jobs?status=FAILED"), ("GET", "/batches/@theirs@/jobs/@theirs@-0"),
    ("GET", "/batches/@own@/jobs/@theirs@-0"), ("GET", "/batches/@theirs@/jobs/@own@-0"),
    ("GET", "/batches/@theirs@/jobs/@theirs@-0/log"), ("GET", "/batches/@own@/jobs/@theirs@-0/log"),
    ("GET", "/batches/@theirs@/jobs/@theirs@-0/log?follow=1"), ("GET", "/logs/@theirs@-0.log"),
    ("GET", "/logs/@theirs@-0.log?tail=5"), ("GET", "/logs/@theirs@-1.log?attempt=1"),
    ("GET", "/batches/@own@/jobs?after=@theirs@-0"), ("GET", "/batches/@theirs@?wait=1&since=1"),
    ("GET", "/batches/@theirs@/../@theirs@"), ("GET", "/batches//@theirs@"),
    ("GET", "/keys/@their-key@"), ("DELETE", "/keys/@their-key@"),
    ("GET", "/batches/@own@/jobs/@own@-0/../../../@theirs@"),
)  # fmt: skip
_NOWHERE = (
    "/batches/", "/batches/@own@/", "/Batches", "/batches.json", "/batches;x=y", "/.git/config",
    "/.env", "/admin", "/metrics", "/server-status", "/etc/passwd", "/../etc/passwd",
    "/docs/../openapi.json",
    "/docs/%2e%2e/app.py", "/docs/..%2f..%2fapp.py", "/docs/start.js%00", "/static/x",
    "/batches/@own@/nothing",
    "/batches/@own@/jobs/@own@-0/nothing", "/healthz/", "/batches%2f@theirs@", "/%62atches%00",
    "/logs",
    "/logs/@own@-0", "/logs/@own@-0.log/x", "/logs/@own@-0.log%00.png", "/logs/@own@--1.log",
    "/logs/@own@-00.log", "/logs/@own@-+0.log", "/logs/@own@-0x0.log",
    "/logs/@own@-99999999999999999999.log",
    "/batches/@own@/jobs/@own@-2", "/batches/@own@/jobs/@own@-1e0",
    "/batches/@own@/jobs/@own@-%D9%A0",
)  # fmt: skip
_METHODS = ("PUT", "PATCH", "TRACE", "PROPFIND", "LINK", "BATCH")
_PATHS = ("/batches", "/batches/@own@", "/logs/@own@-0.log", "/tools", "/healthz", "/docs")
_WRONG_METHODS = (
    *((method, path) for method in _METHODS for path in _PATHS),
    ("DELETE", "/tools/probe"), ("POST", "/filesystems"), ("DELETE", "/batches/@own@/jobs"),
)  # fmt: skip


def _elsewhere() -> Iterator[tuple[str, bytes]]:
    for route in _AT:
        for name in _NAMES:
            target = route.format(name)
            yield f"id: {target[:80]}", request("GET", target)
    for method, target in _OF_OTHERS:
        yield f"another's: {method} {target}", request(method, target)
    for target in _NOWHERE:
        yield f"nowhere: {target}", request("GET", target)
    for method, target in _WRONG_METHODS:
        yield f"method: {method} {target}", request(method, target)


# --- queries and headers -------------------------------------------------------------------------

_QUERIES = (
    "/batches?limit=0", "/batches?limit=-1", "/batches?limit=1e3", "/batches?limit=0x10",
    "/batches?limit=",
    "/batches?limit=99999999999999999999", "/batches?limit=1&limit=2", "/batches?limit=%D9%A3",
    "/batches?limit=1%00", "/batches?limit=1'--", "/batches?status=RUNNING'--",
    "/batches?status=running",
    "/batches?status=%00", "/batches?after=@theirs@%00",
    "/batches?after=' OR 1=1--".replace(" ", "%20"),
    "/batches?after=..%2f..", "/batches?user_id=victor", "/batches?user=victor",
    "/batches?owner=victor",
    "/batches?all=1", "/batches?admin=true", "/batches?fields=secret", "/batches?_method=DELETE",
    "/batches?x=1", "/batches?limit[]=1", "/batches?limit[$gt]=1", "/batches?__proto__=1",
    "/batches/@own@?wait=-1", "/batches/@own@?wait=99999", "/batches/@own@?wait=NaN",
    "/batches/@own@?wait=inf",
    "/batches/@own@?wait=1e9", "/batches/@own@?user_id=victor",
    "/batches/@own@/jobs?limit=-5", "/batches/@own@/jobs?after=x",
    "/batches/@own@/jobs?after=@own@-x",
    "/batches/@own@/jobs?status=DONE", "/batches/@own@/jobs?status=FAILED&status=%F0%9F%92%A9",
    "/logs/@own@-0.log?tail=-1", "/logs/@own@-0.log?tail=0x1", "/logs/@own@-0.log?tail=9e99",
    "/logs/@own@-0.log?tail=99999999999999999999", "/logs/@own@-0.log?follow=maybe",
    "/logs/@own@-0.log?attempt=0", "/logs/@own@-0.log?attempt=-1",
    "/logs/@own@-0.log?attempt=' OR 1".replace(" ", "+"),
    "/logs/@own@-0.log?path=/etc/passwd", "/logs/@own@-0.log?file=../../x", "/tools?x=1",
    "/filesystems?path=/",
    "/batches?" + "&".join(f"a{n}=1" for n in range(5000)), "/batches?name=x&name=y",
    "/batches?tool_id=a&tool_id=b",
)  # fmt: skip
_LOOKED_AT = (
    "/batches?name=%00", "/batches?name=%FF%FE", "/batches?name=%ED%A0%80",
    "/batches?name=" + "x" * 9000,
    "/batches?name=%1b]0;x%07", "/batches?name=%E2%80%AE", "/batches?name='%20OR%201=1--",
    "/batches?name=%25%5f",
    "/batches?tool_id=..%2f", "/batches?", "/batches?&&&", "/batches#x", "/openapi.json?x=1",
    "/docs?x=%00",
    "/healthz?x=y", "/batches?after=@theirs@", "//batches", "/batches/@own@?since=x",
)  # fmt: skip
_HEADERS: tuple[dict[str, str], ...] = (
    {"X-Request-Id": "a\x00b"}, {"X-Request-Id": "x" * 60_000}, {"X-Request-Id": "\x1b]0;x\x07"},
    {"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-User": "victor"}, {"X-Remote-User": "victor"},
    {"Remote-User": "victor"}, {"REMOTE_USER": "victor"}, {"X-User-Id": "victor"},
    {"Remote_User": "victor"},
    {"X-HTTP-Method-Override": "DELETE"}, {"X-Original-URL": "/batches/@theirs@"},
    {"X-Rewrite-URL": "/batches/@theirs@"}, {"Forwarded": "for=victor"}, {"Host": "evil.example"},
    {"Host": "a\x00b"}, {"Cookie": "user=victor"}, {"Accept": "*/*;q=NaN"},
    {"Accept": "x" * 50_000},
    {"Accept": "application/vnd.slurmbatch.object+json;q=-1"}, {"Accept": ",,,;;;==="},
    {"Accept-Encoding": "gzip;q=1e999"}, {"Accept-Encoding": "gzip, " * 5000},
    {"Accept-Language": "\xff"},
    {"If-None-Match": '"' * 20_000}, {"If-None-Match": "W/" * 20_000},
    {"If-None-Match": ",".join('"x"' for _ in range(9000))},
    {"If-None-Match": "\x80"}, {"If-Match": "*"}, {"If-Modified-Since": "yesterday"},
    {"Range": "bytes=0-0," * 4000},
    {"Range": "bytes=-1"}, {"Range": "bytes=99999999999999999999-"}, {"Range": "bytes=5-1"},
    {"Range": "lines=1-"},
    {"Range": "bytes=\u00b2-\u00b3"}, {"Range": "bytes=0x0-0x1"},
    {"Range": "bytes=0-" + "9" * 5000},
    {"If-Range": '"' * 9000, "Range": "bytes=0-1"},
    {"Upgrade": "websocket", "Connection": "Upgrade"},
    {"Connection": "Authorization, close"}, {"Content-Length": "0"}, {"Via": "x" * 30_000},
    {"Origin": "null"},
    {"Access-Control-Request-Method": "DELETE"}, {"Expect": "100-continue"}, {"Max-Forwards": "-1"},
)  # fmt: skip
_KEYS_OF_REQUESTS = (
    "", " ", "x" * 256, "x" * 60_000, "a\tb", "a\x00b",
    "\x1b[31m", "\x7f", "\xff", "\xe2\x80\xae", "\x85",
)  # fmt: skip


def _asked() -> Iterator[tuple[str, bytes]]:
    for target in _QUERIES:
        yield f"query: {target[:90]}", request("GET", target)
    for key in _KEYS_OF_REQUESTS:
        yield f"key of a request: {key[:20]!r}", post({"tool_id": "x"}, **{"Idempotency-Key": key})
    for target in ("/batches/@own@", "/batches/@own@/cancel", "/batches"):
        method = "POST" if target.endswith("cancel") else "DELETE"
        for query in ("?user_id=victor", "?force=1", "?limit=1", "?batch_id=@theirs@", "?after=x"):
            yield f"query: {method} {target}{query}", request(method, target + query)


def _looked_at() -> Iterator[tuple[str, bytes]]:
    for target in _LOOKED_AT:
        yield f"query: {target[:90]}", request("GET", target)
    for headers in _HEADERS:
        for target in ("/batches/@own@", "/logs/@own@-0.log"):
            name, value = next(iter(headers.items()))
            yield f"header: {name}: {value[:40]!r} of {target}", request("GET", target, headers)


# --- credentials ---------------------------------------------------------------------------------

_B64 = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
_CLAIMS = "eyJzdWIiOiJ2aWN0b3IiLCJpc3MiOiJ4In0"  # {"sub":"victor","iss":"x"}
CREDENTIALS = (
    "", " ", "Bearer", "Bearer ", "Bearer  ", "bearer null", "Basic dmljdG9yOng=", "Basic",
    "Digest username=victor",
    "Negotiate YII=", "victor", "key victor", "Bearer victor", "sbk_", "sbk__", "sbk_x_y",
    "sbk_" + "a" * 12,
    f"sbk_{'a' * 12}_{'b' * 43}", f"sbk_{'a' * 12}_{'b' * 42}", f"sbk_{'a' * 12}_{'b' * 44}",
    f"sbk_{'A' * 12}_{'b' * 43}", f"sbk_{'a' * 12}_{'%' * 43}", f"SBK_{'a' * 12}_{'b' * 43}",
    "@key@x", "x@key@",
    "@key@ @key@", "@key@,@key@", '"@key@"', "Bearer Bearer @key@", "Basic @key@", "Token @key@",
    "@key@\x00",
    "@key@\xa0", "@expired@", "Bearer @expired@", "@revoked@", "Bearer @revoked@", "@half@",
    "Bearer @half@",
    f"Bearer {_B64}.{_CLAIMS}.", f"Bearer {_B64}.{_CLAIMS}", f"Bearer {_B64}..", "Bearer ..",
    "Bearer ...", "Bearer .",
    f"Bearer {_CLAIMS}.{_B64}.x", f"Bearer {_B64}.{_CLAIMS}.{'A' * 9000}",
    "Bearer " + "A" * 200_000,
    "Bearer " + "." * 5000, "Bearer \x00", "Bearer \xff\xfe", "Bearer ' OR 1=1",
    "Bearer ../../dev/null",
    "Bearer " + "eyJ" * 2000, f"Bearer {_B64}.{_B64}.{_B64}", f"Bearer e30.{_CLAIMS}.x",
    "Bearer e30.e30.e30",
    "Bearer W10.W10.W10", "Bearer bnVsbA.bnVsbA.bnVsbA", "Bearer eyJhbGciOjF9.e30.x",
    "Bearer eyJhbGciOltdfQ.e30.x",
    "Munge", "Munge ", "Munge MUNGE:AwQFAAA=:", "Munge MUNGE:" + "A" * 9000 + ":", "Munge x",
    "Munge \x00",
    "Munge $(id)", "Munge -i/etc/passwd",
)  # fmt: skip


def _uncredited() -> Iterator[tuple[str, bytes]]:
    for number, text in enumerate(CREDENTIALS):
        yield (
            f"credentials {number}: {text[:30]!r}",
            request("DELETE", "/batches", {"Authorization": text}),
        )
    for method, target in (*_OF_OTHERS, ("DELETE", "/batches"), ("GET", "/tools")):
        bare = request(method, target).replace(b"Authorization: @key@\r\n", b"")
        yield f"nobody: {method} {target}", bare


REFUSED = dict([*_no_http(), *_elsewhere(), *_asked(), *_uncredited(), *bodies(), *giants()])
HARMLESS = dict(_looked_at())
