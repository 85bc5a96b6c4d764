"""The public keys of an issuer that publishes them (JWKS), asked for aside, never by a request.

They are asked for at the start, then every few minutes, and once a minute at most where a token
names a key that is not known. While the issuer is away, or says something else, the old ones stay.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterable
from typing import Any

import jwt
from jwt.exceptions import PyJWKClientConnectionError

from slurmbatch import journal
from slurmbatch.config.keysets import KeySet, chosen, usable
from slurmbatch.errors import Unavailable
from slurmbatch.identity.fetch import fetch as over_the_network

EVERY = 300.0
AT_MOST_EVERY = 60.0
PENDING = "The keys of the issuer of this token are being asked for; try again in a moment."

_log = journal.get("slurmbatch.identity")


class Remote:
    """Requests look keys up, from any thread; one thread calls `tick`."""

    def __init__(
        self, issuer: str, url: str, algorithms: tuple[str, ...],
        clock: Callable[[], float] = time.monotonic,
        fetch: Callable[[str], Any] | None = None,
    ) -> None:  # fmt: skip
        self.issuer, self.url, self.algorithms = issuer, url, algorithms
        self._clock = clock
        self._client = _Client(url, algorithms, fetch or over_the_network)
        self._keys = KeySet()
        self._is_wanted = True
        self._tried_at: float | None = None
        self._failing = False

    def find(self, kid: object) -> Any:
        """The key, or None. Raises Unavailable while nobody can say that there is none."""
        found = self._keys.find(kid)
        if found is not None:
            return found
        if kid is not None or self._keys == KeySet():
            # One that the issuer has made since, or that somebody has made up.
            self._is_wanted = self._is_wanted or self._may_try()
            if self._is_wanted or self._keys == KeySet():
                raise Unavailable(PENDING)
        return None

    def tick(self) -> None:
        """Asks if it is time to. Whatever goes wrong is told once, and tried again."""
        since = None if self._tried_at is None else self._clock() - self._tried_at
        if since is not None and since < (AT_MOST_EVERY if self._is_wanted else EVERY):
            return
        try:
            found = chosen(self._client.get_jwk_set().keys, self.algorithms)
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, RecursionError) as error:
            self._failed(str(error))
        else:
            if self._failing:
                _log.info("the keys of an issuer are there again", issuer=self.issuer)
            self._keys, self._failing = found, False
        finally:
            self._tried_at, self._is_wanted = self._clock(), False

    def _may_try(self) -> bool:
        return self._tried_at is None or self._clock() - self._tried_at >= AT_MOST_EVERY

    def _failed(self, error: str) -> None:
        if not self._failing:
            _log.warning("the keys of an issuer cannot be had, the old ones stay",
                         issuer=self.issuer, url=self.url, error=error[:300])  # fmt: skip
        self._failing = True


class Remotes:
    """Of the issuers in force. What is known of one stays while its settings do."""

    def __init__(self) -> None:
        self._now: dict[str, Remote] = {}

    def of(self, wanted: Iterable[tuple[str, str, tuple[str, ...]]]) -> dict[str, Remote]:
        kept = {}
        for issuer, url, algorithms in wanted:
            old = self._now.get(issuer)
            same = old is not None and (old.url, old.algorithms) == (url, algorithms)
            kept[issuer] = old if old is not None and same else Remote(issuer, url, algorithms)
        self._now = kept
        return kept

    def tick(self, _now: float) -> None:
        for each in list(self._now.values()):
            each.tick()


class _Client(jwt.PyJWKClient):
    """PyJWT's, but for how it asks: with a bound on size and on the time of all of it."""

    def __init__(self, url: str, algorithms: tuple[str, ...], fetch: Callable[[str], Any]) -> None:
        super().__init__(url, cache_jwk_set=False)
        self._algorithms = algorithms
        self._fetch = fetch

    def fetch_data(self) -> Any:
        try:
            return usable(self._fetch(self.uri), self._algorithms)
        except (http.client.HTTPException, OSError) as error:
            raise PyJWKClientConnectionError(str(error) or type(error).__name__) from error
