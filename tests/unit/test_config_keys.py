"""Issuers of tokens: their keys fit their algorithms, and secrets stay secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm

from slurmbatch.config import Issuer, load
from slurmbatch.config.keysets import KeySet
from slurmbatch.errors import SettingsError

SECRET = b"0123456789abcdef0123456789abcdef"
PRIVATE = ec.generate_private_key(ec.SECP256R1())


def pem(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    public = private.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


EC_KEY = pem(PRIVATE)
RSA_KEY = pem(rsa.generate_private_key(65537, 2048))
SHORT_RSA_KEY = pem(rsa.generate_private_key(65537, 1024))
EDWARDS_KEY = pem(ed25519.Ed25519PrivateKey.generate())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "tools.d").mkdir()
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    (tmp_path / "key.pem").write_text(EC_KEY)
    return tmp_path / "slurmbatch.toml"


def issuer(algorithms: str, key: str, more: str = "", name: str = "https://a") -> str:
    return (
        f'[[auth.jwt]]\nissuer = "{name}"\naudience = "us"\nalgorithms = {algorithms}\n'
        f"{key}\n{more}\n"
    )


def issuers(file: Path, *tables: str) -> tuple[Issuer, ...]:
    file.write_text('[jobs]\nlog_dir = "/logs"\n' + "".join(tables))
    return load(file).auth.jwt


def mistakes(file: Path, *tables: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        issuers(file, *tables)
    return [each.removeprefix(f"{file}: auth.jwt") for each in caught.value.mistakes]


HMAC = issuer('["HS256"]', 'secret_file = "secret"')


def test_a_shared_secret(file: Path) -> None:
    assert issuers(file, HMAC) == (Issuer("https://a", "us", ("HS256",), SECRET),)


def test_the_key_does_not_show(file: Path) -> None:
    assert SECRET.decode() not in repr(issuers(file, HMAC))


@pytest.mark.parametrize(
    ("algorithms", "key"),
    [
        ('["RS256", "PS512"]', RSA_KEY),
        ('["ES256"]', EC_KEY),
        ('["EdDSA"]', EDWARDS_KEY),
    ],
)
def test_a_public_key_that_fits(file: Path, algorithms: str, key: str) -> None:
    file.with_name("key.pem").write_text(key)
    (made,) = issuers(file, issuer(algorithms, 'public_key_file = "key.pem"', "leeway = 5"))
    assert (made.key, made.leeway, made.user_claim) == (key, 5, "sub")


@pytest.mark.parametrize(
    ("algorithms", "key", "found"),
    [
        ('["RS256"]', EC_KEY, "found another kind of key, expected an RSA key of at least 2048"),
        ('["RS256"]', SHORT_RSA_KEY, "found another kind of key, expected an RSA key of at least"),
        ('["ES256"]', RSA_KEY, "found another kind of key, expected a key on the curve secp256r1"),
        ('["ES256", "ES384"]', EC_KEY, "found another kind of key, expected a key on the curve se"),
        ('["EdDSA"]', EC_KEY, "found another kind of key, expected an Ed25519 or Ed448 key"),
        ('["ES256"]', "hello", "found something else, expected a public key in PEM"),
        ('["ES256"]', "x" * 70_000, "found more than 65536 bytes, expected a key"),
        (
            '["ES256"]',
            PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "found a private key, expected the public one",
        ),
    ],
)
def test_a_public_key_that_does_not_fit(file: Path, algorithms: str, key: str, found: str) -> None:
    file.with_name("key.pem").write_text(key)
    (mistake,) = mistakes(file, issuer(algorithms, 'public_key_file = "key.pem"'))
    assert mistake.startswith(f"[0].public_key_file: {found}")


@pytest.mark.parametrize(
    ("algorithms", "secret", "found"),
    [
        ('["HS256"]', SECRET[1:], "found a secret of 31 bytes, expected at least 32 for HS256"),
        ('["HS256", "HS512"]', SECRET, "found a secret of 32 bytes, expected at least 64"),
        ('["HS256"]', EC_KEY.encode(), "found a key or certificate in PEM, expected a shared"),
    ],
)
def test_a_secret_that_does_not_fit(file: Path, algorithms: str, secret: bytes, found: str) -> None:
    file.with_name("secret").write_bytes(secret)
    (mistake,) = mistakes(file, issuer(algorithms, 'secret_file = "secret"'))
    assert mistake.startswith(f"[0].secret_file: {found}")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_secret_that_others_can_reach(file: Path, mode: int) -> None:
    file.with_name("secret").chmod(mode)
    assert mistakes(file, HMAC) == [
        f"[0].secret_file: found a file with mode {mode:04o}, expected one that only its owner "
        "can read (0600)"
    ]


@pytest.mark.parametrize(
    ("algorithms", "key", "found"),
    [
        ('["HS256", "RS256"]', 'secret_file = "secret"', "algorithms: found HS256, RS256, expec"),
        ('["RS256", "ES256"]', 'public_key_file = "key.pem"', "algorithms: found RS256, ES256, e"),
        ('["none"]', 'secret_file = "secret"', "algorithms: found 'none', expected some of HS256"),
        ('["HS256"]', 'public_key_file = "key.pem"', "public_key_file: found it with HS256, expe"),
        ('["ES256"]', 'secret_file = "secret"', "secret_file: found it with ES256, expected publ"),
        (
            '["ES256"]',
            "",
            "secret_file or public_key_file or jwks_url: found none, expected",
        ),
        (
            '["ES256"]',
            'secret_file = "secret"\npublic_key_file = "key.pem"',
            "secret_file or public_key_file or jwks_url: found secret_file and public_key_file, ex",
        ),
        ("[]", 'secret_file = "secret"', "algorithms: found [], expected it to have at least 1"),
        ('["HS256"]', 'secret_file = "secret"\nleeway = 31', "leeway: found 31, expected it to be"),
        ('["HS256"]', 'secret_file = "secret"\nkey = "x"', "key: found an unknown key, expected"),
        ('["HS256"]', 'secret_file = "none"', "secret_file: found '"),
        ('["HS256"]', 'secret_file = "tools.d"', "secret_file: found '"),
    ],
)
def test_an_issuer_that_is_not_right(file: Path, algorithms: str, key: str, found: str) -> None:
    assert any(each.startswith(f"[0].{found}") for each in mistakes(file, issuer(algorithms, key)))


def test_an_issuer_stands_there_once(file: Path) -> None:
    assert mistakes(file, HMAC, HMAC) == [
        "[1].issuer: found 'https://a' a second time, expected each issuer only once"
    ]


CREDENTIAL = issuer('["HS256"]', 'secret_file = "$CREDENTIALS_DIRECTORY/portal"')


@pytest.mark.parametrize("mode", [0o400, 0o440])
def test_a_secret_that_systemd_hands_over(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """With the group's bit where an access list lets the account read it: that is the mask."""
    handed_over = tmp_path / "credentials"
    handed_over.mkdir()
    (handed_over / "portal").write_bytes(SECRET)
    (handed_over / "portal").chmod(mode)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed_over))
    assert [each.key for each in issuers(file, CREDENTIAL)] == [SECRET]
    (handed_over / "portal").chmod(0o644)
    (mistake,) = mistakes(file, CREDENTIAL)
    assert "found a file with mode 0644" in mistake


def test_a_credential_that_is_not_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (mistake,) = mistakes(file, CREDENTIAL)
    assert "this process has no credentials; expected LoadCredential=" in mistake
    # The admin's commands let nobody in, and need no key for what they do.
    assert load(file, with_keys=False).auth.jwt == ()


WEBHOOKS = '[webhooks]\nsecret_file = "hook"\n[[webhooks.hosts]]\nname = "ci.example.org"\n'


def test_webhooks_are_off_unless_switched_on(file: Path) -> None:
    assert issuers(file) == ()
    assert load(file).webhooks.hosts == ()


def test_webhooks_with_a_secret_and_a_host(file: Path) -> None:
    file.with_name("hook").touch(mode=0o600)
    file.with_name("hook").write_text("whsec_" + "QUJD" * 8 + "\n")
    issuers(file, WEBHOOKS)
    webhooks = load(file).webhooks
    assert webhooks.secret == b"ABC" * 8
    assert "ABC" not in repr(webhooks)
    assert [(each.name, each.port, each.allow_http) for each in webhooks.hosts] == [
        ("ci.example.org", None, False)
    ]


@pytest.mark.parametrize(
    ("text", "mode", "word"),
    [
        ("whsec_" + "QUJD" * 8, 0o640, "mode 0640"),
        ("QUJD" * 8, 0o600, "whsec_"),
        ("whsec_" + "QUJD" * 2, 0o600, "24 to 64 bytes"),
        ("whsec_" + "QUJD" * 30, 0o600, "24 to 64 bytes"),
        ("whsec_%%%", 0o600, "base64"),
    ],
)
def test_secrets_of_webhooks_that_will_not_do(file: Path, text: str, mode: int, word: str) -> None:
    file.with_name("hook").write_text(text)
    file.with_name("hook").chmod(mode)
    (mistake,) = mistakes(file, WEBHOOKS)
    assert word in mistake
    assert "webhooks.secret_file" in mistake


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ('[webhooks]\nsecret_file = "secret"\n', "webhooks.hosts"),
        ('[[webhooks.hosts]]\nname = "a"\n', "webhooks.secret_file"),
        ('[webhooks]\nsecret_file = "hook"\n[[webhooks.hosts]]\nname = "https://a"\n', "name"),
    ],
)
def test_webhooks_that_are_no_whole(file: Path, table: str, key: str) -> None:
    assert any(key in each for each in mistakes(file, table))


# --- sets of keys --------------------------------------------------------------------------------


def key_set(*keys: ec.EllipticCurvePrivateKey, private: bool = False) -> str:
    made = [ECAlgorithm.to_jwk(each if private else each.public_key(), True) for each in keys]
    return json.dumps({"keys": [{**each, "kid": f"k{n}"} for n, each in enumerate(made)]})


def test_a_set_of_keys_in_a_file(file: Path) -> None:
    (file.parent / "keys.json").write_text(key_set(PRIVATE, PRIVATE))
    (found,) = issuers(file, issuer('["ES256"]', 'public_key_file = "keys.json"'))
    assert isinstance(found.key, KeySet)
    assert set(found.key.by_id) == {"k0", "k1"}
    assert found.key.find("k0") is not None
    assert found.key.find("k2") is found.key.find(None) is None


OTHER_CURVE = key_set(ec.generate_private_key(ec.SECP384R1()))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{}", "found something else, expected a set of public keys (JWKS)"),
        ('{"keys": []}', "found something else, expected a set of public keys (JWKS)"),
        ('{"keys": 7}', "found something else, expected a set of public keys (JWKS)"),
        ("{", "found something else, expected a set of public keys (JWKS)"),
        (key_set(PRIVATE, private=True), "found a private key, expected public ones"),
        (OTHER_CURVE, "found no such key, expected one for ES256"),
    ],
)  # fmt: skip
def test_what_is_no_set_of_keys(file: Path, content: str, found: str) -> None:
    (file.parent / "keys.json").write_text(content)
    (told,) = mistakes(file, issuer('["ES256"]', 'public_key_file = "keys.json"'))
    assert told == f"[0].public_key_file: {found}"


URL = "https://id.example/certs"


@pytest.mark.parametrize(
    ("url", "more"),
    [
        (URL, ""), ("https://id.example:8443/a?b=c", ""), ("https://[2001:db8::1]/", ""),
        ("http://127.0.0.1:81/", "jwks_http = true"), ("http://localhost/", "jwks_http = true"),
        ("http://[::1]:9/", "jwks_http = true"), (URL, "jwks_http = true"),
    ],
)  # fmt: skip
def test_an_address_of_keys(file: Path, url: str, more: str) -> None:
    (found,) = issuers(file, issuer('["ES256"]', f'jwks_url = "{url}"', more))
    assert (found.jwks_url, found.key) == (url, "")


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("http://id.example/", ""), ("http://127.0.0.1/", ""), ("file:///etc/passwd", ""),
        ("ftp://id.example/", ""), ("data:application/json,{}", ""), ("id.example", ""), ("", ""),
        ("https://", ""), ("https://a:b@id.example/", ""), ("https://id.example/#x", ""),
        ("https://id.example/ x", ""), ("https://id.example:0/", ""), ("https://id.example:x/", ""),
        ("https://[/", ""), ("http://id.example/", "jwks_http = true"),
        ("http://127.0.0.1.evil.example/", "jwks_http = true"),
        ("file:///etc/passwd", "jwks_http = true"),
    ],
)  # fmt: skip
def test_what_is_no_address_of_keys(file: Path, url: str, more: str) -> None:
    (told,) = mistakes(file, issuer('["ES256"]', f'jwks_url = "{url}"', more))
    assert told.startswith("[0].jwks_url: found ")


@pytest.mark.parametrize(
    ("algorithms", "key", "more", "told"),
    [
        ('["HS256"]', f'jwks_url = "{URL}"', "",
         "[0].jwks_url: found it with HS256, expected secret_file instead"),
        ('["HS256"]', 'secret_file = "secret"', "jwks_http = true",
         "[0].jwks_http: found it without jwks_url, expected both or neither"),
        ('["HS256"]', 'secret_file = "secret"', 'user_pattern = "a"',
         "[0].user_pattern: found 0 groups, expected one: that is the user"),
        ('["HS256"]', 'secret_file = "secret"', 'user_pattern = "(a)(b)"',
         "[0].user_pattern: found 2 groups, expected one: that is the user"),
        ('["HS256"]', 'secret_file = "secret"', 'user_pattern = "(a)"\nusers = {a = "b"}',
         "[0].users: found it beside user_pattern, expected one of them"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(
    file: Path, algorithms: str, key: str, more: str, told: str
) -> None:
    assert mistakes(file, issuer(algorithms, key, more)) == [told]


def test_a_pattern_that_is_none(file: Path) -> None:
    (told,) = mistakes(file, issuer('["HS256"]', 'secret_file = "secret"', 'user_pattern = "(a"'))
    assert told.startswith("[0].user_pattern: found '(a': ")


def test_a_rule_or_a_map(file: Path) -> None:
    key = 'secret_file = "secret"'
    first, second = issuers(
        file,
        issuer('["HS256"]', key, 'user_pattern = "([a-z]+)@a"'),
        issuer('["HS256"]', key, 'users = {"a|1" = "anna"}', "https://b"),
    )
    assert (first.user_pattern, first.users) == ("([a-z]+)@a", {})
    assert (second.user_pattern, second.users) == ("", {"a|1": "anna"})
