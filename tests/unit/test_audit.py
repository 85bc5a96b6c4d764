"""The audit trail: who did what to what, and what administrators may do to batches of others."""

from __future__ import annotations

import io
import json
import os
import pwd
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from slurmbatch.batches import Batches
from slurmbatch.batches.others import ONCE_IN
from slurmbatch.cli import main
from slurmbatch.cli.admin.audit import person
from slurmbatch.config import load
from slurmbatch.daemon import _batches
from slurmbatch.daemon.access import Access
from slurmbatch.doorbell import Doorbell
from slurmbatch.errors import (
    AccountsUnreachable,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    RefusedBySlurm,
    StoreFull,
)
from slurmbatch.health import Health
from slurmbatch.identity import Identity, new_key
from slurmbatch.identity.admins import Admins
from slurmbatch.identity.keyring import Keyring
from slurmbatch.model import USUAL_SCOPES, Act, Caller, NewBatch, NewKey, Retry, Scope
from slurmbatch.store import Store, open_store
from tests.fakes.slurm import FakeSlurm

ALL = frozenset(Scope)
ANNA = Caller("anna", "key aaaa", remote="192.0.2.1")
BERTA = Caller("berta", "key bbbb", remote="192.0.2.2")
ADMIN = Caller("chief", "key cccc", ALL, remote="192.0.2.3")
TOOL = "[hardware]\ncpu = 1\nmemory = 10\n"
UNKNOWN = "01jd6xyz7qkq9m2v4h8r5t0w3a"


@dataclass
class Site:
    """A service without its threads."""

    settings: Path
    store: Store
    batches: Batches

    def make(self, caller: Caller = ANNA, request_id: str = "r-1") -> str:
        new = NewBatch("echo")
        return self.batches.submit(caller, new, request_id=request_id)[0].batch_id

    def trail(self, **which: Any) -> list[Act]:
        return self.store.audit.find(**which)

    def whats(self, **which: Any) -> list[tuple[str, str, str, str]]:
        """The oldest first."""
        found = reversed(self.trail(**which))
        return [(each.user_id, each.what, each.owner, each.outcome) for each in found]

    def admin(self, *words: str) -> Result:
        return CliRunner().invoke(
            main, ["admin", *words], env={"SLURMBATCH_CONFIG": str(self.settings)}
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    for name in ("state", "logs", "tools.d"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "tools.d" / "echo.toml").write_text(
        'description = "Says so."\nscript = "#!/bin/sh\\necho"\n' + TOOL
    )
    file = tmp_path / "slurmbatch.toml"
    file.write_text(
        f'[store]\npath = "{tmp_path}/state/db.sqlite"\nkeep_days = 30\naudit_rows = 1000\n'
        f'[jobs]\nlog_dir = "{tmp_path}/logs"\n[server]\nsubmit_wait = 0\n'
    )
    store = open_store(tmp_path / "state" / "db.sqlite", exclusive=True)
    batches = _batches(load(file), store, FakeSlurm(), Health(), Doorbell())
    yield Site(file, store, batches)
    store.close()


class TestWhatIsKept:
    def test_of_all_that_changes_something(self, site: Site, log: io.StringIO) -> None:
        first, second = site.make(request_id="r-7"), site.make()
        site.batches.cancel(ANNA, first, request_id="r-8")
        site.batches.delete(ANNA, first, request_id="r-9")
        site.batches.delete_all(ANNA, request_id="r-10")
        assert [each[1] for each in site.whats()] == [
            "batch.create", "batch.create", "batch.cancel", "batch.delete", "batch.delete",
        ]  # fmt: skip
        made = site.trail(target=first)[-1]
        assert made == Act(
            made.at, "anna", "batch.create", first, "anna", "done", "key aaaa", "192.0.2.1", "r-7",
            "echo",
        )  # fmt: skip
        assert site.trail(what="batch.delete")[0].detail == "1 batches"
        assert site.trail(target=second)[0].what == "batch.create"
        for request_id in ("r-7", "r-8", "r-9", "r-10"):
            (line,) = [each for each in log.getvalue().splitlines() if f"={request_id} " in each]
            assert 'user=anna credential="key aaaa" remote=192.0.2.1' in line

    def test_of_keys(self, site: Site) -> None:
        keyring = Keyring(site.store.keys, 30)
        kept, _ = keyring.create(ANNA, NewKey(), request_id="r-1")
        keyring.revoke(ANNA, kept.key_id, request_id="r-2")
        keyring.revoke(ANNA, kept.key_id, request_id="r-3")  # nothing is left to revoke
        assert [(each.what, each.target, each.request_id) for each in site.trail()] == [
            ("key.revoke", kept.key_id, "r-2"), ("key.create", kept.key_id, "r-1"),
        ]  # fmt: skip

    def test_of_what_was_refused_there_is_nothing(self, site: Site) -> None:
        batch_id = site.make()
        before = len(site.trail())
        refused: list[Callable[[], object]] = [
            lambda: site.batches.cancel(BERTA, batch_id),
            lambda: site.batches.delete(BERTA, batch_id),
            lambda: site.batches.retry(BERTA, batch_id, Retry()),
            lambda: site.batches.retry(ANNA, batch_id, Retry()),
            lambda: site.batches.get(BERTA, batch_id),
            lambda: site.batches.list(BERTA, user="anna"),
            lambda: site.batches.submit(BERTA, NewBatch("no")),
        ]
        for call in refused:
            with pytest.raises((NotFound, Forbidden, Conflict, Invalid)):
                call()
        assert len(site.trail()) == before

    def test_of_a_batch_that_slurm_refused(self, site: Site) -> None:
        batch_id = site.make()
        with pytest.raises(RefusedBySlurm):
            site.batches._refused(ANNA, batch_id, "no such account", "r-1")
        newest, made = site.trail(target=batch_id)
        assert (made.outcome, newest.outcome) == ("done", "refused")
        assert newest.detail == "by Slurm: no such account"

    def test_the_act_and_its_row_are_one(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        batch_id = site.make()

        def full(*_: object) -> None:
            raise StoreFull

        monkeypatch.setattr("slurmbatch.store.audit.write", full)
        for call in (
            lambda: site.batches.cancel(ANNA, batch_id),
            lambda: site.batches.delete(ANNA, batch_id),
            lambda: site.make(),
            lambda: Keyring(site.store.keys, 30).create(ANNA, NewKey()),
        ):
            with pytest.raises(StoreFull):
                call()
        monkeypatch.undo()
        (batch,) = site.batches.list(ANNA)[0]
        assert (batch.batch_id, batch.cancelled_at) == (batch_id, None)
        assert site.store.keys.list_keys() == []


class TestAdministrators:
    def test_see_and_cancel_for_others_and_that_is_kept(self, site: Site, log: io.StringIO) -> None:
        batch_id = site.make()
        assert site.batches.list(ADMIN)[0] == []
        assert [each.batch_id for each in site.batches.list(ADMIN, user="anna")[0]] == [batch_id]
        assert site.batches.get(ADMIN, batch_id).user_id == "anna"
        assert site.batches.etag(ADMIN, batch_id)
        assert len(list(site.batches.jobs(ADMIN, batch_id))) == 1
        assert site.batches.job(ADMIN, batch_id, f"{batch_id}-0").index == 0
        assert site.batches.log_of(ADMIN, batch_id, f"{batch_id}-0")
        assert site.batches.cancel(ADMIN, batch_id, request_id="r-5").cancelled_at
        assert site.whats(user_id="chief") == [
            ("chief", "batch.list", "anna", "done"),
            ("chief", "batch.see", "anna", "done"),
            ("chief", "batch.cancel", "anna", "done"),
        ]
        assert site.trail()[0].request_id == "r-5"
        assert [each.remote for each in site.trail(user_id="chief")] == ["192.0.2.3"] * 3
        lines = [each for each in log.getvalue().splitlines() if "user=chief" in each]
        assert len(lines) == 3
        # The other one finds it, too.
        assert len(site.trail(user_id="anna")) == 4

    def test_do_nothing_else_to_them(self, site: Site) -> None:
        batch_id = site.make()
        for call in (
            lambda: site.batches.delete(ADMIN, batch_id),
            lambda: site.batches.retry(ADMIN, batch_id, Retry()),
            lambda: site.batches.cancel(ADMIN, UNKNOWN),
            lambda: site.batches.get(ADMIN, UNKNOWN),
        ):
            with pytest.raises(NotFound):
                call()
        assert site.batches.delete_all(ADMIN) == 0
        assert site.batches.get(ANNA, batch_id)
        assert site.whats(user_id="chief") == [
            ("chief", "batch.delete", "anna", "refused"),
            ("chief", "batch.retry", "anna", "refused"),
            ("chief", "batch.cancel", "", "refused"),
            ("chief", "batch.see", "", "refused"),
        ]

    def test_what_their_credentials_are_not_good_for_is_kept(self, site: Site) -> None:
        for caller in (ADMIN, ADMIN, ANNA):
            site.batches.forbidden(caller, "POST /batches", request_id="r-1")
        (act,) = site.trail()
        assert (act.user_id, act.what, act.outcome) == ("chief", "request", "refused")
        assert (act.detail, act.request_id) == ("POST /batches", "r-1")

    def test_their_own_is_their_own(self, site: Site) -> None:
        batch_id = site.make(ADMIN)
        site.batches.get(ADMIN, batch_id)
        site.batches.cancel(ADMIN, batch_id)
        assert [each[1] for each in site.whats()] == ["batch.create", "batch.cancel"]

    def test_who_goes_on_looking_has_looked_once(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch_id, now = site.make(), [1e9]
        monkeypatch.setattr(site.batches._others, "_clock", lambda: now[0])
        for _ in range(50):
            site.batches.get(ADMIN, batch_id)
        assert len(site.whats(what="batch.see")) == 1
        site.batches.get(replace(ADMIN, user_id="second"), batch_id)
        now[0] += ONCE_IN
        site.batches.get(ADMIN, batch_id)
        assert len(site.whats(what="batch.see")) == 3

    def test_see_nothing_that_cannot_be_kept(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch_id = site.make()

        def full(_act: Act) -> None:
            raise StoreFull

        monkeypatch.setattr(site.store.audit, "add", full)
        for _ in range(2):
            with pytest.raises(StoreFull):
                site.batches.get(ADMIN, batch_id)

    def test_ids_that_are_none_are_not_kept(self, site: Site) -> None:
        for odd in ("", "x" * 5000, "../../etc", "a\nb"):
            with pytest.raises(NotFound):
                site.batches.get(ADMIN, odd)
            with pytest.raises(NotFound):
                site.batches.cancel(ADMIN, odd)
        assert site.trail() == []


class TestWhoIsOne:
    def test_by_name_or_by_group(self) -> None:
        asked = []

        def is_in_any(name: str, groups: tuple[str, ...]) -> bool:
            asked.append(groups)
            return name == "berta"

        admins = Admins(("anna",), ("wheel",), is_in_any)
        assert [admins.is_one(name) for name in ("anna", "berta", "carl")] == [True, True, False]
        assert asked == [("wheel",)] * 2

    def test_by_no_group_while_nobody_can_tell(self) -> None:
        def nobody(_name: str, _groups: tuple[str, ...]) -> bool:
            raise AccountsUnreachable

        assert Admins(("anna",), ("wheel",), nobody).is_one("anna")
        assert not Admins(("anna",), ("wheel",), nobody).is_one("berta")

    @pytest.mark.parametrize("is_admin", [True, False])
    def test_a_key_that_says_so_makes_nobody_one(self, site: Site, is_admin: bool) -> None:
        for scopes in (ALL, USUAL_SCOPES):
            kept, secret = new_key("anna", None, 1.0, scopes=scopes)
            site.store.keys.add_key(kept)
            identity = Identity(site.store.keys, is_admin=lambda name: is_admin and name == "anna")
            caller = identity.authenticate(secret)
            assert caller.is_admin is (is_admin and scopes is ALL)


class TestCommands:
    def test_what_they_do_is_kept(self, site: Site) -> None:
        batch_id = site.make()
        key_id = site.admin("key", "create", "--user", "anna").stderr.split()[2]
        assert site.admin("key", "revoke", key_id).exit_code == 0
        assert site.admin("key", "revoke", key_id).exit_code == 1
        assert site.admin("cancel", "--user", "anna", batch_id, UNKNOWN).exit_code == 1
        assert site.admin("drain", "--why", "a move").exit_code == 0
        assert site.admin("resume").exit_code == 0
        assert site.admin("resume").exit_code == 0  # there was nothing to do
        me = person()
        found = [(each.user_id, each.what, each.target, each.outcome) for each in site.trail()]
        assert found[-2::-1] == [
            (me, "key.create", key_id, "done"),
            (me, "key.revoke", key_id, "done"),
            (me, "key.revoke", key_id, "refused"),
            (me, "batch.cancel", batch_id, "done"),
            (me, "batch.cancel", UNKNOWN, "refused"),
            (me, "service.drain", "", "done"),
            (me, "service.resume", "", "done"),
        ]
        account = pwd.getpwuid(os.geteuid()).pw_name
        assert site.trail()[0].credential == f"command line as {account}"

    def test_a_purge_is_kept(self, site: Site) -> None:
        batch_id = site.make()
        with site.store._db.write() as db:
            db.execute_sql("UPDATE batch SET finished_at = 5 WHERE batch_id = ?", (batch_id,))
        assert site.admin("purge", "--older-than", "1", "--dry-run").exit_code == 0
        assert site.trail(what="batch.purge") == []
        assert site.admin("purge", "--older-than", "1", "--user", "anna").exit_code == 0
        (act,) = site.trail(what="batch.purge")
        assert (act.owner, act.detail) == ("anna", "1 batches, older than 1 days")

    def test_it_is_read(self, site: Site) -> None:
        assert site.admin("audit").stderr == "Nothing of that kind.\n"
        batch_id = site.make()
        site.batches.cancel(ADMIN, batch_id)
        site.make(BERTA)
        rows = json.loads(site.admin("audit", "--json").stdout)
        assert list(rows[0]) == [
            "at", "user", "what", "target", "owner", "outcome", "credential", "remote",
            "request_id", "detail",
        ]  # fmt: skip
        assert [(each["user"], each["what"]) for each in rows] == [
            ("berta", "batch.create"), ("chief", "batch.cancel"), ("anna", "batch.create"),
        ]  # fmt: skip

        def whats(*options: str) -> list[str]:
            found = json.loads(site.admin("audit", "--json", *options).stdout)
            return [each["what"] for each in found]

        assert whats("--user", "anna") == ["batch.cancel", "batch.create"]
        assert whats("--what", "batch.cancel") == ["batch.cancel"]
        assert len(whats("--what", "batch")) == 3
        assert whats("--what", "bat") == []
        assert len(whats("--target", batch_id)) == 2
        assert whats("--limit", "1") == ["batch.create"]
        assert len(whats("--since", "1h")) == 3
        assert len(whats("--since", "2020-01-01T00:00:00Z")) == 3
        assert whats("--since", "2999-01-01") == []
        table = site.admin("audit").stdout.splitlines()
        assert table[0].split()[:3] == ["AT", "USER", "WHAT"]
        assert len(table) == 4
        for wrong in ("yesterday", "", "d", "1e99d", "nand"):
            assert site.admin("audit", "--since", wrong).exit_code == 2

    def test_it_takes_hold_of_no_terminal(self, site: Site) -> None:
        site.store.audit.add(Act(5.0, "a\x1b[31m", "x", detail="b\u202e\nc"))
        shown = site.admin("audit").stdout
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert len(shown.splitlines()) == 2


class TestWhoRanIt:
    @pytest.mark.parametrize(
        ("loginuid", "environment", "told"),
        [
            (str(2**32 - 1), {"SUDO_USER": "anna"}, "anna"),
            ("0", {"SUDO_USER": "anna"}, "root"),
            ("4000000001", {}, "uid 4000000001"),
            ("", {"SUDO_USER": "anna"}, "anna"),
        ],
    )
    def test_is_who_has_logged_in(
        self, tmp_path: Path, loginuid: str, environment: dict[str, str], told: str
    ) -> None:
        (tmp_path / "loginuid").write_text(loginuid)
        assert person(environment, tmp_path) == told

    def test_else_the_account(self, tmp_path: Path) -> None:
        assert person({}, tmp_path) == pwd.getpwuid(os.getuid()).pw_name


class TestAside:
    def test_what_commands_did_is_told_in_the_daemons_log(
        self, site: Site, log: io.StringIO
    ) -> None:
        site.admin("drain", "--why", "before the start")
        access = Access(load(site.settings), site.store, Health())
        site.admin("resume")
        site.make()
        access.tick(1e9)
        access.tick(1e9)
        lines = [each for each in log.getvalue().splitlines() if "service." in each]
        assert len(lines) == 1
        assert "what=service.resume" in lines[0]

    def test_no_longer_than_batches_and_no_more_than_so_many(self, site: Site) -> None:
        access = Access(load(site.settings), site.store, Health())
        now, day = 1e9, 86_400.0
        with site.store._db.write() as db:
            for age in (31, 30.5, 29, 0):
                db.execute_sql(
                    "INSERT INTO audit (at, user_id, what, target, owner, outcome, credential,"
                    " remote, request_id, detail) VALUES (?, 'a', 'x', '', '', 'done', '', '', '',"
                    " '')", (now - age * day,),
                )  # fmt: skip
        assert access.tick(now) == 0.1
        assert [each.at for each in site.trail()] == [now, now - 29 * day]
        assert access.tick(now) is None
        with site.store._db.write() as db:
            db.execute_sql(
                "INSERT INTO audit (at, user_id, what, target, owner, outcome, credential, remote,"
                " request_id, detail) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1"
                " FROM n WHERE i < 1500) SELECT ?, 'a', 'x', i, '', 'done', '', '', '', '' FROM n",
                (now,),
            )
        while access.tick(now):
            pass
        assert len(site.trail()) == 1000
        assert site.trail()[0].target == "1500"
