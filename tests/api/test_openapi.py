"""The OpenAPI document: valid, and about exactly what there is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import TypeAdapter

from slurmbatch.api import answers, examples, openapi, operations, retries, shapes
from slurmbatch.model import Caller, NewKey
from tests.api.conftest import Api
from tests.api.fakes import FakeBatches, FakeKeyring

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.get("/openapi.json").json
    return found


def routes(api: Api) -> set[tuple[str, str]]:
    """Every method of every path that the application really answers."""
    found = set()

    def walk(node: Any) -> None:
        if node.resource is not None:
            for method in METHODS:
                if hasattr(node.resource, f"on_{method.lower()}"):
                    found.add((method, node.uri_template))
        for child in node.children:
            walk(child)

    for root in api.app._router._roots:
        walk(root)
    return found


def test_it_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(document).validate()


def test_it_has_every_route_and_no_other(api: Api, document: dict[str, Any]) -> None:
    told = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert told == routes(api)
    assert len(told) == 29


def test_names_are_unique() -> None:
    names = [each.name for each in operations.OPERATIONS]
    assert len(set(names)) == len(names)


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [each for below in value.values() for each in references(below)]
        return (
            [each for below in value for each in references(below)]
            if isinstance(value, list)
            else []
        )

    for reference in references(document):
        at: Any = document
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]


def test_credentials_are_needed_where_they_are(api: Api, document: dict[str, Any]) -> None:
    api.user = None
    assert document["security"] == [{"apiKey": []}, {"bearer": []}]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            public = operation.get("security") == []
            answer = api.ask(method.upper(), path.replace("{", "").replace("}", ""))
            assert (answer.status_code != 401) is public
            assert ("401" in operation["responses"]) is not public


def test_problems_are_problems(document: dict[str, Any]) -> None:
    for item in document["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                assert "X-Request-Id" in response["headers"]
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"]


def test_the_request_is_closed(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in ("NewBatchBody", "NewHardware", "NewSlurmOptions"):
        assert schemas[name]["additionalProperties"] is False
    assert schemas["NewBatchBody"]["required"] == ["tool_id"]


def test_answers_are_what_the_document_says(api: Api, batches: FakeBatches) -> None:
    batch_id = batches.add("anna", 2).batch_id
    for path, shape in [
        ("/batches", list[answers.ListedBatch]),
        (f"/batches/{batch_id}", list[answers.BatchView]),
        (f"/batches/{batch_id}/jobs", list[answers.ListedJob]),
        (f"/batches/{batch_id}/jobs/{batch_id}-0", list[answers.JobView]),
        ("/tools", list[answers.ToolView]),
        ("/filesystems", list[answers.FilesystemView]),
    ]:
        adapter: TypeAdapter[Any] = TypeAdapter(shape)
        adapter.validate_json(api.get(path).content, strict=True, extra="forbid")
    adapter = TypeAdapter(answers.ProblemView)
    adapter.validate_json(api.get("/batches/none").content, strict=True, extra="forbid")


def test_headers_that_are_told_are_sent(
    api: Api, batches: FakeBatches, keyring: FakeKeyring
) -> None:
    key = keyring.create(Caller("anna", ""), NewKey())[0]
    batch_id = batches.add("anna", 2).batch_id
    batches.log_file(batches.kept[batch_id]).write_bytes(b"hello")
    for each in operations.OPERATIONS:
        if each.method != "GET":
            continue
        names = {"batch_id": batch_id, "job_id": f"{batch_id}-0", "log_id": f"{batch_id}-0.log"}
        file = "app.js" if each.path.startswith("/ui") else "start.js"
        path = each.path.format(**names, tool_id="montecarlo-pi", file=file, key_id=key.key_id)
        sent = api.get(path, headers={"Authorization": "key anna read admin"}).headers
        told = openapi.document()["paths"][each.path]["get"]["responses"]
        told = told[str(min(each.answers))]["headers"]
        for name in set(told) - {"Link"}:
            assert name.lower() in sent, (path, name)


def test_examples_are_what_they_are_examples_of() -> None:
    told = examples.of_answers()
    assert set(told) == {
        each.name
        for each in operations.OPERATIONS
        if any(
            answer.shape or answer.media != "application/json" for answer in each.answers.values()
        )
    }
    for each in operations.OPERATIONS:
        for answer in each.answers.values():
            if answer.shape is not None:
                adapter: TypeAdapter[Any] = TypeAdapter(
                    list[answer.shape] if answer.many else answer.shape  # type: ignore[name-defined]
                )
                text = json.dumps(told[each.name])
                adapter.validate_json(text, strict=True, extra="forbid")
    _, faults = shapes.read_batch(examples.NEW_BATCH)
    assert faults == []
    _, faults = retries.read_retry(examples.RETRY, frozenset())
    assert faults == []


def test_every_body_has_an_example_that_fits_its_schema(document: dict[str, Any]) -> None:
    registry = {"components": document["components"]}
    seen = 0
    for item in document["paths"].values():
        for operation in item.values():
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for content in (each for body in bodies for each in body.get("content", {}).values()):
                schema = {**registry, **content["schema"]}
                OAS31Validator(schema).validate(content["example"])
                seen += 1
            for parameter in operation["parameters"]:
                assert parameter["in"] != "path" or parameter["example"]
    assert seen > 100
