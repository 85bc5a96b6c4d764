"""Who a caller is: a corpus of tokens and keys, nearly all of which must be turned away."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
from dataclasses import dataclass, field, replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from slurmbatch.errors import StoreUnavailable, Unauthenticated
from slurmbatch.identity import USER_ID, Identity, new_key
from slurmbatch.identity.munge import Munge
from slurmbatch.identity.tokens import Tokens
from slurmbatch.model import ApiKey, Caller, Scope

NOW = 1_800_000_000.0
SECRET = b"0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def public_pem(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


@dataclass(frozen=True)
class FakeIssuer:
    issuer: str
    algorithms: tuple[str, ...]
    key: str | bytes
    audience: str = "slurmbatch"
    user_claim: str = "sub"
    leeway: int = 5
    user_pattern: str = ""
    users: dict[str, str] = field(default_factory=dict)


@dataclass
class FakeKeys:
    known: dict[str, ApiKey] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def key(self, key_id: str) -> ApiKey | None:
        self.asked.append(key_id)
        return self.known.get(key_id)


SHARED = FakeIssuer("https://shared.example", ("HS256",), SECRET)
PUBLIC = FakeIssuer("https://public.example", ("RS256",), public_pem(RSA))
CURVE = FakeIssuer("https://curve.example", ("ES256",), public_pem(EC), user_claim="username")


@pytest.fixture
def keys() -> FakeKeys:
    return FakeKeys()


@pytest.fixture
def identity(keys: FakeKeys) -> Identity:
    return Identity(keys, (SHARED, PUBLIC, CURVE), clock=lambda: NOW)


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims of the shared issuer; a change to `...` leaves the claim out."""
    good: dict[str, Any] = {
        "iss": SHARED.issuer,
        "aud": "slurmbatch",
        "sub": "anna",
        "iat": NOW - 10,
        "exp": NOW + 600,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def part(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def signed(
    payload: Any, header: dict[str, Any] | None = None, key: bytes = SECRET, hash: str = "sha256"
) -> str:
    """An HMAC-signed token, put together by hand, so that it may be wrong in any way."""
    signing = f"{part(header or {'alg': 'HS256', 'typ': 'JWT'})}.{part(payload)}"
    return f"{signing}.{part(hmac.digest(key, signing.encode(), hash))}"


def refused(identity: Identity, header: str | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        identity.authenticate(header)
    assert caught.value.detail == Unauthenticated.__doc__


# --- tokens that are good ------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_with_a_shared_secret(identity: Identity, scheme: str) -> None:
    caller = identity.authenticate(f"{scheme} {signed(claims())}")
    assert caller == Caller("anna", "jwt https://shared.example")


def test_a_token_with_a_public_key(identity: Identity) -> None:
    token = jwt.encode(claims(iss=PUBLIC.issuer), private_pem(RSA), "RS256")
    assert identity.authenticate(f"Bearer {token}").user_id == "anna"


def test_another_claim_may_name_the_user(identity: Identity) -> None:
    payload = claims(iss=CURVE.issuer, sub="0815-uuid", username="berta")
    token = jwt.encode(payload, private_pem(EC), "ES256")
    assert identity.authenticate(f"Bearer {token}").user_id == "berta"


GOOD = {
    "audience among several": {"aud": ["other", "slurmbatch"]},
    "not before, passed": {"nbf": NOW - 1},
    "times with fractions": {"exp": NOW + 0.5, "iat": NOW - 0.5},
    "expired within the leeway": {"exp": NOW - 4},
    "issued ahead within the leeway": {"iat": NOW + 4},
    "not before within the leeway": {"nbf": NOW + 4},
    "a claim of no concern": {"scope": ["all"], "jti": "1"},
    "a user like an address": {"sub": "anna.b-c_d@example.org"},
}


@pytest.mark.parametrize("changes", GOOD.values(), ids=GOOD.keys())
def test_good_claims(identity: Identity, changes: dict[str, Any]) -> None:
    assert identity.authenticate(f"Bearer {signed(claims(**changes))}").user_id


class TestKidJkuX5uJwk:
    """Whatever a token says of keys is not looked at."""

    @pytest.mark.parametrize(
        "extra",
        [
            {"kid": "../../dev/null"},
            {"kid": "' OR 1=1 --"},
            {"jku": "file:///etc/passwd", "x5u": "https://evil.example", "x5c": ["AAAA"]},
            {"jwk": {"kty": "oct", "k": "AAAA"}},
        ],
    )
    def test_keys_named_in_the_header_are_not_looked_at(
        self, identity: Identity, extra: dict[str, Any]
    ) -> None:
        header = {"alg": "HS256", **extra}
        assert identity.authenticate(f"Bearer {signed(claims(), header)}").user_id == "anna"
        refused(identity, f"Bearer {signed(claims(), header, key=b'A' * 32)}")


# --- tokens that are not -------------------------------------------------------------------------

WRONG_TYPES: list[Any] = [None, "", [], {}, True, [NOW + 600], {"a": 1}, "soon"]
BAD_CLAIMS: dict[str, dict[str, Any]] = {
    **{f"no {name}": {name: ...} for name in ("exp", "iat", "aud", "iss", "sub")},
    **{
        f"{name} is {value!r}": {name: value}
        for name in ("exp", "iat", "nbf")
        for value in [*WRONG_TYPES, str(NOW), float("inf"), float("nan")]
    },
    **{f"aud is {value!r}": {"aud": value} for value in [*WRONG_TYPES, 7]},
    **{f"iss is {value!r}": {"iss": value} for value in [*WRONG_TYPES, 7, [SHARED.issuer]]},
    **{f"sub is {value!r}": {"sub": value} for value in [*WRONG_TYPES[:-1], 7, 0, ["anna"]]},
    "expired": {"exp": NOW - 6},
    "expired at the end of the leeway": {"exp": NOW - 5},
    "issued in the future": {"iat": NOW + 6},
    "not before": {"nbf": NOW + 6},
    "for somebody else": {"aud": "other"},
    "for several others": {"aud": ["other", "slurmbatch2"]},
    "for us and a number": {"aud": ["slurmbatch", 7]},
    "audience in another case": {"aud": "Slurmbatch"},
    "issuer with a slash": {"iss": SHARED.issuer + "/"},
    "issuer unknown": {"iss": "https://evil.example"},
    "issuer of another key": {"iss": PUBLIC.issuer},
    **{
        f"user {user!r}": {"sub": user}
        for user in (
            "a\n", "\na", "a b", "a/b", "../x", "-rf", ".a", "@a", "a\0", "ä", "a;b", "a" * 129,
            "a\u202eb", "$(id)", "a,b", "a\u00a0", "\uff41",
        )
    },
}  # fmt: skip


class TestExpNbfAudIss:
    """Each missing, of a wrong type, a list, a second too late or too early."""

    @pytest.mark.parametrize("changes", BAD_CLAIMS.values(), ids=BAD_CLAIMS.keys())
    def test_bad_claims(self, identity: Identity, changes: dict[str, Any]) -> None:
        refused(identity, f"Bearer {signed(claims(**changes))}")


class TestAlgNoneAndConfusion:
    """No algorithm, and those of another family, or of none of the issuer's."""

    @pytest.mark.parametrize(
        "algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, [], "HS256 "]
    )
    @pytest.mark.parametrize("signature", ["", "AAAA"])
    def test_no_algorithm(self, identity: Identity, algorithm: Any, signature: str) -> None:
        for issuer in (SHARED, PUBLIC):
            body = f"{part({'alg': algorithm})}.{part(claims(iss=issuer.issuer))}"
            refused(identity, f"Bearer {body}.{signature}")

    @pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
    def test_the_public_key_is_no_shared_secret(self, identity: Identity, algorithm: str) -> None:
        """The old way from RS256 to HS256: sign with what everybody knows."""
        pem = public_pem(RSA).encode()
        for key in (pem, pem.strip(), pem.replace(b"\n", b"\r\n")):
            token = signed(
                claims(iss=PUBLIC.issuer),
                {"alg": algorithm},
                key,
                f"sha{algorithm.removeprefix('HS')}",
            )
            refused(identity, f"Bearer {token}")

    def test_algorithms_that_the_issuer_does_not_use(self, identity: Identity) -> None:
        refused(identity, f"Bearer {signed(claims(), {'alg': 'HS512'}, SECRET, 'sha512')}")
        for algorithm in ("RS512", "PS256"):
            token = jwt.encode(claims(iss=PUBLIC.issuer), private_pem(RSA), algorithm)
            refused(identity, f"Bearer {token}")


def test_keys_of_others(identity: Identity) -> None:
    refused(identity, f"Bearer {signed(claims(), key=b'x' * 32)}")
    refused(identity, f"Bearer {signed(claims(), key=b'')}")
    token = jwt.encode(claims(iss=PUBLIC.issuer), private_pem(OTHER_RSA), "RS256")
    refused(identity, f"Bearer {token}")
    token = jwt.encode(claims(iss=SHARED.issuer), private_pem(RSA), "RS256")
    refused(identity, f"Bearer {token}")


class TestCrit:
    """An extension that is called critical is refused, known or not."""

    @pytest.mark.parametrize(
        "crit", [["exp"], ["b64"], ["made-up"], [], "exp", None, [1], ["b64", "made-up"]]
    )
    def test_extensions_that_are_critical(self, identity: Identity, crit: Any) -> None:
        header = {"alg": "HS256", "crit": crit, "made-up": 1}
        refused(identity, f"Bearer {signed(claims(), header)}")


GOOD_TOKEN = signed(claims())
HEAD, BODY, SIGNATURE = GOOD_TOKEN.split(".")
MALFORMED = {
    "nothing": "",
    "dots": "...",
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{GOOD_TOKEN}.{SIGNATURE}",
    "no signature": f"{HEAD}.{BODY}.",
    "half a signature": GOOD_TOKEN[:-10],
    "a changed body": f"{HEAD}.{part(claims(sub='root'))}.{SIGNATURE}",
    "a changed header": f"{part({'alg': 'HS256'})}.{BODY}.{SIGNATURE}",
    "padding": GOOD_TOKEN + "==",
    "a space": GOOD_TOKEN.replace(".", ". "),
    "two tokens": f"{GOOD_TOKEN} {GOOD_TOKEN}",
    "a newline": GOOD_TOKEN + "\n",
    "not base64": "!!!.???.###",
    "a list for claims": signed([1, 2]),
    "text for claims": signed(b"hello"),
    "a list for a header": f"{part([1])}.{BODY}.{SIGNATURE}",
    "deep claims": signed(b"[" * 3000 + b"]" * 3000),
    "a long number": signed(b'{"iss":' + b"9" * 5000 + b"}"),
    "huge": signed(claims(x="y" * 20_000)),
    "a megabyte": signed(claims(), {"alg": "HS256", "kid": "k" * 1_000_000}),
    "kid is a list": signed(claims(), {"alg": "HS256", "kid": ["a"]}),
    "not ASCII": GOOD_TOKEN + "ä",
    "surrogates": GOOD_TOKEN + "\udcff",
    "not UTF-8 inside": signed(b'{"iss":"\xff"}'),
}


@pytest.mark.parametrize("token", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_tokens(identity: Identity, token: str) -> None:
    refused(identity, f"Bearer {token}")


@pytest.mark.parametrize(
    "header",
    [
        None, "", " ", "Bearer", "Bearer ", "Basic YTpi", "Negotiate x", GOOD_TOKEN,
        f"Token {GOOD_TOKEN}", f"Bearer{GOOD_TOKEN}", f"Bearer: {GOOD_TOKEN}", "ä", "\xff\xfe",
        f"Basic YTpi, Bearer {GOOD_TOKEN}", f"Bearer {GOOD_TOKEN}, Bearer x", "Bearer \0", "\udc80",
    ],
)  # fmt: skip
def test_headers_that_are_no_credentials(identity: Identity, header: str | None) -> None:
    refused(identity, header)


def test_no_issuers_no_tokens(keys: FakeKeys) -> None:
    refused(Identity(keys, (), clock=lambda: NOW), f"Bearer {GOOD_TOKEN}")


# --- API keys ------------------------------------------------------------------------------------


def make_key(keys: FakeKeys, **changes: Any) -> str:
    kept, secret = new_key("anna", None, NOW)
    keys.known[kept.key_id] = replace(kept, **changes)
    return secret


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}", " {} "])
def test_an_api_key(identity: Identity, keys: FakeKeys, form: str) -> None:
    key = make_key(keys)
    caller = identity.authenticate(form.format(key))
    key_id = key.split("_")[1]
    assert caller == Caller("anna", f"key {key_id}", key_id=key_id)


def test_what_is_kept_of_a_key_does_not_tell_it() -> None:
    kept, key = new_key("anna", NOW + 60, NOW)
    prefix, key_id, secret = key.split("_", 2)
    assert (prefix, key_id, len(key_id), len(secret)) == ("sbk", kept.key_id, 12, 43)
    assert kept == ApiKey(
        key_id, "anna", hashlib.sha256(secret.encode()).digest(), NOW, NOW + 60, None
    )
    assert secret not in repr(kept)


def test_keys_differ() -> None:
    made = [new_key("anna", None, NOW) for _ in range(50)]
    assert len({kept.key_id for kept, _ in made}) == len({key for _, key in made}) == 50


@pytest.mark.parametrize("user", ["", "-a", "a\n", "a b", "ä", "a" * 129, "root/"])
def test_no_key_for_what_is_no_user(user: str) -> None:
    with pytest.raises(ValueError, match="not a user name"):
        new_key(user, None, NOW)


@pytest.mark.parametrize("user", ["a", "_a", "0", "a" * 128, "A.b-c_d@e"])
def test_user_names(user: str) -> None:
    assert USER_ID.fullmatch(user)


def test_expiry(identity: Identity, keys: FakeKeys) -> None:
    assert identity.authenticate(make_key(keys, expires_at=NOW + 0.1))
    refused(identity, make_key(keys, expires_at=NOW))
    refused(identity, make_key(keys, expires_at=NOW - 1))


def test_revocation(identity: Identity, keys: FakeKeys) -> None:
    refused(identity, make_key(keys, revoked_at=NOW - 1))


def test_wrong_secrets(identity: Identity, keys: FakeKeys) -> None:
    key = make_key(keys)
    last = "A" if key[-1] != "A" else "E"
    for wrong in (
        key[:-1] + last, key[:-1], key + "A", key.upper(), key + "\n", key + "=", key + " x",
        key.replace("sbk", "sbx"), key[:16], "x" + key, f"Basic {key}", f"Bearer Bearer {key}",
    ):  # fmt: skip
        refused(identity, wrong)


def test_an_unknown_key_takes_the_same_path(identity: Identity, keys: FakeKeys) -> None:
    _, unknown = new_key("anna", None, NOW)
    refused(identity, unknown)
    assert keys.asked == [unknown.split("_")[1]]


def test_the_key_of_nobody_opens_nothing(identity: Identity, keys: FakeKeys) -> None:
    keys.known["a" * 12] = ApiKey("a" * 12, "anna", b"", NOW)
    refused(identity, f"sbk_{'a' * 12}_{'A' * 43}")


def test_a_database_that_is_down_is_no_wrong_key() -> None:
    class Down:
        def key(self, key_id: str) -> ApiKey | None:
            raise StoreUnavailable

    _, key = new_key("anna", None, NOW)
    with pytest.raises(StoreUnavailable):
        Identity(Down()).authenticate(key)


class TestByKey:
    """Where nothing may be waited for."""

    @pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}", " {} "])
    def test_a_key_is_whose_it_is(self, identity: Identity, keys: FakeKeys, form: str) -> None:
        header = form.format(make_key(keys))
        assert identity.by_key(header) == identity.authenticate(header)

    def test_one_that_is_good_for_nothing_is_nobody_s_and_not_told_of(
        self, identity: Identity, keys: FakeKeys, log: io.StringIO
    ) -> None:
        key = make_key(keys)
        for wrong in (
            key[:-1], f"Basic {key}", f"{key} x", new_key("anna", None, NOW)[1],
            make_key(keys, expires_at=NOW), make_key(keys, revoked_at=NOW - 1), "", None,
        ):  # fmt: skip
            assert identity.by_key(wrong) is None
        assert log.getvalue() == ""

    def test_nobody_is_asked_for_anything_but_keys(
        self, keys: FakeKeys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: object) -> Any:
            raise AssertionError

        for each in (Tokens, Munge):
            monkeypatch.setattr(each, "caller_of", never)
        identity = Identity(keys, (SHARED,), lambda: NOW, is_admin=never)
        assert identity.by_key(f"Bearer {GOOD_TOKEN}") is None
        assert identity.by_key("munge MUNGE:AwQDAAA=:") is None
        assert identity.by_key(make_key(keys, scopes=frozenset(Scope))) is None
        assert keys.asked != []


def test_the_log_has_the_reason_and_no_credential(
    identity: Identity, keys: FakeKeys, log: io.StringIO
) -> None:
    key = make_key(keys, expires_at=NOW)
    token = signed(claims(exp=NOW - 60))
    for header in (key, f"Bearer {token}", "Bearer letmein"):
        refused(identity, header)
    refused(identity, None)
    expired_key, expired_token, junk = log.getvalue().splitlines()
    assert f"API key {key.split('_')[1]}: expired" in expired_key
    assert "token: expired" in expired_token
    assert "credentials refused" in junk
    for secret in (key[20:], token[-20:], "letmein"):
        assert secret not in log.getvalue()


# --- who becomes which user ----------------------------------------------------------------------


def user_of(issuer: FakeIssuer, claim: Any) -> str | None:
    identity = Identity(FakeKeys(), (issuer,), clock=lambda: NOW)
    caller = identity.known(f"Bearer {signed(claims(email=claim))}")
    return caller.user_id if caller else None


PATTERN = replace(
    SHARED, user_claim="email", user_pattern=r"([a-z][a-z0-9]{0,30})@example[.]org|x-(?:y)"
)
MAP = replace(SHARED, user_claim="email", users={"a|1": "anna", "b|2": "berta", "root": "bad/name"})


@pytest.mark.parametrize(
    ("claim", "user"),
    [
        ("anna@example.org", "anna"), ("Anna@example.org", None), ("anna@example.org\n", None),
        ("anna@example.org.evil.example", None), ("x anna@example.org", None),
        ("anna\n@example.org", None), ("root@evil.example", None), ("@example.org", None),
        ("x-y", None), ("", None), ("a" * 300 + "@example.org", None), (["anna@example.org"], None),
        (7, None), (None, None), ({"a": 1}, None),
    ],
)  # fmt: skip
def test_a_pattern_is_for_all_of_the_claim(claim: Any, user: str | None) -> None:
    assert user_of(PATTERN, claim) == user


@pytest.mark.parametrize(
    ("claim", "user"),
    [("a|1", "anna"), ("b|2", "berta"), ("anna", None), ("A|1", None), ("a|1\n", None),
     ("root", None), (["a|1"], None)],
)  # fmt: skip
def test_a_map_has_nobody_but_those_in_it(claim: Any, user: str | None) -> None:
    assert user_of(MAP, claim) == user


def test_sub_has_to_be_there_whatever_names_the_user(identity: Identity) -> None:
    payload = claims(iss=CURVE.issuer, sub=..., username="berta")
    refused(identity, f"Bearer {jwt.encode(payload, private_pem(EC), 'ES256')}")
