"""A fill that was booked as nobody's may find its trade later: a revision that changes only whose it is."""

from db.migrate import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql(__file__)
