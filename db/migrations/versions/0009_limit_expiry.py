"""Limits that are loosened for a time, and changed over REST."""

from db.migrate import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql(__file__)
