"""The sample settings file and the reference page, both written from the schema.

python -m slurmbatch.config.reference sample > etc/slurmbatch.toml
python -m slurmbatch.config.reference page > docs/settings.md
"""

from __future__ import annotations

import inspect
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from slurmbatch.config.live import is_live
from slurmbatch.config.schema import SettingsFile
from slurmbatch.config.section import Section
from slurmbatch.config.toolfile import ToolFile

_SAMPLE_HEAD = """
The settings of slurmbatch. A line that starts with # and a key shows that key's default, or an
example where it has none. After a change: slurmbatch check-config --config THIS_FILE
"""

_PAGE_HEAD = """\
# Settings

slurmbatch reads one TOML file, `/etc/slurmbatch/slurmbatch.toml` unless `--config` or the
environment variable `SLURMBATCH_CONFIG` names another, and one more for each tool, in the directory
`tools.d` beside it. `slurmbatch check-config` names every mistake in all of them at once, and the
daemon does not start with any. A key that is not listed here is a mistake, too.

On SIGHUP (`systemctl reload slurmbatch`) the daemon reads all of them anew: all or nothing. With
any mistake the old ones stay in force, and the log, `systemctl status` and `/readyz` say so. Keys
marked *live* take effect then, and so does all that the tools' files say, for whatever is handed
over to Slurm from then on; the others need a restart, and are named in the same places until there
was one.

`etc/slurmbatch.toml` in the sources is a commented sample, and `etc/tools.d/` has three tools.
"""

_TOOLS_HEAD = """\
# Tools

A file `tools.d/NAME.toml` makes the tool `NAME`: letters a-z, digits, `_` and `-`, at most 64, the
first no `_` or `-`. A batch's arguments reach the tool as environment variables of the same names,
booleans as `true` or `false`. Besides them it sees `SLURMBATCH_BATCH_ID`, `SLURMBATCH_JOB_ID`,
`SLURMBATCH_JOB_INDEX`, and the path of each of its filesystems as `SLURMBATCH_FS_` and the id in
capitals (`-` as `_`). The script is read from a pipe, so it cannot rely on `$0`.

No parameter may have a name, in whatever case, that shells, interpreters or Slurm act on: `LD_*`,
`DYLD_*`, `BASH*`, `PYTHON*`, `PERL*`, `SLURM_*`, `SBATCH_*`, `SPANK_*`, `SLURMBATCH_*`, `LC_*`,
`TZ*`, `PATH`, `HOME`, `USER`, `SHELL`, `IFS`, `ENV`, `TMPDIR`, `LANG` and a few like them.
"""

_COLUMNS = "| key | type | default | meaning |\n| --- | --- | --- | --- |\n"
_LIVE = "*Live.*"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a file: its name in TOML ("" is the top of the file) and its section."""

    name: str
    repeated: bool
    section: type[Section]

    @property
    def header(self) -> str:
        return f"[[{self.name}]]" if self.repeated else f"[{self.name}]"

    def values(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each key that holds a value, with its part of the JSON schema."""
        for key, schema in self.section.model_json_schema()["properties"].items():
            if _nested(self.section.model_fields[key].annotation) is None:
                yield key, schema


def tables(section: type[Section], name: str = "", repeated: bool = False) -> Iterator[Table]:
    """All tables of a file, in the order of the schema."""
    yield Table(name, repeated, section)
    for key, field in section.model_fields.items():
        inner = _nested(field.annotation)
        if inner is not None:
            within = f"{name}.{key}".lstrip(".")
            yield from tables(inner, within, repeated=inner is not field.annotation)


def sample() -> str:
    """The commented, complete settings file."""
    blocks = [_comment(_SAMPLE_HEAD)]
    for table in tables(SettingsFile):
        if any(table.values()):
            blocks.append("\n".join(_sample_table(table)))
    return "\n\n".join(blocks) + "\n"


def page() -> str:
    """The reference of all keys, in Markdown."""
    settings = "\n".join(_described(table) for table in tables(SettingsFile) if any(table.values()))
    tools = "\n".join(_described(table) for table in tables(ToolFile))
    return f"{_PAGE_HEAD}\n{settings}\n{_TOOLS_HEAD}\n{tools}"


def _nested(annotation: Any) -> type[Section] | None:
    """The section in an annotation such as `Server` or `tuple[FilesystemTable, ...]`."""
    candidates = (annotation, *get_args(annotation))
    return next((each for each in candidates if _is_section(each)), None)


def _is_section(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, Section)


def _sample_table(table: Table) -> Iterator[str]:
    # Who may come in, be told, or have more is nobody's to give by example: commented out.
    mark = "#" if table.name.startswith(("auth.", "limits.", "webhooks.")) else ""
    yield _comment(inspect.getdoc(table.section) or "")
    first, *others = table.section.samples or ({},)
    alternatives = set(table.section.exactly_one) - set(first)
    schemas = dict(table.values())
    yield f"{mark}{table.header}"
    for key, schema in schemas.items():
        if key not in alternatives:
            yield _comment(_meaning(schema))
            yield mark + _assignment(key, first[key]) if key in first else _sample_line(key, schema)
    for other in others:
        yield f"\n{mark}{table.header}"
        for key, value in other.items():
            if key in alternatives:
                yield _comment(_meaning(schemas[key]))
            yield f"{mark}{_assignment(key, value)}"


def _sample_line(key: str, schema: Mapping[str, Any]) -> str:
    examples = schema.get("examples", [schema.get("default")])
    mark = "#" if "default" in schema else ""
    return f"{mark}{_assignment(key, examples[0])}"


def _assignment(key: str, value: object) -> str:
    # JSON's texts, numbers, booleans and arrays of them are TOML's as well.
    return f"{key} = {json.dumps(value)}"


def _comment(text: str) -> str:
    paragraphs = text.strip().split("\n\n")
    lines = "\n".join(textwrap.fill(each, 97) for each in paragraphs)
    return textwrap.indent(lines, "# ")


def _described(table: Table) -> str:
    heading = f"## `{table.header}`" if table.name else "## At the top of the file"
    about = "" if not table.name else f"{inspect.getdoc(table.section)}\n\n"
    rows = "\n".join(_row(table, key, schema) for key, schema in table.values())
    return f"{heading}\n\n{about}{_COLUMNS}{rows}\n"


def _row(table: Table, key: str, schema: Mapping[str, Any]) -> str:
    required = table.section.model_fields[key].is_required()
    default = schema.get("default")
    shown = "**required**" if required else "" if default is None else f"`{json.dumps(default)}`"
    live = f" {_LIVE}" if is_live(table.name, key) else ""
    return f"| `{key}` | {_kind(schema)} | {shown} | {_meaning(schema)}{live} |"


def _meaning(schema: Mapping[str, Any]) -> str:
    return str(schema.get("description", ""))


def _kind(schema: Mapping[str, Any]) -> str:
    """A type of the JSON schema, and its limits, in words."""
    if "anyOf" in schema:
        kinds = [_kind(each) for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(kinds)
    if "enum" in schema:
        return "one of " + ", ".join(f"`{each}`" for each in schema["enum"])
    if schema["type"] == "array":
        return f"list of: {_kind(schema['items'])}"
    names = {"string": "text", "boolean": "`true` or `false`"}
    name = "path" if schema.get("format") == "path" else names.get(schema["type"], schema["type"])
    return f"{name}{_limits(schema)}"


def _limits(schema: Mapping[str, Any]) -> str:
    words = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}
    limits = [f"{word} {schema[key]}" for key, word in words.items() if key in schema]
    return f", {', '.join(limits)}" if limits else ""


if __name__ == "__main__":
    print({"sample": sample, "page": page}[sys.argv[1]](), end="")
