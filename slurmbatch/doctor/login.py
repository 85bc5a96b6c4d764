"""How people come in: the keys that issuers publish, and munge."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import jwt

from slurmbatch.config import Issuer, Settings
from slurmbatch.config.keysets import chosen, usable
from slurmbatch.doctor.finding import OK, Finding, warning
from slurmbatch.errors import Unavailable
from slurmbatch.identity.fetch import fetch
from slurmbatch.slurm.commands import CommandSlurm
from slurmbatch.slurm.unmunge import NoCredential, Unmunge


def login(settings: Settings, _slurm: CommandSlurm) -> Iterator[Finding]:
    for issuer in settings.auth.jwt:
        if issuer.jwks_url is not None:
            yield _issuer(issuer, issuer.jwks_url)
    if settings.auth.munge.urls:
        yield _munge(Unmunge(settings.auth.munge.socket))


def _issuer(issuer: Issuer, url: str) -> Finding:
    try:
        published = jwt.PyJWKSet.from_dict(usable(fetch(url), issuer.algorithms))
        found = chosen(published.keys, issuer.algorithms)
    except (OSError, http.client.HTTPException, ValueError, TypeError, AttributeError,
            jwt.PyJWTError) as error:  # fmt: skip
        return warning(
            "login",
            f"the keys of {issuer.issuer} cannot be had from {url}: {error}",
            "is the address right, and reachable from here? Keys that the daemon knows stay good",
        )
    return Finding("login", OK, f"{issuer.issuer} publishes {max(1, len(found.by_id))} fit keys")


def _munge(unmunge: Unmunge) -> Finding:
    try:
        unmunge.try_out()
    except (Unavailable, NoCredential) as error:
        return warning(
            "login",
            f"nobody can log in by munge: {error}",
            "systemctl status munge; auth.munge.socket names another socket than the usual one",
        )
    return Finding("login", OK, "munge makes credentials and reads them")
