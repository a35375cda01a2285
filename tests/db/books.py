"""Books with one account and one trader on a fixed clock, and the sums that must hold in them at any time."""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.reserving import ReserveTrade, Reserving
from activities.trades import AcceptTrade, TradeActivities, TradeStep
from db import booking, snapshots, trades
from db.accounts import Account, read_account
from db.fills import Orphans
from db.limits import LimitScope, NewLimit, change_limit, set_limit
from db.seed import NewAccount, let_trade, seed_account
from db.snapshots import AccountSnapshot
from db.trades import Trade
from db.users import NewUser, Role, add_user
from domain.fills import Fill, FillSource
from domain.limits import UNITS, LimitChange, LimitName, LimitUnit
from domain.orders import OrderIntent
from domain.positions import BrokerPosition, MarginMode
from domain.trades import TradeProgress
from stack.scratch import Database
from tests.factories import NOW, make_asked_limit, make_context, make_instrument, make_intent, make_quote

SLUG = "demo"

# Everything that must be true after any commit; each query returns the rows that break its rule.
_BROKEN = {
    "a ticket's lines sum to its newest revision": """
        SELECT f.ticket FROM current_fills f WHERE
            (f.volume, f.profit, f.commission, f.swap, f.fee) <> (
                SELECT coalesce(sum(a.volume), -1), sum(a.profit), sum(a.commission), sum(a.swap), sum(a.fee)
                FROM fill_allocations a JOIN fills g ON g.id = a.fill_id
                WHERE g.account_id = f.account_id AND g.ticket = f.ticket)""",
    "the entries of an event sum to zero": """
        SELECT event_id FROM ledger_entries GROUP BY event_id, currency HAVING sum(amount) <> 0""",
    "booked cash is the cash of the newest records": """
        SELECT 1 WHERE (SELECT coalesce(sum(profit + commission + swap + fee), 0) FROM current_fills)
            <> (SELECT coalesce(sum(e.amount), 0) FROM ledger_entries e
                JOIN ledger_accounts l ON l.id = e.ledger_account_id WHERE l.code = 'broker_cash')""",
    "a user's days sum to the money of the user's lines": """
        SELECT t.user_id FROM fill_allocations a JOIN trade_ledger t ON t.id = a.trade_id
        GROUP BY t.user_id HAVING sum(a.profit + a.commission + a.swap + a.fee) <>
            (SELECT coalesce(sum(d.profit + d.commission + d.swap + d.fee), 0) FROM user_daily_stats d
             WHERE d.user_id = t.user_id)""",
    "a trade is filled by what its orders executed": """
        SELECT t.id FROM trade_ledger t WHERE t.filled_volume <>
            (SELECT coalesce(sum(f.volume), 0) FROM current_fills f
             WHERE f.trade_id = t.id AND f.kind = 'trade'
                 AND f.position_id IS DISTINCT FROM t.close_by_position_id)""",
    "totals are the sum of what counts": """
        SELECT x.user_id FROM exposure_totals x WHERE (x.held_loss, x.held_notional, x.held_margin) <> (
            SELECT coalesce(sum(loss), 0), coalesce(sum(notional), 0), coalesce(sum(margin), 0)
            FROM risk_reservations r WHERE r.account_id = x.account_id AND r.user_id = x.user_id AND r.counted)""",
    "adjustments sum to what a reservation claims": """
        SELECT r.trade_id FROM risk_reservations r WHERE (r.volume, r.loss, r.notional, r.margin) <> (
            SELECT coalesce(sum(volume), -1), sum(loss), sum(notional), sum(margin)
            FROM risk_adjustments a WHERE a.trade_id = r.trade_id)""",
}


@dataclass(kw_only=True)
class Books:
    database: Database
    account: Account
    user_id: UUID
    now: datetime = NOW
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def owner(self) -> AsyncEngine:
        return self.database.engine("owner")

    @property
    def broker(self) -> AsyncEngine:
        return self.database.engine("broker")

    def steps(self, engine: AsyncEngine | None = None) -> TradeActivities:
        """The pipeline's steps, on the clock of these books."""
        used = engine or self.database.engine("pipeline")
        return TradeActivities(used, reserving=self.reserving(used), now=lambda: self.now)

    def reserving(self, engine: AsyncEngine, kind: type[Reserving] = Reserving) -> Reserving:
        return kind(engine, data_age_max=make_context().data_age_max, now=lambda: self.now)

    def intent(self, **changes: Any) -> OrderIntent:
        number = next(self._numbers)
        values = {
            "trade_id": UUID(int=number),
            "user_id": self.user_id,
            "account_id": self.account.id,
            "client_order_id": f"order-{number}",
        }
        return make_intent(**{**values, **changes})

    async def accepted(self, **changes: Any) -> Trade:
        intent = self.intent(**changes)
        await self.steps().accept(AcceptTrade(intent=intent, workflow_id=f"trade-{intent.client_order_id}"))
        return await self.trade(intent.trade_id)

    async def reserved(self, **changes: Any) -> Trade:
        trade = await self.accepted(**changes)
        await self.steps().reserve(ReserveTrade(trade_id=trade.id, last=True))
        return await self.trade(trade.id)

    async def trade(self, trade_id: UUID) -> Trade:
        async with self.owner.connect() as connection:
            return await trades.read(connection, trade_id)

    async def settle(self, trade: Trade) -> TradeProgress:
        return await self.steps().settle(TradeStep(trade_id=trade.id))

    async def book(self, *fills: Fill, source: FillSource = FillSource.FEED) -> tuple[Trade, ...]:
        async with self.broker.begin() as connection:
            return await booking.book_fills(
                connection,
                self.account,
                fills,
                source=source,
                orphans=Orphans.BOOK if source is FillSource.FEED else Orphans.WAIT,
                actor="test",
                slippage_percent_max=Decimal("0.5"),
            )

    async def show_positions(self, *positions: BrokerPosition) -> None:
        async with self.broker.begin() as connection:
            await snapshots.write_positions(connection, self.account.id, positions, read_at=self.now)

    async def limit(self, name: LimitName, value: Decimal | int, *, user_id: UUID | None = None) -> None:
        """Put another amount of money in force, for the account or for one user of it."""
        new = NewLimit(
            name=name,
            account_id=self.account.id,
            user_id=user_id,
            value=Decimal(value),
            unit=LimitUnit.MONEY,
            currency="USD",
            reason="test",
        )
        async with self.owner.begin() as connection:
            await set_limit(connection, new, actor="test")

    async def change_limit(
        self, name: LimitName, value: Decimal | int, *, user_id: UUID | None = None, **asked: Any
    ) -> LimitChange:
        """Change an amount of money as somebody may who has every authority; `lasts` loosens for a time."""
        unit = UNITS[name]
        currency = "USD" if unit is LimitUnit.MONEY else None
        scope = LimitScope(account_id=self.account.id, user_id=user_id, unit=unit, currency=currency)
        async with self.owner.begin() as connection:
            return await change_limit(connection, scope, make_asked_limit(name, str(value), **asked), actor="test")

    async def add_trader(self, username: str) -> UUID:
        user_id = UUID(int=10_000 + next(self._numbers))
        async with self.owner.begin() as connection:
            new = NewUser(id=user_id, username=username, password_hash="unused", role=Role.TRADER)
            await add_user(connection, new, actor="test")
            await let_trade(connection, account=self.account.id, user_id=user_id)
        return user_id

    async def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        async with self.owner.connect() as connection:
            return [dict(row) for row in (await connection.execute(text(statement), parameters)).mappings()]

    async def scalar(self, statement: str, **parameters: Any) -> Any:
        async with self.owner.connect() as connection:
            return await connection.scalar(text(statement), parameters)

    async def run(self, statement: str, *, role: str = "owner", **parameters: Any) -> None:
        """Execute and commit one statement as a role."""
        async with self.database.engine(role).begin() as connection:
            await connection.execute(text(statement), parameters)

    async def check_sums(self) -> None:
        for rule, query in _BROKEN.items():
            assert await self.rows(query) == [], rule


@asynccontextmanager
async def open_books(database: Database, *, margin_mode: MarginMode = MarginMode.HEDGING) -> AsyncIterator[Books]:
    """An account with wide limits, a quote and a snapshot, all as of the fixed now."""
    async with database.engine("owner").begin() as connection:
        await seed_account(
            connection,
            NewAccount(
                slug=SLUG,
                currency="USD",
                margin_mode=margin_mode,
                leverage=100,
                login=1,
                server="Test-Server",
                day_zone="UTC",
                daily_loss_limit=Decimal(1_000_000),
                position_size_max=Decimal(10_000_000),
            ),
        )
        account = await read_account(connection, SLUG)
    async with database.engine("broker").begin() as connection:
        await snapshots.write_instruments(connection, account.id, [make_instrument()])
        await snapshots.write_quotes(connection, account.id, [make_quote()])
        await snapshots.write_account(connection, account.id, make_snapshot())
    books = Books(database=database, account=account, user_id=UUID(int=0))
    books.user_id = await books.add_trader("trader")
    yield books


def make_snapshot(**changes: Any) -> AccountSnapshot:
    values: dict[str, Any] = {
        "read_at": NOW,
        "balance": Decimal(1_000_000),
        "credit": Decimal(0),
        "equity": Decimal(1_000_000),
        "margin": Decimal(0),
        "margin_free": Decimal(1_000_000),
        "leverage": 100,
        "connected": True,
        "trade_allowed": True,
    }
    return AccountSnapshot(**{**values, **changes})


def lines_by_owner(rows: Sequence[dict[str, Any]]) -> dict[tuple[Any, str], Decimal]:
    """Lots by owner and role, over all lines and revisions; what was taken back cancels out."""
    sums: dict[tuple[Any, str], Decimal] = {}
    for row in rows:
        key = (row["trade_id"], row["role"])
        sums[key] = sums.get(key, Decimal(0)) + row["volume"]
    return {key: volume for key, volume in sums.items() if volume}
