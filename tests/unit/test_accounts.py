"""Who becomes which Unix user, and who is in which group."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import time
from pathlib import Path
from typing import Any

import pytest

from slurmbatch import accounts
from slurmbatch.accounts import Account, Groups, find
from slurmbatch.errors import AccountRefused, AccountsUnreachable

ALICE: dict[str, Any] = {
    "pw_name": "alice", "pw_uid": 4001, "pw_gid": 4001, "pw_gecos": "", "pw_dir": "/home/alice",
    "pw_shell": "/bin/bash",
}  # fmt: skip


def entry(**changes: Any) -> pwd.struct_passwd:
    made = {**ALICE, **changes}
    return pwd.struct_passwd((made["pw_name"], "x", made["pw_uid"], made["pw_gid"],
                              made["pw_gecos"], made["pw_dir"], made["pw_shell"]))  # fmt: skip


def looked_up(etc: Path, name: str = "alice", **changes: Any) -> Account:
    """The account, on a system that has this one only."""
    return find(name, etc, lambda _: entry(**changes))


def test_an_account_of_a_person(tmp_path: Path) -> None:
    found = looked_up(tmp_path)
    assert (found.name, found.uid, found.gid, str(found.home)) == (
        "alice", 4001, 4001, "/home/alice"
    )  # fmt: skip
    assert found.umask == 0o022


@pytest.mark.parametrize(
    "name",
    ["root", "0", "1000", "Alice", "a\n", "a\0b", "", "-u", "#0", "../x", "a:b", "a b", "ä",
     "daemon", "nobody", "no-such-account-here", "x" * 129, "slurm" * 40],
)  # fmt: skip
def test_names_that_are_nobodys_on_this_system(name: str) -> None:
    with pytest.raises(AccountRefused) as refusal:
        find(name)
    assert "\n" not in refusal.value.detail
    assert len(refusal.value.detail) < 200


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pw_uid": 0}, "of the system"),
        ({"pw_uid": 999}, "of the system"),
        ({"pw_uid": 65534}, "of the system"),
        ({"pw_uid": 2**32 - 1}, "of the system"),
        ({"pw_gid": 0}, "of the system"),
        ({"pw_shell": "/usr/sbin/nologin"}, "locked"),
        ({"pw_shell": "/bin/false"}, "locked"),
        # A directory service may find it by another spelling.
        ({"pw_name": "Alice"}, "no account"),
        ({"pw_name": "alice@example.org"}, "no account"),
    ],
)
def test_accounts_as_which_no_jobs_run(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(AccountRefused, match=why):
        looked_up(tmp_path, **changes)


TODAY = int(time.time() // 86400)


@pytest.mark.parametrize(
    ("password", "expires", "locked"),
    [
        ("$y$j9T$x", "", False),
        ("!", "", False),  # never had one
        ("!!", "", False),
        ("*", "", False),
        ("!*", "", False),
        ("!$y$j9T$x", "", True),
        ("!!$6$x", "", True),
        ("$y$j9T$x", "1", True),
        ("$y$j9T$x", str(TODAY), True),
        ("$y$j9T$x", str(TODAY + 2), False),
    ],
)
def test_an_account_that_is_locked_or_expired(
    tmp_path: Path, password: str, expires: str, locked: bool
) -> None:
    (tmp_path / "shadow").write_text(
        f"bob:!$y$x:1:0:99999:7::1:\nalice:{password}:1:0:99999:7::{expires}:\n"
    )
    if locked:
        with pytest.raises(AccountRefused, match="'alice' is locked"):
            looked_up(tmp_path)
    else:
        assert looked_up(tmp_path).uid == 4001


@pytest.mark.parametrize(
    ("gecos", "defs", "umask"),
    [
        ("", "", 0o022),
        ("", "UMASK 027\n", 0o027),
        ("", "#UMASK 077\nUMASK\t\t077 # all\n", 0o077),
        ("", "UMASK nonsense\n", 0o022),
        ("Alice,,,,umask=0007", "UMASK 077\n", 0o007),
        ("umask=7,x", "", 0o007),
        ("Alice umask=0007", "UMASK 077\n", 0o077),
    ],
)
def test_the_umask_that_a_login_has(tmp_path: Path, gecos: str, defs: str, umask: int) -> None:
    (tmp_path / "login.defs").write_text(defs)
    assert looked_up(tmp_path, pw_gecos=gecos).umask == umask


def test_with_a_group_of_ones_own_that_group_may_do_the_same(tmp_path: Path) -> None:
    (tmp_path / "login.defs").write_text("UMASK 022\nUSERGROUPS_ENAB yes\n")
    group = next(each for each in grp.getgrall() if each.gr_gid)
    own = {"pw_name": group.gr_name, "pw_gid": group.gr_gid}
    assert looked_up(tmp_path, name=group.gr_name, **own).umask == 0o002
    assert looked_up(tmp_path, pw_gid=group.gr_gid).umask == 0o022


@pytest.mark.parametrize("trouble", [errno.EIO, errno.ECONNREFUSED, errno.EAGAIN, errno.EMFILE])
def test_a_database_that_cannot_be_asked_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, trouble: int
) -> None:
    def missing(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(accounts, "_trouble", lambda name: trouble)
    with pytest.raises(AccountsUnreachable):
        find("alice", look_up=missing)


def test_what_getpwnam_says_of_a_name_that_is_not_there() -> None:
    assert accounts._trouble("no-such-account-here") not in accounts._COULD_NOT_BE_ASKED
    assert accounts._trouble("root") == 0


class TestGroups:
    def test_membership_is_by_number_and_of_any_of_them(self) -> None:
        first, second = [each for each in grp.getgrall() if each.gr_gid][:2]
        groups = Groups(groups_of=lambda name: frozenset({second.gr_gid} if name == "a" else ()))
        assert groups.is_in_any("a", (first.gr_name, second.gr_name))
        assert not groups.is_in_any("a", (first.gr_name,))
        assert not groups.is_in_any("b", (second.gr_name,))
        assert not groups.is_in_any("a", ("no-such-group-here",))
        assert not groups.is_in_any("a", ())

    def test_who_has_no_account_for_jobs_is_in_none(self) -> None:
        root = grp.getgrgid(0).gr_name
        assert not Groups().is_in_any("root", (root,))
        assert not Groups().is_in_any("nobody-at-all", (root,))

    def test_it_is_asked_anew_after_a_while_and_not_each_time(self) -> None:
        now, asked = [0.0], []

        def groups_of(name: str) -> frozenset[int]:
            asked.append(name)
            return frozenset({os.getgid()} if now[0] else ())

        group = grp.getgrgid(os.getgid()).gr_name
        groups = Groups(kept=30, clock=lambda: now[0], groups_of=groups_of)
        assert not groups.is_in_any("a", (group,))
        assert not groups.is_in_any("a", (group,))
        assert len(asked) == 1
        now[0] = 31.0
        assert groups.is_in_any("a", (group,))
        assert len(asked) == 2

    def test_its_memory_is_bounded(self) -> None:
        groups = Groups(groups_of=lambda name: frozenset())
        for number in range(accounts.KEPT_AT_MOST + 10):
            groups.is_in_any(f"u{number}", ("no-such-group-here",))
        assert len(groups._members) <= accounts.KEPT_AT_MOST
