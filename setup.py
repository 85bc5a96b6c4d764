"""Packaging of slurmbatch; tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "slurmbatch/__init__.py").read_text())

assert VERSION is not None  # noqa: S101

setup(
    name="slurmbatch",
    version=VERSION.group(1),
    description="A REST bridge to Slurm: batches of jobs, submitted once, explained in words",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["slurmbatch", "slurmbatch.*"]),
    # The sample settings and the example tools, for those who have no checkout.
    data_files=[
        ("share/slurmbatch/etc", ["etc/slurmbatch.toml"]),
        (
            "share/slurmbatch/etc/tools.d",
            sorted(str(p) for p in Path("etc/tools.d").glob("*.toml")),
        ),
        ("share/slurmbatch/etc/nginx", ["etc/nginx/slurmbatch.conf"]),
        ("share/slurmbatch/systemd", sorted(str(p) for p in Path("systemd").iterdir())),
    ],
    package_data={"slurmbatch": ["py.typed"], "slurmbatch.api": ["page/*"]},
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
            "hypothesis>=6.100,<7",
            "import-linter>=2,<3",
            "mypy>=1.13,<3",
            "myst-parser>=4,<6",
            "openapi-python-client>=0.26,<1",
            "openapi-spec-validator>=0.7,<1",
            "pandas>=2.2,<4",
            "pytest>=8,<10",
            "pytest-benchmark>=5,<6",
            "ruff>=0.8,<1",
            "sphinx>=8,<10",
            "sphinxcontrib-httpdomain>=1.8,<3",
            "standardwebhooks>=1,<2",
            "types-waitress>=3,<4",
        ],
    },
    entry_points={"console_scripts": ["slurmbatch=slurmbatch.cli:main"]},
)
