"""No secret is anywhere but in its file: not in the log, in what /proc tells, in the database or in
a copy of it. A daemon as a process, whose Slurm is not there."""

from __future__ import annotations

import base64
import subprocess
import time
from pathlib import Path

import httpx
import jwt

from tests.e2e.alone import Site
from tests.ports import free_port

SHARED = b"0123456789abcdefSHARED89abcdef0123456789"
WEBHOOK = base64.b64encode(b"a-secret-of-webhooks-of-32-bytes").decode()
METRICS = "a-token-for-metrics-of-some-length"
SETTINGS = """\
[log]
level = "debug"
[metrics]
port = {port}
token_file = "metrics.token"
[webhooks]
secret_file = "webhook.secret"
[[webhooks.hosts]]
name = "127.0.0.1"
allow_http = true
allow_private = true
[[auth.jwt]]
issuer = "https://shared.example"
audience = "slurmbatch"
algorithms = ["HS256"]
secret_file = "shared.secret"
"""


def test_secrets_are_nowhere_but_in_their_files(tmp_path: Path) -> None:
    site = Site(tmp_path)
    port = free_port()
    site.write(tmp_path, tmp_path / "logs", SETTINGS.format(port=port))
    for name, content in {
        "shared.secret": SHARED, "webhook.secret": f"whsec_{WEBHOOK}".encode(),
        "metrics.token": METRICS.encode(),
    }.items():  # fmt: skip
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_bytes(content)
    key = site.key()
    process = site.start()
    try:
        token = used(site, port, key)
        proc = Path(f"/proc/{process.pid}")
        told = {
            str(file): file.read_bytes()
            for file in (proc / "cmdline", proc / "environ", *proc.glob("task/*/comm"))
        }
        copy = tmp_path / "copy.sqlite"
        subprocess.run(site.command("admin", "backup", str(copy)), check=True, capture_output=True)
    finally:
        process.terminate()
        _, log = process.communicate(timeout=60)
    assert "request served" in log
    assert "credentials refused" in log
    told["the log"] = log.encode()
    for file in [copy, *(tmp_path / "state").iterdir(), *(tmp_path / "logs").rglob("*")]:
        if file.is_file():
            told[str(file)] = file.read_bytes()
    assert len(told) > 4
    for secret in (*parts(key, token), SHARED.decode(), WEBHOOK, METRICS):
        for where, content in told.items():
            for form in (secret.encode(), base64.b64encode(secret.encode())):
                assert form not in content, (secret[:12], where)


def used(site: Site, port: int, key: str) -> str:
    """Everything is used once, rightly and wrongly; gives a token."""
    now = int(time.time())
    claims = {"iss": "https://shared.example", "sub": "bob", "aud": "slurmbatch"}
    token = jwt.encode({**claims, "iat": now, "exp": now + 600}, SHARED, "HS256")
    notify = {"url": f"http://127.0.0.1:{port}/", "on": ["finished"]}
    for credential in (key, f"Bearer {key}", f"Bearer {token}"):
        headers = {"Authorization": credential}
        body = {"tool_id": "t", "notify": notify}
        made = httpx.post(f"{site.url}/batches", json=body, headers=headers, timeout=60)
        assert made.status_code < 500
        assert httpx.get(f"{site.url}/batches", headers=headers, timeout=60).status_code == 200
    for wrong in (
        f"{key}x",
        f"Basic {key}",
        f"Bearer {token}x",
        f"Bearer {token[:-4]}",
        f"x {key}",
    ):
        answer = httpx.get(
            f"{site.url}/batches/{key}", headers={"Authorization": wrong}, timeout=60
        )
        assert answer.status_code == 401
    for wrong in (METRICS, f"{METRICS}x"):
        headers = {"Authorization": f"Bearer {wrong}"}
        httpx.get(f"http://127.0.0.1:{port}/metrics", headers=headers, timeout=60)
    return token


def parts(key: str, token: str) -> tuple[str, ...]:
    """What may be told of neither: a key's id stands in the log, and is no secret."""
    return (key.split("_", 2)[2], *token.split(".")[1:])
