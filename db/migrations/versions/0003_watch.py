"""What the watch over terminal and contracts keeps, and all measures of slippage."""

from db.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(__file__)
