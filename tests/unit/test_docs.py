"""What there is, is documented; and what the pages show, is there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from falcon.inspect import inspect_routes
from typing_extensions import is_typeddict

from slurmbatch import errors
from slurmbatch.api import answers, body, create_app, problems, shapes
from slurmbatch.api.operations import OPERATIONS, Operation
from slurmbatch.cli import main
from slurmbatch.config import load
from slurmbatch.config.reference import tables
from slurmbatch.config.schema import SettingsFile
from slurmbatch.config.toolfile import ToolFile
from slurmbatch.model import MAX_CPU, MAX_GPUS, MAX_MEMORY, MAX_TIME_LIMIT, Status
from slurmbatch.states import page as waiting
from slurmbatch.states.table import END_SENTENCES, REASON_CLASSES, SENTENCES
from tests.benchmarks.page import page as speed

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
HTTP = (ROOT / "docs/http.md").read_text()
COMMANDS = (ROOT / "docs/commands.md").read_text()
SETTINGS = (ROOT / "docs/settings.md").read_text()
README = (ROOT / "README.md").read_text()
# Errors of the table that no endpoint gives yet.
NEVER_ANSWERED = {problems.KINDS[errors.SlurmUnreachable]}
# Fields of a new batch, which have the same names as sections of the settings.
OF_BODIES = {f"slurm.{name}" for name in shapes.NewSlurmOptions.__annotations__}


def commands(
    group: click.Group = main, path: tuple[str, ...] = ("slurmbatch",)
) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its whole name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def fields(shape: Any) -> set[str]:
    """The names of all fields of an answer, those inside of others too."""
    if is_typeddict(shape):
        inner = (fields(each) for each in shape.__annotations__.values())
        return set(shape.__annotations__).union(*inner)
    return set().union(*(fields(each) for each in get_args(shape)))


# The index itself, and what stands for the front page and the changelog where the pages are a site.
NOT_NAMED = ("index.md", "front.md", "changelog.md")


def name_of(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def code_of(page: str) -> str:
    """What stands in blocks of shell commands."""
    return "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))


def anchors_of(page: str) -> set[str]:
    """As GitHub makes them of headings."""
    found = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in found}


class TestHttp:
    @pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
    def test_every_endpoint_is_there_with_what_it_answers(self, operation: Operation) -> None:
        row = re.search(rf"^\| \[?`{re.escape(name_of(operation))}`.*", HTTP, re.MULTILINE)
        assert row is not None
        for status in operation.answers:
            assert str(status) in row[0].split("|")[2]

    @pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
    def test_every_parameter_is_there(self, operation: Operation) -> None:
        for parameter in operation.parameters:
            assert re.search(rf"[`?]{re.escape(parameter.name)}[`=:]", HTTP), parameter.name

    def test_no_endpoint_is_there_that_is_not(self) -> None:
        shown = set(re.findall(r"^\| \[?`((?:GET|POST|DELETE) [^`]+)`", HTTP, re.MULTILINE))
        assert shown == {name_of(operation) for operation in OPERATIONS}

    @pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
    def test_every_field_of_an_answer_is_there(self, operation: Operation) -> None:
        for answer in operation.answers.values():
            missing = {name for name in fields(answer.shape) if f"`{name}`" not in HTTP}
            assert missing == set()

    def test_every_field_of_a_new_batch_is_there(self) -> None:
        table = HTTP.partition("### POST /batches")[2].partition("### GET")[0]
        for name in shapes.NewBatchBody.__annotations__:
            assert f"`{name}" in table
        for name in shapes.NewHardware.__annotations__:
            assert f"`hardware.{name}`" in table
        for name in shapes.NewSlurmOptions.__annotations__:
            assert f"`slurm.{name}`" in table

    @pytest.mark.parametrize(
        ("field", "most"),
        [
            ("hardware.cpu", MAX_CPU),
            ("hardware.memory", MAX_MEMORY),
            ("slurm.time_limit", MAX_TIME_LIMIT),
            ("slurm.gpus", MAX_GPUS),
        ],
    )
    def test_the_largest_numbers_are_there(self, field: str, most: int) -> None:
        assert re.search(rf"^\| `{field}` \| whole number, \d to {most} \|", HTTP, re.MULTILINE)

    def test_every_error_is_there_with_its_status(self) -> None:
        kinds = {*problems.KINDS.values(), problems.METHOD_NOT_ALLOWED, problems.BUG}
        for kind in kinds - NEVER_ANSWERED:
            assert re.search(rf"^\| {kind.status} \|.*`{kind.name}`", HTTP, re.MULTILINE), kind
        for name in answers.ProblemView.__annotations__:
            assert f"`{name}`" in HTTP

    def test_every_bound_of_a_body_is_there(self) -> None:
        strictly = HTTP.partition("A body is read strictly")[2]
        assert f"no more than {body.MAX_MEMBERS} of them" in strictly
        assert f"at most {body.MAX_DEPTH} levels" in " ".join(strictly.split())

    def test_every_class_of_reasons_is_there(self) -> None:
        code = "".join(each.read_text() for each in (ROOT / "slurmbatch").rglob("*.py"))
        written = set(re.findall(r'"([A-Z]{2,}): ', code))
        known = {*SENTENCES, *REASON_CLASSES, *written, "OTHER", "EXIT", "SIGNAL"}
        known |= {kind for kind, _ in END_SENTENCES.values()}
        table = HTTP.partition("### Reasons")[2].partition("## Errors")[0]
        assert {name for name in known if f"`{name}`" not in table} == set()

    def test_why_a_job_waits_is_up_to_date(self) -> None:
        assert (ROOT / "docs/waiting.md").read_text() == waiting.page()

    def test_every_status_and_arrow_of_the_diagram_is_told(self) -> None:
        page = (ROOT / "docs/statuses.md").read_text()
        diagram = page.split("```")[1]
        assert set(re.findall(r"[A-Z]{2,}", diagram)) == {status.value for status in Status}
        arrows = re.findall(r"\(([a-z])\)", diagram)
        lines = re.findall(r"^\* \*\*\(([a-z])\)\*\* ", page, re.MULTILINE)
        assert sorted(arrows) == lines

    def test_every_route_is_there(self) -> None:
        nobody: Any = None
        app = create_app(
            nobody, nobody, nobody, keyring=nobody, max_body_bytes=1, draining=lambda: False
        )
        for route in inspect_routes(app):
            assert f" {route.path}`" in HTTP

    def test_the_statuses_are_told_in_their_order(self) -> None:
        rows = re.findall(r"^\| `([A-Z]+)` \|", README, re.MULTILINE)
        assert rows == [status.value for status in Status]

    def test_the_example_is_a_batch(self) -> None:
        shown = re.findall(r"```json\n(.*?)```", HTTP, re.DOTALL)
        _, faults = shapes.read_batch(json.loads(shown[0]))
        assert faults == []


class TestCommands:
    @pytest.mark.parametrize(("name", "command"), list(commands()))
    def test_every_command_is_there_with_its_options(
        self, name: str, command: click.Command
    ) -> None:
        assert re.search(rf"^\| `{name}[ `]", COMMANDS, re.MULTILINE)
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert any(re.search(rf"{each}\b", COMMANDS) for each in parameter.opts)

    def test_no_command_is_there_that_is_not(self) -> None:
        known = {name for name, _ in commands()}
        shown = set(re.findall(r"^\| `(slurmbatch(?: [a-z][a-z-]*)+)", COMMANDS, re.MULTILINE))
        assert shown == known
        for called in re.findall(r"slurmbatch(?: [a-z][a-z-]*)+", code_of(README)):
            # What follows a command may be a word, too, such as the name of a tool.
            assert any(f"{called} ".startswith(f"{name} ") for name in known), called

    def test_what_was_typed_in_the_recorded_session_can_be_typed(self) -> None:
        page = (ROOT / "docs/session.md").read_text()
        typed = [line for line in page.splitlines() if line.startswith("$ ")]
        assert len(typed) > 10
        for line in typed:
            for part in line[2:].split("; "):
                program, *words = shlex.split(part)
                if program == "slurmbatch":
                    command = main.get_command(click.Context(main), words[0])
                    assert command is not None, line
                    command.make_context(words[0], words[1:])

    def test_every_target_of_make_is_told_by_make_help(self) -> None:
        targets = set(re.findall(r"^([a-z0-9.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        told = subprocess.run(
            ["make", "-C", str(ROOT)], capture_output=True, text=True, check=True, timeout=60
        ).stdout
        shown = set(re.findall(r"^  make ([a-z0-9.-]+) ", told, re.MULTILINE))
        assert shown == {name for name in targets if not name.startswith("ready")}
        for name in re.findall(r"\bmake ([a-z][a-z0-9.-]+)\b", code_of(README)):
            assert name in targets


class TestSettings:
    @pytest.mark.parametrize("file", [SettingsFile, ToolFile])
    def test_every_key_is_there(self, file: type[SettingsFile] | type[ToolFile]) -> None:
        for table in tables(file):
            for key, _ in table.values():
                assert f"| `{key}` |" in SETTINGS

    def test_keys_that_other_pages_name_are_there(self) -> None:
        keys = {
            f"{table.name}.{key}"
            for file in (SettingsFile, ToolFile)
            for table in tables(file)
            for key, _ in table.values()
        }
        sections = "|".join({table.name for table in tables(SettingsFile) if table.name})
        for page in set(PAGES) - {ROOT / "docs/settings.md"}:
            for key in re.findall(rf"`((?:{sections})\.[a-z_]+)`", page.read_text()):
                assert key in keys | OF_BODIES, f"{page.name}: {key}"


def keys_of(text: str) -> set[tuple[str, str]]:
    """The tables and keys of a TOML text."""
    tables = tomllib.loads(text).items()
    return {(name, key) for name, table in tables if isinstance(table, dict) for key in table}


def made_by(target: str) -> str:
    """What make would do."""
    asked = ["make", "--dry-run", "--directory", str(ROOT), target]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


class TestPages:
    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
    def test_links_lead_somewhere(self, page: Path) -> None:
        for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            if anchor:
                assert anchor in anchors_of(target.read_text()), link

    def test_the_index_names_all(self) -> None:
        index = (ROOT / "docs/index.md").read_text()
        for page in ROOT.glob("docs/*.md"):
            assert page.name in NOT_NAMED or f"({page.name})" in index

    def test_every_room_is_in_the_picture(self) -> None:
        page = (ROOT / "docs/architecture.md").read_text()
        rooms = re.findall(r'"slurmbatch\.([a-z]+)', (ROOT / "pyproject.toml").read_text())
        assert {room for room in rooms if f"`{room}`" not in page} == set()

    def test_python_on_the_front_page_is_python(self) -> None:
        for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
            compile(code, "README.md", "exec")

    def test_the_settings_on_the_front_page_are_settings(self, tmp_path: Path) -> None:
        file, tool = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
        (tmp_path / "tools.d").mkdir()
        (tmp_path / "slurmbatch.toml").write_text(file)
        (tmp_path / "tools.d" / "greet.toml").write_text(tool)
        settings = load(tmp_path / "slurmbatch.toml")
        assert [each.id for each in settings.filesystems] == ["scratch"]
        assert [each.name for each in settings.tools["greet"].parameters] == ["name"]
        assert {"jobs.log_dir", "store.path"} <= {f"{t}.{k}" for t, k in keys_of(file)}

    def test_programs_on_the_front_page_are_there_after_make_demo(self) -> None:
        first = README.partition("## A first batch")[2].partition("## Run it for real")[0]
        assert "curl " in first
        assert " curl=curl" in made_by("demo")
        # The virtual environment is not in the PATH.
        assert not re.search(r"(?<!/bin/)`?slurmbatch (demo|sandbox)", first)

    def test_the_time_of_a_new_batch_is_measured_by_make_bench(self) -> None:
        assert "pytest --benchmark-only -q tests/benchmarks/test_post.py" in made_by("bench")

    def test_the_help_of_the_program_is_quick_and_whole(self) -> None:
        told = subprocess.run(
            [sys.executable, "-m", "slurmbatch", "--help"],
            capture_output=True, text=True, check=True, timeout=30,
        ).stdout  # fmt: skip
        for name, _ in commands():
            assert name.split()[1] in told


def test_the_measurements_are_those_of_the_last_full_run() -> None:
    """`python -m tests.benchmarks --draw docs/bench/results.json` writes the page anew."""
    found = json.loads((ROOT / "docs/bench/results.json").read_text())
    assert (ROOT / "docs/speed.md").read_text() == speed(found)
