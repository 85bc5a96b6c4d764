"""Issuers of tokens: their keys fit their algorithms, and secrets stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from slurmbatch.config import Issuer, load
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
        ('["ES256"]', "", "secret_file or public_key_file: found neither, expected exactly one"),
        (
            '["ES256"]',
            'secret_file = "secret"\npublic_key_file = "key.pem"',
            "secret_file or public_key_file: found secret_file and public_key_file, expected exa",
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
