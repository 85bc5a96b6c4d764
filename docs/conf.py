"""The pages as a site: `make docs`. They are written to read well as they are, too; so the front
page and the changelog, which lie above, are taken in here, and links are bent accordingly."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from slurmbatch import __version__  # noqa: E402
from slurmbatch.api import openapi  # noqa: E402

project, author, version = "slurmbatch", "the authors of slurmbatch", __version__
project_copyright = "the authors of slurmbatch"
extensions = ["myst_parser", "sphinxcontrib.httpdomain"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"page_width": "1100px", "sidebar_width": "240px", "font_size": "16px"}
html_show_copyright = html_show_sourcelink = False
myst_heading_anchors = 5
suppress_warnings = ["myst.header"]  # pages may begin at any level of headings
http_index_shortname, http_index_localname = "endpoints", "All endpoints"

_ABOVE = {"front": "README.md", "changelog": "CHANGELOG.md"}
_TREE = """

```{toctree}
:hidden:
:glob:

front
tutorial
reference
*
```
"""


def setup(app: Sphinx) -> None:
    app.add_directive("endpoints", Endpoints)
    app.connect("source-read", read)


def read(_app: Sphinx, page: str, source: list[str]) -> None:
    """Each page before it is parsed."""
    if page in _ABOVE:
        text = (ROOT / _ABOVE[page]).read_text()
        source[0] = re.sub(r"\]\((?:docs/)?(?=[a-z]+\.md)", "](", text).replace("](docs/", "](")
    for name, file in _ABOVE.items():
        source[0] = re.sub(rf"\]\((?:\.\./)?{file}", f"]({name}.md", source[0])
    # What is no page is looked at where the sources are.
    elsewhere = r"\[([^\]]+)\]\((?:\.\./)?(?:LICENSE|etc/|tests/|packaging/)[^)]*\)"
    source[0] = re.sub(elsewhere, r"\1", source[0])
    # What nobody has a lexer for is near enough to another language.
    for language, like in (("snakemake", "python"), ("nextflow", "groovy")):
        source[0] = source[0].replace(f"```{language}\n", f"```{like}\n")
    if page == "index":
        source[0] += _TREE


class Endpoints(SphinxDirective):
    """Every operation of the OpenAPI document, in the form that the API was first documented in."""

    def run(self) -> list[nodes.Node]:
        document = openapi.document()
        lines = StringList()
        for path, item in document["paths"].items():
            for method, operation in item.items():
                for line in _endpoint(method, path, operation):
                    lines.append(line, f"{method} {path}")
        holder = nodes.section()
        holder.document = self.state.document
        self.state.nested_parse(lines, 0, holder)
        return holder.children


def _endpoint(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    rest = re.sub(r"{(\w+)}", r"(\1)", path)
    yield from (f".. http:{method}:: {rest}", "", f"   {operation['summary']}.", "")
    if operation.get("security") != []:
        yield from ("   The user is identified by the ‘user_id’ in the request context.", "")
        yield "   :reqheader Authorization: API key or Bearer token for user authentication"
    for each in operation["parameters"]:
        role = {"header": "reqheader", "query": "query", "path": "param"}[each["in"]]
        about = each.get("description") or f"such as ``{each['example']}``"
        yield f"   :{role} {each['name']}: {about}"
    for status, answer in operation["responses"].items():
        yield f"   :statuscode {status}: {answer['description']}"
    yield ""
    if "requestBody" in operation:
        yield from _syntax("Request Syntax", operation["requestBody"])
    successes = [each for status, each in operation["responses"].items() if status < "300"]
    if successes:  # which a redirect alone is not
        yield from _syntax("Response Syntax", successes[-1])
    yield from ("   **Raises:**", "", f"   {_raises(operation)}", "")


def _syntax(title: str, body: dict[str, Any]) -> Iterator[str]:
    example = body.get("content", {}).get("application/json", {}).get("example")
    if example is not None:
        text = json.dumps(_placeholders(example), indent=2, ensure_ascii=False)
        yield from (f"   **{title}:**", "", "   .. code-block:: json", "")
        yield from (f"      {line}" for line in text.splitlines())
        yield ""


def _placeholders(value: Any, name: str = "") -> Any:
    if name in ("args", "fixed_args"):
        return {"name": "value"}
    if name == "variable_args":
        return [{"name": "value"}]
    if name == "filesystems":
        return ["id"]
    if isinstance(value, dict):
        return {key: _placeholders(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_placeholders(each) for each in value[:1]]
    if isinstance(value, bool) or value is None:
        return value
    return "string" if isinstance(value, str) else 123


def _raises(operation: dict[str, Any]) -> str:
    told = [f"{status} {HTTPStatus(int(status)).phrase}" for status in operation["responses"]
            if status >= "500"]  # fmt: skip
    return (
        "May raise exceptions related to database operations or service availability: "
        f"{', '.join(told)}."
    )
