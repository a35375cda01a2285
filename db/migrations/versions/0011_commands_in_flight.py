"""Modifications on their way, which a stop waits for, and indexes for what is watched each second."""

from db.migrate import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql(__file__)
