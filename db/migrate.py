"""`python -m db.migrate`: bring the database to the newest schema, as the owner of the tables.

Each migration is a module beside a `.sql` file of the same name, so that it reads as what the server runs.
"""

import os
import sys
from pathlib import Path

from alembic import command, op
from alembic.config import Config
from sqlalchemy.util import await_only

from settings import Environment, SettingsError

MIGRATIONS = Path(__file__).parent / "migrations"


def run_sql(migration_file: str) -> None:
    """Run the statements beside a migration; 5 s without a lock end it, so that traffic never queues behind it."""
    statements = Path(migration_file).with_suffix(".sql").read_text(encoding="utf-8")
    op.execute("SET LOCAL lock_timeout = '5s'")
    # The driver's own execute takes several statements at once; SQLAlchemy prepares one at a time.
    driver = op.get_bind().connection.driver_connection
    assert driver is not None, "a migration runs on a connection"
    await_only(driver.execute(statements))


def migrate(database_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("sqlalchemy.url", database_url.replace("%", "%%"))
    command.upgrade(config, "head")


def main() -> int:
    try:
        migrate(Environment(os.environ).database_url())
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
