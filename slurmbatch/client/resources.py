"""What batches and jobs are to a client: the fields that the service gave, and names for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from slurmbatch.client.shapes import ENDED, ArgValue


class Fields(Mapping[str, Any]):
    """The fields of a thing as the service gives them, those that are new to this client too."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    @property
    def id(self) -> str:
        raise NotImplementedError

    # Two looks at the same thing are the same thing, whatever has changed in between.
    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Fields) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def _moment(self, name: str) -> datetime | None:
        text = self._fields.get(name)
        return datetime.fromisoformat(text) if text else None


class BatchFields(Fields):
    """A batch as it was when it was last looked at."""

    @property
    def id(self) -> str:
        return str(self["batch_id"])

    @property
    def tool_id(self) -> str:
        return str(self["tool_id"])

    @property
    def name(self) -> str:
        return str(self["name"])

    @property
    def n_jobs(self) -> int:
        return int(self["n_jobs"])

    @property
    def counts(self) -> dict[str, int]:
        """How many jobs have each status; all seven are there."""
        return dict(self["submitted_jobs"])

    @property
    def n_ended(self) -> int:
        return sum(self["submitted_jobs"][status] for status in ENDED)

    @property
    def created_at(self) -> datetime | None:
        return self._moment("created_at")

    @property
    def finished_at(self) -> datetime | None:
        return self._moment("finished_at")

    @property
    def expected_end(self) -> datetime | None:
        """When its last job may end, as far as the service can tell."""
        return self._moment("expected_end")

    def done(self) -> bool:
        """Whether all jobs had ended."""
        return self.n_ended == self.n_jobs

    def succeeded(self) -> bool:
        """Whether all jobs had ended, and well."""
        return bool(self["submitted_jobs"]["SUCCEEDED"] == self.n_jobs)

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {status}" for status, n in self.counts.items() if n)
        return f"<{type(self).__name__} {self.id}: {counts}>"


class JobFields(Fields):
    """A job as it was when it was last looked at."""

    @property
    def id(self) -> str:
        return str(self["job_id"])

    @property
    def index(self) -> int:
        return int(self["index"])

    @property
    def args(self) -> dict[str, ArgValue]:
        """All that the tool gets."""
        return dict(self["args"])

    @property
    def status(self) -> str:
        return str(self["status"])

    @property
    def reason(self) -> str:
        """Why it has this status: a class and a sentence."""
        return str(self["reason"])

    @property
    def exit_code(self) -> int | None:
        code: int | None = self["exit_code"]
        return code

    @property
    def start_time(self) -> datetime | None:
        return self._moment("start_time")

    @property
    def stop_time(self) -> datetime | None:
        return self._moment("stop_time")

    def done(self) -> bool:
        return self.status in ENDED

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}: {self.status}, {self.reason}>"
