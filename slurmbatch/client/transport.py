"""Sends requests, and sends them again where the service is away and that is safe."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from slurmbatch.client.errors import ApiError, ClientError, NoAnswer

OBJECT = "application/vnd.slurmbatch.object+json"
_TRY_LATER = frozenset((429, 503))
# Raised before anything of a request has been sent.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# The service, or the way to it, may be back in a moment. Other errors come again each time.
_PASSING = (
    httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError, httpx.ProxyError
)  # fmt: skip
_LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is tried, and how long it rests in between, in seconds."""

    tries: int = 6
    first: float = 0.5
    longest: float = 30.0

    def rest(self, tried: int, retry_after: str | None) -> float:
        """As long as the service asks for; else longer each time, and not in step with others."""
        asked = _seconds(retry_after)
        if asked is not None:
            return min(asked, self.longest)
        longest = min(self.first * 2.0 ** (tried - 1), self.longest)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311


class Transport:
    """One service, and the key to it."""

    def __init__(
        self, url: str, key: str, timeout: float, patience: Patience, sleep: Callable[[float], None]
    ) -> None:
        self._patience = patience
        self._sleep = sleep
        where = httpx.URL(url)
        if where.scheme not in ("http", "https") or not where.host:
            raise ClientError(f"{url}: expected a URL that begins with http:// or https://")
        self._http = httpx.Client(
            base_url=where,
            headers={"Authorization": key, "Accept": f"{OBJECT}, application/json;q=0.9"},
            timeout=timeout,
            # A proxy that the environment names has no way to this machine's own loopback.
            trust_env=where.host not in _LOOPBACK,
        )

    def close(self) -> None:
        self._http.close()

    def send(
        self, method: str, path: str, *, repeatable: bool = True, **request: Any
    ) -> httpx.Response:
        """The answer, if it is a success; raises ApiError for any other, NoAnswer for none.

        What is not `repeatable` is tried again only if it has surely not been carried out.
        """
        tried, in_doubt = 0, False
        while True:
            tried += 1
            is_last = tried >= self._patience.tries
            try:
                response = self._http.request(method, path, **request)
            except httpx.TransportError as error:
                in_doubt = in_doubt or not isinstance(error, _NOT_SENT)
                if is_last or not isinstance(error, _PASSING) or (in_doubt and not repeatable):
                    raise self._no_answer(method, error) from error
                self._sleep(self._patience.rest(tried, None))
                continue
            if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
                return response
            if is_last or response.status_code not in _TRY_LATER:
                raise ApiError.of(response, in_doubt=in_doubt)
            self._sleep(self._patience.rest(tried, response.headers.get("Retry-After")))

    def _no_answer(self, method: str, error: httpx.TransportError) -> NoAnswer:
        words = str(error) or type(error).__name__
        return NoAnswer(f"{method} at {self._http.base_url} got no answer: {words}")


def value(response: httpx.Response) -> Any:
    """What the answer holds."""
    try:
        return response.json()
    except ValueError:
        raise ClientError(
            f"{response.url} gave {response.headers.get('Content-Type', 'something')} "
            "instead of JSON; is this the URL of a slurmbatch?"
        ) from None


def element(response: httpx.Response) -> Any:
    """The single resource, be it given as an object or as an array of one."""
    given = value(response)
    return given[0] if isinstance(given, list) and given else given


def _seconds(retry_after: str | None) -> float | None:
    """Of a Retry-After header: seconds, or a date (RFC 9110)."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (at.astimezone(UTC) - datetime.now(UTC)).total_seconds())
