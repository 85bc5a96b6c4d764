"""Sets of public keys (JWKS, RFC 7517), as far as they are fit for an issuer's algorithms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt

from slurmbatch.config.keys import misfit, read_public, read_public_key

_MAX_ID = 200


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys by their ids; `only`: the one that there is, where there is no other."""

    by_id: Mapping[str, Any] = field(default_factory=dict)
    only: Any = None

    def find(self, kid: object) -> Any:
        """The key that a token names, which is looked up and nothing else; None: there is none. A
        token that names none is checked with the only one."""
        if kid is None:
            return self.only
        return self.by_id.get(kid) if isinstance(kid, str) and len(kid) <= _MAX_ID else None


def read(path: Path, algorithms: tuple[str, ...]) -> str | KeySet:
    """A public key in PEM, or a set; raises ValueError as `key_set` does."""
    content = read_public(path)
    if content.lstrip()[:1] == b"{":
        return key_set(content, algorithms)
    return read_public_key(path, algorithms)


def key_set(content: bytes, algorithms: tuple[str, ...]) -> KeySet:
    """Raises ValueError in words, after which `expected` stands already."""
    try:
        document = json.loads(content)
        keys = jwt.PyJWKSet.from_dict(usable(document, algorithms)).keys
    except (ValueError, TypeError, AttributeError, RecursionError, jwt.PyJWTError):
        raise ValueError("found something else, expected a set of public keys (JWKS)") from None
    if any(_is_private(each) for each in keys):
        raise ValueError("found a private key, expected public ones")
    return chosen(keys, algorithms)


def usable(document: Any, algorithms: tuple[str, ...]) -> Any:
    """Without keys that say they are for something else, with which PyJWT may come to grief."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        return document
    known = [
        each for each in keys if isinstance(each, dict) and each.get("alg") in (None, *algorithms)
    ]
    return {"keys": known}


def chosen(keys: list[jwt.PyJWK], algorithms: tuple[str, ...]) -> KeySet:
    """Those that are for signatures, and for these. Raises ValueError where none is."""
    fit = [each for each in keys if _is_fit(each, algorithms)]
    if not fit:
        raise ValueError(f"found no such key, expected one for {', '.join(algorithms)}")
    # The first of several with the same id, as PyJWT has it.
    by_id = {each.key_id: each.key for each in reversed(fit) if each.key_id}
    return KeySet(by_id, fit[0].key if len(fit) == 1 else None)


def _is_fit(key: jwt.PyJWK, algorithms: tuple[str, ...]) -> bool:
    is_for_signatures = key.public_key_use in ("sig", None)
    return is_for_signatures and all(not misfit(key.key, each) for each in algorithms)


def _is_private(key: jwt.PyJWK) -> bool:
    return hasattr(key.key, "private_bytes")
