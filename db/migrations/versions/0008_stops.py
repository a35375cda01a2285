"""The emergency stop as a row of its own, with its certificate; the closes that it makes name it."""

from db.migrate import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql(__file__)
