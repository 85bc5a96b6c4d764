"""Munge credentials: used once, new, for this service, and of an account that may have jobs."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from slurmbatch import journal
from slurmbatch.errors import (
    AccountRefused,
    AccountsUnreachable,
    Unauthenticated,
    Unavailable,
)
from slurmbatch.identity import Identity
from slurmbatch.identity.munge import AT_ONCE, Munge
from slurmbatch.model import ApiKey, Caller, Scope
from slurmbatch.slurm.unmunge import NoCredential, Unmunge, Vouched, read
from slurmbatch.web.lanes import Lanes, Waits

NOW = 1_800_000_000.0
URL = "https://batch.example.org"
GOOD = Vouched(1001, NOW, NOW, 60, b"slurmbatch:https://batch.example.org")


class NoKeys:
    def key(self, key_id: str) -> ApiKey | None:
        return None


@dataclass
class World:
    """munged and the accounts, as a test says they are."""

    vouched: Vouched = GOOD
    trouble: Exception | None = None
    accounts: dict[int, str] = field(default_factory=lambda: {1001: "anna", 0: "root"})
    refused: Exception | None = None
    now: float = NOW
    asked: list[str] = field(default_factory=list)
    urls: tuple[str, ...] = (URL, "http://login1:8765/")

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.munge = Munge(
            self.urls, self.unmunge, self.accounts.__getitem__, self.account, lambda: self.now
        )
        self.identity = Identity(NoKeys(), munge=self.munge, is_admin=lambda name: name == "chief")

    def unmunge(self, credential: str) -> Vouched:
        self.asked.append(credential)
        if self.trouble is not None:
            raise self.trouble
        return self.vouched

    def account(self, name: str) -> object:
        if self.refused is not None:
            raise self.refused
        return name

    def user(self, credential: str = "MUNGE:AwQF:", scheme: str = "Munge") -> str:
        try:
            return self.identity.authenticate(f"{scheme} {credential}").user_id
        except (Unauthenticated, Unavailable) as error:
            return type(error).__name__


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("scheme", ["Munge", "munge", "MUNGE"])
def test_a_credential_is_its_makers(world: World, scheme: str) -> None:
    caller = world.identity.authenticate(f"{scheme} MUNGE:AwQF:")
    assert caller == Caller("anna", "munge uid 1001")
    assert caller.once


def test_an_administrator_is_one_like_this_too(world: World) -> None:
    world.accounts[1001] = "chief"
    assert world.identity.authenticate("Munge MUNGE:AwQF:").scopes == frozenset(Scope)


def test_it_is_good_once(world: World) -> None:
    assert world.user() == "anna"
    assert world.user() == "Unauthenticated"
    assert world.user("MUNGE:other:") == "anna"
    world.now += 599
    assert world.user() == "Unauthenticated"


def test_what_is_remembered_of_it_is_forgotten_once_it_is_too_old(world: World) -> None:
    for number in range(100):
        world.user(f"MUNGE:{number}:")
    world.now += 601
    world.vouched = replace(GOOD, made_at=world.now, read_at=world.now)
    assert world.user("MUNGE:new:") == "anna"
    assert len(world.munge._used) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": b""}, {"payload": b"slurmbatch:"}, {"payload": b"slurmbatch:https://evil.example"},
        {"payload": b"https://batch.example.org"}, {"payload": b"slurmbatch:https://batch.example.org/x"},
        {"payload": b"slurmbatch:https://batch.example.org\x00"}, {"payload": b"\xff\xfe"},
        {"lasts": 301}, {"lasts": 0}, {"lasts": 2**31}, {"read_at": NOW + 301},
        {"read_at": NOW - 301}, {"made_at": NOW - 1}, {"uid": 4000},
    ],
    ids=str,
)  # fmt: skip
def test_one_that_is_not_as_it_should_be(world: World, changes: dict[str, Any]) -> None:
    world.vouched = replace(GOOD, **changes)
    assert world.user() == "Unauthenticated"


@pytest.mark.parametrize("payload", [b"slurmbatch:http://login1:8765", GOOD.payload + b"\n"])
def test_any_address_of_the_service_will_do(world: World, payload: bytes) -> None:
    world.vouched = replace(GOOD, payload=payload)
    assert world.user() == "anna"


def test_without_addresses_munge_lets_nobody_in(world: World) -> None:
    world.urls = ()
    world.start()
    assert world.user() == "Unauthenticated"
    assert world.asked == []


@pytest.mark.parametrize(
    "text",
    ["", "MUNGE:", "MUNGE::", "AwQF", "MUNGE:a b:", "MUNGE:a\n:", "MUNGE:" + "a" * 8001 + ":",
     "MUNGE:a:MUNGE:b:", "MUNGE:ä:", "-S/tmp/evil", "MUNGE:$(id):"],
)  # fmt: skip
def test_what_looks_like_none_is_not_even_shown_to_munged(world: World, text: str) -> None:
    assert world.user(text) == "Unauthenticated"
    assert world.asked == []


def test_what_munged_does_not_vouch_for(world: World) -> None:
    world.trouble = NoCredential("unmunge ends with 17")
    assert world.user() == "Unauthenticated"


def test_a_munged_that_gives_no_answer_is_no_verdict(world: World) -> None:
    world.trouble = Unavailable("munge gives no answer")
    assert world.user() == "Unavailable"
    world.trouble = None
    assert world.user() == "anna"


class TestWhoBecomesWhichUser:
    def test_no_account_that_may_have_no_jobs(self, world: World) -> None:
        world.refused = AccountRefused("locked")
        assert world.user() == "Unauthenticated"

    def test_nobody_can_tell(self, world: World) -> None:
        world.refused = AccountsUnreachable()
        assert world.user() == "AccountsUnreachable"

    def test_root_is_nobody_for_real(self, world: World) -> None:
        world.vouched = replace(GOOD, uid=0)
        world.munge.account = Munge(world.urls).account
        assert world.user() == "Unauthenticated"


def test_one_from_before_the_start_is_refused(world: World) -> None:
    """Used or not: nobody here remembers."""
    assert world.user() == "anna"
    world.now += 5
    world.start()
    assert world.user() == "Unauthenticated"
    world.vouched = replace(GOOD, made_at=NOW + 5, read_at=NOW + 5)
    assert world.user("MUNGE:new:") == "anna"


def test_only_so_many_are_looked_at_at_once(world: World) -> None:
    inside, go = threading.Semaphore(0), threading.Event()

    def slow(_credential: str) -> Vouched:
        inside.release()
        assert go.wait(60)
        return GOOD

    world.munge.unmunge = slow
    told: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: told.append(world.user(f"MUNGE:{n}:")))
        for n in range(AT_ONCE)
    ]
    for each in threads:
        each.start()
    for _ in threads:
        assert inside.acquire(timeout=60)
    assert world.user("MUNGE:more:") == "Unavailable"
    go.set()
    for each in threads:
        each.join(60)
    assert told == ["anna"] * AT_ONCE


def test_a_look_uses_nothing_up(world: World) -> None:
    for header in ("Munge MUNGE:AwQF:", " munge MUNGE:AwQF:"):
        assert world.identity.known(header) is None
    assert world.asked == []


def test_it_is_not_logged(world: World, log: io.StringIO) -> None:
    world.trouble = NoCredential("no")
    world.user("MUNGE:AwQFsecret:")
    journal.get("x").info("careless", header="Munge MUNGE:AwQFsecret:")
    assert "secret" not in log.getvalue()
    assert "credentials refused" in log.getvalue()


def test_who_asks_munge_holds_up_nobody_who_only_looks() -> None:
    lanes = Lanes(1, Waits())

    @dataclass
    class Request:
        headers: dict[str, str]
        command: str = "GET"
        path: str = "/tools"

    @dataclass
    class Task:
        requests: list[Request]

    short = lanes._lane(Task([Request({})]))
    assert lanes._lane(Task([Request({"AUTHORIZATION": "Munge MUNGE:a:"})])) is not short
    assert lanes._lane(Task([Request({"AUTHORIZATION": "Bearer x"})])) is short
    lanes.shutdown()


class TestUnmunge:
    def test_what_it_says(self) -> None:
        text = b"ENCODE_TIME:     5\nDECODE_TIME:     6\nTTL:             60\nUID:    7\n\na\n\nb"
        assert read(text) == Vouched(7, 5, 6, 60, b"a\n\nb")

    @pytest.mark.parametrize(
        "text", [b"", b"\n\n", b"UID: 7\n\n", b"ENCODE_TIME: x\nDECODE_TIME: 1\nTTL: 1\nUID: 1\n\n"]
    )
    def test_what_it_does_not_say(self, text: bytes) -> None:
        with pytest.raises(NoCredential):
            read(text)

    def test_no_munged_there(self, tmp_path: Path) -> None:
        nobody = Unmunge(tmp_path / "socket")
        with pytest.raises(Unavailable):
            nobody("MUNGE:AwQF:")
        with pytest.raises(Unavailable):
            nobody.try_out()
