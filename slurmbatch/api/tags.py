"""Entity tags of batches: what is sent with an answer, and what is compared with it."""

from __future__ import annotations

from slurmbatch.api import render

CACHE_CONTROL = "private, no-cache"


def headers(etag: str) -> list[tuple[str, str]]:
    # Weak: the array of one and the object have the same version, and not the same bytes.
    return [("ETag", f'W/"{etag}"'), ("Vary", render.VARY_OF_ONE)]


def matches(header: str, etag: str) -> bool:
    """Whether an If-None-Match names this version."""
    tags = [each.strip().removeprefix("W/") for each in header.split(",")]
    return f'"{etag}"' in tags or "*" in tags
