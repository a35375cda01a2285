"""API keys and the nonces of what was signed with them, and the counts of the rate limits."""

from db.migrate import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql(__file__)
