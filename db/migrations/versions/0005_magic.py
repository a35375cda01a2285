"""Magic numbers come with the trade, no longer from a sequence, which a restored copy of the books puts back."""

from db.migrate import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql(__file__)
