"""What each user realised on each day of the account, summed as it is booked."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.accounts import Account
from domain.attribution import Allocation

_DAILY = text("""
    INSERT INTO user_daily_stats AS s
        (account_id, user_id, day, currency, profit, commission, swap, fee, fill_count)
    SELECT :account_id, t.user_id, (CAST(:at AS timestamptz) AT TIME ZONE b.day_zone)::date, b.currency,
           :profit, :commission, :swap, :fee, 1
    FROM trade_ledger t JOIN broker_accounts b ON b.id = t.account_id WHERE t.id = :trade_id
    ON CONFLICT (account_id, user_id, day) DO UPDATE SET
        profit = s.profit + excluded.profit, commission = s.commission + excluded.commission,
        swap = s.swap + excluded.swap, fee = s.fee + excluded.fee, fill_count = s.fill_count + 1
""")


async def count(connection: AsyncConnection, account: Account, at: datetime, line: Allocation) -> None:
    """Add the line's money to the day of the user who owns it."""
    money: tuple[Decimal, ...] = (line.profit, line.commission, line.swap, line.fee)
    if line.trade_id is None or not any(money):
        return
    await connection.execute(
        _DAILY,
        {
            "account_id": account.id,
            "trade_id": line.trade_id,
            "at": at,
            "profit": line.profit,
            "commission": line.commission,
            "swap": line.swap,
            "fee": line.fee,
        },
    )
