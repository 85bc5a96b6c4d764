"""What can go wrong between a client and the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from slurmbatch.client.resources import BatchFields
    from slurmbatch.client.shapes import Mistake


class ClientError(Exception):
    """Something went wrong."""


class NoAnswer(ClientError):
    """The service could not be reached, or did not answer."""


class BatchFailed(ClientError):
    """A batch that was to succeed has jobs that failed; `batch` is the batch."""

    def __init__(self, batch: BatchFields) -> None:
        self.batch = batch
        super().__init__(f"{batch.counts['FAILED']} of {batch.n_jobs} jobs of {batch.id} failed")


class ApiError(ClientError):
    """The service answered with an error, and these are the fields of its problem (RFC 9457).

    `problem` has all of them as they came. `in_doubt`: an earlier try of the same request got no
    answer, and may have been carried out.
    """

    def __init__(self, status: int, problem: dict[str, Any], *, in_doubt: bool = False) -> None:
        self.status = status
        self.problem = problem
        self.type = str(problem.get("type", "about:blank"))
        self.title = str(problem.get("title", ""))
        self.detail = str(problem.get("detail", ""))
        self.instance = str(problem.get("instance", ""))
        self.request_id = str(problem.get("request_id", ""))
        self.errors: list[Mistake] = list(problem.get("errors", ()))
        self.in_doubt = in_doubt
        mistakes = [f"{each['pointer']}: {each['detail']}" for each in self.errors]
        told = f"{status} {self.title}: {self.detail or self.title}"
        super().__init__("\n  ".join([told, *mistakes]))

    @property
    def kind(self) -> str:
        """The last part of `type`, such as `not-found` or `invalid`."""
        return self.type.rpartition(":")[2]

    @classmethod
    def of(cls, response: httpx.Response, *, in_doubt: bool = False) -> ApiError:
        """From an answer, also from one that some proxy gave."""
        try:
            problem = response.json()
        except ValueError:
            problem = None
        if not isinstance(problem, dict):
            problem = {"detail": response.text[:500].strip()}
        problem.setdefault("title", response.reason_phrase)
        problem.setdefault("request_id", response.headers.get("X-Request-Id", ""))
        return cls(response.status_code, problem, in_doubt=in_doubt)
