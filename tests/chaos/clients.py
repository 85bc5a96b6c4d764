"""Honest clients: each asks until it is answered, and remembers what it was told."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import httpx

from tests.chaos.ledger import Again, Cancel, Ledger, Posted, class_of
from tests.chaos.site import Site

# Answers that mean: try again.
LATER = (429, 503, 507)


class User:
    """One user's way to the service, with a memory of what was asked and answered."""

    def __init__(self, site: Site, name: str, ledger: Ledger, patience: float = 240.0) -> None:
        self.name = name
        self.ledger = ledger
        self.http = httpx.Client(
            base_url=site.url, headers={"Authorization": site.keys[name]}, timeout=20,
            trust_env=False,
        )  # fmt: skip
        self._patience = patience
        self._in_doubt = False

    def insist(self, method: str, path: str, **request: Any) -> httpx.Response | None:
        """Asks until there is an answer; None (and a complaint) if there is none for long."""
        deadline = time.monotonic() + self._patience
        self._in_doubt = False
        while time.monotonic() < deadline:
            try:
                response = self.http.request(method, path, **request)
            except httpx.TransportError as error:
                self._in_doubt |= not isinstance(error, httpx.ConnectError)
            else:
                if response.status_code not in LATER:
                    self.ledger.count(retry=False)
                    return response
            self.ledger.count(retry=True)
            time.sleep(0.2)
        self.ledger.complain(f"{method} {path}: no answer in {self._patience:.0f} s")
        return None

    def post(self, posted: Posted) -> bool:
        """Posts the batch, with its label as the idempotency key; False where it is not kept."""
        posted.asked_at = time.time()
        self.ledger.add(posted)
        answer = self.insist(
            "POST", "/batches", json=posted.body(), headers={"Idempotency-Key": posted.label}
        )
        if answer is not None and answer.status_code in (200, 201):
            posted.batch_id = answer.json()[0]["batch_id"]
            posted.acknowledged_at = time.time()
            gone = [each.parent.label for each in posted.waits
                    if each.parent.deleted_at < posted.asked_at]  # fmt: skip
            if gone:
                self.ledger.complain(f"POST {posted.label}: accepted, but {gone} were deleted")
            return True
        if answer is not None:
            may_be = posted.refused or posted.is_asked_in_vain
            posted.is_invalid = answer.status_code == 422 and may_be
            if not posted.is_invalid:
                self._complain(f"POST {posted.label}", answer)
        return False

    def cancel(self, posted: Posted) -> None:
        cancel = Cancel(time.time())
        posted.cancels.append(cancel)
        answer = self.insist("POST", f"/batches/{posted.batch_id}/cancel")
        if answer is not None and answer.status_code == 202:
            cancel.done_at = time.time()
        elif answer is not None:
            self._complain(f"cancel {posted.label}", answer)

    def delete(self, posted: Posted) -> None:
        posted.delete_asked_at = min(posted.delete_asked_at, time.time())
        answer = self.insist("DELETE", f"/batches/{posted.batch_id}")
        if answer is None:
            return
        if answer.status_code == 200 or (answer.status_code == 404 and self._in_doubt):
            posted.deleted_at = time.time()
        else:
            self._complain(f"delete {posted.label}", answer)

    def retry(
        self, posted: Posted, indices: Collection[int] | None = None, reason: str = ""
    ) -> None:
        """Has failed jobs run again, all or those of a selection, with a key of its own."""
        path = f"/batches/{posted.batch_id}"
        failed = self.insist("GET", f"{path}/jobs", params={"status": "FAILED"})
        if failed is None or failed.status_code != 200:
            self.ledger.complain(f"retry {posted.label}: cannot look at {posted.batch_id}")
            return
        again = Again(
            f"{posted.label}/again.{len(posted.retries) + 1}",
            {job["index"]: class_of(job) for job in failed.json()},
            None if indices is None else frozenset(indices), reason, time.time(),
        )  # fmt: skip
        posted.retries.append(again)
        answer = self.insist(
            "POST", f"{path}/retry", headers={"Idempotency-Key": again.key}, **again.body()
        )
        again.answered_at = time.time()
        again.is_acknowledged = answer is not None and answer.status_code == 202
        again.is_refused = answer is not None and answer.status_code == 409
        if answer is not None and not again.is_acknowledged and (
            again.jobs or not again.is_refused
        ):  # fmt: skip
            self._complain(f"retry {again.key} of {sorted(again.jobs)}", answer)

    def look(self, path: str) -> httpx.Response | None:
        """One question; None where it was not answered just now."""
        try:
            response = self.http.get(path)
        except httpx.TransportError:
            return None
        return None if response.status_code in LATER else response

    def _complain(self, what: str, answer: httpx.Response) -> None:
        self.ledger.complain(f"{what}: {answer.status_code} {answer.text[:300]}")
