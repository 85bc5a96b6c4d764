"""From the domain's values to the shapes of the answers."""

from slurmbatch.api.views.batches import batch, listed_batch, notification, reasons, trial
from slurmbatch.api.views.catalogue import filesystem, tool
from slurmbatch.api.views.jobs import job, listed_job, statuses
from slurmbatch.api.views.keys import key, new_key
from slurmbatch.api.views.overview import service
from slurmbatch.api.views.parts import moment

__all__ = [
    "batch",
    "filesystem",
    "job",
    "key",
    "listed_batch",
    "listed_job",
    "moment",
    "new_key",
    "notification",
    "reasons",
    "service",
    "statuses",
    "tool",
    "trial",
]
