"""The sample configuration for nginx: Debian's nginx before the daemon on a Unix socket."""

from __future__ import annotations

import datetime
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.e2e.alone import wait_until
from tests.e2e.systemd import Manager, ended
from tests.ports import free_port

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")
CONF = Path(__file__).parents[2] / "etc/nginx/slurmbatch.conf"
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def certificate(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "slurmbatch.example.org")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    (directory / "fullchain.pem").write_bytes(made.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "key.pem").write_bytes(pem)


class Front:
    """nginx with the sample as it is, but for places and ports."""

    def __init__(self, directory: Path, behind: Path) -> None:
        certificate(directory)
        plain, self.port = free_port(), free_port()
        text = CONF.read_text()
        for old, new in (
            ("/run/slurmbatch/http.sock", str(behind)), ("/etc/ssl/slurmbatch", str(directory)),
            ("listen 80;", f"listen 127.0.0.1:{plain};"),
            ("listen 443 ", f"listen 127.0.0.1:{self.port} "),
        ):  # fmt: skip
            assert old in text
            text = text.replace(old, new)
        self.url, self.plain = f"https://127.0.0.1:{self.port}", f"http://127.0.0.1:{plain}"
        (directory / "nginx.conf").write_text(
            f"pid {directory}/pid;\nerror_log stderr;\ndaemon off;\nuser root;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n"
            + "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in
                      ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            + text + "}\n"
        )  # fmt: skip
        self.process = subprocess.Popen(
            [str(NGINX), "-p", str(directory), "-c", str(directory / "nginx.conf")],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()[1]
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def down(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "http"))
        made.listen(1024)
        yield made


@pytest.fixture
def front(manager: Manager, listener: socket.socket, tmp_path: Path) -> Iterator[Front]:
    process = manager.start(listener)
    (tmp_path / "front").mkdir()
    made = Front(tmp_path / "front", tmp_path / "http")
    yield made
    made.down()
    ended(process)


def test_requests_answers_and_errors_pass_as_they_are(front: Front, manager: Manager) -> None:
    headers = {"Authorization": manager.site.key(), "X-Request-Id": "through-nginx"}
    with httpx.Client(base_url=front.url, verify=False, headers=headers, timeout=60) as client:
        made = client.post("/batches", json={"tool_id": "t"})
        assert made.status_code == 201
        assert made.headers["X-Request-Id"] == "through-nginx"
        assert "Strict-Transport-Security" in made.headers
        (batch,) = client.get(made.headers["Location"]).json()
        assert batch["n_jobs"] == 1
        # A body that is larger than slurmbatch takes gets its own answer, in its own form.
        large = client.post("/batches", content=b" " * (8 * 1024 * 1024 + 1000),
                            headers={"Content-Type": "application/json"})  # fmt: skip
        assert large.status_code == 413
        assert large.headers["Content-Type"] == "application/problem+json"
    with httpx.Client(base_url=front.plain, timeout=60) as client:
        moved = client.get("/batches?limit=1")
        assert moved.status_code == 308
        assert moved.headers["Location"].endswith("/batches?limit=1")


def test_what_is_awaited_comes_when_it_is_there(front: Front, manager: Manager) -> None:
    headers = {"Authorization": manager.site.key()}
    with httpx.Client(base_url=front.url, verify=False, headers=headers, timeout=40) as client:
        batch_id = client.post("/batches", json={"tool_id": "t"}).json()[0]["batch_id"]
        before = client.get(f"/batches/{batch_id}").headers["ETag"]
        stopper = threading.Timer(1.0, lambda: client.post(f"/batches/{batch_id}/cancel"))
        stopper.start()
        changed = client.get(
            f"/batches/{batch_id}", params={"wait": 30}, headers={"If-None-Match": before}
        )
        stopper.join()
        assert changed.status_code == 200
        assert changed.headers["ETag"] != before


def test_a_restart_behind_it_refuses_none(
    manager: Manager, listener: socket.socket, tmp_path: Path
) -> None:
    process = manager.start(listener)
    (tmp_path / "front").mkdir()
    front = Front(tmp_path / "front", tmp_path / "http")
    codes: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            with httpx.Client(verify=False, timeout=40) as client:
                codes.append(client.get(f"{front.url}/openapi.json").status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(2):
            count = len(codes)
            wait_until(lambda: len(codes) > count + 5)  # noqa: B023
            ended(process)
            process = manager.start(listener)
        count = len(codes)
        wait_until(lambda: len(codes) > count + 5)
    finally:
        stop.set()
        asking.join()
        front.down()
        ended(process)
    assert set(codes) == {200}


@pytest.mark.parametrize("trusted_proxy", ["unix", ""])
def test_the_log_names_the_client_and_not_what_it_claims_to_be(
    manager: Manager, listener: socket.socket, tmp_path: Path, trusted_proxy: str
) -> None:
    if trusted_proxy:
        settings = manager.site.config.read_text()
        manager.site.config.write_text(
            settings.replace("[server]", f'[server]\ntrusted_proxy = "{trusted_proxy}"', 1)
        )
    process = manager.start(listener)
    (tmp_path / "front").mkdir()
    front = Front(tmp_path / "front", tmp_path / "http")
    spoofed = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "gopher"}
    try:
        with httpx.Client(base_url=front.url, verify=False, headers=spoofed, timeout=60) as client:
            assert client.get("/batches").status_code == 401
    finally:
        front.down()
        log = ended(process)
    (line,) = [each for each in log.splitlines() if "status=401" in each]
    assert f" remote={'127.0.0.1' if trusted_proxy else 'unix'} " in line
    assert "203.0.113.7" not in log
