"""History stays: no role that a service uses may change or remove it, and even the owner is stopped."""

import pytest
from sqlalchemy.exc import DBAPIError

from stack.scratch import ROLES
from tests.db.books import Books

HISTORY = {
    "fills": "comment",
    "fill_allocations": "role",
    "risk_adjustments": "cause",
    "ledger_entries": "description",
    "events": "kind",
    "audit_log": "action",
}
CHANGES = ("UPDATE {table} SET {column} = {column}", "DELETE FROM {table}", "TRUNCATE {table} CASCADE")
SERVICES = tuple(role for role in ROLES if role != "owner")


async def test_no_service_can_change_history(books: Books) -> None:
    for role in SERVICES:
        for table, column in HISTORY.items():
            for change in CHANGES:
                with pytest.raises(DBAPIError, match="permission denied"):
                    await books.run(change.format(table=table, column=column), role=role)


async def test_the_owner_is_stopped_by_a_trigger(books: Books) -> None:
    for table, column in HISTORY.items():
        for change in CHANGES:
            with pytest.raises(DBAPIError, match="append-only"):
                await books.run(change.format(table=table, column=column))


async def test_no_service_can_switch_the_triggers_off(books: Books) -> None:
    for role in SERVICES:
        with pytest.raises(DBAPIError, match="must be owner"):
            await books.run("ALTER TABLE fills DISABLE TRIGGER append_only", role=role)
        with pytest.raises(DBAPIError, match="permission denied to set parameter"):
            await books.run("SET session_replication_role = replica", role=role)


async def test_no_service_is_a_superuser_or_owns_anything(books: Books) -> None:
    roles = [f"nexus_{role}" for role in SERVICES]
    powers = await books.rows(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(:roles) AND (rolsuper OR rolcreaterole OR rolcreatedb"
        " OR rolbypassrls)",
        roles=roles,
    )
    owned = await books.rows(
        "SELECT c.relname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname = ANY(:roles)",
        roles=roles,
    )
    assert (powers, owned) == ([], [])


async def test_password_hashes_are_for_the_api_alone(books: Books) -> None:
    for role in ("pipeline", "broker", "sealer"):
        with pytest.raises(DBAPIError, match="permission denied"):
            await books.run("SELECT password_hash FROM users", role=role)
