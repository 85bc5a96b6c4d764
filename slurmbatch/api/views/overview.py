"""How the service is."""

from __future__ import annotations

from slurmbatch.api.answers import ActView, BusyView, OutageView, ServiceView
from slurmbatch.api.views import parts
from slurmbatch.api.views.parts import moment
from slurmbatch.model import Act, Busy, Outage, Overview


def service(seen: Overview) -> ServiceView:
    oldest, looks = seen.oldest_intent, seen.looks
    age = None if oldest is None else max(0, int(seen.at - oldest))
    return {
        "at": moment(seen.at),
        "began_at": moment(seen.began),
        "intents": {"arrays": seen.intents, "jobs": seen.intent_jobs, "oldest_age_seconds": age},
        "live_batches": seen.batches,
        "submitted_jobs": parts.by_status(seen.counts),
        "looks": {
            "last_minute": len(looks),
            "mean_seconds": round(sum(looks) / len(looks), 3) if looks else None,
            "longest_seconds": round(max(looks), 3) if looks else None,
        },
        "users": [_busy(each) for each in seen.users],
        "outages": [_outage(each) for each in seen.outages],
        "audit": [_act(each) for each in seen.acts],
    }


def _busy(user: Busy) -> BusyView:
    return {
        "user": user.user_id,
        "live_jobs": user.live,
        "live_batches": user.batches,
        "submitted_jobs": parts.by_status(user.counts),
    }


def _outage(outage: Outage) -> OutageView:
    return {
        "source": outage.source,
        "began_at": moment(outage.began),
        "ended_at": moment(outage.ended),
        "error": outage.error,
    }


def _act(act: Act) -> ActView:
    return {
        "at": moment(act.at),
        "user": act.user_id,
        "what": act.what,
        "target": act.target,
        "owner": act.owner,
        "outcome": act.outcome,
        "credential": act.credential,
        "remote": act.remote,
        "request_id": act.request_id,
        "detail": act.detail,
    }
