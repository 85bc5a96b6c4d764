"""`slurmbatch check-config`."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from slurmbatch.cli import main


def check(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, ["check-config", *arguments], env=environment)


def test_right_settings_are_told_in_short(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[jobs]\nlog_dir = "/logs"\n')
    (tmp_path / "tools.d").mkdir()
    (tmp_path / "tools.d" / "true.toml").write_text('description = "x"\npath = "/bin/true"\n')
    result = check("--config", str(file))
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{file}: no mistakes.\n")
    assert "  tools        true\n" in result.stdout


def test_every_mistake_is_told(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[server]\nport = 0\n")
    result = check(SLURMBATCH_CONFIG=str(file))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"{file}: server.port: found 0, expected it to be greater than or equal to 1\n"
        f"{file}: jobs: found nothing, but it is required: a table with at least log_dir\n"
        f"{file}: tools.dir: found '{tmp_path}/tools.d', expected a directory that is there\n"
        "3 mistakes.\n"
    )


def test_without_a_choice_it_is_the_one_under_etc() -> None:
    assert "default: /etc/slurmbatch/slurmbatch.toml]" in " ".join(check("--help").stdout.split())
