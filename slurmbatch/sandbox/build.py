"""Makes the directory of a sandbox, once: its plan, its keys and its settings."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import slurmbatch
from slurmbatch.sandbox import conf
from slurmbatch.sandbox.errors import SandboxError
from slurmbatch.sandbox.paths import Paths
from slurmbatch.sandbox.plan import Plan, Shape
from slurmbatch.sandbox.quirks import Version, extra_files, parse_version
from slurmbatch.sandbox.root import Root

ROOT_VARIABLE = "SLURMBATCH_SANDBOX_ROOT"
PATH_LINE = 'export PATH="'


def shape_for(paths: Paths, wanted: Mapping[str, Any]) -> Shape:
    """The shape that is kept there, or a new one; what was asked for must not contradict it."""
    if not paths.plan.exists():
        return Shape(**{**_by_default(), **wanted})
    kept = Plan.load(paths.plan).shape
    for name, value in wanted.items():
        if getattr(kept, name) != value:
            raise SandboxError(
                f"The sandbox in {paths.root} has {name}={getattr(kept, name)}, not {value}; "
                "take it down first to have it otherwise."
            )
    return kept


def _by_default() -> dict[str, Any]:
    return real_wishes({"root": os.environ.get(ROOT_VARIABLE) or None})


def build(paths: Paths, shape: Shape, base_port: int, slurmctld: str) -> Plan:
    """Writes everything; the plan last, since its being there means that all of it is."""
    paths.create()
    if shape.root:
        Root(Path(shape.root)).write_scripts(paths.bin)
    plan = Plan.draw_up(shape, base_port)
    _write_secret(paths.munge_key, secrets.token_bytes(1024))
    if shape.tokens:
        _write_secret(paths.jwt_key, secrets.token_bytes(32))
    _write_secret(paths.slurmdbd_conf, conf.slurmdbd_conf(paths, plan).encode())
    _write_secret(paths.database_init, conf.mariadb_init(plan).encode())
    paths.slurm_conf.write_text(conf.slurm_conf(paths, plan))
    if plan.daemons_apart:
        paths.daemons_conf.write_text(conf.daemons_conf(paths, plan))
        paths.task_prolog.write_text(conf.task_prolog(paths))
        paths.task_prolog.chmod(0o755)
    paths.settings.write_text(conf.slurmbatch_toml(paths, plan))
    for name, text in extra_files(version_of(slurmctld)).items():
        (paths.root / "etc" / name).write_text(text)
    _copy_tools(paths, shape)
    plan.save(paths.plan)
    return plan


def version_of(slurmctld: str) -> Version:
    """The version of the installed Slurm."""
    printed = subprocess.run([slurmctld, "-V"], capture_output=True, text=True, timeout=10)
    return parse_version(printed.stdout)


def write_env(paths: Paths, variables: Mapping[str, str]) -> None:
    """The file to be sourced; it holds the API key, so it is for its owner alone."""
    lines = [f"export {name}='{value}'\n" for name, value in variables.items()]
    if (paths.bin / "sbatch").exists():
        lines.append(f'{PATH_LINE}{paths.bin}:$PATH"\n')
    new = paths.env.with_suffix(".new")
    _write_secret(new, "".join(lines).encode())
    new.replace(paths.env)


def read_env(paths: Paths) -> dict[str, str]:
    """What write_env wrote."""
    if not paths.env.exists():
        return {}
    lines = [line for line in _lines(paths.env) if not line.startswith(PATH_LINE)]
    pairs = [line.removeprefix("export ").partition("=") for line in lines]
    return {name: value.strip("'") for name, _, value in pairs}


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _write_secret(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


def _copy_tools(paths: Paths, shape: Shape) -> None:
    source = Path(shape.tools_dir) if shape.tools_dir else example_tools()
    if shape.tools_dir and not source.is_dir():
        raise SandboxError(f"{source} is no directory of tools.")
    target = paths.root / "etc/tools.d"
    target.mkdir(exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)


def example_tools() -> Path:
    """Where the example tools are: beside the package in a checkout, or where pip put them."""
    beside = Path(slurmbatch.__file__).resolve().parent.parent / "etc/tools.d"
    return beside if beside.is_dir() else Path(sys.prefix) / "share/slurmbatch/etc/tools.d"


def real_wishes(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the wishes that are any, with absolute paths."""
    known = {field.name for field in dataclasses.fields(Shape)}
    unknown = set(wanted) - known
    if unknown:
        raise TypeError(f"a sandbox has no {', '.join(sorted(unknown))}")
    kept = {name: value for name, value in wanted.items() if value is not None}
    for name in ("tools_dir", "root"):
        if kept.get(name):
            kept[name] = str(Path(kept[name]).resolve())
    return kept
