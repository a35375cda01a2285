"""Reconciliation: its runs, what it found, and positions that were accepted as the broker has them."""

from db.migrate import run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_sql(__file__)
