"""`slurmbatch admin key …` on a real database."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from slurmbatch.cli import main
from slurmbatch.errors import Unauthenticated
from slurmbatch.identity import Identity
from slurmbatch.store import open_store


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    for name in ("state", "logs", "tools.d"):
        (tmp_path / name).mkdir(mode=0o700)
    path = tmp_path / "slurmbatch.toml"
    path.write_text(
        f'[store]\npath = "{tmp_path}/state/db.sqlite"\n[jobs]\nlog_dir = "{tmp_path}/logs"\n'
    )
    return path


def run(settings: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        main, ["admin", "key", *arguments], env={"SLURMBATCH_CONFIG": str(settings)}
    )


def user_of(settings: Path, key: str, at: float | None = None) -> str:
    path = settings.parent / "state" / "db.sqlite"
    store = open_store(path, exclusive=False)
    try:
        clock = time.time if at is None else lambda: at
        return Identity(store.keys, (), clock).authenticate(key).user_id
    finally:
        store.close()


def test_a_key_is_printed_once_and_works(settings: Path) -> None:
    made = run(settings, "create", "--user", "anna")
    assert made.exit_code == 0, made.output
    key = made.stdout.strip().splitlines()[-1]
    assert re.fullmatch(r"sbk_[a-z2-7]{12}_[A-Za-z0-9_-]{43}", key)
    assert key not in made.stderr
    assert "until it is revoked" in made.stderr
    assert user_of(settings, key) == "anna"
    assert key[17:].encode() not in b"".join(
        file.read_bytes() for file in (settings.parent / "state").iterdir()
    )


def test_a_key_that_expires(settings: Path) -> None:
    key = run(settings, "create", "--user", "anna", "--expires", "2").stdout.strip()
    now = time.time()
    assert user_of(settings, key, now + 86_400) == "anna"
    with pytest.raises(Unauthenticated):
        user_of(settings, key, now + 2 * 86_400 + 60)


def test_what_a_key_is_good_for(settings: Path) -> None:
    run(settings, "create", "--user", "anna")
    run(settings, "create", "--user", "berta", "--scope", "read", "--name", "a screen")
    first, second = json.loads(run(settings, "list", "--json").stdout)
    assert (first["scopes"], first["name"], first["last_used_at"]) == ("read,submit", "", "")
    assert (second["scopes"], second["name"]) == ("read", "a screen")
    for wrong in (("--scope", "root"), ("--name", "a\x1bb"), ("--name", "a" * 101)):
        assert run(settings, "create", "--user", "anna", *wrong).exit_code == 2
    assert len(json.loads(run(settings, "list", "--json").stdout)) == 2


def test_list_and_revoke(settings: Path) -> None:
    run(settings, "create", "--user", "anna")
    berta = run(settings, "create", "--user", "berta", "--expires", "1").stdout.strip()
    key_id = berta.split("_")[1]
    assert run(settings, "revoke", key_id).exit_code == 0
    rows = json.loads(run(settings, "list", "--json").stdout)
    assert [(row["user"], row["state"]) for row in rows] == [
        ("anna", "active"),
        ("berta", "revoked"),
    ]
    assert list(rows[0]) == [
        "key_id",
        "user",
        "state",
        "created_at",
        "expires_at",
        "revoked_at",
        "name",
        "scopes",
        "last_used_at",
    ]
    assert rows[0]["expires_at"] == rows[0]["revoked_at"] == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rows[1]["expires_at"])
    table = run(settings, "list", "--user", "berta").stdout
    assert key_id in table
    assert "anna" not in table
    assert berta[20:] not in table
    with pytest.raises(Unauthenticated):
        user_of(settings, berta)
    again = run(settings, "revoke", key_id)
    assert again.exit_code == 1
    assert "no key" in again.output


@pytest.mark.parametrize("user", ["", "a b", "-x", "a\n", "ä", "../root"])
def test_names_that_are_none(settings: Path, user: str) -> None:
    refused = run(settings, "create", f"--user={user}")
    assert refused.exit_code == 2
    assert json.loads(run(settings, "list", "--json").stdout) == []


def test_settings_with_mistakes(settings: Path) -> None:
    settings.write_text("[server]\nport = 0\n")
    failed = run(settings, "list")
    assert failed.exit_code == 1
    assert "server.port" in failed.output
    assert "Traceback" not in failed.output


def test_no_settings(tmp_path: Path) -> None:
    failed = run(tmp_path / "none.toml", "list")
    assert failed.exit_code == 1
    assert "none.toml" in failed.output
