"""Where the service may send notifications: only to hosts of the administrator's list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Nothing else is taken for an address, so that no two readings of one can differ.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[!\"$-\[\]-~]*)?",
    re.IGNORECASE,
)
MAX_URL = 2000
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """A host that may be told. `port`: None is that of the scheme."""

    name: str
    port: int | None = None
    allow_http: bool = False
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A checked address, in parts."""

    scheme: str
    host: str
    port: int
    path: str
    allow_private: bool

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


def find(url: str, allowed: Sequence[AllowedHost]) -> Target:
    """Raises ValueError, in words, for anything that may not be told."""
    found = _URL.fullmatch(url) if len(url) <= MAX_URL else None
    if found is None:
        raise ValueError(
            f"Expected an address such as https://host/path, of at most {MAX_URL} characters, "
            "without user, password and fragment."
        )
    scheme, host = found["scheme"].lower(), found["host"].lower().strip("[]")
    port = int(found["port"] or _PORTS[scheme])
    for each in allowed:
        if (each.name.lower(), each.port or _PORTS[scheme]) == (host, port):
            break
    else:
        raise ValueError("The administrator has not allowed notifications to this host and port.")
    if scheme == "http" and not each.allow_http:
        raise ValueError("Expected https: the administrator has not allowed http to this host.")
    return Target(scheme, host, port, found["path"] or "/", each.allow_private)
