"""Requests whose answer waits for something to happen: they are asked again, as they are, once it
has, or once their time is up. See `slurmbatch.web.waiting`."""

from __future__ import annotations

import time
from collections.abc import Callable

import falcon

from slurmbatch.errors import Unavailable
from slurmbatch.web import Pause, Wait, may_wait

_UNTIL = "slurmbatch.wait_until"


def pause_until(req: falcon.Request, seconds: float, has_come: Callable[[], bool]) -> None:
    """Leaves the responder, unless so many seconds have passed since it was left for the first
    time, or nothing may wait any more."""
    until: float = req.env.setdefault(_UNTIL, time.monotonic() + seconds)
    who = req.context.user_id
    if time.monotonic() < until and may_wait(req.env, who):
        req.context.is_paused = True
        raise Pause(Wait(who, has_come, until))


def require(req: falcon.Request) -> None:
    """Raises Unavailable if the answer to this request may not wait."""
    if not may_wait(req.env, req.context.user_id):
        raise Unavailable("As many answers to you wait already as one caller may have waiting.")


def is_paused(req: falcon.Request) -> bool:
    """Whether its responder has just been left, so that there is no answer yet."""
    return bool(getattr(req.context, "is_paused", False))


def has_waited(req: falcon.Request) -> bool:
    return _UNTIL in req.env
