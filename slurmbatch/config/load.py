"""From files to `Settings`, or to the list of all their mistakes."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from slurmbatch import model
from slurmbatch.config import keys, keysets, schema
from slurmbatch.config.keysets import KeySet
from slurmbatch.config.schema import (
    FilesystemTable,
    Jobs,
    JwtIssuer,
    Log,
    Metrics,
    MungeLogin,
    Server,
    SettingsFile,
    Slurm,
    Store,
)
from slurmbatch.config.section import Section, mistakes_of, shown
from slurmbatch.config.toolfile import ToolFile
from slurmbatch.errors import SettingsError
from slurmbatch.limits import Exempt, Limits, Quotas
from slurmbatch.targets import AllowedHost

_TOOL_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_POSITION = re.compile(r"(.*) \(at (line \d+, column \d+|end of document)\)", re.DOTALL)
_AT_THE_END = "end of document"

AnySection = TypeVar("AnySection", bound=Section)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Somebody whose tokens are accepted, and the key to check them with, or where it is."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    key: str | bytes | KeySet = field(default="", repr=False)
    user_claim: str = "sub"
    leeway: int = 30
    jwks_url: str | None = None
    user_pattern: str = ""
    users: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Auth:
    """Who may come in, for how many days with a key of their own making at most, and who are the
    administrators."""

    jwt: tuple[Issuer, ...] = ()
    key_days: int = 365
    admins: tuple[str, ...] = ()
    admin_groups: tuple[str, ...] = ()
    munge: MungeLogin = field(default_factory=MungeLogin)


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Who may be told, and what that is signed with; without hosts they are off."""

    hosts: tuple[AllowedHost, ...] = ()
    secret: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked; `source` is the file that they came from."""

    source: Path
    jobs: Jobs
    server: Server = field(default_factory=Server)
    store: Store = field(default_factory=Store)
    slurm: Slurm = field(default_factory=Slurm)
    auth: Auth = field(default_factory=Auth)
    webhooks: Webhooks = field(default_factory=Webhooks)
    limits: Quotas = field(default_factory=Quotas)
    log: Log = field(default_factory=Log)
    metrics: Metrics = field(default_factory=Metrics)
    metrics_token: bytes = field(default=b"", repr=False)
    jwt_key: bytes = field(default=b"", repr=False)
    filesystems: tuple[model.Filesystem, ...] = ()
    tools: Mapping[str, model.Tool] = field(default_factory=lambda: MappingProxyType({}))
    tools_dir: Path = Path("tools.d")


def load(path: Path, *, with_keys: bool = True) -> Settings:
    """Read the settings file and all tools; raises SettingsError with every mistake in them.

    Without keys nobody can be let in, and none need be readable: for the admin's commands.
    """
    loader = _Loader(Path(path).absolute(), with_keys)
    settings = loader.settings()
    if loader.mistakes or settings is None:
        raise SettingsError(loader.mistakes)
    return settings


class _Loader:
    """Goes on after each mistake, so that all of them can be told."""

    def __init__(self, source: Path, with_keys: bool) -> None:
        self.source = source
        self.with_keys = with_keys
        self.mistakes: list[str] = []

    def settings(self) -> Settings | None:
        raw = self._parse(self.source)
        if raw is None:
            return None
        file = self._validate(self.source, raw, SettingsFile)
        issuers = self._issuers(file.auth.jwt) if file and self.with_keys else ()
        webhooks = self._webhooks(file.webhooks) if file and self.with_keys else Webhooks()
        token = self._token(file.metrics) if file and self.with_keys else b""
        jwt_key = self._jwt_key(file.slurm) if file and self.with_keys else b""
        tools = self._tools(raw, file)
        if file is None:
            return None
        self._check_slurm_paths(file.slurm)
        return Settings(
            source=self.source,
            jobs=file.jobs,
            server=file.server,
            store=file.store,
            slurm=file.slurm,
            auth=_auth(file.auth, issuers),
            webhooks=webhooks,
            limits=_quotas(file.limits),
            log=file.log,
            metrics=file.metrics,
            metrics_token=token,
            jwt_key=jwt_key,
            filesystems=tuple(_filesystem(each) for each in file.filesystems),
            tools=MappingProxyType(tools),
            tools_dir=self.source.parent / file.tools.dir,
        )

    def _mistake(self, file: Path, key: str, text: str) -> None:
        self.mistakes.append(f"{file}: {key}: {text}")

    def _parse(self, file: Path) -> dict[str, Any] | None:
        content = b""
        try:
            content = file.read_bytes()
            return tomllib.loads(content.decode())
        except OSError as error:
            self._mistake(file, "the whole file", f"cannot be read: {error.strerror}")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            self._mistake(file, f"line {line}", "found a byte that is not UTF-8")
        except tomllib.TOMLDecodeError as error:
            found = _POSITION.fullmatch(str(error))
            text, position = found.groups() if found else (str(error), "the whole file")
            if position == _AT_THE_END:
                position = f"line {max(len(content.splitlines()), 1)}, at its end"
            self._mistake(file, position, f"is not TOML: {text}")
        return None

    def _validate(
        self, file: Path, raw: dict[str, Any], section: type[AnySection]
    ) -> AnySection | None:
        try:
            return section.model_validate(raw)
        except ValidationError as error:
            for key, text in mistakes_of(error):
                self._mistake(file, key, text)
            return None

    def _check_slurm_paths(self, slurm: Slurm) -> None:
        if slurm.conf and not slurm.conf.is_file():
            self._absent("slurm.conf", slurm.conf, "file")
        if slurm.bin_dir and not slurm.bin_dir.is_dir():
            self._absent("slurm.bin_dir", slurm.bin_dir, "directory")

    def _absent(self, key: str, path: Path, kind: str) -> None:
        self._mistake(self.source, key, f"found {shown(path)}, expected a {kind} that is there")

    def _issuers(self, tables: tuple[JwtIssuer, ...]) -> tuple[Issuer, ...]:
        issuers = []
        for index, table in enumerate(tables):
            kind = "secret_file" if table.secret_file else "public_key_file"
            try:
                key = self._key(table)
            except ValueError as error:
                self._mistake(self.source, f"auth.jwt[{index}].{kind}", str(error))
                continue
            kept = {each.name for each in fields(Issuer)} - {"key"}
            issuers.append(Issuer(**table.model_dump(include=kept), key=key))
        return tuple(issuers)

    def _key(self, table: JwtIssuer) -> str | bytes | KeySet:
        """Raises ValueError."""
        named = table.secret_file or table.public_key_file
        if named is None:
            return ""
        file = keys.locate(named, self.source.parent)
        if table.secret_file:
            return keys.read_secret(file, table.algorithms)
        return keysets.read(file, table.algorithms)

    def _webhooks(self, section: schema.Webhooks) -> Webhooks:
        hosts = tuple(AllowedHost(**each.model_dump()) for each in section.hosts)
        if section.secret_file is None:
            return Webhooks()
        try:
            file = keys.locate(section.secret_file, self.source.parent)
            secret = keys.read_webhook_secret(file)
        except ValueError as error:
            self._mistake(self.source, "webhooks.secret_file", str(error))
            return Webhooks()
        return Webhooks(hosts, secret)

    def _token(self, metrics: Metrics) -> bytes:
        if metrics.token_file is None:
            return b""
        try:
            return keys.read_token(keys.locate(metrics.token_file, self.source.parent))
        except ValueError as error:
            self._mistake(self.source, "metrics.token_file", str(error))
            return b""

    def _jwt_key(self, slurm: Slurm) -> bytes:
        if slurm.run_as != "slurm-jwt" or slurm.jwt_key_file is None:
            return b""
        try:
            return keys.read_slurm_key(keys.locate(slurm.jwt_key_file, self.source.parent))
        except ValueError as error:
            self._mistake(self.source, "slurm.jwt_key_file", str(error))
            return b""

    def _tools(self, raw: dict[str, Any], file: SettingsFile | None) -> dict[str, model.Tool]:
        # With mistakes elsewhere in the settings file the tools still deserve to be looked at.
        section = raw.get("tools")
        named = section.get("dir", "tools.d") if isinstance(section, dict) else "tools.d"
        if not isinstance(named, str):
            return {}
        directory = self.source.parent / named
        if not directory.is_dir():
            self._absent("tools.dir", directory, "directory")
            return {}
        try:
            names = sorted(os.listdir(directory))  # noqa: PTH208 (globbing would find nothing)
        except OSError as error:
            text = f"found {shown(directory)}, which cannot be read: {error.strerror}"
            self._mistake(self.source, "tools.dir", f"{text}; expected a directory")
            return {}
        tools = {}
        for path in (directory / each for each in names if fnmatchcase(each, "[!.]*.toml")):
            tool = self._tool(path, raw, file)
            if tool is not None:
                tools[tool.id] = tool
        return tools

    def _tool(
        self, path: Path, raw: dict[str, Any], file: SettingsFile | None
    ) -> model.Tool | None:
        if not _TOOL_ID.fullmatch(path.stem):
            text = "found a name that is no tool id, expected a-z, 0-9, _ and - (at most 64)"
            self._mistake(path, "the file's name", text)
        parsed = self._parse(path)
        if parsed is None:
            return None
        self._check_filesystems(path, parsed, raw)
        table = self._validate(path, parsed, ToolFile)
        if table is None:
            return None
        self._check_size(path, table, (file.slurm if file else Slurm()).max_script_bytes // 2)
        return table.tool(path.stem)

    def _check_filesystems(self, path: Path, parsed: dict[str, Any], raw: dict[str, Any]) -> None:
        known = [each.get("id") for each in _tables(raw, "filesystems")]
        hardware = parsed.get("hardware")
        names = hardware.get("filesystems") if isinstance(hardware, dict) else None
        for index, name in enumerate(names if isinstance(names, list) else []):
            if isinstance(name, str) and name not in known:
                listed = ", ".join(map(str, known)) or "none are there"
                text = f"found {shown(name)}, expected one of those in {self.source.name}: {listed}"
                self._mistake(path, f"hardware.filesystems[{index}]", text)

    def _check_size(self, path: Path, table: ToolFile, room: int) -> None:
        size = len((table.script or "").encode())
        if size > room:
            text = f"found {size} bytes, expected at most {room}, half of slurm.max_script_bytes"
            self._mistake(path, "script", text)


def _tables(raw: dict[str, Any], array: str) -> list[dict[str, Any]]:
    """The tables of an array in a file that may have mistakes."""
    listed = raw.get(array)
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _auth(section: schema.Auth, issuers: tuple[Issuer, ...]) -> Auth:
    return Auth(issuers, section.key_days, section.admins, section.admin_groups, section.munge)


def _quotas(section: schema.Limits) -> Quotas:
    def limits(table: schema.LimitKeys) -> Limits:
        return Limits(**table.model_dump(include=set(schema.LimitKeys.model_fields)))

    exempt = (Exempt(limits(each), each.users, each.groups) for each in section.exceptions)
    return Quotas(limits(section), tuple(exempt))


def _filesystem(table: FilesystemTable) -> model.Filesystem:
    return model.Filesystem(
        id=table.id,
        path=str(table.path),
        description=table.description,
        feature=table.feature,
        licence=table.licence,
        groups=table.groups,
    )
