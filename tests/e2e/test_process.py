"""The daemon as a process: how it starts, refuses to start, and stops. No Slurm answers it here."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.e2e.alone import Site, answers, wait_until


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def running(site: Site) -> Iterator[tuple[Site, subprocess.Popen[str]]]:
    process = site.start()
    yield site, process
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_exits_0_in_time(
    running: tuple[Site, subprocess.Popen[str]], number: signal.Signals
) -> None:
    _, process = running
    begun = time.monotonic()
    process.send_signal(number)
    _, log = process.communicate(timeout=10)
    assert process.returncode == 0
    assert time.monotonic() - begun < 10
    assert 'event="stopped"' in log.splitlines()[-1]


def test_it_finishes_the_requests_that_it_has(site: Site, tmp_path: Path) -> None:
    site.config.write_text(site.config.read_text().replace("submit_wait = 0.5", "submit_wait = 20"))
    slurm(tmp_path, {"scontrol": FACTS, "squeue": "", "sbatch": "sleep 2; echo 7"})
    process = site.start()
    try:
        headers = {"Authorization": site.key()}
        answers: list[httpx.Response] = []
        posting = threading.Thread(target=lambda: answers.append(
            httpx.post(f"{site.url}/batches", json={"tool_id": "t"}, headers=headers, timeout=60)
        ))  # fmt: skip
        posting.start()
        wait_until(lambda: "/sbatch " in asked(tmp_path))  # it waits for Slurm's word now
        process.send_signal(signal.SIGTERM)
        posting.join(60)
        assert [each.status_code for each in answers] == [201]
        assert answers[0].json()[0]["n_submitted"] == 1
        process.communicate(timeout=30)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


def test_without_slurm_it_keeps_what_it_is_given_and_says_that_it_is_not_ready(
    running: tuple[Site, subprocess.Popen[str]],
) -> None:
    site, _ = running
    headers = {"Authorization": site.key()}
    made = httpx.post(f"{site.url}/batches", json={"tool_id": "t"}, headers=headers)
    assert made.status_code == 201
    batch_id = made.json()[0]["batch_id"]

    def stale() -> bool:
        batch = httpx.get(f"{site.url}/batches/{batch_id}", headers=headers).json()[0]
        assert batch["submitted_jobs"]["SUBMITTED"] == 1
        return bool(batch["stale_since"])

    wait_until(stale)
    ready = httpx.get(f"{site.url}/readyz")
    assert ready.status_code == 503
    assert ready.json()["slurmctld"]["ok"] is False
    assert set(ready.json()["queue"]) == {"depth", "waited"}
    assert ready.headers["Retry-After"]


def test_a_second_one_is_told_who_holds_the_database(
    running: tuple[Site, subprocess.Popen[str]],
) -> None:
    site, process = running
    second = subprocess.run(
        site.command("serve"), capture_output=True, text=True, timeout=20, check=False
    )
    assert second.returncode == 1
    assert f"pid {process.pid} on" in second.stderr
    wait_until(lambda: answers(site.url))


def test_a_killed_one_leaves_nothing_that_keeps_the_next_from_starting(site: Site) -> None:
    for _ in range(3):
        process = site.start()
        process.kill()
        process.communicate()
    process = site.start()
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_faulty_settings_are_told_all_at_once(site: Site) -> None:
    site.config.write_text('[server]\nport = "x"\ncolour = 1\n')
    for command in ("serve", "check-config"):
        done = subprocess.run(
            site.command(command), capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 1
        told = done.stdout + done.stderr
        for key in ("server.port", "server.colour", "jobs"):
            assert key in told


def test_a_port_that_is_taken_is_told_as_such(site: Site) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", site.port))
        holder.listen()
        done = subprocess.run(
            site.command("serve"), capture_output=True, text=True, timeout=20, check=False
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{site.port}" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_log_directory_that_is_not_writable_is_told_as_such(site: Site, tmp_path: Path) -> None:
    site.write(tmp_path, Path("/proc/nowhere"))
    done = subprocess.run(
        site.command("serve"), capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert "jobs.log_dir" in done.stderr


def test_a_log_directory_that_cannot_be_made_is_told_as_such(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    site.write(tmp_path, tmp_path / "file" / "logs")
    done = subprocess.run(
        site.command("serve"), capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert "jobs.log_dir" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_settings_that_the_environment_names(site: Site) -> None:
    process = site.start(
        sys.executable, "-m", "slurmbatch", "serve", SLURMBATCH_CONFIG=str(site.config)
    )
    process.terminate()
    _, log = process.communicate(timeout=10)
    assert process.returncode == 0
    assert f"http://127.0.0.1:{site.port}" in log


HANGS = "exec sleep 600"
FACTS = "echo MaxArraySize = 1001; echo MaxJobCount = 10000; echo BOOT_TIME = 1"


def slurm(directory: Path, does: dict[str, str]) -> None:
    """Commands of Slurm's that say that they are asked, and then do as is said here."""
    for name, then in does.items():
        command = directory / "bin" / name
        command.write_text(f'#!/bin/sh\necho "$0 $*" >> "$(dirname "$0")/../asked"\n{then}\n')
        command.chmod(0o755)


def test_told_to_stop_while_slurm_hangs_it_exits_0_in_time(site: Site, tmp_path: Path) -> None:
    slurm(tmp_path, {**dict.fromkeys(("sbatch", "squeue", "sacct", "scancel"), HANGS),
                     "scontrol": FACTS})  # fmt: skip
    process = site.start()
    try:
        # Both threads wait for an answer: the poller for a list, the submitter for an id.
        httpx.post(
            f"{site.url}/batches", json={"tool_id": "t"}, headers={"Authorization": site.key()}
        )
        wait_until(lambda: all(f"/{each} " in asked(tmp_path) for each in ("squeue", "sbatch")))
        begun = time.monotonic()
        process.terminate()
        _, log = process.communicate(timeout=30)
        assert time.monotonic() - begun < 15  # either would be given up much later
        assert process.returncode == 0
        assert 'event="stopped"' in log.splitlines()[-1]
    finally:
        process.kill()
        process.wait()


def asked(directory: Path) -> str:
    file = directory / "asked"
    return file.read_text() if file.exists() else ""


# --- tokens --------------------------------------------------------------------------------------

ISSUERS = """\
[[auth.jwt]]
issuer = "https://shared.example"
audience = "slurmbatch"
algorithms = ["HS256"]
secret_file = "shared.secret"

[[auth.jwt]]
issuer = "https://public.example"
audience = "slurmbatch"
algorithms = ["RS256"]
public_key_file = "public.pem"
user_claim = "username"
"""
SECRET = b"0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def with_tokens(site: Site, tmp_path: Path) -> Iterator[str]:
    """A running daemon that takes tokens of two issuers; gives its URL."""
    site.write(tmp_path, tmp_path / "logs", ISSUERS)
    (tmp_path / "shared.secret").touch(mode=0o600)
    (tmp_path / "shared.secret").write_bytes(SECRET + b"\n")
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(pem)
    process = site.start()
    yield site.url
    process.kill()
    process.communicate()


def shared(**changes: object) -> str:
    claims = {"iss": "https://shared.example", "sub": "alice", **lasting(), **changes}
    return jwt.encode(claims, SECRET, "HS256")


def public(**changes: object) -> str:
    claims = {
        "iss": "https://public.example", "sub": "4711", "username": "bob", **lasting(), **changes
    }  # fmt: skip
    return jwt.encode(claims, RSA, "RS256")


def lasting() -> dict[str, object]:
    now = int(time.time())
    return {"aud": "slurmbatch", "iat": now, "exp": now + 600}


def listed(url: str, token: str) -> httpx.Response:
    return httpx.get(f"{url}/batches", headers={"Authorization": f"Bearer {token}"})


def test_each_token_is_of_its_user_and_shows_what_is_theirs(with_tokens: str) -> None:
    made = httpx.post(
        f"{with_tokens}/batches", json={"tool_id": "t"},
        headers={"Authorization": f"Bearer {shared()}"},
    )  # fmt: skip
    assert made.status_code == 201
    assert [each["batch_id"] for each in listed(with_tokens, shared()).json()] == [
        made.json()[0]["batch_id"]
    ]
    for other in (public(), shared(sub="carol")):
        answer = listed(with_tokens, other)
        assert (answer.status_code, answer.json()) == (200, [])


def test_tokens_that_are_not_good(with_tokens: str) -> None:
    header, claims, signature = shared().split(".")
    unsigned = jwt.encode({}, "", "none").partition(".")[0]
    bad = (
        shared(exp=int(time.time()) - 600),
        shared(aud="another"),
        shared(iss="https://public.example"),
        shared(iss="https://nobody.example"),
        public(username=""),
        jwt.encode({"iss": "https://shared.example", "sub": "alice", **lasting()}, b"x" * 32),
        f"{unsigned}.{claims}.",
        f"{header}.{claims}.{signature[::-1]}",
        "x.y.z",
    )
    for token in bad:
        answer = listed(with_tokens, token)
        assert answer.status_code == 401, token
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    # What they were made from is good.
    for token in (shared(), public()):
        assert listed(with_tokens, token).status_code == 200
