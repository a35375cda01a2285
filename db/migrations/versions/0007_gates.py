"""The gates that count orders, and the order that may be sent twice on purpose."""

from db.migrate import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql(__file__)
