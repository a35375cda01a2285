"""Durable state in SQLite: what is committed here survives a killed terminal."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from brokers.simulator.records import Deal, Order, Position

Record = TypeVar("Record", Order, Deal, Position)
TABLES: dict[type[Any], str] = {Order: "orders", Deal: "deals", Position: "positions"}
SQL_TYPES: dict[Any, str] = {int: "INTEGER", str: "TEXT", Decimal: "TEXT"}
INDEXES = (
    "CREATE INDEX IF NOT EXISTS orders_done ON orders (done_msc)",
    "CREATE INDEX IF NOT EXISTS orders_position ON orders (position_id)",
    "CREATE INDEX IF NOT EXISTS deals_time ON deals (time_msc)",
    "CREATE INDEX IF NOT EXISTS deals_position ON deals (position_id)",
    "CREATE INDEX IF NOT EXISTS deals_order ON deals (order_ticket)",
)
INSERTS: dict[type[Any], str] = {
    record: f"INSERT OR REPLACE INTO {table} ({', '.join(f.name for f in fields(record))})"  # noqa: S608 # ours
    f" VALUES ({', '.join('?' * len(fields(record)))})"
    for record, table in TABLES.items()
}
LOCK_WAIT_SECONDS = 0.5


class StateUnusable(Exception):
    """The state file cannot be had: held by another terminal, unreadable, or no database."""


class Store:
    """One connection, one writer; every change happens inside `transaction()`."""

    def __init__(self, path: Path | str) -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=LOCK_WAIT_SECONDS)
            # Exclusive: two terminals on one file would each believe in their own books.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            with self.transaction():
                self._create()
        except sqlite3.DatabaseError as error:
            raise StateUnusable(f"state file {path}: {error}") from error

    def _create(self) -> None:
        for record, table in TABLES.items():
            columns = {f.name: _column(f) for f in fields(record)}
            listed = ", ".join(columns.values())
            self._db.execute(f"CREATE TABLE IF NOT EXISTS {table} ({listed}, PRIMARY KEY (ticket))")
            present = {row[1] for row in self._db.execute(f"PRAGMA table_info({table})")}
            for name in columns.keys() - present:  # a file of an older terminal
                self._db.execute(f"ALTER TABLE {table} ADD COLUMN {columns[name]}")
        self._db.execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS sends (id INTEGER PRIMARY KEY, time_msc INTEGER NOT NULL,"
            " fence INTEGER, magic INTEGER NOT NULL, request TEXT NOT NULL, answer TEXT NOT NULL)"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS agenda (id INTEGER PRIMARY KEY, due_utc_msc INTEGER NOT NULL,"
            " duty TEXT NOT NULL, terms TEXT NOT NULL)"
        )
        for index in INDEXES:
            self._db.execute(index)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit on leaving, roll back on an exception; nests into the outer transaction."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._db.close()

    def save(self, record: Order | Deal | Position) -> None:
        values = [_plain(getattr(record, f.name)) for f in fields(record)]
        self._db.execute(INSERTS[type(record)], values)

    def delete_position(self, ticket: int) -> None:
        self._db.execute("DELETE FROM positions WHERE ticket = ?", (ticket,))

    def select(self, record: type[Record], where: str = "1", parameters: Sequence[Any] = ()) -> list[Record]:
        """Records in ticket order; `where` is SQL of this package with `?` for each parameter."""
        names = [f.name for f in fields(record)]
        rows = self._db.execute(
            f"SELECT {', '.join(names)} FROM {TABLES[record]} WHERE {where} ORDER BY ticket",  # noqa: S608 # never user text
            parameters,
        )
        return [record_of(record, dict(zip(names, row, strict=True))) for row in rows]

    def newest_deal(self, where: str, parameters: Sequence[Any]) -> Deal | None:
        deals = self.select(Deal, f"ticket = (SELECT max(ticket) FROM deals WHERE {where})", parameters)  # noqa: S608 # ours
        return deals[0] if deals else None

    def count(self, record: type[Order | Deal], where: str, parameters: Sequence[Any]) -> int:
        query = f"SELECT count(*) FROM {TABLES[record]} WHERE {where}"  # noqa: S608 # never user text
        return int(self._db.execute(query, parameters).fetchone()[0])

    def get(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def add_send(self, *, time_msc: int, fence: int | None, magic: int, request: str, answer: str) -> None:
        self._db.execute(
            "INSERT INTO sends (time_msc, fence, magic, request, answer) VALUES (?, ?, ?, ?, ?)",
            (time_msc, fence, magic, request, answer),
        )

    def sends(self) -> list[tuple[int, int | None, int, str, str]]:
        """Every order_send seen, oldest first: time, fence, magic, request and answer as JSON."""
        return self._db.execute("SELECT time_msc, fence, magic, request, answer FROM sends ORDER BY id").fetchall()

    def duties(self) -> list[tuple[int, int, str, str]]:
        """The agenda: number, due time in UTC milliseconds, duty, and terms as JSON."""
        return self._db.execute("SELECT id, due_utc_msc, duty, terms FROM agenda ORDER BY id").fetchall()

    def add_duty(self, *, due_utc_msc: int, duty: str, terms: str) -> int:
        """The number of the new entry."""
        added = self._db.execute(
            "INSERT INTO agenda (due_utc_msc, duty, terms) VALUES (?, ?, ?)", (due_utc_msc, duty, terms)
        )
        assert added.lastrowid is not None, "an inserted row has a number"
        return added.lastrowid

    def drop_duty(self, number: int) -> None:
        self._db.execute("DELETE FROM agenda WHERE id = ?", (number,))

    def opening_counts(self) -> dict[int, int]:
        """Orders that opened or reversed something, per magic; a deal cancelled later was executed too."""
        rows = self._db.execute(
            "SELECT magic, count(DISTINCT order_ticket) FROM deals"
            " WHERE type IN (0, 1, 13, 14) AND entry IN (0, 2) GROUP BY magic"
        )
        return dict(rows.fetchall())


def record_of(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """A record from plain values, amounts given as text."""
    exact: dict[str, Any] = {f.name: Decimal(values[f.name]) for f in fields(kind) if f.type is Decimal}
    return kind(**{**values, **exact})


def _column(field: Field[Any]) -> str:
    default = "" if field.default is MISSING else f" DEFAULT '{field.default}'"
    return f"{field.name} {SQL_TYPES[field.type]} NOT NULL{default}"


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else value
