"""The first account, users and limits of an embedded stack: made once, and never changed by a repeat."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.limits import NewLimit, set_limit
from db.tables import account_users, broker_accounts
from domain.limits import UNITS, LimitName, LimitUnit
from domain.positions import MarginMode

ACTOR = "system:seed"

# An order without a stop loss is taken to lose this much of its value at worst.
STOPLESS_LOSS_PERCENT = Decimal(2)
# All symbols together may hold as much as so many of them at their full size.
SYMBOLS_AT_FULL_SIZE = 5
# How far the market may move between the reservation and the send, where the order itself does not say.
PRICE_COLLAR_POINTS = Decimal(200)


@dataclass(frozen=True, kw_only=True)
class NewAccount:
    """A broker account and its limits, both in `currency`."""

    slug: str
    currency: str
    margin_mode: MarginMode
    leverage: int
    login: int
    server: str
    day_zone: str
    daily_loss_limit: Decimal
    position_size_max: Decimal


def account_id(slug: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"broker-account:{slug}")


async def seed_account(connection: AsyncConnection, new: NewAccount) -> UUID:
    """Make the account with its limits; one that exists keeps what it has. Returns its id."""
    made = await connection.execute(
        insert(broker_accounts)
        .values(
            id=account_id(new.slug),
            slug=new.slug,
            currency=new.currency,
            margin_mode=new.margin_mode,
            leverage=new.leverage,
            login=new.login,
            server=new.server,
            day_zone=new.day_zone,
        )
        .on_conflict_do_nothing(index_elements=["slug"])
        .returning(broker_accounts.c.id)
    )
    if made.scalar_one_or_none() is not None:
        for name, value in first_limits(new).items():
            await _limit(connection, new, name, value)
    known = await connection.execute(select(broker_accounts.c.id).where(broker_accounts.c.slug == new.slug))
    return UUID(str(known.scalar_one()))


async def let_trade(connection: AsyncConnection, *, account: UUID, user_id: UUID) -> None:
    """Give a user the account; a netting account takes exactly one, and refuses the second."""
    mode = select(broker_accounts.c.margin_mode).where(broker_accounts.c.id == account).scalar_subquery()
    await connection.execute(
        insert(account_users)
        .values(account_id=account, user_id=user_id, margin_mode=mode)
        .on_conflict_do_nothing(index_elements=["account_id", "user_id"])
    )


def first_limits(new: NewAccount) -> dict[LimitName, Decimal]:
    """What an account begins with: wide enough for a bot, to be tightened by whoever answers for it."""
    return {
        LimitName.DAILY_LOSS: new.daily_loss_limit,
        LimitName.ROLLING_LOSS: new.daily_loss_limit,
        LimitName.ORDER_VALUE: new.position_size_max,
        LimitName.POSITION_SIZE: new.position_size_max,
        LimitName.GROSS_EXPOSURE: SYMBOLS_AT_FULL_SIZE * new.position_size_max,
        LimitName.OPEN_ORDERS: Decimal(200),
        LimitName.OPEN_POSITIONS: Decimal(200),
        LimitName.MESSAGE_RATE: Decimal(2_000),
        LimitName.REPEATED_EXECUTIONS: Decimal(10_000),
        # An order is told apart by its id alone until somebody sets a window.
        LimitName.DUPLICATE_WINDOW: Decimal(0),
        LimitName.STOPLESS_LOSS: STOPLESS_LOSS_PERCENT,
        LimitName.PRICE_COLLAR: PRICE_COLLAR_POINTS,
    }


async def _limit(connection: AsyncConnection, new: NewAccount, name: LimitName, value: Decimal) -> None:
    unit = UNITS[name]
    limit = NewLimit(
        name=name,
        account_id=account_id(new.slug),
        user_id=None,
        value=value,
        unit=unit,
        currency=new.currency if unit is LimitUnit.MONEY else None,
        reason="first limits of the account",
    )
    await set_limit(connection, limit, actor=ACTOR)
