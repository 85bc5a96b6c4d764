"""Notifications: kept with what they tell of, sent only where they may go, until they arrive."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from standardwebhooks import Webhook, WebhookVerificationError

from slurmbatch.errors import Invalid, NotFound
from slurmbatch.targets import AllowedHost, Target, find
from slurmbatch.webhooks import GIVE_UP_AFTER, Sender, wire
from slurmbatch.webhooks.addresses import is_public, resolve
from tests.unit.world import ALICE, BOB, Fate, Killed, World

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
HOOK = "https://hooks.example.org/x?token=1"
BOTH = ("finished", "first_failure")


class Receiver:
    """What is sent, and what to answer with: a status, or an error."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.got: list[tuple[Target, bytes, Mapping[str, str]]] = []

    def __call__(self, target: Target, body: bytes, headers: Mapping[str, str]) -> int:
        self.got.append((target, body, headers))
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, Exception):
            raise answer
        return answer

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body, _ in self.got]


def sender(world: World, receiver: Receiver) -> Sender:
    hosts = [AllowedHost("hooks.example.org")]
    return Sender(world.store, hosts, KEY, receiver, lambda: world.slurm.now)


def run(told: Sender, world: World) -> None:
    while told.tick(world.slurm.now) is not None:
        pass


def waiting(world: World) -> list[str]:
    return [each.event for each in world.store.outbox.due(float("inf"), 100)]


class TestWhatIsTold:
    def test_of_the_end_of_a_batch(self, world: World) -> None:
        batch_id = world.post(3, notify_url=HOOK, name="a name")
        receiver = Receiver()
        run(sender(world, receiver), world)
        assert receiver.got == []
        world.until_ended(batch_id)
        run(sender(world, receiver), world)
        run(sender(world, receiver), world)
        ((target, _, _),) = receiver.got
        assert (target.host, target.port, target.path) == ("hooks.example.org", 443, "/x?token=1")
        (told,) = receiver.told()
        assert told["type"] == "finished"
        assert told["data"] == {
            "batch_id": batch_id, "tool_id": "t", "name": "a name", "n_jobs": 3,
            "submitted_jobs": {"SUBMITTED": 0, "PENDING": 0, "RUNNABLE": 0, "STARTING": 0,
                               "RUNNING": 0, "SUCCEEDED": 3, "FAILED": 0},
            "cancelled": False,
        }  # fmt: skip

    def test_of_the_first_failure_once_and_before_the_end(self, world: World) -> None:
        world.post(3, notify_url=HOOK, notify_on=("first_failure",))
        world.tick()
        world.tick()
        (array,) = world.slurm.arrays
        for number in (1, 2):
            world.slurm.finish(array.job_id, number, state="FAILED")
            world.tick()
            world.tick()
        assert waiting(world) == ["first_failure"]

    def test_only_of_what_was_asked_for(self, world: World) -> None:
        asked = world.post(1, notify_url=HOOK, notify_on=("first_failure",))
        world.until_ended(asked, world.post(1))
        assert waiting(world) == []

    def test_nothing_of_a_batch_that_is_deleted(self, world: World) -> None:
        batch_id = world.post(1, notify_url=HOOK)
        world.until_ended(batch_id)
        world.batches.delete(ALICE, batch_id)
        assert waiting(world) == []
        for _ in range(5):
            world.tick()
        assert world.store.outbox._db.sql("SELECT count(*) FROM outbox") == [(0,)]

    def test_wherever_the_daemon_is_killed(self, tmp_path: Path) -> None:
        for at in range(8, 48, 5):
            place = tmp_path / str(at)
            place.mkdir()
            world = World(place, fate=Fate(at))
            batch_id = world.post(1, notify_url=HOOK)
            try:
                world.until_ended(batch_id)
            except Killed:
                world.restart()
                world.until_ended(batch_id)
            assert waiting(world) == ["finished"], at
            world.store.close()


class TestTrying:
    @pytest.fixture
    def ended(self, world: World) -> World:
        world.until_ended(world.post(1, notify_url=HOOK))
        return world

    @pytest.mark.parametrize("answer", [500, 404, 302, OSError("no route"), TimeoutError()])
    def test_what_fails_is_tried_again_and_ever_less_often(
        self, ended: World, answer: int | Exception
    ) -> None:
        receiver = Receiver(*[answer] * 4)
        told, waits = sender(ended, receiver), []
        for tries in range(1, 6):
            begun = ended.slurm.now
            while len(receiver.got) < tries:
                ended.slurm.advance(1)
                run(told, ended)
            waits.append(ended.slurm.now - begun)
        assert waits[1] < waits[2] < waits[3] < waits[4]
        assert len({headers["webhook-id"] for _, _, headers in receiver.got}) == 1
        assert waiting(ended) == []

    def test_all_that_goes_to_the_same_host_waits(self, ended: World) -> None:
        ended.until_ended(ended.post(1, notify_url=HOOK))
        receiver = Receiver(OSError("away"))
        run(sender(ended, receiver), ended)
        assert len(receiver.got) == 1
        ended.slurm.advance(10)
        run(sender(ended, receiver), ended)
        assert len(receiver.got) == 3

    @pytest.mark.parametrize("how", ["too long", "gone", "no longer allowed"])
    def test_it_is_given_up(self, ended: World, how: str) -> None:
        receiver = Receiver(410 if how == "gone" else 500)
        told = sender(ended, receiver)
        if how == "too long":
            ended.slurm.advance(GIVE_UP_AFTER + 1)
        elif how == "no longer allowed":
            told = Sender(ended.store, [AllowedHost("other.example.org")], KEY, receiver)
        run(told, ended)
        assert len(receiver.got) == (how != "no longer allowed")
        assert waiting(ended) == []

    def test_killed_before_it_is_noted_it_is_sent_again_under_the_same_id(
        self, ended: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        receiver = Receiver()

        def killed(*_: object) -> None:
            raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(ended.store.outbox, "tried", killed)
            run(sender(ended, receiver), ended)
        ended.restart()
        run(sender(ended, receiver), ended)
        first, second = (headers["webhook-id"] for _, _, headers in receiver.got)
        assert first == second

    @pytest.mark.parametrize(
        ("answer", "state", "error"),
        [
            (204, "delivered", ""),
            (503, "pending", "it answered 503"),
            (410, "given_up", "it answered 410"),
            (TimeoutError("x"), "pending", "it did not answer in time"),
            (ssl.SSLCertVerificationError("n12.internal"), "pending", "no TLS connection"),
            (OSError("h is at 10.0.0.7"), "pending", "it could not be reached"),
            (http.client.BadStatusLine("SSH-2.0"), "pending", "its answer was not HTTP"),
        ],
    )
    def test_its_owner_and_the_metrics_are_told(
        self, ended: World, answer: int | Exception, state: str, error: str
    ) -> None:
        (batch,) = ended.batches.list(ALICE)[0]
        (made,) = ended.batches.notifications(ALICE, batch.batch_id)
        assert (made.state, made.attempts, made.last_at, made.next_at) == ("pending", 0, None, None)
        seen: list[str] = []
        hosts = [AllowedHost("hooks.example.org")]
        clock = lambda: ended.slurm.now  # noqa: E731
        run(Sender(ended.store, hosts, KEY, Receiver(answer), clock, seen.append), ended)
        (told,) = ended.batches.notifications(ALICE, batch.batch_id)
        assert (told.event, told.host) == ("finished", "https://hooks.example.org:443")
        assert (told.state, told.attempts, told.last_at) == (state, 1, ended.slurm.now)
        assert told.last_error.startswith(error) is True
        # Nothing of what the error says of the networks behind the service.
        assert not any(word in told.last_error for word in ("10.0.0.7", "internal", "SSH"))
        assert (told.next_at is not None) is (state == "pending")
        assert seen == ["failed" if state == "pending" else state]
        assert len(waiting(ended)) == (state == "pending")
        with pytest.raises(NotFound):
            ended.batches.notifications(BOB, batch.batch_id)

    def test_one_that_may_not_be_sent_any_more_is_told_of(self, ended: World) -> None:
        (batch,) = ended.batches.list(ALICE)[0]
        run(Sender(ended.store, [AllowedHost("other.example.org")], KEY, Receiver()), ended)
        (told,) = ended.batches.notifications(ALICE, batch.batch_id)
        assert (told.state, told.attempts) == ("given_up", 0)
        assert told.last_error == "the host may not be told any more"

    def test_what_has_arrived_goes_with_its_batch(self, ended: World) -> None:
        (batch,) = ended.batches.list(ALICE)[0]
        run(sender(ended, Receiver()), ended)
        assert ended.store.outbox._db.sql("SELECT state FROM outbox") == [("delivered",)]
        ended.batches.delete(ALICE, batch.batch_id)
        for _ in range(5):
            ended.tick()
        assert ended.store.outbox._db.sql("SELECT count(*) FROM outbox") == [(0,)]

    def test_a_receiver_can_tell_that_it_is_ours(self, ended: World) -> None:
        receiver = Receiver()
        hosts = [AllowedHost("hooks.example.org")]
        run(Sender(ended.store, hosts, KEY, receiver), ended)  # signed as of the real time
        ((_, body, headers),) = receiver.got
        assert Webhook(SECRET).verify(body, dict(headers))["type"] == "finished"
        earlier = str(int(headers["webhook-timestamp"]) - 1)
        for change in ({"webhook-id": "x"}, {"webhook-timestamp": earlier}):
            with pytest.raises(WebhookVerificationError):
                Webhook(SECRET).verify(body, {**headers, **change})
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body + b" ", dict(headers))


class TestAddresses:
    HOSTS = (
        AllowedHost("hooks.example.org"),
        AllowedHost("ci.example.org", 8443),
        AllowedHost("plain.example.org", allow_http=True),
        AllowedHost("10.0.0.7", allow_private=True),
    )

    @pytest.mark.parametrize(
        ("url", "origin", "path"),
        [
            ("https://hooks.example.org", "https://hooks.example.org:443", "/"),
            ("HTTPS://Hooks.Example.org:443/a?b=c", "https://hooks.example.org:443", "/a?b=c"),
            ("https://ci.example.org:8443/a", "https://ci.example.org:8443", "/a"),
            ("http://plain.example.org/", "http://plain.example.org:80", "/"),
            ("https://10.0.0.7/", "https://10.0.0.7:443", "/"),
        ],
    )
    def test_that_are_allowed(self, url: str, origin: str, path: str) -> None:
        target = find(url, self.HOSTS)
        assert (target.origin, target.path) == (origin, path)

    @pytest.mark.parametrize(
        "url",
        [
            "http://hooks.example.org/",
            "https://hooks.example.org:444/",
            "https://ci.example.org/",
            "https://hooks.example.org.evil.net/",
            "https://evil.net/https://hooks.example.org/",
            "https://hooks.example.org@evil.net/",
            "https://u:p@hooks.example.org/",
            "https://hooks.example.org:443@evil.net/",
            "https://evil.net\\@hooks.example.org/",
            "https://evil.net#@hooks.example.org/",
            "https://hooks.example.org/#x",
            "https://hooks.example.org./",
            "https:/hooks.example.org/",
            "//hooks.example.org/",
            "ftp://hooks.example.org/",
            "file:///etc/passwd",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::ffff:10.0.0.7]/",
            "https://hooks.example.org/a b",
            "https://hooks.example.org/\r\nX: y",
            "https://hooks.example.org/é",
            "https://ｈooks.example.org/",
            "https://hooks.example.org/" + "x" * 2000,
            "",
        ],
    )
    def test_that_are_not(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"Expected|allowed"):
            find(url, self.HOSTS)

    @pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
    def test_public_ones(self, address: str) -> None:
        assert is_public(address)

    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1",
            "169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
            "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
            "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::",
            "2001:0:7f00:1::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
            "2001:db8::1", "fec0::1",
        ],
    )  # fmt: skip
    def test_private_ones_in_all_their_forms(self, address: str) -> None:
        assert not is_public(address)

    def test_a_host_with_one_private_address_is_not_told(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = [(0, 0, 0, "", (each, 443)) for each in ("93.184.215.14", "10.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with pytest.raises(OSError, match=r"10\.0\.0\.1"):
            resolve(Target("https", "hooks.example.org", 443, "/", False))
        target = Target("https", "hooks.example.org", 443, "/", True)
        assert resolve(target) == "93.184.215.14"

    def test_of_a_new_batch_are_checked_with_all_the_rest(self, world: World) -> None:
        with pytest.raises(Invalid) as caught:
            world.post(1, notify_url="https://evil.net/", gpus=7)
        pointers = [each.pointer for each in caught.value.faults]
        assert pointers == ["/slurm/gpus", "/notify/url"]


class Handler(BaseHTTPRequestHandler):
    """Keeps what comes; /redirect leads elsewhere, /drip never gets done."""

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.got.append((dict(self.headers), self.rfile.read(length)))  # type: ignore[attr-defined]
        if self.path == "/drip":
            for _ in range(200):
                self.wfile.write(b"x")
                time.sleep(0.05)
            return
        self.send_response(302 if self.path == "/redirect" else 204)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.got = []
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def make_certificate(key: Path, cert: Path, name: str) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    cert.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def to(server: Any, path: str = "/", scheme: str = "http", host: str = "hooks.test") -> Target:
    return Target(scheme, host, server.server_port, path, True)


class TestThePost:
    def test_goes_to_the_address_it_is_given_under_the_host_s_name(self) -> None:
        with listening() as server:
            # Nobody knows hooks.test: what is looked up once is not looked up again.
            assert wire.post(to(server), "127.0.0.1", b"body", {"X-A": "b"}) == 204
            ((headers, body),) = server.got
        assert body == b"body"
        assert headers["Host"] == f"hooks.test:{server.server_port}"
        assert headers["X-A"] == "b"

    def test_follows_no_redirect(self) -> None:
        with listening() as server:
            assert wire.post(to(server, "/redirect"), "127.0.0.1", b"", {}) == 302
            assert len(server.got) == 1

    def test_takes_no_proxy_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        with listening() as server:
            assert wire.post(to(server), "127.0.0.1", b"", {}) == 204

    def test_waits_no_longer_than_it_may(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wire, "WITHIN", 0.5)
        with listening() as server:
            begun = time.monotonic()
            with pytest.raises((OSError, http.client.HTTPException)):
                wire.post(to(server, "/drip"), "127.0.0.1", b"", {})
            assert time.monotonic() - begun < 8

    def test_nobody_there(self) -> None:
        with socket.socket() as taken, pytest.raises(OSError, match="refused"):
            taken.bind(("127.0.0.1", 0))
            wire.post(Target("http", "x", taken.getsockname()[1], "/", True), "127.0.0.1", b"", {})

    @pytest.mark.parametrize(("host", "fits"), [("hooks.test", True), ("other.test", False)])
    def test_checks_the_certificate_against_the_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, fits: bool
    ) -> None:
        key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
        make_certificate(key, cert, "hooks.test")
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        with listening(context) as server:
            target = to(server, scheme="https", host=host)
            send: Callable[[], int] = lambda: wire.post(target, "127.0.0.1", b"hello", {})  # noqa: E731
            if fits:
                assert send() == 204
            else:
                with pytest.raises(ssl.SSLCertVerificationError):
                    send()
            assert len(server.got) == fits
