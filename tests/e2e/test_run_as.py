"""Jobs as the service's account, and as the persons whose they are, with sudo and with tokens: real
accounts on a real Slurm that shows to nobody what is others'."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from slurmbatch.sandbox import Sandbox
from slurmbatch.sandbox.root import Root
from tests.e2e.people import (
    LIMIT,
    SUDOERS,
    People,
    Service,
    as_account,
    change,
    environment,
    needs_people,
    until,
)

pytestmark = pytest.mark.slurm
PRIVATE = "PrivateData=jobs,usage\n"
ALONE, SUDO, TOKENS = "service", "sudo", "slurm-jwt"


def has_tokens() -> bool:
    """Whether this Slurm has auth/jwt (Debian: slurm-wlm-jwt-plugin)."""
    root = os.environ.get("SLURMBATCH_SANDBOX_ROOT")
    places = [Root(Path(root)).plugins] if root else Path("/usr/lib").glob("*/slurm*")
    return any((each / "auth_jwt.so").exists() for each in places)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def people(place: Path) -> Iterator[People]:
    needs_people()
    homes = place / "h"
    homes.mkdir()
    made = People(homes)
    try:
        made.add("s", member=False)
        made.add("a", "Alice,,,,umask=0007")
        for letter in "bcd":
            made.add(letter)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def box(place: Path, people: People) -> Iterator[Sandbox]:
    made = Sandbox(
        place / "x", nodes=2, extra_conf=PRIVATE, extra_dbd_conf=PRIVATE, tokens=has_tokens()
    )
    try:
        made.up()
        where = ("account=demo", "defaultaccount=demo")
        for letter in "sabcd":
            made.run(["sacctmgr", "-i", "add", "user", f"{people.stem}{letter}", *where])
        operator = f"{people.stem}s"
        made.run(["sacctmgr", "-i", "modify", "user", operator, "set", "AdminLevel=Operator"])
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def rule(people: People, box: Sandbox) -> Iterator[None]:
    """The rule of etc/sudoers.d, for these accounts."""
    text = SUDOERS.read_text().replace("SLURMBATCH_SUBMITS", f"{people.stem.upper()}_SUBMITS")
    text = text.replace("%slurmbatch-users", f"%{people.group}")
    text = text.replace("\nslurmbatch ALL", f"\n{people.stem}s ALL")
    if box.bin_dir:
        text = text.replace("/usr/bin/sbatch", f"{box.bin_dir}/sbatch")
    file = Path("/etc/sudoers.d") / f"slurmbatch-{people.stem}"
    file.write_text(text)
    file.chmod(0o440)
    try:
        subprocess.run(["visudo", "-c", "-q"], check=True)
        yield
    finally:
        file.unlink()


@pytest.fixture(scope="module", params=[ALONE, SUDO, TOKENS])
def way(request: pytest.FixtureRequest) -> str:
    if request.param == TOKENS and not has_tokens():
        pytest.skip("this Slurm has no auth/jwt (slurm-wlm-jwt-plugin)")
    if request.param == SUDO:
        request.getfixturevalue("rule")
    return str(request.param)


@pytest.fixture(scope="module")
def service(way: str, box: Sandbox, people: People, place: Path) -> Iterator[Service]:
    made = Service(box, place / way, f"{people.stem}s", way)
    try:
        made.start()
        yield made
    finally:
        made.stop()


class Person:
    """A user of the service, who has an account of the same name."""

    def __init__(self, service: Service, name: str) -> None:
        self.name, self.service = name, service
        self.http = service.client(name)

    def post(self, **body: Any) -> httpx.Response:
        return self.http.post("/batches", json={"tool_id": "who", **body})

    def submit(self, **body: Any) -> str:
        answer = self.post(**body)
        assert answer.status_code == 201, f"{answer.text}\n{self.service.log()[-4000:]}"
        return str(answer.json()[0]["batch_id"])

    def job(self, batch_id: str) -> dict[str, Any]:
        (job,) = self.http.get(f"/batches/{batch_id}/jobs/{batch_id}-0").json()
        return dict(job)

    def until(self, batch_id: str, *statuses: str) -> dict[str, Any]:
        until(lambda: self.job(batch_id)["status"] in (*statuses, "SUCCEEDED", "FAILED"))
        job = self.job(batch_id)
        assert job["status"] in statuses, f"{job}\n{self.service.log()[-4000:]}"
        return job

    def log(self, batch_id: str) -> dict[str, str]:
        text = self.http.get(f"/batches/{batch_id}/jobs/{batch_id}-0/log").text
        return dict(line.split(" ", 1) for line in text.splitlines())


@pytest.fixture
def who(service: Service, people: People) -> Iterator[list[Person]]:
    made = [Person(service, f"{people.stem}{letter}") for letter in "abc"]
    yield made
    for each in made:
        each.http.close()


def expected(way: str, person: Person) -> pwd.struct_passwd:
    return pwd.getpwnam(person.service.account if way == ALONE else person.name)


def test_each_job_is_its_persons(way: str, service: Service, who: list[Person]) -> None:
    batches = [(each, each.submit()) for each in who]
    for person, batch_id in batches:
        person.until(batch_id, "SUCCEEDED")
        entry, told = expected(way, person), person.log(batch_id)
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
        assert told["uid"] == str(entry.pw_uid)
        assert set(told["groups"].split()) == {str(each) for each in groups}
        assert told["home"] == told["in"] == entry.pw_dir
        assert told["limit"] != str(LIMIT)
        assert "leaked" not in told
        (log,) = (service.directory / "logs" / batch_id).glob("*/1.log")
        assert log.stat().st_uid == entry.pw_uid
    claims = (service.directory / "claims").glob("*/1/code")
    uids = [expected(way, person).pw_uid for person, _ in batches]
    assert {each.stat().st_uid for each in claims} == set(uids)
    if way != ALONE:
        # As at a login: one has a umask of her own, the others the system's.
        first, second, _ = (person.log(batch_id)["umask"] for person, batch_id in batches)
        assert first == "0007"
        assert second in ("0022", "0002", "0027", "0077")
        made = [Path(expected(way, person).pw_dir) / "made" for person, _ in batches]
        assert [each.stat().st_mode & 0o777 for each in made[:1]] == [0o660]


def test_what_runs_can_be_cancelled_and_is_seen_to_end(
    way: str, service: Service, who: list[Person]
) -> None:
    person = who[1]
    batch_id = person.submit(fixed_args={"seconds": 200})
    person.until(batch_id, "RUNNING")
    assert person.http.post(f"/batches/{batch_id}/cancel").status_code == 202
    job = person.until(batch_id, "FAILED")
    assert job["reason"].startswith("CANCELLED: cancelled by request")


def test_a_dry_run_asks_slurm_for_the_person(way: str, service: Service, who: list[Person]) -> None:
    answer = who[0].http.post("/batches?dry_run=1", json={"tool_id": "who"})
    assert answer.status_code == 200, answer.text
    assert not (service.directory / "logs" / answer.json()[0].get("batch_id", "none")).exists()


def test_what_one_prints_and_claims_is_no_others(
    way: str, service: Service, who: list[Person]
) -> None:
    if way == ALONE:
        pytest.skip("to Slurm all are one user then")
    person, other = who[0], who[1]
    batch_id = person.submit()
    person.until(batch_id, "SUCCEEDED")
    (log,) = (service.directory / "logs" / batch_id).glob("*/1.log")
    (claim,) = [each for each in (service.directory / "claims").glob("*/1")
                if each.stat().st_mtime >= log.parent.stat().st_mtime
                and each.stat().st_uid == pwd.getpwnam(person.name).pw_uid][-1:]  # fmt: skip
    for command in (
        ("cat", str(log)), ("ls", str(log.parent)), ("touch", str(log.parent / "2.log")),
        ("ls", str(service.directory / "logs")), ("mkdir", str(claim.parent / "2")),
        ("mkdir", str(service.directory / "claims" / "sb-x")), ("cat", str(claim / "code")),
        ("ls", str(service.directory / "state")), ("rm", "-rf", str(claim.parent)),
    ):  # fmt: skip
        assert as_account(other.name, *command).returncode != 0, command
    assert as_account(person.name, "cat", str(log)).returncode == 0
    assert claim.is_dir()
    # Whatever its owner has made there goes with the batch.
    mess = f"umask 077; mkdir {log.parent}/mess && touch {log.parent}/mess/x"
    assert as_account(person.name, "sh", "-c", mess).returncode == 0
    assert other.http.get(f"/batches/{batch_id}").status_code == 404
    assert person.http.delete(f"/batches/{batch_id}").status_code == 200
    until(lambda: not log.parent.parent.exists())


def test_a_log_that_is_not_the_persons_is_not_served(
    way: str, service: Service, who: list[Person]
) -> None:
    person = who[2]
    batch_id = person.submit()
    person.until(batch_id, "SUCCEEDED")
    (log,) = (service.directory / "logs" / batch_id).glob("*/1.log")
    log.unlink()
    log.write_text("somebody else's")
    log.chmod(0o644)
    answer = person.http.get(f"/batches/{batch_id}/jobs/{batch_id}-0/log")
    assert answer.status_code == 409
    assert "somebody" not in answer.text
    log.unlink()
    secret = service.directory / "slurmbatch.toml"
    assert as_account(person.name, "ln", "-s", str(secret), str(log)).returncode in (0, 1)
    answer = person.http.get(f"/batches/{batch_id}/jobs/{batch_id}-0/log")
    assert "[server]" not in answer.text


@pytest.mark.parametrize("user", ["root", "daemon", "nobody", "0", "no-such-account"])
def test_no_jobs_run_as_such_a_user(way: str, service: Service, user: str) -> None:
    if way == ALONE:
        pytest.skip("users need no account then")
    with service.client(user) as http:
        answer = http.post("/batches", json={"tool_id": "who"})
        assert answer.status_code == 403
        assert answer.json()["type"] == "urn:slurmbatch:problem:account-refused"
        assert http.get("/batches").json() == []


def test_an_account_that_is_locked_after_the_post_is_refused_at_the_hand_over(
    way: str, service: Service, people: People
) -> None:
    if way == ALONE:
        pytest.skip("users need no account then")
    person = Person(service, f"{people.stem}d")
    first = person.submit(fixed_args={"seconds": 200})
    second = person.submit(depends_on=[{"batch_id": first, "type": "afterany"}])
    person.until(first, "RUNNING")
    change("usermod", "--shell", "/usr/sbin/nologin", person.name)
    try:
        assert person.post().status_code == 403
        assert person.http.post(f"/batches/{first}/cancel").status_code == 202
        person.until(first, "FAILED")
        job = person.until(second, "FAILED")
        assert job["reason"] == f"REFUSED: The account '{person.name}' is locked."
        assert not job["slurm_job_id"]
    finally:
        change("usermod", "--shell", "/bin/bash", person.name)
        person.http.close()


def test_the_doctor_finds_that_it_is_set_up(
    way: str, box: Sandbox, service: Service, people: People
) -> None:
    def found() -> dict[str, list[str]]:
        told = as_account(service.account, *service.command("admin", "doctor", "--json"),
                          env=environment())  # fmt: skip
        looked: dict[str, list[str]] = {}
        for each in json.loads(told.stdout):
            if each["check"] == "run_as":
                looked.setdefault(each["level"], []).append(each["found"])
        return looked

    assert list(found()) == ["ok"], found()
    if way == ALONE:
        return
    box.run(["sacctmgr", "-i", "modify", "user", service.account, "set", "AdminLevel=None"])
    try:
        assert found()["wrong"] == [f"{service.account} is no Operator in Slurm"]
    finally:
        box.run(["sacctmgr", "-i", "modify", "user", service.account, "set", "AdminLevel=Operator"])


def submissions(service: Service) -> int:
    """How many processes of an sbatch of this service's there are, whoever runs them."""
    found = 0
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = each.read_bytes().split(b"\0")
            output = f"--output={service.directory}/".encode()
            found += any(word.startswith(output) for word in words)
    return found


def answers_slurm(person: Person) -> bool:
    return bool(person.http.get("/readyz").json()["slurmctld"]["ok"])


def test_killed_while_sbatch_waits_for_slurm_the_job_runs_once(
    way: str, box: Sandbox, service: Service, who: list[Person]
) -> None:
    person = who[0]
    box.kill("slurmctld", signal.SIGSTOP)
    try:
        batch_id = person.submit()
        # On a machine that is very slow Slurm's silence may be noticed first.
        until(lambda: submissions(service) > 0 or not answers_slurm(person))
        service.kill()
    finally:
        box.kill("slurmctld", signal.SIGCONT)
    service.start()
    person.until(batch_id, "SUCCEEDED")
    text = person.http.get(f"/batches/{batch_id}/jobs/{batch_id}-0/log").text
    assert text.count("uid ") == 1
    rows = box.run(
        ["squeue", "--noheader", "--states=all", "--format=%F|%T|%k"]
    ).stdout.splitlines()
    ours = [row.split("|")[:2] for row in rows if f"batch={batch_id} " in row]
    assert [state for _, state in ours if state != "CANCELLED"] == ["COMPLETED"], rows
