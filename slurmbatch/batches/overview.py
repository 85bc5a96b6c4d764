"""The whole service at one look: what is counted already, from small indexes and from memory.

Neither Slurm is asked for it, nor a job read.
"""

from __future__ import annotations

from collections.abc import Sequence

from slurmbatch.health import Health
from slurmbatch.model import Busy, Overview, Status
from slurmbatch.store import Store

USERS = 10
OUTAGES = 50
ACTS = 50


def overview(store: Store, health: Health, now: float) -> Overview:
    intents = store.figures.arrays().get("INTENT")
    users = store.figures.users()
    return Overview(
        at=now,
        began=health.began,
        intents=intents.arrays if intents else 0,
        intent_jobs=intents.jobs if intents else 0,
        oldest_intent=intents.oldest if intents else None,
        batches=sum(each.batches for each in users),
        counts=_together(users),
        looks=health.last_looks(),
        users=users[:USERS],
        outages=health.outages()[:OUTAGES],
        acts=store.audit.find(limit=ACTS),
    )


def _together(users: Sequence[Busy]) -> dict[Status, int]:
    return {status: sum(each.counts[status] for each in users) for status in Status}
