"""How a request is sent, and sent again, as steps that somebody else takes.

Nothing here reads, writes or waits. Every operation is a generator that yields what is to be done
next, an Ask or a Rest, and is told what came of it; `sync` and `asynchronous` each have a driver
that takes the steps. So each operation is written once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from slurmbatch.client.errors import ApiError, ClientError, NoAnswer

OBJECT = "application/vnd.slurmbatch.object+json"
WAIT = "wait"
"""The parameter that has an answer held back."""
_TRY_LATER = frozenset((429, 503))
# Raised before anything of a request has been sent.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# The service, or the way to it, may be back in a moment. Other errors come again each time.
_PASSING = (
    httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError, httpx.ProxyError
)  # fmt: skip
# What a gateway says while the service behind it is away; it may have passed the request on.
_GATEWAY = frozenset((502, 504))


@dataclass(frozen=True, slots=True)
class Ask:
    """A request; the driver answers with a response, or throws what httpx has thrown."""

    method: str
    path: str
    params: Sequence[tuple[str, str]] = ()
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    extra_time: float = 0.0
    """Seconds for which the service itself may hold the answer back."""
    is_stream: bool = False
    """Whether a good answer is to be given before its body has come."""


@dataclass(frozen=True, slots=True)
class Rest:
    """A pause; `because` of an error, after which the request is sent again, or just so."""

    seconds: float
    because: ClientError | None = None


T = TypeVar("T")
Steps = Generator[Ask | Rest, Any, T]


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is tried, and how long it rests in between, in seconds.

    What waits for a batch goes on trying for `outage` seconds, however often that is: a laptop may
    have been asleep, or the service may be updated.
    """

    tries: int = 6
    first: float = 0.5
    longest: float = 30.0
    outage: float = 900.0

    def rest(self, tried: int, retry_after: str | None = None) -> float:
        """As long as the service asks for; else longer each time, and not in step with others."""
        asked = _seconds(retry_after)
        if asked is not None:
            return min(asked, self.longest)
        longest = min(self.first * 2.0 ** min(tried - 1, 30), self.longest)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311


class Sender:
    """Sends requests, and sends them again where the service is away and that is safe."""

    def __init__(self, base_url: str, patience: Patience, clock: Callable[[], float]) -> None:
        self.base_url = base_url
        self.patience = patience
        self.clock = clock

    def send(
        self, ask: Ask, *, repeatable: bool = True, waiting: bool = False
    ) -> Steps[httpx.Response]:
        """The answer, if it is a success; raises ApiError for any other, NoAnswer for none.

        What is not `repeatable` is tried again only if it has surely not been carried out. Sent
        again, it is not to be held back: that there is an answer again is worth telling.
        """
        began, tried, in_doubt = self.clock(), 0, False
        while True:
            tried += 1
            retry_after = None
            try:
                response: httpx.Response = yield ask
            except httpx.TransportError as error:
                in_doubt = in_doubt or not isinstance(error, _NOT_SENT)
                trouble: ClientError = self._no_answer(ask, error)
                is_passing = isinstance(error, _PASSING)
            else:
                if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
                    return response
                is_passing = response.status_code in _TRY_LATER
                if response.status_code in _GATEWAY:
                    in_doubt = is_passing = True
                trouble = ApiError.of(response, in_doubt=in_doubt)
                retry_after = response.headers.get("Retry-After")
            is_last = self._is_last(tried, began, waiting)
            if is_last or not is_passing or (in_doubt and not repeatable):
                raise trouble
            yield Rest(self.patience.rest(tried, retry_after), trouble)
            ask = replace(ask, params=[each for each in ask.params if each[0] != WAIT])

    def _is_last(self, tried: int, began: float, waiting: bool) -> bool:
        if tried < self.patience.tries:
            return False
        return not waiting or self.clock() - began >= self.patience.outage

    def _no_answer(self, ask: Ask, error: httpx.TransportError) -> NoAnswer:
        words = str(error) or type(error).__name__
        trouble = NoAnswer(f"{ask.method} at {self.base_url} got no answer: {words}")
        trouble.__cause__ = error
        return trouble


def value(response: httpx.Response) -> Any:
    """What the answer holds."""
    try:
        return response.json()
    except ValueError:
        raise ClientError(
            f"{response.url} gave {response.headers.get('Content-Type', 'something')} "
            "instead of JSON; is this the URL of a slurmbatch?"
        ) from None


def element(response: httpx.Response) -> dict[str, Any]:
    """The single resource, be it given as an object or as an array of one."""
    given = value(response)
    single = given[0] if isinstance(given, list) and given else given
    if not isinstance(single, dict):
        raise ClientError(f"{response.url} gave no object; is this the URL of a slurmbatch?")
    return single


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
