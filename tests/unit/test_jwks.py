"""Keys that an issuer publishes: fetched aside, bounded, rotated, kept while it is away."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from slurmbatch.config.keysets import KeySet
from slurmbatch.errors import Unauthenticated, Unavailable
from slurmbatch.identity import Identity, fetch
from slurmbatch.identity.jwks import AT_MOST_EVERY, EVERY, Remote, Remotes
from slurmbatch.model import ApiKey

NOW = 1_800_000_000.0
ISSUER, URL = "https://id.example", "https://id.example/certs"
FIRST = rsa.generate_private_key(65537, 2048)
SECOND = rsa.generate_private_key(65537, 2048)
SHORT = rsa.generate_private_key(65537, 1024)
CURVE = ec.generate_private_key(ec.SECP256R1())
ALGORITHMS = ("RS256", "RS512")


def jwk(key: Any, kid: str | None = None, **more: Any) -> dict[str, Any]:
    of = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    told: dict[str, Any] = of.to_jwk(key.public_key(), as_dict=True)
    told.pop("key_ops", None)
    return {**told, **({"kid": kid} if kid else {}), **more}


def published(**keys: Any) -> dict[str, Any]:
    return {"keys": [jwk(key, kid) for kid, key in keys.items()]}


def token(key: Any = FIRST, kid: Any = "k1", headers: dict[str, Any] | None = None) -> str:
    claims = {"iss": ISSUER, "aud": "us", "sub": "anna", "iat": NOW - 10, "exp": NOW + 600}
    named = {} if kid is None else {"kid": kid}
    return jwt.encode(claims, key, "RS256", headers={**named, **(headers or {})})


@dataclass(frozen=True)
class Issuer:
    issuer: str = ISSUER
    audience: str = "us"
    algorithms: tuple[str, ...] = ALGORITHMS
    key: str | bytes | KeySet = ""
    user_claim: str = "sub"
    leeway: int = 30
    user_pattern: str = ""
    users: dict[str, str] = field(default_factory=dict)


class NoKeys:
    def key(self, key_id: str) -> ApiKey | None:
        return None


@dataclass
class World:
    """An issuer that says what a test wants it to, and time that passes when a test says so."""

    says: Any = None
    asked: int = 0
    now: float = 0.0

    def __post_init__(self) -> None:
        self.remote = Remote(ISSUER, URL, ALGORITHMS, lambda: self.now, self.fetch)
        self.identity = Identity(
            NoKeys(), (Issuer(),), lambda: NOW, published={ISSUER: self.remote}
        )

    def fetch(self, url: str) -> Any:
        assert url == URL
        self.asked += 1
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def user(self, text: str) -> str:
        """As the caller is told: the user, or the kind of the refusal."""
        try:
            return self.identity.authenticate(f"Bearer {text}").user_id
        except (Unauthenticated, Unavailable) as error:
            return type(error).__name__

    def rounds(self, seconds: float) -> None:
        """A round of the worker each second."""
        ends = self.now + seconds
        while self.now < ends:
            self.remote.tick()
            self.now += 1


@pytest.fixture
def world() -> World:
    return World(published(k1=FIRST))


class TestWhichKey:
    def test_the_one_that_the_token_names(self, world: World) -> None:
        world.says = published(k1=FIRST, k2=SECOND)
        world.remote.tick()
        assert world.user(token(FIRST, "k1")) == "anna"
        assert world.user(token(SECOND, "k2")) == "anna"
        assert world.user(token(SECOND, "k1")) == "Unauthenticated"
        assert world.user(token(FIRST, None)) == "Unauthenticated"

    def test_the_only_one_where_it_names_none(self, world: World) -> None:
        world.says = {"keys": [jwk(FIRST)]}
        world.remote.tick()
        assert world.user(token(FIRST, None)) == "anna"
        assert world.user(token(SECOND, None)) == "Unauthenticated"

    @pytest.mark.parametrize(
        "unfit",
        [
            jwk(SHORT, "k1"), jwk(CURVE, "k1"), jwk(FIRST, "k1", use="enc"),
            jwk(FIRST, "k1", alg="PS256"), jwk(FIRST, "k1", alg="none"),
            {"kty": "oct", "k": base64.urlsafe_b64encode(b"0" * 32).decode(), "kid": "k1"},
            {"kty": "made-up", "kid": "k1"}, {"kty": "RSA", "n": "AQ", "e": "AQAB", "kid": "k1"},
        ],
    )  # fmt: skip
    def test_none_that_is_unfit(self, world: World, unfit: dict[str, Any]) -> None:
        world.says = {"keys": [unfit, jwk(SECOND, "k2")]}
        world.remote.tick()
        assert world.user(token(SECOND, "k2")) == "anna"
        assert world.user(token(FIRST, "k1")) == "Unauthenticated"

    def test_no_secret_that_an_issuer_publishes(self, world: World) -> None:
        """RS→HS confusion: a key set that has the secret of an HMAC in it makes none of it."""
        secret = b"0" * 32
        world.says = {
            "keys": [
                jwk(SECOND, "k2"),
                {"kty": "oct", "k": base64.urlsafe_b64encode(secret).decode(), "kid": "k1",
                 "alg": "HS256"},
            ]
        }  # fmt: skip
        world.remote.tick()
        claims = {"iss": ISSUER, "aud": "us", "sub": "anna", "iat": NOW, "exp": NOW + 60}
        for kid in ("k1", "k2"):
            forged = jwt.encode(claims, secret, "HS256", headers={"kid": kid})
            assert world.user(forged) == "Unauthenticated"


class TestKidJkuX5uJwk:
    @pytest.mark.parametrize(
        "kid",
        ["../../dev/null", "' OR '1'='1", "k1\x00", "k" * 7000, "", "/etc/passwd", "__class__"],
    )
    def test_a_kid_is_looked_up_and_nothing_else(self, world: World, kid: str) -> None:
        world.remote.tick()
        assert world.user(token(FIRST, kid)) == "Unauthenticated"
        assert world.asked == 1

    @pytest.mark.parametrize("kid", [1, ["k1"], {"k1": 1}, True])
    def test_a_kid_that_is_no_text(self, world: World, kid: Any) -> None:
        world.remote.tick()
        header = {"alg": "RS256", "kid": kid}
        part = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
        assert world.user(f"{part}.{token().split('.', 1)[1]}") == "Unauthenticated"

    def test_no_token_says_where_a_key_is(self, world: World) -> None:
        world.remote.tick()
        evil: dict[str, Any] = {
            "jku": "https://evil.example/certs", "x5u": "file:///etc/passwd",
            "jwk": jwk(SECOND, "k1"), "x5c": ["AAAA"],
        }  # fmt: skip
        assert world.user(token(SECOND, "k1", evil)) == "Unauthenticated"
        assert world.user(token(FIRST, "k1", evil)) == "anna"
        assert world.asked == 1


class TestRotation:
    def test_a_new_key_is_asked_for_and_then_known(self, world: World) -> None:
        world.rounds(AT_MOST_EVERY)
        world.says = published(k2=SECOND)
        assert world.user(token(SECOND, "k2")) == "Unavailable"
        world.rounds(1)
        assert world.user(token(SECOND, "k2")) == "anna"
        # The old one is not published any more.
        assert world.user(token(FIRST, "k1")) == "Unauthenticated"

    def test_it_is_seen_by_itself_too(self, world: World) -> None:
        world.rounds(1)
        world.says = published(k1=FIRST, k2=SECOND)
        world.rounds(EVERY + 1)
        assert world.asked == 2
        assert world.user(token(SECOND, "k2")) == "anna"

    def test_ten_thousand_made_up_ids_ask_once_a_minute(self, world: World) -> None:
        world.rounds(1)
        forged = token(SECOND, "x")
        body = forged.split(".", 1)[1]
        told = set()
        for number in range(10_000):
            header = {"alg": "RS256", "kid": f"made-up-{number}"}
            part = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
            told.add(world.user(f"{part}.{body}"))
            if number % 50 == 0:
                world.rounds(1)  # 200 seconds in all
        assert told == {"Unauthenticated", "Unavailable"}
        assert world.asked <= 1 + 200 // AT_MOST_EVERY
        assert world.user(token()) == "anna"


class TestOutage:
    @pytest.mark.parametrize(
        "trouble",
        [
            OSError("no route"), TimeoutError("10 s"), ValueError("the answer is 503"), [], {},
            {"keys": []}, {"keys": "no"}, {"keys": [None]}, "text", None, 7,
            {"keys": [jwk(CURVE, "k1")]},
        ],
        ids=str,
    )  # fmt: skip
    def test_the_old_keys_stay(self, world: World, log: io.StringIO, trouble: Any) -> None:
        world.rounds(1)
        good, world.says = world.says, trouble
        world.rounds(3 * EVERY)
        assert world.asked >= 3
        assert world.user(token()) == "anna"
        assert log.getvalue().count("the old ones stay") == 1
        world.says = good
        world.rounds(EVERY + 1)
        assert "there again" in log.getvalue()

    def test_without_any_yet_nobody_can_tell(self, world: World) -> None:
        world.says = OSError("no route")
        for _ in range(3):
            assert world.user(token()) == "Unavailable"
            world.rounds(AT_MOST_EVERY)
        world.says = published(k1=FIRST)
        world.user(token())
        world.rounds(AT_MOST_EVERY)
        assert world.user(token()) == "anna"


def test_settings_that_are_read_anew_keep_what_is_known() -> None:
    remotes = Remotes()
    first = remotes.of([(ISSUER, URL, ALGORITHMS), ("b", URL, ALGORITHMS)])
    second = remotes.of([(ISSUER, URL, ALGORITHMS), ("b", URL, ("ES256",))])
    assert second[ISSUER] is first[ISSUER]
    assert second["b"] is not first["b"]
    assert list(remotes.of([("b", URL, ("ES256",))])) == ["b"]


# --- over the network ----------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Says what a test wants it to."""

    daemon_threads = True
    answer: Callable[[BaseHTTPRequestHandler], None]
    paths: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/certs?a=b"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.server.paths.append(self.path)
        self.server.answer(self)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as made:
        made.paths = []
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


def reply(status: int, body: bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


class TestFetching:
    def test_what_is_there(self, server: Server) -> None:
        server.answer = reply(200, json.dumps(published(k1=FIRST)).encode())
        assert fetch.fetch(server.url)["keys"][0]["kid"] == "k1"
        assert server.paths == ["/certs?a=b"]

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_no_redirect_is_followed(self, server: Server, status: int) -> None:
        server.answer = reply(status, b"{}", Location=f"{server.url}&elsewhere")
        with pytest.raises(ValueError, match=f"the answer is {status}"):
            fetch.fetch(server.url)
        assert len(server.paths) == 1

    @pytest.mark.parametrize("status", [204, 401, 404, 500, 503])
    def test_no_other_answer_will_do(self, server: Server, status: int) -> None:
        server.answer = reply(status, b"")
        with pytest.raises(ValueError, match=str(status)):
            fetch.fetch(server.url)

    @pytest.mark.parametrize("length", [str(2**40), "", "-5", "x"])
    def test_no_more_than_so_much(self, server: Server, length: str) -> None:
        server.answer = reply(200, b"[" + b" " * (fetch.LARGEST * 3), **{"Content-Length": length})
        with pytest.raises((ValueError, OSError)):
            fetch.fetch(server.url)

    @pytest.mark.parametrize("place", ["before", "in the head", "in the body"])
    def test_no_longer_than_so_long(self, server: Server, place: str) -> None:
        done = threading.Event()

        def trickle(handler: BaseHTTPRequestHandler) -> None:
            if place == "in the body":
                reply(200, b"[", **{"Content-Length": "1000"})(handler)
            elif place == "in the head":
                handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not done.wait(0.05):
                if place != "before":
                    try:
                        handler.wfile.write(b" ")
                    except OSError:
                        return

        server.answer = trickle
        began = time.monotonic()
        try:
            with pytest.raises((OSError, ValueError, http.client.HTTPException)):
                fetch.fetch(server.url, within=0.5)
        finally:
            done.set()
        assert time.monotonic() - began < 60

    def test_nobody_there(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
            with pytest.raises(OSError, match="refused"):
                fetch.fetch(url)

    def test_no_certificate_but_a_good_one(self, server: Server) -> None:
        server.answer = reply(200, b"{}")
        with pytest.raises(OSError, match=r"SSL|EOF|reset|closed"):
            fetch.fetch(server.url.replace("http://", "https://"), within=5)
        assert server.paths == []

    def test_all_of_it_for_real(self, server: Server) -> None:
        server.answer = reply(200, json.dumps(published(k1=FIRST)).encode())
        remote = Remote(ISSUER, server.url, ALGORITHMS)
        identity = Identity(NoKeys(), (Issuer(),), lambda: NOW, published={ISSUER: remote})
        with pytest.raises(Unavailable):
            identity.authenticate(f"Bearer {token()}")
        remote.tick()
        assert identity.authenticate(f"Bearer {token()}").user_id == "anna"
