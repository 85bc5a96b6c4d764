"""A database of every schema that there has been is brought up to date, and taken back again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from slurmbatch.errors import NewerSchema
from slurmbatch.model import Status
from slurmbatch.store import open_store, upkeep
from slurmbatch.store.database import Database
from slurmbatch.store.migrations import MIGRATIONS
from tests.store.schemas import DELETED, ENDED, PLACE, RUNS, WAITS, made, text_of

KEPT = sorted(int(each.stem) for each in PLACE.glob("*.sql"))
Rows = dict[str, list[dict[str, object]]]
ALL: dict[str, Any] = {"statuses": frozenset(), "after": -1, "limit": None}


def tables(path: Path) -> list[str]:
    """Those of ours, not SQLite's own."""
    with closing(sqlite3.connect(path)) as connection:
        named = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        return [name for (name,) in named]


def rows(path: Path, of: list[str]) -> Rows:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {
            table: [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")]
            for table in of
        }


def schema_of(path: Path) -> int:
    return upkeep.schema_of(path)[0]


@pytest.fixture(params=range(1, len(MIGRATIONS)))
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[int, Path]:
    """A schema that is not the newest, and a database of it."""
    path = tmp_path / "state" / "x.sqlite"
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(text_of(request.param))
    assert schema_of(path) == request.param
    return request.param, path


def test_what_was_there_is_there_afterwards(old: tuple[int, Path]) -> None:
    path = old[1]
    before = rows(path, tables(path))
    assert all(
        before[name] for name in ("api_key", "batch", "array", "job", "attempt", "tombstone")
    )
    with closing(open_store(path, exclusive=True)) as store:
        ended = store.batches.get("alice", ENDED)
        assert ended is not None
        assert (ended.name, ended.n_jobs) == ("pi, “two” seeds", 2)
        assert {each.batch_id for each in store.batches.list("alice")} == {ENDED, WAITS}
        assert [each.batch_id for each in store.batches.list("bob")] == [RUNS]
        assert store.batches.get("bob", DELETED) is None
        shown = [job.status for job in store.batches.jobs(ended, **ALL)]
        assert shown == [Status.SUCCEEDED, Status.FAILED]
    assert schema_of(path) == len(MIGRATIONS)
    assert upkeep.examine(path, thoroughly=True) == []
    after = rows(path, list(before))
    for table, kept in before.items():
        found = [
            {name: row[name] for name in was} for row, was in zip(after[table], kept, strict=True)
        ]
        for row in (*found, *kept):
            row.pop("summary", None)  # told anew, of what the rest says
        assert found == kept, table


def test_taken_back_it_is_what_it_was(old: tuple[int, Path]) -> None:
    """The release of that time refuses what the newer one has made of it, and takes the copy."""
    schema, path = old
    before = rows(path, tables(path))
    its_steps = MIGRATIONS[:schema]
    open_store(path, exclusive=True).close()
    with pytest.raises(NewerSchema, match=f"schema {len(MIGRATIONS)}; this .* knows {schema}"):
        Database(path, exclusive=True, migrations=its_steps)
    assert schema_of(path) == len(MIGRATIONS)
    copy = path.with_name(f"{path.name}.schema-{schema}")
    newer = upkeep.restore(path, copy)
    Database(path, exclusive=True, migrations=its_steps).close()
    assert schema_of(path) == schema
    after = rows(path, tables(path))
    # That it was put back is noted: whose turn it is, is settled anew.
    after["meta"] = [each for each in after["meta"] if each["key"] != "head"]
    assert after == before
    # And up again, from there; what the newer one knew is kept beside it.
    assert newer is not None
    assert schema_of(newer) == len(MIGRATIONS)
    open_store(path, exclusive=True).close()
    assert upkeep.examine(path, thoroughly=True) == []


def contents(text: str) -> tuple[list[tuple[str, ...]], list[str]]:
    """What the text makes: its schema, and the rows of each table."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(text)
        made = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY 1, 2"
        schema = [tuple(each) for each in connection.execute(made)]
        said = [f"{name}: {list(connection.execute(f'SELECT * FROM {name} ORDER BY 1, 2'))}"
                for kind, name, _ in schema if kind == "table"]  # fmt: skip
        return schema, said


@pytest.mark.parametrize("schema", KEPT)
def test_no_step_is_other_than_it_was(schema: int) -> None:
    """Somebody's database has taken it already: what is to be different is a step of its own."""
    assert contents(made(schema)) == contents((PLACE / f"{schema}.sql").read_text())


def test_they_are_kept_without_a_gap() -> None:
    assert list(range(1, len(KEPT) + 1)) == KEPT
    assert len(KEPT) >= 10
