"""The users, the account and the market that the tests of the API trade on."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from argon2 import PasswordHasher
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.limits import NewLimit, set_limit
from db.sessions import NewSession, Proof, begin_session
from db.snapshots import AccountSnapshot, write_account, write_instruments, write_positions, write_quotes
from db.tables import account_users, broker_accounts, broker_positions, metadata, trade_ledger
from db.users import NewUser, Role, add_user, set_enabled
from domain.instruments import Execution, Filling, Instrument, TradeMode
from domain.limits import UNITS, LimitName, LimitUnit
from domain.magics import magic_of
from domain.money import Currency, Lots
from domain.orders import OrderType, Quote, Side
from domain.positions import BrokerPosition
from stack.scratch import Database
from tests.api.broker import ASK, BID
from tests.waiting import until

NAMES = UUID("0d9e6f1c-3a2b-4c5d-8e7f-000000000000")
PASSWORD = "correct horse battery staple"
# Verifying takes any cost; a cheap hash keeps the tests fast.
CHEAP_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)

USERS = {
    "trader": Role.TRADER,
    "other": Role.TRADER,
    "twofold": Role.TRADER,
    "homeless": Role.TRADER,
    "viewer": Role.VIEWER,
    "risk": Role.RISK,
    "admin": Role.ADMIN,
    "gone": Role.TRADER,
}
ACCOUNTS = {"demo": ("trader", "other", "viewer", "twofold", "gone"), "second": ("twofold",)}
MARGIN_MODES = {"demo": "hedging", "second": "netting"}

LIMITS = {
    LimitName.DAILY_LOSS: Decimal(50_000),
    LimitName.ROLLING_LOSS: Decimal(60_000),
    LimitName.ORDER_VALUE: Decimal(10_000_000),
    LimitName.POSITION_SIZE: Decimal(2_000_000),
    LimitName.GROSS_EXPOSURE: Decimal(20_000_000),
    LimitName.OPEN_ORDERS: Decimal(200),
    LimitName.OPEN_POSITIONS: Decimal(200),
    LimitName.MESSAGE_RATE: Decimal(10_000),
    LimitName.REPEATED_EXECUTIONS: Decimal(10_000),
    LimitName.DUPLICATE_WINDOW: Decimal(0),
    LimitName.STOPLESS_LOSS: Decimal(1),
    LimitName.PRICE_COLLAR: Decimal(100),
}

MINE, FOREIGN, NOBODYS, GOLD = 9_000_001, 9_000_002, 9_000_003, 9_000_004


def id_of(name: str) -> UUID:
    return uuid5(NAMES, name)


def session_of(name: str) -> UUID:
    """The session that `bearer` speaks for."""
    return uuid5(NAMES, f"session of {name}")


async def seed(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        for name, role in USERS.items():
            new = NewUser(id=id_of(name), username=name, password_hash=CHEAP_HASH, role=role)
            assert await add_user(connection, new, actor="test")
            session = NewSession(
                id=session_of(name),
                user_id=new.id,
                address="203.0.113.1",
                agent="tests",
                proven_by=Proof.PASSWORD,
                expires_at=datetime.now(UTC) + timedelta(days=1),
            )
            await begin_session(connection, session, token_hash=f"of {name}", lasts=timedelta(hours=1))
        await set_enabled(connection, id_of("gone"), enabled=False, actor="test")
        for slug, members in ACCOUNTS.items():
            await _add_account(connection, slug, members)


async def count_rows(engine: AsyncEngine) -> dict[str, int]:
    async with engine.connect() as connection:
        return {
            table.name: await connection.scalar(select(func.count()).select_from(table))
            for table in metadata.sorted_tables
        }


# Counted at every request, and gone after a while.
UNCOUNTED = {"rate_counts", "api_key_nonces", "login_tries"}


async def fingerprints(engine: AsyncEngine) -> dict[str, str]:
    """All that each table says; equal if not one column of one row has changed."""
    names = sorted({table.name for table in metadata.sorted_tables} - UNCOUNTED)
    everything = "SELECT coalesce(md5(string_agg(t::text, chr(10) ORDER BY t::text)), '') FROM {} t"
    async with engine.connect() as connection:
        return {name: await connection.scalar(text(everything.format(name))) for name in names}


async def at_rest(engine: AsyncEngine) -> dict[str, str]:
    """The fingerprints of the books once nothing moves in them any more."""
    found = await fingerprints(engine)

    async def still() -> bool:
        nonlocal found
        before, found = found, await fingerprints(engine)
        return found == before

    await until(still, what="the books to be at rest", poll_seconds=0.15)
    return found


async def open_positions(database: Database, *others: int) -> None:
    """Show one open position of the trader, one of the other user, two that nobody's order opened."""
    engine = database.engine("owner")
    async with engine.begin() as connection:
        for number, owner in ((MINE, "trader"), (FOREIGN, "other")):
            await own(connection, number, owner)
    await show_positions(
        database,
        *(
            position(number, symbol="XAUUSD" if number == GOLD else "EURUSD")
            for number in (MINE, FOREIGN, NOBODYS, GOLD, *others)
        ),
    )


async def open_hedge(database: Database, *, long: int, short: int) -> None:
    """Show two opposite positions of the trader, 0.30 lots long and 0.20 short, next to nobody's long one."""
    async with database.engine("owner").begin() as connection:
        for number in (long, short):
            await own(connection, number, "trader")
    sold = position(short, side=Side.SELL, volume=Lots(Decimal("0.20")))
    await show_positions(database, position(long), sold, position(NOBODYS))


def position(number: int, **changes: Any) -> BrokerPosition:
    """A long one of 0.30 EURUSD that lost three dollars."""
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "ticket": number,
        "position_id": number,
        "magic": 0,
        "symbol": "EURUSD",
        "side": Side.BUY,
        "volume": Lots(Decimal("0.30")),
        "price_open": ASK,
        "price_current": BID,
        "stop_loss": None,
        "take_profit": None,
        "swap": Decimal("-0.10"),
        "profit": Decimal("-3.00"),
        "opened_at": now - timedelta(hours=1),
        "updated_at": now,
    }
    return BrokerPosition(**{**values, **changes})


async def show_positions(database: Database, *shown: BrokerPosition, account: str = "demo") -> None:
    async with database.engine("owner").begin() as connection:
        # The fills of a closed one may not be in these books, so it goes without them.
        await connection.execute(delete(broker_positions))
        await write_positions(connection, id_of(account), shown, read_at=datetime.now(UTC))


async def own(connection: AsyncConnection, position_id: int, owner: str) -> None:
    """Store the trade whose order opened the position, once."""
    now = datetime.now(UTC)
    await connection.execute(
        pg_insert(trade_ledger)
        .values(
            id=id_of(f"opener-{position_id}"),
            user_id=id_of(owner),
            account_id=id_of("demo"),
            client_order_id=f"opener-{position_id}",
            body_hash="-",
            workflow_id=f"opener-{position_id}",
            magic=magic_of(id_of(f"opener-{position_id}")),
            symbol="EURUSD",
            side="buy",
            order_type="market",
            volume=Decimal("0.30"),
            time_in_force="gtc",
            broker_order_id=position_id,
            received_at=now - timedelta(days=1),
            submit_by=now,
        )
        .on_conflict_do_nothing()
    )


async def _add_account(connection: AsyncConnection, slug: str, members: tuple[str, ...]) -> None:
    now = datetime.now(UTC)
    account_id = id_of(slug)
    await connection.execute(
        insert(broker_accounts).values(
            id=account_id,
            slug=slug,
            currency="USD",
            margin_mode=MARGIN_MODES[slug],
            leverage=100,
            login=1,
            server="Test-Server",
            day_zone="UTC",
            lease_number=3,
            lease_holder="test:1:1",
            lease_taken_at=now,
            lease_expires_at=now + timedelta(hours=1),
        )
    )
    for name in members:
        await connection.execute(
            insert(account_users).values(
                account_id=account_id, user_id=id_of(name), margin_mode=MARGIN_MODES[slug]
            )
        )
    await write_instruments(connection, account_id, [_instrument("EURUSD"), _instrument("XAUUSD")])
    await write_quotes(connection, account_id, [Quote(symbol="EURUSD", bid=BID, ask=ASK, at=now, read_at=now)])
    await write_account(
        connection,
        account_id,
        AccountSnapshot(
            read_at=now,
            balance=Decimal(100_000),
            credit=Decimal(0),
            equity=Decimal(100_000),
            margin=Decimal(0),
            margin_free=Decimal(100_000),
            leverage=100,
            connected=True,
            trade_allowed=True,
        ),
    )
    for name, value in LIMITS.items():
        money = UNITS[name] is LimitUnit.MONEY
        limit = NewLimit(
            name=name,
            account_id=account_id,
            user_id=None,
            value=value,
            unit=UNITS[name],
            currency="USD" if money else None,
            reason="test",
        )
        await set_limit(connection, limit, actor="test")


def _instrument(symbol: str) -> Instrument:
    gold = symbol == "XAUUSD"
    tick = Decimal("0.01" if gold else "0.00001")
    return Instrument(
        symbol=symbol,
        description=symbol,
        currency_base=Currency(symbol[:3]),
        currency_profit=Currency("USD"),
        currency_margin=Currency("USD"),
        digits=2 if gold else 5,
        point=tick,
        tick_size=tick,
        tick_value=Decimal(1),
        contract_size=Decimal(100 if gold else 100_000),
        volume_min=Lots(Decimal("0.01")),
        volume_max=Lots(Decimal(50)),
        volume_step=Lots(Decimal("0.01")),
        stops_level_points=0,
        freeze_level_points=0,
        trade_mode=TradeMode.FULL,
        execution=Execution.MARKET,
        fillings=(Filling.FOK, Filling.IOC),
        order_types=tuple(OrderType),
        close_by=True,
        read_at=datetime.now(UTC),
    )
