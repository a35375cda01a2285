"""The PostgreSQL server of the tests and databases cloned from its template: those of `stack.scratch`."""

from stack.scratch import (
    FAST,
    PASSWORDS,
    ROLES,
    SUPERUSER_PASSWORD,
    TEMPLATE,
    Database,
    cloned_database,
    make_template,
    running_postgres,
    start_postgres,
)

__all__ = [
    "FAST",
    "PASSWORDS",
    "ROLES",
    "SUPERUSER_PASSWORD",
    "TEMPLATE",
    "Database",
    "cloned_database",
    "make_template",
    "running_postgres",
    "start_postgres",
]
