"""Whose limits stand where: the accounts and users that risk is shown for, and the symbols that they hold."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.money import ZERO, Currency, Lots
from domain.orders import OrderIntent, OrderType, Side, TimeInForce


@dataclass(frozen=True, kw_only=True)
class TradingUser:
    """A user on an account; `symbols` are those of open positions and of held orders, of whomever they are."""

    account_id: UUID
    account: str
    currency: Currency
    user_id: UUID
    username: str
    symbols: tuple[str, ...]


_PROBE = UUID(int=0)

_TRADING_USERS = text("""
    SELECT a.id AS account_id, a.slug AS account, a.currency, u.id AS user_id, u.username,
           ARRAY(SELECT symbol FROM broker_positions WHERE account_id = a.id
                 UNION SELECT symbol FROM risk_reservations WHERE account_id = a.id AND counted
                 ORDER BY 1) AS symbols
    FROM account_users au
    JOIN broker_accounts a ON a.id = au.account_id
    JOIN users u ON u.id = au.user_id
    WHERE (CAST(:user_id AS uuid) IS NULL OR u.id = :user_id)
        AND (CAST(:account AS text) IS NULL OR a.slug = :account)
    ORDER BY a.slug, u.username
""")


async def trading_users(
    connection: AsyncConnection, *, user_id: UUID | None, account: str | None
) -> tuple[TradingUser, ...]:
    """Those of one user or of all, on one account or on all."""
    found = await connection.execute(_TRADING_USERS, {"user_id": user_id, "account": account})
    return tuple(
        TradingUser(
            account_id=row["account_id"],
            account=row["account"],
            currency=Currency(row["currency"]),
            user_id=row["user_id"],
            username=row["username"],
            symbols=tuple(row["symbols"]),
        )
        for row in found.mappings()
    )


def probe(who: TradingUser, symbol: str, *, now: datetime) -> OrderIntent:
    """An order that nobody sends: the facts of a user's risk are asked for by one."""
    return OrderIntent(
        trade_id=_PROBE,
        user_id=who.user_id,
        account_id=who.account_id,
        client_order_id="",
        body_hash="",
        symbol=symbol,
        side=Side.BUY,
        order_type=OrderType.MARKET,
        volume=Lots(ZERO),
        time_in_force=TimeInForce.GTC,
        received_at=now,
        submit_by=now,
    )
