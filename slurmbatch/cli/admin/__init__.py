"""`slurmbatch admin`: for the service's administrators. Works beside a running daemon, on the same
database, as the same account."""

from __future__ import annotations

import click

from slurmbatch.cli.admin import database
from slurmbatch.cli.admin.keys import key


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def admin() -> None:
    """For the service's administrators."""


admin.add_command(key)
for each in (database.backup, database.restore, database.check, database.migrate, database.purge):
    admin.add_command(each)
