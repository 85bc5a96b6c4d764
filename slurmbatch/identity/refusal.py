"""Why credentials are not accepted."""

from __future__ import annotations


class Refused(Exception):
    """Why credentials were not accepted: for the log only."""
