"""Packaging of slurmbatch; tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "slurmbatch/__init__.py").read_text())

assert VERSION is not None  # noqa: S101


def beside(package: str) -> list[str]:
    """All that lies in a package and is no code, so that nothing that is added is ever left out."""
    files = (each for each in Path(package).rglob("*") if each.is_file())
    code = (".py", ".pyc")
    return sorted(str(each.relative_to(package)) for each in files if each.suffix not in code)


def shared(*patterns: str) -> list[tuple[str, list[str]]]:
    """What goes along below share/slurmbatch, each file where it is in a checkout."""
    found = (each for pattern in patterns for each in sorted(Path().glob(pattern)))
    return [(f"share/slurmbatch/{each.parent}", [str(each)]) for each in found if each.is_file()]


setup(
    name="slurmbatch",
    version=VERSION.group(1),
    description="A REST bridge to Slurm: batches of jobs, submitted once, explained in words",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["slurmbatch", "slurmbatch.*"]),
    # Sample settings, example tools, units and pages, for those who have no checkout.
    data_files=shared(
        "*.md", "docs/*.md", "docs/monitoring/*", "docs/pictures/*", "etc/**/*", "systemd/**/*"
    ),
    package_data={"slurmbatch": beside("slurmbatch")},
    python_requires=">=3.11",
    install_requires=[
        "click>=8.1,<9",
        "falcon>=4.4,<5",
        "httpx>=0.28,<1",
        "peewee>=4.5,<5",
        "prometheus-client>=0.20,<1",
        "pydantic>=2.10,<3",
        "PyJWT[crypto]>=2.13,<3",
        "rich>=13,<16",
        "structlog>=25,<27",
        "typing_extensions>=4.12",
        "waitress>=3.0.2,<4",
    ],
    extras_require={
        "bench": [
            "matplotlib>=3.8,<4",
            "pytest>=8,<10",
            "pytest-benchmark>=5,<6",
        ],
        "dev": [
            "build>=1.2,<2",
            "hypothesis>=6.100,<7",
            "import-linter>=2,<3",
            "mypy>=1.13,<3",
            "myst-parser>=4,<6",
            "openapi-python-client>=0.26,<1",
            "openapi-spec-validator>=0.7,<1",
            "pandas>=2.2,<4",
            "playwright>=1.50,<2",
            "pytest>=8,<10",
            "pytest-benchmark>=5,<6",
            "ruff>=0.8,<1",
            "schemathesis>=4.32,<5",
            "setuptools>=77",
            "sphinx>=8,<10",
            "sphinxcontrib-httpdomain>=1.8,<3",
            "standardwebhooks>=1,<2",
            "types-waitress>=3,<4",
        ],
    },
    entry_points={"console_scripts": ["slurmbatch=slurmbatch.cli:main"]},
)
