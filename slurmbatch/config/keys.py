"""The keys that tokens are checked with: read from files, and fit for their algorithms."""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from slurmbatch.config.section import Complaint, shown

_FAMILIES = {
    **dict.fromkeys(("HS256", "HS384", "HS512"), "HS"),
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "EdDSA",
}
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_LARGEST = 65_536
CREDENTIALS = "$CREDENTIALS_DIRECTORY"


def algorithm_mistakes(
    algorithms: tuple[str, ...], has_secret: bool, public_key: str
) -> Iterator[Complaint]:
    """Unknown algorithms, families mixed (an old way to forge tokens), the wrong kind of key.

    `public_key`: the setting that names it, where one does.
    """
    unknown = [name for name in algorithms if name not in _FAMILIES]
    families = {_FAMILIES[name] for name in algorithms if name in _FAMILIES}
    if unknown:
        yield (
            "algorithms",
            f"found {', '.join(map(shown, unknown))}, expected some of {', '.join(_FAMILIES)}",
        )
    if len(families) > 1:
        found = ", ".join(algorithms)
        yield "algorithms", f"found {found}, expected algorithms of one family only"
    elif families == {"HS"} and public_key:
        yield public_key, f"found it with {algorithms[0]}, expected secret_file instead"
    elif families and families != {"HS"} and has_secret:
        yield (
            "secret_file",
            f"found it with {algorithms[0]}, expected public_key_file or jwks_url instead",
        )


def locate(named: Path, beside: Path) -> Path:
    """Where a key lies: beside the settings, or among what systemd has handed over to the service
    (LoadCredential=). Raises ValueError as `read_secret` does."""
    if named.parts[:1] != (CREDENTIALS,):
        return beside / named
    directory = os.environ.get(CREDENTIALS[1:])
    if not directory:
        raise ValueError(
            f"found {shown(named)}, but this process has no credentials; "
            "expected LoadCredential= in its unit"
        )
    return Path(directory, *named.parts[1:])


def read_secret(path: Path, algorithms: tuple[str, ...]) -> bytes:
    """A shared secret; raises ValueError in words, after which `expected` stands already."""
    secret = _read_private(path).rstrip(b"\r\n")
    needed = max(int(name[2:]) // 8 for name in algorithms)
    if len(secret) < needed:
        raise ValueError(
            f"found a secret of {len(secret)} bytes, expected at least {needed} "
            f"for {', '.join(algorithms)}"
        )
    if b"-----BEGIN" in secret:
        raise ValueError("found a key or certificate in PEM, expected a shared secret")
    return secret


def read_webhook_secret(path: Path) -> bytes:
    """What notifications are signed with, in the form of Standard Webhooks; raises ValueError."""
    prefix, _, encoded = _read_private(path).strip().partition(b"_")
    try:
        secret = base64.b64decode(encoded, validate=True) if prefix == b"whsec" else b""
    except ValueError:
        secret = b""
    if not 24 <= len(secret) <= 64:
        raise ValueError("found something else, expected whsec_ and 24 to 64 bytes in base64")
    return secret


def read_token(path: Path) -> bytes:
    """Something to be sent as it is; raises ValueError in words as `read_secret` does."""
    token = _read_private(path).rstrip(b"\r\n")
    if not re.fullmatch(rb"[!-~]{16,}", token):
        raise ValueError(
            f"found {len(token)} bytes, expected at least 16 printable characters without spaces"
        )
    return token


def read_slurm_key(path: Path) -> bytes:
    """The key of Slurm's auth/jwt, which counts every byte of its file; raises ValueError."""
    key = _read_private(path)
    if len(key) < 32:
        raise ValueError(f"found a key of {len(key)} bytes, expected at least 32")
    if b"-----BEGIN" in key:
        raise ValueError("found a key or certificate in PEM, expected random bytes (jwt_key)")
    return key


def read_public_key(path: Path, algorithms: tuple[str, ...]) -> str:
    """A public key as PEM text; raises ValueError in words as `read_secret` does."""
    content = read_public(path)
    if b"PRIVATE KEY-----" in content:
        raise ValueError("found a private key, expected the public one")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("found something else, expected a public key in PEM") from None
    for algorithm in algorithms:
        wanted = misfit(key, algorithm)
        if wanted:
            raise ValueError(f"found another kind of key, expected {wanted} for {algorithm}")
    return content.decode("ascii", "ignore")


def read_public(path: Path) -> bytes:
    """Raises ValueError in words as `read_secret` does."""
    return _read(path)[0]


def misfit(key: object, algorithm: str) -> str:
    """What the key would have to be, or nothing if it fits."""
    family = _FAMILIES[algorithm]
    if family == "RSA":
        fits = isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048
        return "" if fits else "an RSA key of at least 2048 bits"
    if family == "EC":
        curve = _CURVES[algorithm]
        fits = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == curve
        return "" if fits else f"a key on the curve {curve}"
    fits = isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)
    return "" if fits else "an Ed25519 or Ed448 key"


def _read_private(path: Path) -> bytes:
    content, mode = _read(path)
    # What systemd lets this account alone read it may do by a list, whose mask shows as the group.
    handed_over = os.environ.get(CREDENTIALS[1:]) == str(path.parent)
    if mode & (0o037 if handed_over else 0o077):
        raise ValueError(
            f"found a file with mode {mode:04o}, expected one that only its owner can read (0600)"
        )
    return content


def _read(path: Path) -> tuple[bytes, int]:
    """Content and permissions of one and the same file; no waiting on a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError(f"found {shown(path)}, expected a plain file")
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ValueError(
            f"found {shown(path)}, which cannot be read: {error.strerror}; expected a file"
        ) from None
    if len(content) > _LARGEST:
        raise ValueError(f"found more than {_LARGEST} bytes, expected a key")
    return content, stat.S_IMODE(status.st_mode)
