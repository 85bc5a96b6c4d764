"""Who may come in by the settings in force, and by those that are read anew."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from slurmbatch.config import load
from slurmbatch.daemon.access import Access
from slurmbatch.errors import Invalid, Unavailable
from slurmbatch.health import Health
from slurmbatch.model import Caller, NewKey
from slurmbatch.store import Store, open_store

KEY = ec.generate_private_key(ec.SECP256R1())
ISSUER = "https://id.example"


class Publisher(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        shown = ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
        body = json.dumps({"keys": [{**shown, "kid": "k1"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def publisher() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Publisher) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@dataclass
class Site:
    file: Path
    url: str

    def settings(self, auth: str = "", issuer: str = "") -> None:
        self.file.write_text(
            f'[jobs]\nlog_dir = "{self.file.parent}"\n[auth]\n{auth}\n'
            f'[[auth.jwt]]\nissuer = "{ISSUER}"\naudience = "us"\nalgorithms = ["ES256"]\n'
            f'jwks_url = "{self.url}"\njwks_http = true\n{issuer}\n'
        )


@pytest.fixture
def site(tmp_path: Path, publisher: ThreadingHTTPServer) -> Site:
    (tmp_path / "tools.d").mkdir()
    made = Site(tmp_path / "x.toml", f"http://127.0.0.1:{publisher.server_address[1]}/")
    made.settings()
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "state" / "x.sqlite", exclusive=True)
    yield made
    made.close()


def bearer(sub: str = "anna") -> str:
    now = time.time()
    claims = {"iss": ISSUER, "aud": "us", "sub": sub, "iat": now, "exp": now + 600}
    return f"Bearer {jwt.encode(claims, KEY, 'ES256', headers={'kid': 'k1'})}"


def test_published_keys_are_there_after_a_round(site: Site, store: Store) -> None:
    access = Access(load(site.file), store, Health())
    with pytest.raises(Unavailable):
        access.identity.authenticate(bearer())
    for each in access.workers:
        each.run_once(time.time())
    assert access.identity.authenticate(bearer()).user_id == "anna"


def test_settings_that_are_read_anew(
    site: Site, store: Store, publisher: ThreadingHTTPServer
) -> None:
    access = Access(load(site.file), store, Health())
    for each in access.workers:
        each.run_once(time.time())
    publisher.shutdown()
    munge = access.identity._munge
    site.settings('admins = ["berta"]\nkey_days = 1', 'users = {anna = "berta"}')
    access.adopt(load(site.file))
    # The issuer is away: what was known of it is known still.
    caller = access.identity.authenticate(bearer())
    assert (caller.user_id, caller.is_admin) == ("berta", True)
    with pytest.raises(Invalid):
        access.keyring.create(caller, NewKey(expires_at=time.time() + 2 * 86_400))
    # And what was used is used up still, as long as munge's own settings are the same.
    assert access.identity._munge is munge
    site.settings('munge = {urls = ["https://a"]}')
    access.adopt(load(site.file))
    assert access.identity._munge is not munge
    assert access.identity._munge.urls == ("https://a",)


def test_a_key_is_for_as_long_as_the_settings_say(site: Site, store: Store) -> None:
    access = Access(load(site.file), store, Health())
    kept, _ = access.keyring.create(Caller("anna", "x"), NewKey())
    assert kept.expires_at == kept.created_at + 365 * 86_400
