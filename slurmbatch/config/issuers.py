"""What can be wrong with where an issuer's keys are, and with whom its tokens stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from slurmbatch.config.section import Complaint, shown

_LOOPBACK = frozenset(("127.0.0.1", "::1", "localhost"))
_PLAIN = re.compile(r"[!-~]+")


def address_mistakes(url: str | None, may_be_http: bool) -> Iterator[Complaint]:
    """Of the address of a key set, which is fixed here: no token can say another one."""
    if url is None:
        if may_be_http:
            yield "jwks_http", "found it without jwks_url, expected both or neither"
        return
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, 0
    if not host or port == 0 or not _PLAIN.fullmatch(url) or "@" in parts.netloc or "#" in url:
        yield "jwks_url", f"found {shown(url)}, expected the address of a key set"
    elif parts.scheme == "http" and host in _LOOPBACK and may_be_http:
        return
    elif parts.scheme != "https":
        yield "jwks_url", f"found {shown(url)}, expected https"


def rule_mistakes(pattern: str, users: Mapping[str, str]) -> Iterator[Complaint]:
    if pattern and users:
        yield "users", "found it beside user_pattern, expected one of them"
    try:
        groups = re.compile(pattern).groups if pattern else 1
    except (re.error, RecursionError, OverflowError) as error:
        yield "user_pattern", f"found {shown(pattern)}: {error}; expected a regular expression"
        return
    if groups != 1:
        yield "user_pattern", f"found {groups} groups, expected one: that is the user"
