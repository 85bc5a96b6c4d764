"""The Python client: HTTP only, and nothing of the server.

    with Client("https://slurmbatch.example.org", key) as client:
        batch = client.submit("montecarlo-pi", {"samples": 1_000_000}, sweep={"seed": range(100)})
        batch.wait(progress=True)
        for job in batch.jobs(status="FAILED"):
            print(job.args, job.reason, job.log(tail=5))

`AsyncClient` is the same for asyncio. Where the service cannot be reached, or says 429 or 503, a
request is tried again for a while, if trying again is safe. Whatever goes wrong is a ClientError:
an ApiError, which is an answer, or NoAnswer.
"""

from slurmbatch.client.asynchronous import AsyncBatch, AsyncClient, AsyncJob
from slurmbatch.client.errors import ApiError, BatchFailed, ClientError, NoAnswer
from slurmbatch.client.profiles import NotLoggedIn
from slurmbatch.client.shapes import (
    Filesystem,
    Hardware,
    Key,
    Mistake,
    NewKey,
    Notification,
    Parameter,
    Reason,
    Tool,
)
from slurmbatch.client.steps import Patience
from slurmbatch.client.sync import Batch, Client, Job

__all__ = [
    "ApiError",
    "AsyncBatch",
    "AsyncClient",
    "AsyncJob",
    "Batch",
    "BatchFailed",
    "Client",
    "ClientError",
    "Filesystem",
    "Hardware",
    "Job",
    "Key",
    "Mistake",
    "NewKey",
    "NoAnswer",
    "NotLoggedIn",
    "Notification",
    "Parameter",
    "Patience",
    "Reason",
    "Tool",
]
