"""The OpenAPI 3.1 document, put together from `operations` and from the shapes' JSON schemas."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from slurmbatch import __version__
from slurmbatch.api import answers, examples, newkeys, problems, render, retries, shapes
from slurmbatch.api.operations import OPERATIONS, Answer, Operation, Parameter

_REF = "#/components/schemas/{model}"
_ABOUT = (
    "A REST bridge to Slurm: batches of jobs, submitted once, explained in words. "
    "Every resource is a JSON array; a single one is an array of one element, or the element "
    f"itself for those who ask for it with Accept: {render.OBJECT}. HEAD works wherever GET does. "
    "Longer answers are sent as gzip to those who say that they take it."
)
_HEADERS = {
    "X-Request-Id": "The id of this request, also in the service's log: your own if it was sane.",
    "Cache-Control": "Answers are for you alone, and are not to be stored.",
    "Location": "The path of what was made.",
    "Link": 'With rel="next": the next page, if there is one.',
    "ETag": "Stands for this state of the batch.",
    "Vary": "Accept: array or object, if it is a single one. Accept-Encoding: gzip or not.",
    "Accept-Ranges": "bytes",
    "Content-Length": "The number of bytes.",
    "Content-Range": "Which bytes these are, and of how many.",
    "Allow": "The methods that are there.",
    "WWW-Authenticate": "Bearer",
    "Retry-After": "Seconds after which to try again.",
    "RateLimit-Limit": "Requests that you may send in a minute, where there is a limit.",
    "RateLimit-Remaining": "How many of them are left.",
    "RateLimit-Reset": "Seconds until all of them are there again; with none left, until one is.",
}
_PROBLEM_HEADERS = {
    401: ("WWW-Authenticate",),
    403: ("WWW-Authenticate",),
    405: ("Allow",),
    416: ("Content-Range",),
    429: ("Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    503: ("Retry-After",),
}
_OF_ALL = (405, 500, 503)
_BODIES = {
    shapes.NewBatchBody: examples.NEW_BATCH,
    retries.RetryBody: examples.RETRY,
    newkeys.NewKeyBody: examples.NEW_KEY,
}
_TITLES = {
    **{kind.status: kind.title for kind in reversed(problems.KINDS.values())},
    405: problems.METHOD_NOT_ALLOWED.title,
    500: problems.BUG.title,
    422: "Some fields are not acceptable, the key was used with another body, or Slurm refused",
    409: "Not possible in this state",
    503: "Not available just now",
}


@cache
def document() -> dict[str, Any]:
    """The document of the whole service. It is the same for every application."""
    schemas = _Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "slurmbatch", "version": __version__, "description": _ABOUT},
        "security": [{"apiKey": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.found,
            "headers": {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in _HEADERS.items()
            },
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "Authorization"},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT or API key"},
            },
        },
    }


class _Schemas:
    """JSON schemas of shapes; what they have in common is kept under its name."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def of(self, shape: Any) -> dict[str, Any]:
        schema = TypeAdapter(shape).json_schema(ref_template=_REF)
        self.found.update(schema.pop("$defs", {}))
        if "title" not in schema:
            return schema
        self.found[schema["title"]] = schema
        return {"$ref": _REF.format(model=schema["title"])}


def _operation(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    path_names = re.findall(r"{(\w+)}", operation.path)
    made: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [
            *map(_path_parameter, path_names),
            *map(_parameter, operation.parameters),
        ],
        "responses": {
            str(status): response for status, response in _responses(operation, schemas).items()
        },
    }
    if operation.body is not None:
        schema = {"schema": schemas.of(operation.body), "example": _BODIES[operation.body]}
        made["requestBody"] = {"required": operation.body_needed, "content": {render.JSON: schema}}
    if operation.public:
        made["security"] = []
    return made


def _path_parameter(name: str) -> dict[str, Any]:
    made = _parameter(Parameter(name, {"type": "string"}, "", "path"))
    return {**made, "example": examples.PATHS[name]}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    made: dict[str, Any] = {"name": parameter.name, "in": parameter.place}
    made["schema"] = dict(parameter.schema)
    if parameter.description:
        made["description"] = parameter.description
    if parameter.place == "path":
        made["required"] = True
    return made


def _responses(operation: Operation, schemas: _Schemas) -> dict[int, Any]:
    example = examples.of_answers().get(operation.name)
    found = {status: _success(each, schemas, example) for status, each in operation.answers.items()}
    own = operation.problems if operation.public else (401, 403, 429, *operation.problems)
    problem = schemas.of(answers.ProblemView)
    for status in sorted({*own, *_OF_ALL}):
        found[status] = {
            "description": f"{_TITLES[status]}.",
            "content": {
                problems.MEDIA_TYPE: {
                    "schema": problem,
                    "example": examples.of_problem(status, operation.path),
                }
            },
            "headers": _headers(_PROBLEM_HEADERS.get(status, ())),
        }
    return found


def _success(answer: Answer, schemas: _Schemas, example: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"description": answer.description}
    single = answer.shape is not None and not answer.many and not answer.plain
    encodable = answer.shape is not None and not answer.plain
    made["headers"] = _headers((*answer.headers, *(("Vary",) if encodable else ())))
    if answer.media != render.JSON:
        made["content"] = {answer.media: {"schema": {"type": "string"}, "example": example}}
    elif answer.shape is not None:
        schema = schemas.of(answer.shape)
        array: dict[str, Any] = {"type": "array", "items": schema}
        if single:
            array |= {"minItems": 1, "maxItems": 1}
        made["content"] = {
            render.JSON: {
                "schema": schema if answer.plain else array,
                "example": [example] if single else example,
            }
        }
        if single:
            made["content"][render.OBJECT] = {"schema": schema, "example": example}
    return made


def _headers(names: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in ("X-Request-Id", "Cache-Control", *names)
    }
