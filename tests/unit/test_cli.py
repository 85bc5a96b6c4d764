"""The commands that talk to a service, against one that answers as the test says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
from click.testing import CliRunner, Result

from slurmbatch.cli import ADMINS, USERS, main
from slurmbatch.client import profiles
from tests.fakes.web_service import Asked, Reply, Service, batch, job, reason

FIRST, SECOND, THIRD = ("01m8da2sedsppp3et0t0rzabyd", "01m8da2w4x38tt81abp57x63dg",
                        "01m8db00000000000000000000")  # fmt: skip
TOOL = {
    "id": "probe",
    "description": "Tries a site out.",
    "parameters": [
        {
            "name": name, "type": kind, "description": "", "required": False, "default": None,
            "minimum": None, "maximum": None, "max_length": None, "pattern": "", "choices": [],
        }
        for name, kind in (
            ("seed", "integer"), ("rate", "number"), ("print", "string"), ("loud", "boolean"),
        )
    ],
    "hardware": {
        "filesystems": [], "cpu": 1, "memory": None, "max_cpu": 4, "max_memory": 4000,
    },
    "slurm": {
        "default": {"time_limit": 60, "partition": "", "account": "", "qos": "", "gpus": 0},
        "partitions": [], "accounts": [], "qos": [], "max_time_limit": None, "max_gpus": 0,
    },
}  # fmt: skip


class Fake(Service):
    """One whose answers depend on what is asked; the last one to a path stays."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, list[Reply]] = {}
        self.on("GET /tools", [TOOL])
        self.on("GET /tools/probe", TOOL)

    def on(self, what: str, *bodies: Any) -> None:
        self.answers[what] = [
            each if isinstance(each, Reply) else Reply(200, each) for each in bodies
        ]

    def has(self, *batches: dict[str, Any]) -> None:
        """Batches, the newest first."""
        self.on("GET /batches", list(batches))
        for each in batches:
            self.on(f"GET /batches/{each['batch_id']}", each)

    def reply_to(self, asked: Asked) -> Reply:
        replies = self.answers.get(f"{asked.method} {urlsplit(asked.path).path}")
        if replies is None:
            return Reply(404, {"title": "Not found", "detail": "There is nothing here."})
        return replies.pop(0) if len(replies) > 1 else replies[0]

    @property
    def calls(self) -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.asked]

    @property
    def posted(self) -> dict[str, Any]:
        (sent,) = (json.loads(each.body) for each in self.asked if each.method == "POST")
        return dict(sent)


@pytest.fixture
def service() -> Iterator[Fake]:
    with Fake() as server:
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (profiles.URL, profiles.KEY, profiles.PROFILE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def run(service: Fake, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls a command as somebody who is logged in."""
    monkeypatch.setenv(profiles.URL, service.url)
    monkeypatch.setenv(profiles.KEY, "sbk_key")
    return call


@pytest.fixture
def munge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A munge that notes what it is asked for."""
    shim, noted = tmp_path / "bin" / "munge", tmp_path / "bin" / "noted"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\necho "$@" > {noted}\necho MUNGE:AwQF:\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(shim.parent))
    return noted


def call(*words: str, given: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(main, words, input=given, catch_exceptions=False)
    assert "\x1b" not in result.output
    return result


class TestLogin:
    def test_keeps_what_has_been_tried(self, service: Fake, home: Path) -> None:
        done = call("login", service.url + "/", "--profile", "lab", given="sbk_lab\n")
        assert done.exit_code == 0
        assert "you may run one tool" in done.stderr
        assert service.asked[0].headers["authorization"] == "sbk_lab"
        file = home / "slurmbatch" / "profiles.json"
        assert file.stat().st_mode & 0o777 == 0o600
        assert "sbk_lab" not in done.output
        assert call("tools").exit_code == 0
        assert service.asked[1].headers["authorization"] == "sbk_lab"

    def test_by_munge_a_key_is_made_and_given_up_again(
        self, service: Fake, home: Path, munge: Path
    ) -> None:
        made = {"key_id": "k1", "key": "sbk_k1_secret"}
        service.on("POST /keys", Reply(201, [made]))
        service.on("DELETE /keys/k1", Reply(200))
        done = call("login", service.url + "/", "--munge")
        assert done.exit_code == 0, done.output
        assert "sbk_k1_secret" not in done.output
        first, second = service.asked
        assert first.headers["authorization"] == "Munge MUNGE:AwQF:"
        assert json.loads(first.body)["name"].startswith("slurmbatch login on ")
        assert second.headers["authorization"] == "sbk_k1_secret"
        assert munge.read_text().split() == ["--ttl=60", f"--string=slurmbatch:{service.url}"]
        gone = call("logout", "--json")
        assert json.loads(gone.stdout)["revoked"] is True
        assert service.calls[-1] == "DELETE /keys/k1"
        assert call("profiles", "--json").stdout.strip() == "[]"

    def test_logging_in_again_revokes_the_key_before(
        self, service: Fake, home: Path, munge: Path
    ) -> None:
        keys = [Reply(201, [{"key_id": f"k{n}", "key": f"sbk_k{n}_x"}]) for n in (1, 2)]
        service.answers["POST /keys"] = keys
        service.on("DELETE /keys/k1", Reply(503))  # which must not be in the way
        for _ in range(2):
            assert call("login", service.url, "--munge").exit_code == 0
        deleted = [each for each in service.asked if each.method == "DELETE"]
        assert {(each.path, each.headers["authorization"]) for each in deleted} == {
            ("/keys/k1", "sbk_k1_x")
        }

    @pytest.mark.parametrize("status", [401, 404])
    def test_a_key_that_works_no_more_is_forgotten(
        self, service: Fake, home: Path, munge: Path, status: int
    ) -> None:
        service.on("POST /keys", Reply(201, [{"key_id": "k1", "key": "sbk_k1_x"}]))
        assert call("login", service.url, "--munge").exit_code == 0
        service.on("DELETE /keys/k1", Reply(status, {"title": "No"}))
        assert call("logout").exit_code == 0

    def test_a_key_that_cannot_be_revoked_is_not_forgotten(
        self, service: Fake, home: Path, munge: Path
    ) -> None:
        service.on("POST /keys", Reply(201, [{"key_id": "k1", "key": "sbk_k1_x"}]))
        assert call("login", service.url, "--munge").exit_code == 0
        service.on("DELETE /keys/k1", Reply(500, {"title": "A bug"}))
        assert call("logout").exit_code == 1
        assert len(json.loads(call("profiles", "--json").stdout)) == 1
        done = call("logout", "--keep-key", "--json")
        assert (done.exit_code, json.loads(done.stdout)["revoked"]) == (0, False)

    def test_a_service_that_takes_no_munge(self, service: Fake, home: Path, munge: Path) -> None:
        service.on("POST /keys", Reply(401, {"title": "Credentials are needed"}))
        assert call("login", service.url, "--munge").exit_code == 4
        assert not (home / "slurmbatch").exists()

    def test_a_munge_that_fails(self, service: Fake, home: Path, munge: Path) -> None:
        munge.with_name("munge").write_text("#!/bin/sh\necho 'no munged' >&2; exit 6\n")
        done = call("login", service.url, "--munge")
        assert (done.exit_code, "no munged" in done.stderr) == (1, True)
        munge.with_name("munge").unlink()
        assert "cannot be run here" in call("login", service.url, "--munge").stderr
        assert service.asked == []

    def test_which_service_may_be_left_out(
        self, service: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = tmp_path / "url"
        monkeypatch.setattr("slurmbatch.cli.login.SITE", site)
        done = call("login", given="sbk_key\n")
        assert (done.exit_code, "Which service?" in done.stderr) == (4, True)
        site.write_text(f"{service.url}\n")
        assert call("login", given="sbk_key\n").exit_code == 0
        assert json.loads(call("profiles", "--json").stdout)[0]["url"] == service.url

    def test_keeps_no_key_that_does_not_work(self, service: Fake, home: Path) -> None:
        service.on("GET /tools", Reply(401, {"title": "Credentials are needed"}))
        done = call("login", service.url, given="wrong\n")
        assert done.exit_code == 4
        assert "Credentials are needed" in done.stderr
        assert not (home / "slurmbatch").exists()

    @pytest.mark.parametrize("key", ["", "\n", "clé\n", "a\tb\n"])
    def test_takes_no_nonsense(self, service: Fake, key: str) -> None:
        assert call("login", service.url, given=key.encode()).exit_code == 1
        assert service.asked == []

    def test_several_and_out_again(self, service: Fake) -> None:
        for name in ("one", "two"):
            call("login", service.url, "--profile", name, given=f"sbk_{name}\n")
        listed = json.loads(call("profiles", "--json").stdout)
        assert [(each["profile"], each["current"]) for each in listed] == [
            ("one", False), ("two", True),
        ]  # fmt: skip
        assert "sbk_" not in call("profiles").output
        assert call("profiles", "--use", "one").stdout.splitlines()[1].split()[:2] == ["*", "one"]
        call("tools", "--profile", "two")
        call("tools")
        keys = [asked.headers["authorization"] for asked in service.asked[2:]]
        assert keys == ["sbk_two", "sbk_one"]
        assert json.loads(call("logout", "--json").stdout)["profile"] == "one"
        assert call("logout", "--profile", "one").exit_code == 1
        assert call("profiles", "--use", "one").exit_code == 1

    def test_who_is_not_logged_in_is_told_so(self) -> None:
        done = call("ls")
        assert done.exit_code == 4
        assert "slurmbatch login URL" in done.stderr


class TestSubmit:
    @pytest.fixture(autouse=True)
    def accepts(self, service: Fake) -> None:
        service.on("POST /batches", Reply(201, batch(FIRST, SUBMITTED=3)))

    def test_all_that_can_be_said(self, service: Fake, run: Any) -> None:
        done = run(
            "submit", "probe", "-a", "rate=1e-3", "-a", "print=a=b", "--sweep", "seed=1..2",
            "--sweep", "loud=yes,no", "--cpu", "2", "--mem", "4G", "--fs", "scratch",
            "--fs", "home", "--time", "1h", "--gpus", "1", "--partition", "p", "--account", "a",
            "--qos", "q", "--name", "a name", "--idempotency-key", "k",
        )  # fmt: skip
        assert (done.exit_code, done.stdout) == (0, f"{FIRST}\n")
        assert done.stderr == "Accepted: 3 jobs of probe.\n"
        assert service.posted == {
            "tool_id": "probe",
            "name": "a name",
            "fixed_args": {"rate": 0.001, "print": "a=b"},
            "variable_args": [
                {"seed": 1, "loud": True}, {"seed": 1, "loud": False},
                {"seed": 2, "loud": True}, {"seed": 2, "loud": False},
            ],
            "hardware": {"cpu": 2, "memory": 4096, "filesystems": ["scratch", "home"]},
            "slurm": {
                "time_limit": 60, "partition": "p", "account": "a", "qos": "q", "gpus": 1,
            },
        }  # fmt: skip
        assert service.asked[-1].headers["idempotency-key"] == "k"

    def test_no_more_than_is_said(self, service: Fake, run: Any) -> None:
        run("submit", "probe")
        assert service.posted == {
            "tool_id": "probe", "name": "", "fixed_args": {}, "variable_args": [], "hardware": {},
            "slurm": {},
        }  # fmt: skip

    def test_a_file_row_by_row_times_a_sweep(self, service: Fake, run: Any, tmp_path: Path) -> None:
        file = tmp_path / "params.csv"
        file.write_bytes(b'\xef\xbb\xbfseed,print\r\n1,"a,b"\r\n2,\r\n')
        run("submit", "probe", "--sweep-file", str(file), "--sweep", "rate=1,2")
        assert service.posted["variable_args"] == [
            {"seed": 1, "print": "a,b", "rate": 1}, {"seed": 1, "print": "a,b", "rate": 2},
            {"seed": 2, "rate": 1}, {"seed": 2, "rate": 2},
        ]  # fmt: skip

    def test_rows_from_another_program(self, service: Fake, run: Any) -> None:
        run("submit", "probe", "--sweep-file", "-", given="seed\n5\n6\n")
        assert service.posted["variable_args"] == [{"seed": 5}, {"seed": 6}]

    def test_every_mistake_at_once_and_nothing_sent(
        self, service: Fake, run: Any, tmp_path: Path
    ) -> None:
        file = tmp_path / "rows.jsonl"
        file.write_text('{"seed": 1}\n[1]\nnonsense\n{"color": 1}\n')
        done = run(
            "submit", "probe", "-a", "seed=x", "-a", "size=1", "-a", "print", "--sweep",
            "rate=5..1:1", "--sweep-file", str(file),
        )  # fmt: skip
        assert done.exit_code == 2
        told = done.stderr
        for expected in (
            "-a seed: expected a number, not 'x'",
            "-a size: probe has no parameter 'size'; it has: seed, rate, print, loud",
            "-a print: expected name=value",
            "--sweep rate: 5..1:1: steps of 1 lead nowhere",
            "rows.jsonl, line 2: expected an object",
            "rows.jsonl, line 3: no JSON",
            "rows.jsonl: probe has no parameter 'color'",
            "rows.jsonl: seed is given twice, here and by -a seed",
        ):
            assert expected in told
        assert [asked.method for asked in service.asked] == ["GET"]

    def test_what_the_service_refuses_is_told_by_option(self, service: Fake, run: Any) -> None:
        pointers = ("/hardware/cpu", "/fixed_args/seed", "/variable_args/3/rate",
                    "/hardware/filesystems/0", "/slurm/time_limit", "/depends_on/1/type",
                    "/other")  # fmt: skip
        errors = [{"pointer": each, "detail": "Not so."} for each in pointers]
        service.on("POST /batches", Reply(422, {"detail": "Some fields.", "errors": errors}))
        done = run("submit", "probe", "--cpu", "0")
        assert done.exit_code == 2
        assert done.stderr.splitlines() == [
            "Error: Some fields.", "  --cpu: Not so.", "  -a seed: Not so.",
            "  job 3, rate: Not so.", "  --fs: Not so.", "  --time: Not so.",
            "  --depends-on: Not so.", "  /other: Not so.",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("option", "value", "told"),
        [("--mem", "4X", "expected memory"), ("--time", "soon", "expected a time"),
         ("--cpu", "many", "integer"), ("--sweep-file", "/nowhere.csv", "No such file")],
    )  # fmt: skip
    def test_options_that_cannot_be_read(
        self, run: Any, option: str, value: str, told: str
    ) -> None:
        done = run("submit", "probe", option, value)
        assert done.exit_code == 2
        assert told in done.stderr

    def test_batches_before_it(self, service: Fake, run: Any) -> None:
        service.has(batch(SECOND, RUNNING=1), batch(FIRST, RUNNING=1))
        run("submit", "probe", "--depends-on", "@", "--depends-on", f"{FIRST[:9]}:afterany",
            "--canary", "2")  # fmt: skip
        assert service.posted["depends_on"] == [
            {"batch_id": SECOND, "type": "afterok"}, {"batch_id": FIRST, "type": "afterany"},
        ]  # fmt: skip
        assert service.posted["canary"] == 2
        for text, code in (("@:before", 2), ("zz", 5)):
            assert run("submit", "probe", "--depends-on", text).exit_code == code
        assert [asked.method for asked in service.asked].count("POST") == 1

    def test_a_dry_run(self, service: Fake, run: Any) -> None:
        answer = {
            "n_jobs": 3, "n_arrays": 1, "hardware": {"cpu": 1, "memory": 64}, "reason": "",
            "expected_start": "2026-11-23T14:03:07Z", "expected_nodes": "node1",
        }  # fmt: skip
        service.on("POST /batches", answer)
        done = run("submit", "probe", "--dry-run", "--watch")
        assert done.stdout.splitlines() == [
            "jobs            3, in one job array", "each job        1 CPU, 64 MiB",
            "expected start  2026-11-23T14:03:07Z", "on              node1",
        ]  # fmt: skip
        assert "Nothing was submitted" in done.stderr
        assert service.asked[-1].path == "/batches?dry_run=1"
        assert json.loads(run("submit", "probe", "--dry-run", "--json").stdout) == answer
        errors = [{"pointer": "/hardware/cpu", "detail": "Not so."}]
        service.on("POST /batches", Reply(422, {"detail": "Some fields.", "errors": errors}))
        assert "  --cpu: Not so." in run("submit", "probe", "--dry-run").stderr

    def test_how_it_is_to_go(self, service: Fake, run: Any) -> None:
        run("submit", "probe", "--max-parallel", "5", "--max-attempts", "3", "--retry-mem-factor",
            "1.5", "--no-retry-node-failures", "--notify", "https://x", "--notify-on",
            "first_failure")  # fmt: skip
        sent = service.posted
        assert sent["max_parallel"] == 5
        assert sent["retry"] == {"max_attempts": 3, "memory_factor": 1.5, "node_failures": False}
        assert sent["notify"] == {"url": "https://x", "on": ["first_failure"]}
        assert run("submit", "probe", "--notify-on", "finished").exit_code == 2

    def test_a_tool_that_is_not_there(self, run: Any) -> None:
        done = run("submit", "prob")
        assert done.exit_code == 2
        assert "There is no tool 'prob' for you; there are: probe" in done.stderr

    def test_watched(self, service: Fake, run: Any) -> None:
        service.on(f"GET /batches/{FIRST}", batch(FIRST, SUCCEEDED=3))
        done = run("submit", "probe", "--watch")
        assert done.exit_code == 0
        assert "3 SUCCEEDED" in done.stdout


class TestIds:
    @pytest.fixture(autouse=True)
    def batches(self, service: Fake) -> None:
        service.has(batch(THIRD, RUNNING=1), batch(SECOND, RUNNING=1), batch(FIRST, SUCCEEDED=1))

    @pytest.mark.parametrize(
        ("text", "meant"), [("@", THIRD), (SECOND, SECOND), (SECOND[:8], SECOND), ("01m8db", THIRD)]
    )
    def test_are_as_short_as_one_likes(self, run: Any, text: str, meant: str) -> None:
        assert json.loads(run("show", text, "--json").stdout)["batch_id"] == meant

    def test_are_not_guessed(self, run: Any) -> None:
        done = run("show", "01m8da2")
        assert done.exit_code == 5
        assert f"2 batches have ids that begin with '01m8da2': {SECOND}, {FIRST}" in done.stderr

    @pytest.mark.parametrize("text", ["zz", "", FIRST[:-1] + "z"])
    def test_that_are_nobodys(self, service: Fake, run: Any, text: str) -> None:
        if not text:
            service.has()
        assert run("show", text or "@").exit_code == 5

    def test_of_jobs_are_an_index_or_whole(self, service: Fake, run: Any) -> None:
        service.on(f"GET /batches/{FIRST}/jobs/{FIRST}-2", job(2, print="x\ny"))
        for text in ("2", f"{FIRST}-2"):
            done = run("show", FIRST, text)
            assert "print=x y" in done.stdout


class TestLooking:
    def test_ls(self, service: Fake, run: Any) -> None:
        service.has(
            batch(THIRD, RUNNING=2, FAILED=1, SUCCEEDED=1, name="three"),
            batch(SECOND, FAILED=1, SUCCEEDED=2), batch(FIRST, SUCCEEDED=2),
        )  # fmt: skip
        head, *rows = run("ls", "--status", "failed", "--tool", "probe").stdout.splitlines()
        assert head.split() == ["BATCH", "AGE", "TOOL", "JOBS", "STATUS", "NAME"]
        assert [row.split()[0] for row in rows] == [THIRD, SECOND, FIRST]
        assert "2/4 ended, 2 running, 1 failed  three" in rows[0]
        assert "1 of 3 failed" in rows[1]
        assert rows[2].endswith("succeeded")
        assert service.asked[0].query == {
            "limit": ["100"], "status": ["FAILED"], "tool_id": ["probe"],
        }  # fmt: skip
        done = run("ls", "--limit", "2")
        assert len(done.stdout.splitlines()) == 3
        assert "There are more" in done.stderr
        assert len(json.loads(run("ls", "--json").stdout)) == 3

    def test_nothing_is_a_list_too(self, service: Fake, run: Any) -> None:
        service.has()
        assert run("ls").stdout.split() == ["BATCH", "AGE", "TOOL", "JOBS", "STATUS", "NAME"]
        assert json.loads(run("ls", "--json").stdout) == []

    def test_show_tells_why_and_what_to_ask_for(self, service: Fake, run: Any) -> None:
        advice = {"usage": {"suggestions": ["Half the memory would do."]}}
        service.has({**batch(FIRST, FAILED=3, SUCCEEDED=1, name="x"), **advice})
        log = "".join(f"line {n}\n" for n in range(9))
        reasons = [reason("2 of 4 jobs failed: EXIT", log=log), reason("1 of 4 jobs failed: NODE")]
        service.on(f"GET /batches/{FIRST}/reasons", reasons)
        lines = run("show").stdout.splitlines()
        assert "status    3 of 4 failed" in lines
        assert [line for line in lines[lines.index("") :] if line] == [
            "2 of 4 jobs failed: EXIT", *(f"    line {n}" for n in range(4, 9)),
            "1 of 4 jobs failed: NODE", "Half the memory would do.",
        ]  # fmt: skip

    def test_jobs(self, service: Fake, run: Any) -> None:
        service.has(batch(FIRST, FAILED=1))
        service.on(f"GET /batches/{FIRST}/jobs", [job(0, "FAILED", "EXIT: 3", seed=1, loud=True)])
        done = run("jobs", "@", "--failed", "--status", "running")
        assert done.stdout.splitlines()[1].split() == [
            "0", "FAILED", "seed=1", "loud=true", "EXIT:", "3",
        ]  # fmt: skip
        assert service.asked[-1].query["status"] == ["RUNNING", "FAILED"]
        assert json.loads(run("jobs", "@", "--json").stdout)[0]["args"]["seed"] == 1

    def test_tools(self, run: Any) -> None:
        assert "probe  Tries a site out." in run("tools").stdout
        shown = run("tools", "probe").stdout
        assert "memory       to be said, at most 4000 MiB" in shown
        assert json.loads(run("tools", "--json").stdout) == [TOOL]
        assert run("tools", "nothing").exit_code == 5

    def test_filesystems(self, service: Fake, run: Any) -> None:
        found = [{"id": "scratch", "path": "/scratch", "description": "Fast."}]
        service.on("GET /filesystems", found)
        assert run("filesystems").stdout.splitlines()[1] == "scratch  /scratch  Fast."
        assert json.loads(run("filesystems", "--json").stdout) == found

    def test_keys(self, service: Fake, run: Any) -> None:
        key = {
            "key_id": "k1", "name": "laptop", "scopes": ["read"], "created_at": "",
            "expires_at": "2027-01-01T00:00:00Z", "last_used_at": "", "revoked_at": "",
            "current": True,
        }  # fmt: skip
        service.on("GET /keys", [key])
        service.on("POST /keys", [{**key, "key": "sbk_k1_secret"}])
        service.on("DELETE /keys/k1", None)
        for words in (("keys",), ("keys", "list")):
            line = run(*words).stdout.splitlines()[1]
            assert line.split()[:3] == ["k1", "laptop", "read"]
            assert line.endswith("this one")
        made = run("keys", "create", "--name", "laptop", "--scope", "read", "--expires", "30")
        assert made.stdout == "sbk_k1_secret\n"
        assert "good until 2027-01-01T00:00:00Z" in made.stderr
        assert run("keys", "revoke", "k1").exit_code == 0
        assert json.loads(run("keys", "create", "--json").stdout)["key"] == "sbk_k1_secret"
        assert run("keys", "revoke", "k2").exit_code == 5

    def test_what_a_service_says_takes_hold_of_no_terminal(self, service: Fake, run: Any) -> None:
        evil = "a\x1b]0;owned\x07b\x1b[31mc\u202ed\re"
        service.has(batch(FIRST, FAILED=1, name=evil))
        service.on(f"GET /batches/{FIRST}/jobs", [job(0, "FAILED", evil, print=evil)])
        service.on(f"GET /batches/{FIRST}/reasons", [reason(evil, log=evil)])
        for words in (["ls"], ["show"], ["jobs"], ["watch"], ["jobs", "--json"]):
            shown = run(*words).output
            assert not set(shown) & set("\x1b\x07\r\u202e")
        assert "abcd e" in run("ls").stdout


class TestLogs:
    @pytest.fixture(autouse=True)
    def two(self, service: Fake) -> None:
        service.has(batch(FIRST, SUCCEEDED=1, FAILED=1))
        jobs = [job(0, print="a"), job(1, "FAILED", print="b")]
        service.on(f"GET /batches/{FIRST}/jobs", jobs)
        service.on(f"GET /batches/{FIRST}/jobs/{FIRST}-1", jobs[1])
        for number, text in enumerate((b"one\n", b"\x1b[1mtwo\xff\n")):
            service.on(f"GET /logs/b1-{number}.log", Reply(200, text))

    def test_of_one_are_bytes_as_they_are(self, service: Fake, run: Any) -> None:
        done = CliRunner().invoke(main, ["logs", "@", "1", "--tail", "5"])
        assert done.stdout_bytes == b"\x1b[1mtwo\xff\n"
        assert service.calls[-1] == "GET /logs/b1-1.log?tail=5"

    def test_of_several_have_titles(self, run: Any) -> None:
        done = CliRunner().invoke(main, ["logs"])
        assert done.stdout_bytes == (
            b"==> 0 SUCCEEDED print=a <==\none\n\n==> 1 FAILED print=b <==\n\x1b[1mtwo\xff\n"
        )

    def test_for_programs(self, run: Any) -> None:
        found = json.loads(run("logs", "--json").stdout)
        assert [each["log"] for each in found] == ["one\n", "\x1b[1mtwo\ufffd\n"]

    def test_of_an_earlier_run(self, service: Fake, run: Any) -> None:
        assert CliRunner().invoke(main, ["logs", "@", "1", "--attempt", "2"]).exit_code == 0
        assert service.calls[-1] == "GET /logs/b1-1.log?attempt=2"
        assert run("logs", "@", "1", "--attempt", "2", "-f").exit_code == 2

    def test_are_followed(self, service: Fake, run: Any) -> None:
        service.on("GET /batches/b1/jobs/b1-1/log", Reply(200, b"one\n"))
        service.on(f"GET /batches/{FIRST}/jobs/b1-1/log", Reply(200, b"one\n"))
        assert run("logs", "@", "1", "-f").stdout == "one\n"
        lines = run("logs", "@", "1", "-f", "--json").stdout.splitlines()
        assert [json.loads(each)["log"] for each in lines] == ["one\n"]

    def test_are_followed_one_at_a_time(self, service: Fake, run: Any) -> None:
        assert run("logs", "-f").exit_code == 2
        assert run("logs", "@", "1", "--failed").exit_code == 2


class TestEnding:
    def test_wait_tells_success(self, service: Fake, run: Any) -> None:
        service.has(batch(SECOND, SUCCEEDED=1), batch(FIRST, SUCCEEDED=1, FAILED=1))
        assert run("wait", SECOND).exit_code == 0
        done = run("wait", SECOND, FIRST)
        assert done.exit_code == 3
        assert done.stdout.splitlines() == [f"{SECOND}  succeeded", f"{FIRST}  1 of 2 failed"]
        assert len(json.loads(run("wait", "@", FIRST, "--json").stdout)) == 2

    @pytest.mark.parametrize("timeout", ["0", "0s"])
    def test_wait_does_not_wait_for_ever(self, service: Fake, run: Any, timeout: str) -> None:
        service.has(batch(FIRST, RUNNING=1))
        assert run("wait", "@", "--timeout", timeout).exit_code == 124
        assert run("wait", "@", "--timeout", "x").exit_code == 2

    def test_watch_tells_of_each_change(self, service: Fake, run: Any) -> None:
        service.has(batch(FIRST, RUNNING=2))
        first = {**batch(FIRST, RUNNING=1, FAILED=1), "reasons": [reason("1 of 2 jobs failed")]}
        last = {**batch(FIRST, SUCCEEDED=1, FAILED=1), "reasons": first["reasons"]}
        service.on(f"GET /batches/{FIRST}", batch(FIRST, RUNNING=2), first, last)
        done = run("watch")
        assert done.exit_code == 3
        told = [line[9:].lstrip() for line in done.stdout.splitlines()]
        assert told == ["1 RUNNING, 1 FAILED", "1 of 2 jobs failed", "1 SUCCEEDED, 1 FAILED"]

    def test_watch_for_programs(self, service: Fake, run: Any) -> None:
        service.has(batch(FIRST, SUCCEEDED=2))
        lines = run("watch", "--json").stdout.splitlines()
        assert [json.loads(each)["batch_id"] for each in lines] == [FIRST]

    def test_cancel(self, service: Fake, run: Any) -> None:
        service.has(batch(FIRST, RUNNING=1))
        service.on(f"POST /batches/{FIRST}/cancel", Reply(202, batch(FIRST, RUNNING=1)))
        assert run("cancel", "@").stdout == f"{FIRST}  is being cancelled\n"
        assert json.loads(run("cancel", "@", "--json").stdout)[0]["batch_id"] == FIRST

    def test_retry(self, service: Fake, run: Any) -> None:
        service.has(batch(FIRST, FAILED=2))
        service.on(f"POST /batches/{FIRST}/retry", Reply(202, batch(FIRST, SUBMITTED=2)))
        assert run("retry", "@", "--failed").stdout == f"{FIRST}  runs again: 0/2 ended\n"
        assert service.posted == {}
        service.asked.clear()
        done = run(
            "retry", "@", "--reason", "timeout", "--job", "0", "--job", "5", "--mem-factor", "2",
            "--time-factor", "1.5", "--exclude-failed-nodes", "--exclude-node", "n[1-3]",
            "--idempotency-key", "k", "--json",
        )  # fmt: skip
        assert json.loads(done.stdout)["batch_id"] == FIRST
        assert service.posted == {
            "indices": [0, 5], "memory_factor": 2.0, "time_factor": 1.5,
            "exclude_failed_nodes": True, "exclude_nodes": ["n[1-3]"],
        }  # fmt: skip
        assert service.asked[-1].query == {"reason": ["TIMEOUT"]}
        assert service.asked[-1].headers["idempotency-key"] == "k"
        assert run("retry", "@", "--failed", "--job", "0").exit_code == 2

    def test_rm_asks_before_it_ends_what_runs(self, service: Fake, run: Any) -> None:
        service.has(batch(SECOND, RUNNING=1), batch(FIRST, SUCCEEDED=1))
        for each in (FIRST, SECOND):
            service.on(f"DELETE /batches/{each}", Reply(200, b""))
        assert run("rm", FIRST).stdout == f"{FIRST}  is deleted\n"
        service.asked.clear()
        for words in (["rm", SECOND], ["rm", "--all"], ["rm"], ["rm", "--all", FIRST]):
            assert run(*words).exit_code == 2
        assert not any(each.startswith("DELETE") for each in service.calls)
        done = run("rm", "--all", "--yes", "--json")
        assert [each["batch_id"] for each in json.loads(done.stdout)] == [SECOND, FIRST]
        assert service.calls[-2:] == [f"DELETE /batches/{SECOND}", f"DELETE /batches/{FIRST}"]

    def test_open_tells_where(self, service: Fake, run: Any) -> None:
        service.has(batch(FIRST, RUNNING=1))
        done = run("open")
        assert (done.exit_code, done.stdout) == (1, "")
        assert "has no dashboard" in done.stderr
        service.on("GET /ui/", Reply(200, b"<html>"))
        assert run("open").stdout == f"{service.url}/ui/\n"
        assert json.loads(run("open", "@", "--json").stdout)["url"].endswith(FIRST)


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "code"),
        [(400, 2), (401, 4), (403, 4), (404, 5), (409, 1), (422, 2), (500, 1)],
    )
    def test_have_exit_codes(self, service: Fake, run: Any, status: int, code: int) -> None:
        service.on("GET /tools", Reply(status, {"title": "T", "detail": "Detail."}))
        done = run("tools")
        assert (done.exit_code, done.stderr) == (code, "Error: Detail.\n")
        done = run("tools", "--json")
        assert json.loads(done.stderr)["detail"] == "Detail."
        assert done.stdout == ""

    def test_that_are_not_the_services_are_for_programs_too(self, service: Fake, run: Any) -> None:
        service.has(batch(FIRST, RUNNING=1))
        for words, code in ((["show", "zz"], 5), (["wait", "@", "--timeout", "0"], 124)):
            done = run(*words, "--json")
            assert (done.exit_code, done.stdout) == (code, "")
            assert json.loads(done.stderr)["detail"]


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_is_what_the_shell_takes(self, shell: str) -> None:
        assert "_SLURMBATCH_COMPLETE" in call("completion", shell).stdout
        assert json.loads(call("completion", shell, "--json").stdout)["shell"] == shell

    def complete(self, words: str, env: dict[str, str]) -> list[str]:
        asked = {
            **os.environ, **env, "_SLURMBATCH_COMPLETE": "bash_complete",
            "COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "slurmbatch"], env=asked, capture_output=True, text=True
        )
        assert done.stderr == ""
        return [line.split(",")[1] for line in done.stdout.splitlines() if line]

    def complete_at_last(self, words: str, env: dict[str, str]) -> list[str]:
        """A service that takes long to answer is not waited for."""
        deadline = time.monotonic() + 60
        while not (found := self.complete(words, env)) and time.monotonic() < deadline:
            pass
        return found

    def test_knows_commands_tools_and_batches(self, service: Fake) -> None:
        env = {profiles.URL: service.url, profiles.KEY: "sbk_key"}
        service.has(batch(SECOND, RUNNING=1), batch(FIRST, RUNNING=1))
        assert self.complete("slurmbatch lo", env) == ["login", "logout", "logs"]
        assert self.complete_at_last("slurmbatch submit pr", env) == ["probe"]
        assert self.complete_at_last("slurmbatch show 01m8da2w", env) == [SECOND]
        assert self.complete("slurmbatch jobs --fa", env) == ["--failed"]
        service.on("GET /tools", Reply(500))
        assert self.complete("slurmbatch submit pr", env) == []
        assert self.complete("slurmbatch submit pr", {}) == []


def test_every_command_for_users_has_json() -> None:
    context = click.Context(main)
    for name in USERS:
        command = main.get_command(context, name)
        assert command is not None
        within = command.commands.values() if isinstance(command, click.Group) else (command,)
        for each in within:
            assert "--json" in [option for param in each.params for option in param.opts], name


def imported_by(*words: str) -> set[str]:
    """What a command imports by the time that it has told its help."""
    code = (
        "import sys\nfrom slurmbatch.cli import main\n"
        f"main({[*words, '--help']}, standalone_mode=False)\nprint(*sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(told.stdout.splitlines()[-1].split())


SERVERS = {"falcon", "jwt", "peewee", "pydantic", "structlog", "waitress"}


def test_help_imports_next_to_nothing() -> None:
    """So it is quick on every machine, which a test of its time could not tell."""
    imported = imported_by()
    assert imported & (SERVERS | {"httpx", "rich", "asyncio", "json"}) == set()
    assert {each for each in imported if each.startswith("slurmbatch")} == {
        "slurmbatch", "slurmbatch.cli",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["login", "ls", "submit", "watch", "logs"])
def test_users_commands_import_nothing_of_the_server(name: str) -> None:
    imported = imported_by(name)
    ours = {each for each in imported if each.startswith("slurmbatch.")}
    assert all(each.startswith(("slurmbatch.cli", "slurmbatch.client")) for each in ours)
    assert imported & SERVERS == set()


def test_the_help_says_what_each_command_says_of_itself() -> None:
    assert set(USERS) | set(ADMINS) == set(main.list_commands(click.Context(main)))
