"""The audit record: where each change came from, the chain that it is sealed into, and what guards both."""

from db.migrate import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_sql(__file__)
