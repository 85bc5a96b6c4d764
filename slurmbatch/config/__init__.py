"""Settings: one TOML file and one for each tool; every mistake in them reported at once."""

from pathlib import Path

from slurmbatch.config.live import merge
from slurmbatch.config.load import Auth, Issuer, Settings, Webhooks, load
from slurmbatch.config.schema import Jobs, Log, Server, Slurm, Store

DEFAULT_PATH = Path("/etc/slurmbatch/slurmbatch.toml")

__all__ = [
    "DEFAULT_PATH",
    "Auth",
    "Issuer",
    "Jobs",
    "Log",
    "Server",
    "Settings",
    "Slurm",
    "Store",
    "Webhooks",
    "load",
    "merge",
]
