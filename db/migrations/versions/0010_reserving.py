"""A reservation in fewer trips to the database, and its limits held once more by the database itself."""

from db.migrate import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql(__file__)
