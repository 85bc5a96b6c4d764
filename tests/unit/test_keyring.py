"""A user's own API keys, on a real database."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmbatch.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from slurmbatch.identity import Identity
from slurmbatch.identity.keyring import LIVE_AT_MOST, Keyring
from slurmbatch.identity.uses import Uses
from slurmbatch.model import USUAL_SCOPES, Caller, NewKey, Scope
from slurmbatch.store import Store, open_store
from slurmbatch.store.keys import DEAD_AT_MOST

NOW = 1_800_000_000.0
DAY = 86_400.0
READ = frozenset((Scope.READ,))
ALL = frozenset(Scope)
ANNA = Caller("anna", "jwt https://login.example")


class Clock:
    """Time as a test says it is."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "state" / "x.sqlite", exclusive=True)
    yield made
    made.close()


@pytest.fixture
def keyring(store: Store, clock: Clock) -> Keyring:
    return Keyring(store.keys, 365, clock)


@pytest.fixture
def identity(store: Store, clock: Clock) -> Identity:
    return Identity(store.keys, (), clock, Uses(store.keys))


def test_a_key_works_for_who_made_it(keyring: Keyring, identity: Identity) -> None:
    kept, secret = keyring.create(ANNA, NewKey("laptop"))
    caller = identity.authenticate(secret)
    assert caller == Caller(
        "anna", f"key {kept.key_id}", USUAL_SCOPES, kept.key_id, NOW + 365 * DAY
    )
    assert keyring.one(caller, kept.key_id).name == "laptop"


def test_a_dump_of_the_database_holds_no_key(
    keyring: Keyring, store: Store, tmp_path: Path
) -> None:
    secrets = [keyring.create(ANNA, NewKey())[1] for _ in range(3)]
    store.close()
    held = b"".join(file.read_bytes() for file in (tmp_path / "state").iterdir())
    assert b"anna" in held
    for secret in secrets:
        assert secret.split("_", 2)[2].encode() not in held


class TestMadeWithAKey:
    def test_it_has_no_other_scopes(self, keyring: Keyring, identity: Identity) -> None:
        reader = identity.authenticate(keyring.create(ANNA, NewKey(scopes=READ))[1])
        with pytest.raises(Invalid) as refused:
            keyring.create(reader, NewKey(scopes=USUAL_SCOPES))
        (fault,) = refused.value.faults
        assert (fault.pointer, fault.detail[:22]) == ("/scopes", "Expected some of read,")
        assert "submit" in fault.detail
        assert keyring.create(reader, NewKey())[0].scopes == READ

    def test_administrators_keys_have_to_be_asked_for(self, keyring: Keyring) -> None:
        admin = Caller("root", "key x", ALL)
        assert keyring.create(admin, NewKey())[0].scopes == USUAL_SCOPES
        assert keyring.create(admin, NewKey(scopes=ALL))[0].scopes == ALL
        with pytest.raises(Invalid):
            keyring.create(ANNA, NewKey(scopes=ALL))

    def test_it_ends_with_it(self, keyring: Keyring, identity: Identity) -> None:
        short = identity.authenticate(keyring.create(ANNA, NewKey(expires_at=NOW + DAY))[1])
        assert keyring.create(short, NewKey())[0].expires_at == NOW + DAY
        with pytest.raises(Invalid) as refused:
            keyring.create(short, NewKey(expires_at=NOW + DAY + 1))
        assert refused.value.faults[0].pointer == "/expires_at"
        assert "2027-01-16T08:00:00Z" in refused.value.faults[0].detail

    def test_it_goes_with_it_and_so_does_what_it_made(
        self, keyring: Keyring, identity: Identity
    ) -> None:
        secret, other = keyring.create(ANNA, NewKey())[1], keyring.create(ANNA, NewKey())[1]
        family = [secret]
        for _ in range(3):
            family.append(keyring.create(identity.authenticate(family[-1]), NewKey())[1])
        keyring.revoke(ANNA, family[1].split("_")[1])
        assert identity.known(secret) is not None
        assert [identity.known(each) for each in family[1:]] == [None] * 3
        assert identity.known(other) is not None

    def test_not_once_that_is_revoked(self, keyring: Keyring, identity: Identity) -> None:
        kept, secret = keyring.create(ANNA, NewKey())
        caller = identity.authenticate(secret)
        keyring.revoke(ANNA, kept.key_id)
        with pytest.raises(Unauthenticated):
            keyring.create(caller, NewKey())
        assert len(keyring.all(ANNA)) == 1


@pytest.mark.parametrize("at", [NOW, NOW - 1, 0.0, NOW + 365 * DAY + 1])
def test_an_end_that_may_not_be(keyring: Keyring, at: float) -> None:
    with pytest.raises(Invalid) as refused:
        keyring.create(ANNA, NewKey(expires_at=at))
    assert [each.pointer for each in refused.value.faults] == ["/expires_at"]


def test_so_many_and_no_more(keyring: Keyring, clock: Clock) -> None:
    made = [keyring.create(ANNA, NewKey())[0].key_id for _ in range(LIVE_AT_MOST)]
    with pytest.raises(Conflict):
        keyring.create(ANNA, NewKey())
    keyring.create(Caller("berta", "x"), NewKey())
    keyring.revoke(ANNA, made[0])
    keyring.create(ANNA, NewKey())
    clock.now += 366 * DAY
    keyring.create(ANNA, NewKey())  # all the others have expired


def test_making_and_revoking_fills_no_database(keyring: Keyring, clock: Clock) -> None:
    for _ in range(DEAD_AT_MOST + 20):
        clock.now += 1
        keyring.revoke(ANNA, keyring.create(ANNA, NewKey())[0].key_id)
    assert len(keyring.all(ANNA)) <= DEAD_AT_MOST + 1
    assert keyring.all(ANNA)[0].created_at == clock.now


class TestRevoking:
    def test_again_does_no_harm(self, keyring: Keyring, clock: Clock) -> None:
        kept, _ = keyring.create(ANNA, NewKey())
        keyring.revoke(ANNA, kept.key_id)
        clock.now += 5
        keyring.revoke(ANNA, kept.key_id)
        assert keyring.one(ANNA, kept.key_id).revoked_at == NOW

    def test_somebody_elses_is_not_there(self, keyring: Keyring, identity: Identity) -> None:
        kept, secret = keyring.create(ANNA, NewKey())
        for call in (keyring.revoke, keyring.one):
            with pytest.raises(NotFound):
                call(Caller("berta", "x"), kept.key_id)
        assert keyring.all(Caller("berta", "x")) == []
        assert identity.known(secret) is not None

    def test_one_that_may_only_look_gives_up_itself_and_no_other(
        self, keyring: Keyring, identity: Identity
    ) -> None:
        other, _ = keyring.create(ANNA, NewKey())
        secret = keyring.create(ANNA, NewKey(scopes=READ))[1]
        reader = identity.authenticate(secret)
        with pytest.raises(Forbidden):
            keyring.revoke(reader, other.key_id)
        keyring.revoke(reader, reader.key_id)
        assert identity.known(secret) is None


class TestLastUse:
    def test_it_is_written_aside_and_once_a_minute(self, store: Store, clock: Clock) -> None:
        uses = Uses(store.keys)
        identity, keyring = Identity(store.keys, (), clock, uses), Keyring(store.keys, 365, clock)
        kept, secret = keyring.create(ANNA, NewKey())
        commits: list[float] = []
        store.on_commit(lambda: commits.append(clock.now))
        written = []
        for _ in range(150):
            identity.authenticate(secret)
            uses.tick(clock.now)
            written.append(keyring.one(ANNA, kept.key_id).used_at)
            clock.now += 1
        assert commits == [NOW, NOW + 60, NOW + 120]
        assert [at for at, _ in itertools.groupby(written)] == commits

    def test_a_refused_key_was_not_used(self, store: Store, clock: Clock) -> None:
        uses = Uses(store.keys)
        kept, secret = Keyring(store.keys, 365, clock).create(ANNA, NewKey())
        Identity(store.keys, (), clock, uses).known(secret[:-1] + "!")
        Identity(store.keys, (), clock, uses).known(secret[:-3] + "AAA")
        uses.tick(NOW)
        found = store.keys.key(kept.key_id)
        assert found is not None
        assert found.used_at is None
