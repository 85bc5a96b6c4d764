"""The wheel and the source distribution: nothing is left out, and they install and run."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import httpx

from slurmbatch import __version__
from tests.e2e.alone import Site, answers, wait_until

from .conftest import ROOT, Built, run, tracked

# What an administrator looks for below share/slurmbatch, beside the program itself.
FOR_ADMINS = (
    "README.md",
    "docs/running.md",
    "docs/monitoring/alerts.yml",
    "etc/nginx/slurmbatch.conf",
    "etc/slurmbatch.toml",
    "etc/tools.d/montecarlo-pi.toml",
    "systemd/slurmbatch.service",
    "systemd/slurmbatch.socket",
    "systemd/sysusers.conf",
    "systemd/tmpfiles.conf",
)


def in_wheel(built: Built) -> set[str]:
    return set(zipfile.ZipFile(built.wheel).namelist())


def test_the_wheel_has_every_file_of_the_package(built: Built) -> None:
    package = {each for each in tracked() if each.startswith("slurmbatch/")}
    assert "slurmbatch/api/page/index.html" in package
    assert package - in_wheel(built) == set()
    # And nothing that is not of it.
    assert {each for each in in_wheel(built) if each.startswith("slurmbatch/")} - package == set()


def test_the_wheel_has_what_an_administrator_needs(built: Built) -> None:
    shared = f"slurmbatch-{__version__}.data/data/share/slurmbatch"
    pages = [each for each in tracked() if each.startswith("docs/") and each.endswith(".md")]
    offered = [
        each for each in tracked() if each.startswith(("etc/", "systemd/", "docs/monitoring/"))
    ]
    wanted = {f"{shared}/{each}" for each in [*FOR_ADMINS, *pages, *offered]}
    assert wanted - in_wheel(built) == set()


def test_the_source_distribution_is_the_checkout(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        inside = {each.name.partition("/")[2] for each in archive.getmembers() if each.isfile()}
    assert tracked() - inside == set()
    assert not [each for each in inside if "__pycache__" in each or each.endswith(".pyc")]


def test_they_are_the_same_whenever_they_are_built(built: Built, tmp_path: Path) -> None:
    run(ROOT / ".ci/dist", tmp_path)
    assert (tmp_path / built.wheel.name).read_bytes() == built.wheel.read_bytes()


def test_one_pip_install_and_it_serves(built: Built, tmp_path: Path) -> None:
    place = tmp_path / "opt"
    run(sys.executable, "-m", "venv", "--without-pip", place)
    run(sys.executable, "-m", "pip", "--python", place, "install", "--no-index",
        "--find-links", built.needed, built.wheel, cwd=tmp_path)  # fmt: skip
    program = place / "bin/slurmbatch"
    assert run(program, "--version", cwd=tmp_path).split()[-1] == __version__
    for each in FOR_ADMINS:
        assert (place / "share/slurmbatch" / each).read_bytes() == (ROOT / each).read_bytes()
    serves(program, tmp_path)


def test_pip_makes_the_same_of_the_source_distribution(built: Built, tmp_path: Path) -> None:
    """As it does when it installs that: with nothing but what the project's file says."""
    run(sys.executable, "-m", "pip", "wheel", "--no-index", "--find-links", built.needed,
        "--no-deps", "--wheel-dir", tmp_path, built.sdist, cwd=tmp_path)  # fmt: skip
    (made,) = tmp_path.glob("*.whl")
    assert contents(made) == contents(built.wheel)


def contents(wheel: Path) -> dict[str, int]:
    return {each.filename: each.CRC for each in zipfile.ZipFile(wheel).infolist()}


def serves(program: Path, directory: Path) -> None:
    """It answers, its page is there, and nothing of it comes from the checkout."""
    site = Site(directory)
    process = subprocess.Popen([program, "serve", "--config", site.config], cwd=directory)
    try:
        wait_until(lambda: answers(site.url), 120)
        assert "slurmbatch" in httpx.get(f"{site.url}/docs", timeout=60).text
        assert httpx.get(f"{site.url}/docs/swagger-ui-bundle.js", timeout=60).status_code == 200
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0
