"""What both clients tell httpx."""

from __future__ import annotations

from typing import Any

import httpx

from slurmbatch.client import profiles
from slurmbatch.client.errors import ClientError
from slurmbatch.client.profiles import Profile
from slurmbatch.client.steps import OBJECT, Ask

_LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))


def target(url: str | None, key: str | None, profile: str | None) -> Profile:
    """The service that is meant, and the key to it."""
    if url is None and key is None:
        found = profiles.find(profile)
    elif url is None or key is None or profile is not None:
        raise ClientError("expected a URL and a key, or the name of a profile, or none of them")
    else:
        found = Profile(url, key)
    where = _parsed(found.url)
    if where.scheme not in ("http", "https") or not where.host:
        raise ClientError(f"{found.url}: expected a URL that begins with http:// or https://")
    return found


def options(service: Profile, timeout: float) -> dict[str, Any]:
    """Of a client of httpx."""
    where = httpx.URL(service.url)
    return {
        "base_url": where,
        "headers": {"Authorization": service.key, "Accept": f"{OBJECT}, application/json;q=0.9"},
        "timeout": timeout,
        # A proxy that the environment names has no way to this machine's own loopback.
        "trust_env": where.host not in _LOOPBACK,
    }


def request(ask: Ask, timeout: float) -> dict[str, Any]:
    """Of one request."""
    given: dict[str, Any] = {
        "method": ask.method,
        "url": ask.path,
        "headers": dict(ask.headers),
        "timeout": httpx.Timeout(timeout, read=timeout + ask.extra_time),
    }
    if ask.params:
        given["params"] = list(ask.params)
    if ask.json is not None:
        given["json"] = ask.json
    return given


def is_private(url: str) -> bool:
    """Whether nobody on the way can read what is sent: encrypted, or within this machine."""
    where = _parsed(url)
    return where.scheme == "https" or where.host in _LOOPBACK


def _parsed(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ClientError(f"{url}: expected a URL that begins with http:// or https://") from error
