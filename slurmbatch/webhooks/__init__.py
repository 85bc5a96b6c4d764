"""Tells others what they wanted to be told of a batch: at least once, signed, by and by.

What is to be told stands in the outbox, written with the change itself, and is tried until the
receiver has said that it has it; what has become of it stays there. Nobody waits for any of this.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import random
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from slurmbatch import __version__
from slurmbatch.journal import get
from slurmbatch.model import Delivery, DeliveryState
from slurmbatch.store import Store
from slurmbatch.targets import AllowedHost, Target, find
from slurmbatch.webhooks.addresses import resolve
from slurmbatch.webhooks.wire import post

_log = get("webhooks")
_A_TICK = 50
_FIRST_WAIT, _LONGEST_WAIT = 5.0, 3600.0
GIVE_UP_AFTER = 24 * 3600.0
_GONE = 410

Send = Callable[[Target, bytes, Mapping[str, str]], int]
# What has come of a try: "delivered", "failed" or "given_up".
Seen = Callable[[str], None]


def send(target: Target, body: bytes, headers: Mapping[str, str]) -> int:
    """To the address that is looked up now, and the status of the answer."""
    return post(target, resolve(target), body, headers)


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What went wrong: `text` for the log, `told` for the batch's owner."""

    text: str
    told: str
    is_final: bool = False


def _in_short(error: Exception) -> str:
    """In words that tell a user nothing of the networks behind the service."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, ssl.SSLError):
        return "no TLS connection, or no valid certificate"
    if isinstance(error, http.client.HTTPException):
        return "its answer was not HTTP"
    return "it could not be reached"


class Sender:
    """Sends what is due; a receiver that fails is asked again later, and ever less often."""

    def __init__(
        self,
        store: Store,
        hosts: Sequence[AllowedHost],
        secret: bytes,
        send: Send = send,
        clock: Callable[[], float] = time.time,
        seen: Seen = lambda _outcome: None,
    ) -> None:
        self._outbox = store.outbox
        self._hosts = hosts
        self._secret = secret
        self._send = send
        self._clock = clock
        self._seen = seen

    def adopt(self, hosts: Sequence[AllowedHost], secret: bytes) -> None:
        """The settings have been read anew. Without hosts, what is to be told waits."""
        self._hosts, self._secret = hosts, secret

    def tick(self, now: float) -> float | None:
        """One that is due; at once again if there may be more."""
        due = self._outbox.due(now, 1) if self._hosts else []
        for delivery in due:
            self._deliver(delivery)
        return 0.0 if due else None

    def _deliver(self, delivery: Delivery) -> None:
        try:
            # Looked at again: the settings may be others than when it was accepted.
            target = find(delivery.url, self._hosts)
        except ValueError as error:
            self._outbox.refused(delivery, "the host may not be told any more", self._clock())
            self._given_up(delivery, str(error))
            return
        trouble = self._try(delivery, target)
        if trouble is None:
            self._outbox.tried(delivery, DeliveryState.DELIVERED, "", self._clock())
            self._seen("delivered")
            self._say("notification delivered", delivery)
        elif self._clock() - delivery.occurred_at > GIVE_UP_AFTER or trouble.is_final:
            self._outbox.tried(delivery, DeliveryState.GIVEN_UP, trouble.told, self._clock())
            self._given_up(delivery, trouble.text)
        else:
            self._again_later(delivery, trouble)

    def _try(self, delivery: Delivery, target: Target) -> _Trouble | None:
        """What went wrong; None if it has arrived."""
        body = json.dumps(payload(delivery)).encode()
        moment = int(self._clock())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"slurmbatch/{__version__}",
            "webhook-id": delivery.delivery_id,
            "webhook-timestamp": str(moment),
            "webhook-signature": signature(self._secret, delivery.delivery_id, moment, body),
        }
        try:
            status = self._send(target, body, headers)
        except (OSError, http.client.HTTPException) as error:
            return _Trouble(f"{type(error).__name__}: {error}", _in_short(error))
        if 200 <= status < 300:
            return None
        return _Trouble(f"status {status}", f"it answered {status}", is_final=status == _GONE)

    def _again_later(self, delivery: Delivery, trouble: _Trouble) -> None:
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0**delivery.tries)
        wait *= random.uniform(0.8, 1.2)  # noqa: S311 not a secret
        self._outbox.failed(delivery, trouble.told, self._clock(), self._clock() + wait)
        self._seen("failed")
        self._say("notification failed, will be tried again", delivery, trouble=trouble.text,
                  seconds=round(wait))  # fmt: skip

    def _given_up(self, delivery: Delivery, trouble: str) -> None:
        self._seen("given_up")
        self._say("notification given up", delivery, trouble=trouble)

    def _say(self, text: str, delivery: Delivery, **fields: object) -> None:
        # Not its path, which may have a secret of the receiver's in it.
        write = _log.warning if "trouble" in fields else _log.info
        write(text, batch_id=delivery.batch_id, what=delivery.event, host=delivery.host,
              delivery_id=delivery.delivery_id, tries=delivery.tries + 1, **fields)  # fmt: skip


def signature(secret: bytes, delivery_id: str, moment: int, body: bytes) -> str:
    """As of Standard Webhooks: over the id, the time and the body, so that none can be changed."""
    signed = f"{delivery_id}.{moment}.".encode() + body
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def payload(delivery: Delivery) -> dict[str, object]:
    """What is told: the event, and the batch as it is now."""
    at = datetime.fromtimestamp(int(delivery.occurred_at), UTC)
    return {
        "type": delivery.event,
        "timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "data": {
            "batch_id": delivery.batch_id,
            "tool_id": delivery.tool_id,
            "name": delivery.name,
            "n_jobs": delivery.n_jobs,
            "submitted_jobs": {status.value: n for status, n in delivery.counts.items()},
            "cancelled": delivery.cancelled,
        },
    }
