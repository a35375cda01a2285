"""The first account, users and passwords of an embedded stack."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from api.passwords import Passwords
from db.engine import make_engine
from db.seed import ACTOR, NewAccount, let_trade, seed_account
from db.users import NewUser, Role, add_user, find_credentials
from domain.positions import MarginMode
from settings import Environment
from stack.demo_account import ACCOUNT, ACCOUNT_CURRENCY, ACCOUNT_LEVERAGE, TERMINAL_LOGIN, TERMINAL_SERVER
from stack.programs import Plan
from stack.rest import DEMO_TRADER, DEMO_TRADER_SECRET

ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A user that was just made, with the password that is shown once."""

    username: str
    role: Role
    password: str


async def seed(plan: Plan) -> Sequence[Credential]:
    """Make the account, an admin and the demo trader unless they are there; returns the users just made."""
    stored = {"DATABASE_URL_FILE": str(plan.secrets.path("database_url_owner"))}
    engine = make_engine(Environment(stored).database_url(), application="seed", pool_size=1)
    try:
        async with engine.begin() as connection:
            account = await seed_account(connection, _account(plan))
            admin = await _user(connection, ADMIN, Role.ADMIN, password=make_password())
            # The demo trader's password is kept, since the commands of this machine log in with it.
            kept = plan.secrets.read_or_make(DEMO_TRADER_SECRET)
            trader = await _user(connection, DEMO_TRADER, Role.TRADER, password=kept)
            await let_trade(connection, account=account, user_id=await _id_of(connection, DEMO_TRADER))
    finally:
        await engine.dispose()
    return [made for made in (admin, trader) if made is not None]


def make_password() -> str:
    return secrets.token_urlsafe(15)


def hash_password(password: str) -> str:
    passwords = Passwords()
    try:
        return passwords.hash(password)
    finally:
        passwords.close()


async def _user(connection: AsyncConnection, name: str, role: Role, *, password: str) -> Credential | None:
    if await find_credentials(connection, name) is not None:
        return None
    new = NewUser(id=uuid4(), username=name, password_hash=hash_password(password), role=role)
    await add_user(connection, new, actor=ACTOR)
    return Credential(username=name, role=role, password=password)


async def _id_of(connection: AsyncConnection, name: str) -> UUID:
    found = await find_credentials(connection, name)
    assert found is not None, "the user was made in this transaction, or was there before"
    return found[0].id


def _account(plan: Plan) -> NewAccount:
    return NewAccount(
        slug=ACCOUNT,
        currency=ACCOUNT_CURRENCY,
        margin_mode=MarginMode.HEDGING,
        leverage=ACCOUNT_LEVERAGE,
        login=TERMINAL_LOGIN,
        server=TERMINAL_SERVER,
        day_zone="UTC",
        daily_loss_limit=plan.daily_loss_limit,
        position_size_max=plan.position_size_max,
    )
