"""What can go wrong between a client and the service."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from slurmbatch.client.shapes import Mistake


class ClientError(Exception):
    """Something went wrong."""


class NoAnswer(ClientError):
    """The service could not be reached, or did not answer."""


class ApiError(ClientError):
    """The service answered with an error.

    `in_doubt`: an earlier try of the same request got no answer, and may have been carried out.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        errors: Sequence[Mistake] = (),
        request_id: str = "",
        in_doubt: bool = False,
    ) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = list(errors)
        self.request_id = request_id
        self.in_doubt = in_doubt
        mistakes = [f"{each['pointer']}: {each['detail']}" for each in self.errors]
        super().__init__("\n  ".join([f"{status} {title}: {detail or title}", *mistakes]))

    @classmethod
    def of(cls, response: httpx.Response, *, in_doubt: bool = False) -> ApiError:
        """From an answer, also from one that some proxy gave."""
        try:
            problem = response.json()
        except ValueError:
            problem = None
        if not isinstance(problem, dict):
            problem = {"detail": response.text[:500].strip()}
        return cls(
            response.status_code,
            problem.get("title") or response.reason_phrase,
            problem.get("detail", ""),
            problem.get("errors", ()),
            problem.get("request_id") or response.headers.get("X-Request-Id", ""),
            in_doubt,
        )
