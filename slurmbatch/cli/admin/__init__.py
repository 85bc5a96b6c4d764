"""`slurmbatch admin`: for the service's administrators. Works beside a running daemon, on the same
database, as the same account."""

from __future__ import annotations

import click

from slurmbatch.cli.admin import database, operations
from slurmbatch.cli.admin.audit import audit
from slurmbatch.cli.admin.doctor import doctor
from slurmbatch.cli.admin.keys import key


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def admin() -> None:
    """For the service's administrators."""


for each in (
    key, audit, doctor, operations.trace,
    operations.batches, operations.cancel, operations.drain, operations.resume,
    database.backup, database.restore, database.take_over, database.check, database.migrate,
    database.purge,
):  # fmt: skip
    admin.add_command(each)
