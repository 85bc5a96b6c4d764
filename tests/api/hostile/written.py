"""How hostile requests are written down: byte by byte, with placeholders for what is there.

`OWN` and `THEIRS` stand for batches that are there, `KEY` for the caller's own credentials.
"""

from __future__ import annotations

import json
from typing import Any

OWN, THEIRS, KEY = "@own@", "@theirs@", "@key@"
CRLF = b"\r\n"
GOOD: dict[str, Any] = {
    "tool_id": "probe",
    "name": "x",
    "fixed_args": {"print": "hello"},
    "variable_args": [{"sleep": 1}, {"sleep": 2}],
    "hardware": {"cpu": 1, "memory": 64},
}


def request(
    method: str, target: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> bytes:
    """A request that is right but for what it was given."""
    given = {"Host": "x", "Authorization": KEY, "Connection": "close", **(headers or {})}
    if body is not None:
        given = {"Content-Type": "application/json", "Content-Length": str(len(body)), **given}
    head = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return CRLF.join([*(each.encode("latin-1") for each in head), b"", body or b""])


def post(value: Any, target: str = "/batches", **headers: str) -> bytes:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return request("POST", target, headers, raw)


def filled(raw: bytes, names: dict[str, str]) -> bytes:
    """With what the placeholders stand for here; a length that was right is right again."""
    before = len(raw)
    for name, value in names.items():
        raw = raw.replace(f"@{name}@".encode(), value.encode())
    head, _, body = raw.partition(CRLF * 2)
    if len(raw) != before and b"Content-Length: " in head and body:
        return request_with_length(head, body)
    return raw


def request_with_length(head: bytes, body: bytes) -> bytes:
    lines = head.split(CRLF)
    told = [line for line in lines if not line.startswith(b"Content-Length: ")]
    return CRLF.join([*told, b"Content-Length: " + str(len(body)).encode(), b"", body])
