"""Settings that are read anew: what takes effect, what waits for a restart, and what has no effect
at all because there is a mistake somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurmbatch.config import Settings, load, merge
from slurmbatch.config.live import _KEYS, _TABLES
from slurmbatch.config.reference import tables
from slurmbatch.config.schema import SettingsFile
from slurmbatch.daemon.reload import Reloader, Replaceable
from slurmbatch.errors import SettingsError

TOOL = 'description = "t"\nscript = "#!/bin/sh\\ntrue\\n"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "tools.d").mkdir()
    (tmp_path / "tools.d" / "one.toml").write_text(TOOL)
    return tmp_path / "slurmbatch.toml"


def read(file: Path, more: str = "") -> Settings:
    file.write_text(f'[jobs]\nlog_dir = "/logs"\nmax_jobs_per_batch = 10\n{more}')
    return load(file)


def test_what_is_live_takes_effect_and_the_rest_waits(file: Path) -> None:
    old = read(file)
    new = read(file, '[log]\nlevel = "debug"\n[server]\nport = 9\nsubmit_wait = 1\n'
                     "[slurm]\npoll_interval = 5\narray_size = 7\n")  # fmt: skip
    merged, waiting = merge(old, new)
    assert waiting == ["server.port", "slurm.poll_interval"]
    assert (merged.server.port, merged.slurm.poll_interval) == (8765, 1.0)
    assert (merged.server.submit_wait, merged.slurm.array_size) == (1, 7)
    assert merged.log.level == "debug"
    # Put back, nothing waits any more.
    assert merge(merged, old)[1] == []


def test_what_is_called_live_is_there() -> None:
    known = {table.name: {key for key, _ in table.values()} for table in tables(SettingsFile)}
    assert set(known) >= _TABLES
    for name in _KEYS:
        table, _, key = name.partition(".")
        assert key in known[table]


class Service:
    """Whatever settings were put into force last."""

    def __init__(self, file: Path) -> None:
        self.applied: list[Settings] = []
        self.refuses = False
        self.reloader = Reloader(load(file), self._apply)

    def _apply(self, settings: Settings) -> None:
        if self.refuses:
            raise SettingsError(["no"])
        self.applied.append(settings)


def test_tools_come_and_go(file: Path) -> None:
    read(file)
    service = Service(file)
    (file.parent / "tools.d" / "two.toml").write_text(TOOL)
    (file.parent / "tools.d" / "one.toml").unlink()
    assert service.reloader.reload()
    assert list(service.applied[-1].tools) == ["two"]
    assert service.reloader.loaded.summary() == ""


def test_with_any_mistake_the_old_ones_stay_and_that_is_told_until_it_is_mended(
    file: Path,
) -> None:
    read(file)
    service = Service(file)
    loaded, before = service.reloader.loaded, service.reloader.settings
    (file.parent / "tools.d" / "two.toml").write_text("x = 1\n")
    read_at = loaded.loaded_at
    assert not service.reloader.reload()
    assert service.applied == []
    assert service.reloader.settings is before
    assert "the old ones stay" in loaded.summary()
    assert "two.toml" in loaded.summary()
    told = loaded.report(str)
    assert (told["ok"], told["loaded_at"]) == (False, str(read_at))
    # Anybody may read that: nothing of the file stands in it.
    assert "two.toml" not in repr(told)
    (file.parent / "tools.d" / "two.toml").unlink()
    assert service.reloader.reload()
    assert (loaded.summary(), loaded.report(str)["ok"]) == ("", True)


def test_settings_that_cannot_be_put_into_force_are_not(file: Path) -> None:
    read(file)
    service = Service(file)
    service.refuses = True
    before = service.reloader.settings
    assert not service.reloader.reload()
    assert service.reloader.settings is before


def test_a_directory_of_tools_that_cannot_be_read_is_a_mistake(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not a service with no tools."""
    read(file)

    def refuse(_: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.listdir", refuse)
    with pytest.raises(SettingsError, match=r"tools\.dir: .*cannot be read: Permission denied"):
        load(file)


def test_a_call_stays_with_what_was_there_when_it_began() -> None:
    stands = Replaceable("old")
    call = stands.upper
    stands.now = "new"
    assert (call(), stands.upper()) == ("OLD", "NEW")
