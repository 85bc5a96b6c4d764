"""`slurmbatch tools` and `filesystems`: what there is to run, and on what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from slurmbatch.cli import terminal
from slurmbatch.cli.remote import Session, remote, tool_ids
from slurmbatch.client import Parameter, Tool


@click.command()
@click.argument("tool", shell_complete=tool_ids, required=False)
@remote
def tools(session: Session, tool: str | None) -> None:
    """Show what you may run, or one TOOL with its parameters."""
    if tool is not None:
        found = session.client.tool(tool)
        terminal.print_json(found) if session.as_json else _show(found)
    elif session.as_json:
        terminal.print_json(session.client.tools())
    else:
        rows = [(each["id"], each["description"]) for each in session.client.tools()]
        terminal.print_table(("TOOL", "DESCRIPTION"), rows, wrap=True)


@click.command()
@remote
def filesystems(session: Session) -> None:
    """Show what jobs can ask for with --fs."""
    found = session.client.filesystems()
    if session.as_json:
        terminal.print_json(found)
        return
    rows = [(each["id"], each["path"], each["description"]) for each in found]
    terminal.print_table(("ID", "PATH", "DESCRIPTION"), rows, wrap=True)


def _show(tool: Tool) -> None:
    hardware, slurm = tool["hardware"], tool["slurm"]
    terminal.print_fields(
        {
            "tool": tool["id"],
            "description": tool["description"],
            "cpu": _amount(hardware["cpu"], hardware["max_cpu"], ""),
            "memory": _amount(hardware["memory"], hardware["max_memory"], " MiB"),
            "time limit": _amount(slurm["default"]["time_limit"], slurm["max_time_limit"], " min"),
            "filesystems": ", ".join(hardware["filesystems"]),
        }
    )
    if tool["parameters"]:
        click.echo()
        rows = [_parameter(each) for each in tool["parameters"]]
        head = ("PARAMETER", "TYPE", "DEFAULT", "LIMITS", "DESCRIPTION")
        terminal.print_table(head, rows, wrap=True)


def _amount(default: Any, most: Any, unit: str) -> str:
    told = "to be said" if default is None else f"{default}{unit}"
    return f"{told}, at most {most}{unit}" if most is not None else told


def _parameter(parameter: Parameter) -> tuple[str, ...]:
    default = "required" if parameter["required"] else as_text(parameter["default"])
    limits = " ".join(_limits(parameter))
    return parameter["name"], parameter["type"], default, limits, parameter["description"]


def _limits(parameter: Mapping[str, Any]) -> Iterator[str]:
    least, most = parameter["minimum"], parameter["maximum"]
    if least is not None or most is not None:
        yield f"{_plain(least)}..{_plain(most)}"
    if parameter["choices"]:
        yield "|".join(map(as_text, parameter["choices"]))
    if parameter["max_length"] is not None:
        yield f"≤{parameter['max_length']} chars"


def _plain(number: float | None) -> str:
    return "" if number is None else f"{number:.15g}"


def as_text(value: Any) -> str:
    """As a tool sees it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
