"""Identity: sessions and their tokens, tries to log in, second factors, and what waits for a second person."""

from db.migrate import run_sql

revision = "0014"
down_revision = "0012"


def upgrade() -> None:
    run_sql(__file__)
