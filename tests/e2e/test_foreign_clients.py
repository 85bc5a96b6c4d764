"""Clients that others' generators make of the OpenAPI document, driven on a real Slurm; and the
document's examples beside the real answers."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from .conftest import Api

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).parents[2]
SOURCES = Path(__file__).with_name("typescript")


@pytest.fixture(scope="module")
def document(service: Any) -> Iterator[dict[str, Any]]:
    spoken = Api(service)
    yield spoken.http.get("/openapi.json").json()
    spoken.http.close()


@pytest.fixture
def ended(api: Api) -> str:
    """A batch of two jobs, one of which has failed."""
    batch_id = api.submit(
        tool_id="probe", fixed_args={"print": "hello"}, variable_args=[{}, {"exit_code": 3}]
    )
    api.ended(batch_id)
    return batch_id


def differences(shown: Any, real: Any, at: str = "") -> list[str]:
    """Where an example has other fields than the real thing. Lists by their first elements, and
    arguments, which differ by tool, not at all."""
    if isinstance(shown, dict) and isinstance(real, dict):
        found = [f"{at}/{name}" for name in shown.keys() ^ real.keys()]
        both = [name for name in shown if name in real and name != "args"]
        return found + [
            each for name in both for each in differences(shown[name], real[name], f"{at}/{name}")
        ]
    if isinstance(shown, list) and isinstance(real, list) and shown and real:
        return differences(shown[0], real[0], f"{at}/0")
    return []


def test_real_answers_are_what_the_document_says_and_have_what_its_examples_have(
    api: Api, document: dict[str, Any], ended: str, overseer: str
) -> None:
    api.submit(tool_id="probe", fixed_args={"sleep": 600})  # so that somebody is busy
    ids = {"batch_id": ended, "job_id": f"{ended}-1", "log_id": f"{ended}-1.log",
           "tool_id": "montecarlo-pi", "file": "start.js",
           "key_id": api.http.get("/keys").json()[0]["key_id"]}  # fmt: skip
    looked_at = 0
    for path, item in document["paths"].items():
        if "200" not in item.get("get", {"responses": {}})["responses"]:
            continue
        # The dashboard itself has no name.
        there = path.format(**ids | {"file": ""} if "/ui" in path else ids)
        more = {"Authorization": overseer} if path == "/service" else {}
        answer = api.http.get(there, headers=more)
        assert answer.status_code == 200, path
        kind = answer.headers["Content-Type"].partition(";")[0]
        told = item["get"]["responses"]["200"]["content"][kind]
        if kind != "application/json":
            continue
        schema = {"components": document["components"], **told["schema"]}
        OAS31Validator(schema).validate(answer.json())
        if path not in ("/openapi.json", "/readyz"):
            assert differences(told["example"], answer.json(), path) == []
        looked_at += 1
    assert looked_at >= 10
    readiness = document["paths"]["/readyz"]["get"]["responses"]["200"]["content"]
    shown = readiness["application/json"]["example"]
    assert set(shown) <= set(api.http.get("/readyz").json())


def test_the_example_of_a_new_batch_is_taken(api: Api, document: dict[str, Any]) -> None:
    body = document["paths"]["/batches"]["post"]["requestBody"]["content"]["application/json"]
    assert api.ended(api.submit(**body["example"])) == {"SUCCEEDED": 2}


def test_in_python_with_openapi_python_client(
    api: Api, document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    (tmp_path / "config.yml").write_text("post_hooks: []\n")
    made = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none",
         "--path", str(tmp_path / "openapi.json"), "--config", str(tmp_path / "config.yml"),
         "--output-path", str(tmp_path / "generated_client")],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    assert "WARNING" not in made.stdout.upper()
    monkeypatch.syspath_prepend(str(tmp_path))

    def part(name: str) -> Any:
        return importlib.import_module(f"generated_client.{name}")

    client = part("client").AuthenticatedClient(
        base_url=api.box.url, token=str(api.box.api_key), prefix=""
    )
    body = part("models").NewBatchBody.from_dict(
        {"tool_id": "probe", "fixed_args": {"print": "hello"},
         "variable_args": [{}, {"exit_code": 3}]}
    )  # fmt: skip
    (batch,) = part("api.batches.create_batch").sync(client=client, body=body)
    while not batch.finished_at:
        answer = part("api.batches.get_batch").sync_detailed(
            batch.batch_id, client=client, wait=30, since=batch.version
        )
        if answer.status_code == 200:
            (batch,) = answer.parsed
    assert batch.submitted_jobs.to_dict()["SUCCEEDED"] == 1
    first, second = part("api.jobs.list_jobs").sync(batch.batch_id, client=client)
    assert (first.status, second.status) == ("SUCCEEDED", "FAILED")
    (job,) = part("api.jobs.get_job").sync(batch.batch_id, second.job_id, client=client)
    assert (job.exit_code, job.args.to_dict()) == (3, {"print": "hello", "exit_code": 3})
    assert part("api.logs.get_log").sync_detailed(job.log_id, client=client).content == b"hello\n"
    wrong = part("models").NewBatchBody.from_dict({"tool_id": "none"})
    problem = part("api.batches.create_batch").sync(client=client, body=wrong)
    assert "/tool_id" in [each.pointer for each in problem.errors]


@pytest.fixture(scope="module")
def node_modules() -> Path:
    """Installed once, as all that the tests need, and kept where make keeps such things."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("there is no node and npm here")
    place = ROOT / ".cache" / "typescript"
    wanted = (SOURCES / "package.json").read_text()
    done = place / "done.json"
    if not done.is_file() or done.read_text() != wanted:
        place.mkdir(parents=True, exist_ok=True)
        (place / "package.json").write_text(wanted)
        command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock"]
        made = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300)
        if made.returncode != 0:
            pytest.skip(f"npm cannot install what is needed: {made.stderr[-300:]}")
        done.write_text(wanted)
    return place / "node_modules"


def test_in_typescript_with_openapi_fetch(
    api: Api, document: dict[str, Any], node_modules: Path, tmp_path: Path
) -> None:
    for each in SOURCES.iterdir():
        shutil.copy(each, tmp_path)
    (tmp_path / "node_modules").symlink_to(node_modules)
    (tmp_path / "openapi.json").write_text(json.dumps(document))

    def run(*command: str) -> str:
        env = {**os.environ, **api.box.variables}
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    programs = node_modules / ".bin"
    run(str(programs / "openapi-typescript"), "openapi.json", "-o", "schema.d.ts")
    run(str(programs / "tsc"))
    seen = json.loads(run("node", "drive.js"))
    assert {status: n for status, n in seen["counts"].items() if n} == {"SUCCEEDED": 1, "FAILED": 1}
    assert seen["jobs"] == [
        [0, "SUCCEEDED", {"print": "hello"}],
        [1, "FAILED", {"print": "hello", "exit_code": 3}],
    ]
    assert seen["job"] == ["FAILED", 3]
    assert seen["log"] == "hello\n"
    assert "/tool_id" in seen["mistaken"]
    assert seen["gone"] == 404
